"""Rules of the kernel's audit: as data, as lines of auditctl(8), and a set of our own that suits most servers."""

from __future__ import annotations

import os
import stat
import time
from typing import Any, Dict, List, Set

from opsplay.agent.host import Host
from opsplay.agent.spec import Param, kind_of
from opsplay.modules.hardening import _audit_files
from opsplay.modules.hardening._audit import Unknown

WATCH = ("path", "perm", "key")
CALLS = ("syscalls", "arch", "filters", "action", "key")
# Who logged in, whatever they have become since; system accounts and daemons have no login.
PEOPLE = ["auid>=1000", "auid!=unset"]
# Seconds that the search for programs that lend power may take.
SEARCH_SECONDS = 60.0

WATCHED = (
    ("identity", "wa", ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/security/opasswd")),
    ("sudo", "wa", ("/etc/sudoers", "/etc/sudoers.d", "/var/log/sudo.log")),
    ("sshd", "wa", ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d", "/root/.ssh")),
    ("logins", "wa", ("/var/log/lastlog", "/var/log/wtmp", "/var/log/btmp", "/var/log/faillog", "/etc/pam.d",
                      "/etc/login.defs", "/etc/security/limits.conf", "/etc/security/limits.d")),
    ("clockwork", "wa", ("/etc/crontab", "/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly",
                         "/etc/cron.monthly", "/var/spool/cron/crontabs", "/etc/systemd/system")),
    ("network", "wa", ("/etc/hosts", "/etc/hostname", "/etc/network", "/etc/resolv.conf", "/etc/ufw",
                       "/etc/nftables.conf")),
    ("audit", "wa", ("/etc/audit", "/etc/libaudit.conf")),
    ("start", "wa", ("/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/profile", "/etc/profile.d")),
    ("modules", "wa", ("/etc/modprobe.d", "/etc/modules", "/etc/modules-load.d")),
    ("packages", "wa", ("/etc/apt", )),
    ("time", "wa", ("/etc/localtime",)),
)  # fmt: skip
CALLED: Any = (
    ("time", "adjtimex settimeofday clock_settime", []),
    ("network", "sethostname setdomainname", []),
    ("modules", "init_module finit_module delete_module", []),
    ("mounts", "mount umount2", PEOPLE),
    ("deletions", "unlink unlinkat rename renameat renameat2 rmdir", PEOPLE),
    ("permissions", "chmod fchmod fchmodat chown fchown fchownat lchown setxattr removexattr", PEOPLE),
    ("denied", "open openat creat truncate ftruncate", ["exit=-EACCES"] + PEOPLE),
    ("denied", "open openat creat truncate ftruncate", ["exit=-EPERM"] + PEOPLE),
)
# Calls that newer processors' kernels no longer have.
OLD_CALLS = frozenset(("open", "creat", "unlink", "rename", "rmdir", "chmod", "chown", "lchown"))


class AuditRule(Param):
    """A line of auditctl(8), a watch {path, perm, key}, or calls {syscalls, arch, filters, action, key}."""

    type_name = "audit rule"
    __slots__ = ()

    def convert(self, value: Any) -> Any:
        if isinstance(value, str):
            return one_line(value)
        if not isinstance(value, dict):
            raise ValueError(
                "expected a line such as '-w /etc/hosts -p wa -k hosts' or a dictionary, not %s" % kind_of(value)
            )
        known = WATCH if "path" in value else CALLS
        for key in value:
            if key not in known:
                raise ValueError("a rule has no '%s'; it knows %s, or %s" % (key, ", ".join(WATCH), ", ".join(CALLS)))
        return watch(value) if "path" in value else calls(value)


def one_line(text: str) -> str:
    line = text.strip()
    if "\n" in line:
        raise ValueError("a rule is one line: %r" % text)
    if not line.startswith("-"):
        raise ValueError("a rule begins with an option of auditctl, such as -w or -a, not %r" % line)
    if line.split()[0] in ("-e", "-b", "-f", "-D"):
        raise ValueError(
            "%s is no rule; use the parameters immutable, backlog, failure and exclusive" % line.split()[0]
        )
    return line


def watch(value: Dict[str, Any]) -> str:
    path, perm = str(value["path"]), str(value.get("perm", "wa"))
    if not path.startswith("/") or any(char.isspace() for char in path):
        raise ValueError("'path' of a rule is a whole path without blanks, not %r" % path)
    if not perm or perm.strip("rwxa"):
        raise ValueError("'perm' of a rule is made of r, w, x and a, not %r" % perm)
    return "-w %s -p %s" % (path, perm) + key_of(value, "-k")


def calls(value: Dict[str, Any]) -> str:
    names = value.get("syscalls") or []
    names = names.replace(",", " ").split() if isinstance(names, str) else [str(name) for name in names]
    if not names:
        raise ValueError("a rule names a path or syscalls")
    action = str(value.get("action", "always,exit"))
    filters = value.get("filters") or []
    filters = [filters] if isinstance(filters, str) else [str(one) for one in filters]
    arch = " -F arch=%s" % value["arch"] if value.get("arch") else ""
    more = "".join(" -F " + one for one in filters)
    return "-a %s%s -S %s%s" % (action, arch, ",".join(names), more) + key_of(value, "-k")


def key_of(value: Dict[str, Any], option: str) -> str:
    key = str(value.get("key") or "")
    if any(char.isspace() for char in key) or len(key) > 31:
        raise ValueError("'key' of a rule is a word of at most 31 characters, not %r" % key)
    return " %s %s" % (option, key) if key else ""


def baseline(host: Host) -> List[str]:
    """The set of our own, for what this host has."""
    lines = []
    for key, perm, paths in WATCHED:
        found = [path for path in paths if host.exists(path)]
        lines += ["-w %s -p %s -k %s" % (path, perm, key) for path in found]
    machine = os.uname().machine
    for arch in ("b64", "b32") if machine in ("x86_64", "aarch64", "s390x", "ppc64le") else ("b32",):
        old = machine != "aarch64" or arch == "b32"
        for key, names, filters in CALLED:
            kept = [name for name in names.split() if old or name not in OLD_CALLS]
            lines.append(calls({"syscalls": kept, "arch": arch, "filters": filters, "key": key}))
    for path in lending(host):
        lines.append(
            "-a always,exit -F path=%s -F perm=x%s -k privileged" % (path, "".join(" -F " + one for one in PEOPLE))
        )
    return lines


def lending(host: Host) -> List[str]:
    """The programs of this host with set-uid or set-gid bits."""
    until = time.monotonic() + SEARCH_SECONDS
    found: Set[str] = set()

    def tick() -> None:
        if time.monotonic() > until:
            raise Unknown("the search took longer than %d seconds" % SEARCH_SECONDS)

    try:
        for path, info in _audit_files.inodes(set(_audit_files.LEFT_OUT), tick, lambda: None):
            if stat.S_ISREG(info.st_mode) and info.st_mode & 0o6000 and info.st_mode & 0o111 and len(path.split()) == 1:
                found.add(path)
    except Unknown as problem:
        host.fail("baseline: %s; not all programs with set-uid bits are known" % problem)
    return sorted(found)
