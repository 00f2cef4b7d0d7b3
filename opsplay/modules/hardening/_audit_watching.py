"""Whether somebody watches: fail2ban, the audit daemon, file integrity, and how many logins fail."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Set

from opsplay.modules.hardening._audit import (
    FAIL,
    OK,
    Answer,
    Check,
    Look,
    Skip,
    Unknown,
    age_in_days,
    lines_of,
    verdict,
)

# --- intrusion prevention ---


def fail2ban(look: Look) -> Answer:
    if look.host.which("fail2ban-client") is None:
        return Answer(FAIL, "fail2ban is not installed")
    active = look.is_active("fail2ban.service")
    return verdict(active, "fail2ban runs" if active else "fail2ban does not run")


def sshd_jail(look: Look) -> Answer:
    if look.host.which("fail2ban-client") is None:
        return Answer(FAIL, "fail2ban is not installed")
    look.root()
    done = look.run("fail2ban-client", "status")
    if done.rc != 0:
        return Answer(FAIL, "fail2ban does not answer")
    jails = done.stdout.partition("Jail list:")[2].replace(",", " ").split()
    return verdict("sshd" in jails, "jails: " + (", ".join(jails) or "none"))


# --- audit ---


def kernel_side(look: Look) -> Dict[str, str]:
    """What the kernel says of its auditing. Raises Unknown in a container, which may not ask it."""
    look.root()
    done = look.run("auditctl", "-s")
    if done.rc != 0 or "enabled" not in done.stdout:
        kind = look.container()
        raise Unknown("in a container (%s) the kernel's auditing cannot be asked" % kind if kind
                      else "auditctl: " + (done.stderr or done.stdout).strip())  # fmt: skip
    return {words[0]: words[1] for words in (line.split() for line in done.stdout.splitlines()) if len(words) > 1}


def auditd_missing(look: Look) -> bool:
    return look.host.which("auditctl") is None


def auditing(look: Look) -> Answer:
    if auditd_missing(look):
        return Answer(FAIL, "auditd is not installed")
    enabled = look.once("audit", lambda: kernel_side(look)).get("enabled", "0")
    running = look.is_active("auditd.service")
    said = "enabled %s, auditd %s" % (enabled, "runs" if running else "does not run")
    return verdict(enabled in ("1", "2") and running, said)


def audit_boot(look: Look) -> Answer:
    if auditd_missing(look):
        return Answer(FAIL, "auditd is not installed")
    on = look.is_enabled("auditd.service")
    return verdict(on, "auditd %s at boot" % ("starts" if on else "does not start"))


def audit_rules(look: Look) -> Answer:
    """The rules on disk; and, where the kernel can be asked, that it has as many."""
    if auditd_missing(look):
        return Answer(FAIL, "auditd is not installed")
    look.root()
    rules: List[str] = []
    for path in [path for path in look.names("/etc/audit/rules.d") if path.endswith(".rules")]:
        rules += [line for line in lines_of(look.text(path) or "") if line.split()[0] in ("-w", "-a", "-A")]
    if not rules:
        return Answer(FAIL, "no file below /etc/audit/rules.d watches anything")
    try:
        look.once("audit", lambda: kernel_side(look))
    except Unknown as problem:
        return Answer(OK, "%d rules on disk; %s" % (len(rules), problem))
    loaded = [line for line in look.said("auditctl", "-l").splitlines() if line.startswith(("-w", "-a"))]
    return verdict(bool(loaded), "%d rules on disk, %d loaded" % (len(rules), len(loaded)))


def audit_lost(look: Look) -> Answer:
    if auditd_missing(look):
        raise Skip("auditd is not installed")
    lost = look.once("audit", lambda: kernel_side(look)).get("lost", "?")
    return verdict(lost == "0", "%s records lost since boot" % lost)


# --- file integrity ---

DATABASE = "/var/lib/aide/aide.db"
TIMER = "dailyaidecheck.timer"


def aide(look: Look) -> Answer:
    there = look.host.which("aide") is not None
    return verdict(there, "aide is installed" if there else "no tool watches files")


def aide_database(look: Look) -> Answer:
    try:
        age = age_in_days(os.stat(DATABASE).st_mtime)
    except FileNotFoundError:
        return Answer(FAIL, "%s does not exist" % DATABASE)
    except OSError as problem:
        raise Unknown("%s: %s" % (DATABASE, problem.strerror))
    return verdict(age <= look.params.aide_days, "made %d days ago" % age)


def aide_timer(look: Look) -> Answer:
    """A timer that names aide, as Debian's own does; or where there is none, its job of cron (Debian 11)."""
    listed = look.said("systemctl", "list-timers", "--all", "--no-legend", "--no-pager")
    words = [word for line in listed.splitlines() if "aide" in line for word in line.split()]
    timers = sorted({word for word in words if word.endswith(".timer")})
    on = [timer for timer in timers if look.is_active(timer)]
    if not timers and os.path.exists("/etc/cron.daily/aide") and look.is_active("cron.service"):
        on = ["/etc/cron.daily/aide"]
    return verdict(bool(on), ", ".join(on) or "no timer compares the files with the database")


def aide_result(look: Look) -> Answer:
    """A comparison now, where that was asked for: it reads every watched file."""
    if not look.params.run_aide:
        raise Skip("run_aide is off: the watched files were not compared")
    look.root()
    look.tick()
    config = next((path for path in ("/etc/aide/aide.conf", "/etc/aide.conf") if os.path.exists(path)), None)
    if config is None or look.host.which("aide") is None:
        raise Unknown("aide is not installed")
    done = look.run("aide", "--check", "--config", config)
    if done.rc == 0:
        return Answer(OK, "the watched files are as the database says")
    if done.rc > 7:
        raise Unknown("aide could not compare: %s" % (done.stderr or done.stdout).strip()[:200])
    said = [line for line in done.stdout.splitlines() if "/" in line and line[:1] in "fdlDBpLFS" and ": " in line]
    return Answer(FAIL, said or "aide found differences (exit code %d)" % done.rc)


# --- logins ---

REFUSED = ("Failed password", "Failed keyboard-interactive", "Failed publickey", "Invalid user")
LEFT = ("by invalid user", "by authenticating user")


def failed_logins(look: Look) -> Answer:
    lines = journal(look)
    count = failures(lines)
    most = look.params.failed_logins
    return verdict(count <= most, "%d in the last hour, from %d addresses" % (count, len(sources(lines))))


def journal(look: Look) -> List[str]:
    """What sshd has said in the last hour."""
    import grp

    groups = {grp.getgrgid(number).gr_name for number in os.getgroups() if number in {g.gr_gid for g in grp.getgrall()}}
    if os.geteuid() != 0 and not groups & {"adm", "systemd-journal"}:
        raise Unknown("only root and the group adm may read the journal")
    argv = ("journalctl", "--no-pager", "-q", "-o", "cat", "--since", "-1h", "-t", "sshd", "-t", "sshd-session")
    return look.said(*argv).splitlines()


def failures(lines: List[str]) -> int:
    """Failed tries: a connection that says so several times (a port is one) counts as often as it tried."""
    tries: Dict[Any, int] = {}
    for line in lines:
        if not tells_of_failure(line):
            continue
        place = connection_of(line)
        tries.setdefault(place, 0)
        if line.startswith("Failed "):
            tries[place] += 1
    return sum(max(1, count) for count in tries.values())


def connection_of(line: str) -> str:
    """`ADDRESS port NUMBER`."""
    words = line.split()
    if "port" not in words[:-1]:
        return line
    place = len(words) - 1 - words[::-1].index("port")
    return " ".join(words[place - 1 : place + 2])


def sources(lines: List[str]) -> Set[str]:
    return {connection_of(line).split()[0] for line in lines if tells_of_failure(line)}


def tells_of_failure(line: str) -> bool:
    return line.startswith(REFUSED) or any(mark in line for mark in LEFT)


JAIL = "fail2ban_jail: {name: sshd}"
INTRUSION = (
    Check("intrusion.active", "medium", "fail2ban runs", "fail2ban is active",
          "systemd: {name: fail2ban, state: started}", fail2ban),
    Check("intrusion.sshd", "medium", "Who guesses passwords is shut out", "a jail sshd", JAIL, sshd_jail),
)  # fmt: skip
AUDIT = (
    Check("audit.active", "medium", "The kernel writes an audit log", "enabled, auditd runs", "auditd_rules", auditing),
    Check("audit.boot", "medium", "The audit log is written from boot on", "auditd is enabled",
          "systemd: {name: auditd, enabled: true}", audit_boot),
    Check("audit.rules", "medium", "There are rules of what to log", "rules below /etc/audit/rules.d, loaded",
          "auditd_rules: {baseline: true}", audit_rules),
    Check("audit.lost", "low", "No audit record was lost", "lost 0", "auditd_rules: {backlog: 8192}", audit_lost),
)  # fmt: skip
INTEGRITY = (
    Check("integrity.installed", "medium", "Files are watched", "aide", "aide: {state: initialised}", aide),
    Check("integrity.database", "medium", "The database of files is there and young", "younger than aide_days",
          "aide: {state: updated}", aide_database),
    Check("integrity.timer", "medium", "Files are compared every day", "a timer", "aide: {timer: true}", aide_timer),
    Check("integrity.files", "high", "The watched files are as they were", "no difference",
          "look into each, then aide: {state: updated}", aide_result),
)  # fmt: skip
LOGINS = (
    Check("logins.failed", "medium", "Few logins fail", "at most failed_logins an hour", JAIL, failed_logins),
)  # fmt: skip
