"""Kernel parameters as a hardened host has them, and what a process may leave behind when it dies."""

from __future__ import annotations

from typing import Callable, List, Tuple

from opsplay.modules.hardening._audit import (
    FAIL,
    Answer,
    Check,
    Look,
    Unknown,
    lines_of,
    verdict,
)

# Parameter, what is wanted (a number, or >= a number), severity, why.
WANTED = (
    ("kernel.kptr_restrict", ">=1", "low", "the kernel's addresses help an attack on it"),
    ("kernel.dmesg_restrict", "1", "low", "the kernel's messages hold addresses"),
    ("kernel.randomize_va_space", "2", "high", "addresses that are known make bugs usable"),
    ("kernel.yama.ptrace_scope", ">=1", "medium", "a process reads another's memory, passwords in it too"),
    ("kernel.unprivileged_bpf_disabled", ">=1", "medium", "programs in the kernel are for root"),
    ("kernel.sysrq", "<=176", "low", "whoever sits at the console ends processes"),
    ("kernel.perf_event_paranoid", ">=2", "low", "counters of the processor tell of other processes"),
    ("net.core.bpf_jit_harden", "2", "low", "compiled programs are a place for foreign code"),
    ("dev.tty.ldisc_autoload", "0", "low", "users load seldom used parts of the kernel"),
    ("fs.protected_hardlinks", "1", "medium", "links to foreign files in /tmp mislead programs"),
    ("fs.protected_symlinks", "1", "medium", "links in /tmp mislead programs"),
    ("fs.protected_fifos", ">=1", "low", "foreign pipes in /tmp mislead programs"),
    ("fs.protected_regular", ">=1", "low", "foreign files in /tmp mislead programs"),
    ("fs.suid_dumpable", "0", "medium", "dumps of privileged programs hold secrets"),
    ("net.ipv4.tcp_syncookies", "1", "medium", "half-open connections fill the table"),
    ("net.ipv4.conf.all.rp_filter", ">=1", "medium", "packets with a false sender come in"),
    ("net.ipv4.conf.default.rp_filter", ">=1", "low", "packets with a false sender come in"),
    ("net.ipv4.conf.all.accept_redirects", "0", "medium", "others bend this host's routes"),
    ("net.ipv4.conf.default.accept_redirects", "0", "low", "others bend this host's routes"),
    ("net.ipv4.conf.all.secure_redirects", "0", "low", "others bend this host's routes"),
    ("net.ipv4.conf.all.send_redirects", "0", "low", "only a router sends these"),
    ("net.ipv4.conf.all.accept_source_route", "0", "medium", "the sender chooses the way past filters"),
    ("net.ipv4.conf.all.log_martians", "1", "low", "packets that cannot be are worth a line in the log"),
    ("net.ipv4.conf.default.accept_source_route", "0", "low", "the sender chooses the way past filters"),
    ("net.ipv4.conf.default.secure_redirects", "0", "low", "others bend this host's routes"),
    ("net.ipv4.conf.default.send_redirects", "0", "low", "only a router sends these"),
    ("net.ipv4.conf.default.log_martians", "1", "low", "packets that cannot be are worth a line in the log"),
    ("net.ipv4.tcp_rfc1337", "1", "low", "late packets end connections that wait"),
    ("net.ipv4.icmp_echo_ignore_broadcasts", "1", "low", "answers to everybody are a weapon"),
    ("net.ipv4.icmp_ignore_bogus_error_responses", "1", "low", "false errors fill the log"),
    ("net.ipv6.conf.all.accept_redirects", "0", "medium", "others bend this host's routes"),
    ("net.ipv6.conf.all.accept_source_route", "0", "medium", "the sender chooses the way past filters"),
    ("net.ipv6.conf.default.accept_redirects", "0", "low", "others bend this host's routes"),
    ("net.ipv6.conf.default.accept_source_route", "0", "low", "the sender chooses the way past filters"),
)


def path_of(name: str) -> str:
    return "/proc/sys/" + name.replace(".", "/")


def fits(found: str, wanted: str) -> bool:
    """Whether a value is the wanted one, or on the wanted side of a bound."""
    for sign in (">=", "<="):
        if wanted.startswith(sign):
            try:
                number, bound = int(found), int(wanted[2:])
            except ValueError:
                return False
            return number >= bound if sign == ">=" else number <= bound
    return found.split() == wanted.split()


def parameter(name: str, wanted: str) -> Callable[[Look], Answer]:
    def probe(look: Look) -> Answer:
        text = look.text(path_of(name))
        if text is None:
            raise Unknown("this kernel, or this container, has no %s" % name)
        return verdict(fits(text.strip(), wanted), "%s = %s" % (name, " ".join(text.split())))

    return probe


def check(name: str, wanted: str, severity: str = "medium", why: str = "asked for by the playbook") -> Check:
    number = wanted.lstrip("<>=")
    remedy = "sysctl: {name: %s, value: '%s', sysctl_file: /etc/sysctl.d/90-hardening.conf}" % (name, number)
    return Check("sysctl." + name, severity, "%s: %s" % (name, why), wanted, remedy, parameter(name, wanted))


KERNEL = tuple(check(*row) for row in WANTED)


# --- limits ---


def limits(look: Look) -> List[Tuple[str, str, str, str]]:
    """Every line of limits.conf and its drop-ins: domain, soft, hard or -, item, value."""
    found = []
    paths = ["/etc/security/limits.conf"]
    paths += [path for path in look.names("/etc/security/limits.d") if path.endswith(".conf")]
    for path in paths:
        for line in lines_of(look.text(path) or ""):
            words = line.partition("#")[0].split()
            if len(words) == 4:
                found.append((words[0], words[1], words[2], words[3]))
    return found


def hard_limit(look: Look, item: str) -> str:
    """What everybody may use at most; the last line counts. Empty where nothing says."""
    found = [row[3] for row in limits(look) if row[0] == "*" and row[1] in ("-", "hard") and row[2] == item]
    return found[-1] if found else ""


def core(look: Look) -> Answer:
    value = hard_limit(look, "core")
    return verdict(value == "0", "* hard core %s" % value if value else "logins have no hard limit for core dumps")


def umask(look: Look) -> Answer:
    for line in lines_of(look.text("/etc/login.defs") or ""):
        words = line.split()
        if words[0] == "UMASK" and len(words) > 1:
            strict = words[1].isdigit() and int(words[1], 8) & 0o027 == 0o027
            return verdict(strict, "UMASK %s" % words[1])
    return Answer(FAIL, "/etc/login.defs sets no UMASK")


LIMITS = (
    Check("limits.core", "low", "Logins leave no core dumps", "* hard core 0",
          "limits: {name: core, limits: {core: 0}}", core),
    Check("limits.umask", "low", "New files are not for everybody", "UMASK 027", "password_policy", umask),
)  # fmt: skip
