"""Whether the host is up to date, and stays so; and how long its certificates last."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional, Tuple

from opsplay.modules.hardening._audit import (
    FAIL,
    OK,
    Answer,
    Check,
    Look,
    Skip,
    Unknown,
    age_in_days,
    first_line,
    none_of,
    verdict,
)

LISTS = "/var/lib/apt/lists"
# What apt touches whenever it fetches lists.
STAMPS = ("/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/periodic/update-stamp", LISTS + "/partial")


def apt(look: Look) -> None:
    if look.host.which("apt-get") is None:
        raise Skip("this host has no apt")


def has_lists(look: Look) -> bool:
    apt(look)
    return any("Packages" in path for path in look.names(LISTS))


def pending(look: Look) -> List[str]:
    """The packages that a security archive has newer than the host, with both versions."""
    if not has_lists(look):
        raise Unknown("there are no package lists; run apt-get update")
    argv = ("apt-get", "--simulate", "--quiet", "-o", "Debug::NoLocking=1", "dist-upgrade")
    found = []
    for line in look.said(*argv).splitlines():
        # Inst openssl [3.0.1] (3.0.2 Debian-Security:12/stable-security [amd64])
        if line.startswith("Inst ") and "security" in line.partition("(")[2].lower():
            words = line.split()
            old = words[2].strip("[]") if words[2].startswith("[") else "new"
            found.append("%s %s -> %s" % (words[1], old, line.partition("(")[2].split()[0]))
    return found


def security(look: Look) -> Answer:
    return none_of(look.once("pending", lambda: pending(look)), "no security update is pending")


def released(look: Look) -> Optional[float]:
    """When the newest list of a security archive was made, by its own Date."""
    from email.utils import mktime_tz, parsedate_tz

    moments = []
    for path in look.names(LISTS):
        if "security" in path and path.endswith("Release"):
            for line in (look.text(path) or "").splitlines():
                if line.startswith("Date: "):
                    parts = parsedate_tz(line[6:])
                    moments += [mktime_tz(parts)] if parts else []
                    break
    return max(moments) if moments else None


def overdue(look: Look) -> Answer:
    """An update has been there for at least as long as the list that has it."""
    names = look.once("pending", lambda: pending(look))
    if not names:
        return Answer(OK, "no security update is pending")
    moment = released(look)
    if moment is None:
        raise Unknown("no list of a security archive says when it was made")
    hours = (time.time() - moment) / 3600
    if hours > look.params.update_hours:
        return Answer(FAIL, ["pending for more than %d hours:" % hours] + list(names))
    raise Unknown("%d are pending by lists that are %d hours old; since when is not known" % (len(names), hours))


def lists_age(look: Look) -> Answer:
    if not has_lists(look):
        return Answer(FAIL, "there are no package lists")
    moments = [os.stat(path).st_mtime for path in STAMPS if os.path.exists(path)]
    if not moments:
        raise Unknown("nothing says when they were fetched")
    age = age_in_days(max(moments))
    return verdict(age <= look.params.lists_days, "fetched %d days ago" % age)


def automatic(look: Look) -> Answer:
    apt(look)
    if look.host.which("unattended-upgrade") is None:
        return Answer(FAIL, "unattended-upgrades is not installed")
    said = dict(pair for pair in map(setting, look.said("apt-config", "dump").splitlines()) if pair)
    wrong = ["%s is %s" % (key, said.get(key, "not set")) for key in
             ("APT::Periodic::Update-Package-Lists", "APT::Periodic::Unattended-Upgrade")
             if said.get(key, "0") in ("0", "")]  # fmt: skip
    timers = ("apt-daily.timer", "apt-daily-upgrade.timer")
    wrong += ["%s is not active" % unit for unit in timers if not look.is_active(unit)]
    return none_of(wrong, "on, every day")


def setting(line: str) -> Optional[Tuple[str, str]]:
    """A line of apt-config's dump: `Name "value";`."""
    key, _, value = line.partition(" ")
    return (key, value.strip().rstrip(";").strip('"')) if value else None


def restart(look: Look) -> Answer:
    for path in ("/run/reboot-required", "/var/run/reboot-required"):
        if os.path.exists(path):
            names = (look.text(path + ".pkgs") or "").split()
            return Answer(FAIL, "a restart is due" + (" for " + ", ".join(sorted(set(names))) if names else ""))
    return Answer(OK, "no restart is due")


# --- certificates ---

ENDINGS = (".pem", ".crt", ".cer", ".cert")
MOST_FILES = 500


def certificate_files(look: Look) -> List[str]:
    """The files below the paths that hold certificates, each once."""
    found: Dict[str, str] = {}
    for top in look.params.certificate_paths:
        paths = [top] if os.path.isfile(top) else []
        for folder, folders, names in os.walk(top):
            look.tick()
            folders.sort()
            paths += [os.path.join(folder, name) for name in sorted(names) if name.endswith(ENDINGS)]
        for path in paths[:MOST_FILES]:
            found.setdefault(os.path.realpath(path), path)
    return [path for path in found.values() if "-----BEGIN CERTIFICATE" in readable(look, path)]


def readable(look: Look, path: str) -> str:
    try:
        return look.text(path) or ""
    except Unknown:
        look.cache["unread certificates"] = True
        return ""


def days_left(look: Look, path: str) -> Any:
    """Until the first certificate of a file ends; None when openssl cannot tell."""
    import ssl

    said = look.run("openssl", "x509", "-noout", "-enddate", "-in", path)
    moment = first_line(said.stdout).partition("=")[2]
    return (ssl.cert_time_to_seconds(moment) - time.time()) / 86400 if said.rc == 0 and moment else None


def expiry(look: Look) -> Answer:
    paths = certificate_files(look)
    if not paths:
        if look.cache.get("unread certificates"):
            raise Unknown("this account may not read them")
        raise Skip("there are none below %s" % ", ".join(look.params.certificate_paths))
    bad, left = [], []
    for path in paths:
        days = days_left(look, path)
        if days is None:
            bad.append("%s is no certificate that openssl reads" % path)
        elif days < look.params.certificate_days:
            bad.append("%s %s" % (path, "ended %d days ago" % -days if days < 0 else "ends in %d days" % days))
        else:
            left.append(days)
    return none_of(bad, "%d certificates; the first ends in %d days" % (len(paths), min(left or [0])))


def private_keys(look: Look) -> Answer:
    """Keys beside certificates that everybody reads."""
    bad, seen = [], 0
    for top in look.params.certificate_paths:
        for folder, _, names in os.walk(top):
            look.tick()
            for path in [os.path.join(folder, name) for name in names if name.endswith((".key", ".pem"))]:
                if "PRIVATE KEY-----" in readable(look, path):
                    seen += 1
                    bad += [path] if os.stat(path).st_mode & 0o004 else []
    return none_of(sorted(bad), "%d keys, none for everybody" % seen)


UPGRADE = "unattended_upgrades: {}"
UPDATES = (
    Check("updates.security", "medium", "No security update is pending", "none", "apt: {upgrade: dist}", security),
    Check("updates.overdue", "high", "No security update is pending for long", "at most update_hours",
          "apt: {upgrade: dist}", overdue),
    Check("updates.lists", "medium", "Package lists are young", "at most lists_days", "apt: {update_cache: true}",
          lists_age),
    Check("updates.automatic", "medium", "Security updates install themselves", "unattended-upgrades, every day",
          UPGRADE, automatic),
    Check("updates.restart", "medium", "No restart is due", "none due", "reboot: {}", restart),
)  # fmt: skip
CERTIFICATES = (
    Check("certificates.expiry", "high", "No certificate ends soon", "certificate_days left", "certbot_renew", expiry),
    Check("certificates.keys", "high", "Private keys are private", "not for everybody",
          "file: {path: PATH, mode: '0600'}", private_keys),
)  # fmt: skip
