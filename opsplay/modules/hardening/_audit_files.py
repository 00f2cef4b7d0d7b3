"""Files that anybody may change, that belong to nobody, that lend power; and what runs by the clock."""

from __future__ import annotations

import os
import stat
from typing import Any, Callable, Dict, Iterator, List, Set, Tuple

from opsplay.modules.hardening._audit import Answer, Check, Look, Unknown, none_of

# Not looked at: what the kernel makes up, and what holds other systems' files.
LEFT_OUT = ("/proc", "/sys", "/dev", "/run", "/var/lib/docker", "/var/lib/containers", "/var/lib/lxc",
            "/var/lib/machines", "/snap")  # fmt: skip
MOST_ENTRIES = 2000000
TICK_EVERY = 512
KINDS = ("world-writable", "sticky", "unowned", "setuid")

# Programs that Debian's packages install with set-uid or set-gid bits.
LENT = frozenset((
    "/usr/bin/at", "/usr/bin/bsd-write", "/usr/bin/chage", "/usr/bin/chfn", "/usr/bin/chsh", "/usr/bin/crontab",
    "/usr/bin/dotlockfile", "/usr/bin/expiry", "/usr/bin/fusermount", "/usr/bin/fusermount3", "/usr/bin/gpasswd",
    "/usr/bin/lockfile", "/usr/bin/mlocate", "/usr/bin/mount", "/usr/bin/newgidmap", "/usr/bin/newgrp",
    "/usr/bin/newuidmap", "/usr/bin/ntfs-3g", "/usr/bin/passwd", "/usr/bin/ping", "/usr/bin/ping6", "/usr/bin/pkexec",
    "/usr/bin/plocate", "/usr/bin/procmail", "/usr/bin/screen", "/usr/bin/ssh-agent", "/usr/bin/su", "/usr/bin/sudo",
    "/usr/bin/sudoedit", "/usr/bin/umount", "/usr/bin/wall", "/usr/bin/write", "/usr/bin/write.ul",
    "/usr/lib/dbus-1.0/dbus-daemon-launch-helper", "/usr/lib/eject/dmcrypt-get-device", "/usr/lib/openssh/ssh-keysign",
    "/usr/lib/policykit-1/polkit-agent-helper-1", "/usr/lib/polkit-1/polkit-agent-helper-1", "/usr/sbin/exim4",
    "/usr/sbin/mount.cifs", "/usr/sbin/mount.nfs", "/usr/sbin/pam_extrausers_chkpwd", "/usr/sbin/postdrop",
    "/usr/sbin/postqueue", "/usr/sbin/pppd", "/usr/sbin/unix_chkpwd", "/usr/libexec/polkit-agent-helper-1",
    "/usr/libexec/pam-tmpdir/pam-tmpdir-helper", "/usr/lib/pam-tmpdir/pam-tmpdir-helper",
    "/usr/lib/utempter/utempter", "/usr/lib/x86_64-linux-gnu/utempter/utempter",
    "/usr/lib/aarch64-linux-gnu/utempter/utempter", "/usr/sbin/unix2_chkpwd",
))  # fmt: skip


def walk(look: Look) -> Dict[str, Any]:
    """One way through the root's file system for all four questions. Ends with what was found when the time is over."""
    import grp
    import pwd

    found: Dict[str, Any] = {kind: [] for kind in KINDS}
    found["ended"] = ""
    users = {entry.pw_uid for entry in pwd.getpwall()}
    groups = {entry.gr_gid for entry in grp.getgrall()}
    excluded = set(LEFT_OUT) | {path.rstrip("/") for path in look.params.exclude}

    def denied() -> None:
        found["ended"] = "some folders are only for root to look into"

    try:
        for path, info in inodes(excluded, look.tick, denied):
            judge(found, path, info, users, groups)
    except Unknown as problem:
        found["ended"] = str(problem)
    return found


def inodes(excluded: Set[str], tick: Callable[[], None], denied: Callable[[], None]) -> Iterator[Tuple[str, Any]]:
    """Everything on the root's file system, with what lstat(2) says. `tick` is called now and then, and may raise."""
    device, pending, seen = os.stat("/").st_dev, ["/"], 0
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except PermissionError:
            denied()
            continue
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen % TICK_EVERY == 0:
                tick()
            if seen > MOST_ENTRIES:
                raise Unknown("there are more than %d files" % MOST_ENTRIES)
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            yield entry.path, info
            if stat.S_ISDIR(info.st_mode) and info.st_dev == device and entry.path not in excluded:
                pending.append(entry.path)


def judge(found: Dict[str, Any], path: str, info: Any, users: Set[int], groups: Set[int]) -> None:
    """Put a path where it belongs."""
    mode = info.st_mode
    if info.st_uid not in users or info.st_gid not in groups:
        found["unowned"].append("%s: %d:%d" % (path, info.st_uid, info.st_gid))
    if stat.S_ISREG(mode):
        if mode & 0o002:
            found["world-writable"].append(path)
        if mode & 0o6000 and mode & 0o111 and usual(path) not in LENT:
            found["setuid"].append("%s: mode %04o, owner %d" % (path, stat.S_IMODE(mode), info.st_uid))
    elif stat.S_ISDIR(mode) and mode & 0o002 and not mode & stat.S_ISVTX:
        found["sticky"].append(path)


def usual(path: str) -> str:
    """The path below /usr, where /bin, /sbin and /lib are links or not."""
    return "/usr" + path if path.startswith(("/bin/", "/sbin/", "/lib/")) else path


def about(kind: str, good: str) -> Any:
    def probe(look: Look) -> Answer:
        found = look.once("walk", lambda: walk(look))
        bad = sorted(found[kind])
        if kind == "setuid":
            bad = [line for line in bad if line.partition(":")[0] not in look.params.setuid_allowed]
        if not bad and found["ended"]:
            raise Unknown("not all was seen: " + found["ended"])
        return none_of(bad, good)

    return probe


# --- what runs by the clock ---

CRON_FILES = ("/etc/crontab", "/etc/anacrontab")
CRON_FOLDERS = ("/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly",
                "/var/spool/cron/crontabs")  # fmt: skip
UNIT_FOLDERS = ("/etc/systemd/system", "/usr/local/lib/systemd/system")


def clockwork(look: Look) -> Tuple[List[str], List[str]]:
    """The crontabs that run as root, and the units of this host's own."""
    crons = [path for path in CRON_FILES if os.path.exists(path)]
    for folder in CRON_FOLDERS:
        try:
            crons += [path for path in look.names(folder) if os.path.isfile(path)]
        except Unknown:
            if os.geteuid() == 0:
                raise
    units = [path for folder in UNIT_FOLDERS for path in look.names(folder) if path.endswith((".service", ".timer"))]
    return crons, [path for path in units if os.path.isfile(path)]


def changeable(path: str, owner: int = 0) -> str:
    """Why somebody else than root, or the owner, could change a file; empty when nobody can."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    if not stat.S_ISREG(found.st_mode):
        return ""
    if found.st_uid not in (0, owner) or found.st_mode & 0o002 or found.st_mode & 0o020 and found.st_gid != 0:
        return "%s: mode %04o, owner %d:%d" % (path, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
    return ""


def cron_files(look: Look) -> Answer:
    crons, units = clockwork(look)
    bad = []
    for path in crons + units:
        personal = path.startswith("/var/spool/cron/crontabs/")
        # A personal crontab is its owner's own; its group is crontab's, which reads it.
        bad.append(changeable(path, os.stat(path).st_uid if personal else 0))
    for folder in CRON_FOLDERS[:-1] + UNIT_FOLDERS:
        if os.path.isdir(folder) and (os.stat(folder).st_uid != 0 or os.stat(folder).st_mode & 0o002):
            bad.append("%s: mode %04o" % (folder, stat.S_IMODE(os.stat(folder).st_mode)))
    return none_of(sorted(filter(None, bad)), "%d crontabs and units, changed by root alone" % len(crons + units))


def cron_programs(look: Look) -> Answer:
    """Programs that root's crontabs and units name with their whole path."""
    crons, units = clockwork(look)
    named: Set[str] = set()
    for path in crons:
        if path.startswith("/var/spool/cron/crontabs/") and os.path.basename(path) != "root":
            continue
        for line in (look.text(path) or "").splitlines():
            if not line.lstrip().startswith("#") and not as_another(path, line):
                named.update(paths_in(line))
    for path in units:
        text = look.text(path) or ""
        if not any(line.startswith("User=") and line.strip() != "User=root" for line in text.splitlines()):
            for line in text.splitlines():
                if line.startswith("Exec"):
                    named.update(paths_in(line.partition("=")[2]))
    bad = [changeable(path) for path in sorted(named) if is_program(path)]
    return none_of([why for why in bad if why], "%d programs, changed by root alone" % len(named))


def is_program(path: str) -> bool:
    """Rather than what a program is told to work on."""
    return os.access(path, os.X_OK) or path.endswith((".sh", ".py", ".pl", ".rb", ".php"))


def as_another(path: str, line: str) -> bool:
    """Whether a line of a system's crontab runs as somebody else than root (crontab(5): the sixth field)."""
    if path != "/etc/crontab" and not path.startswith("/etc/cron.d/"):
        return False
    words = line.split()
    place = 1 if line.startswith("@") else 5
    return len(words) > place and words[place] != "root"


def paths_in(line: str) -> List[str]:
    words = [word.strip("\"'();|&-@+!:") for word in line.split()]
    return [word for word in words if word.startswith("/")]


REMOVE = "file: {path: PATH, mode: o-w}"
FILES = (
    Check("files.world-writable", "high", "No file is for everybody to change", "no o+w", REMOVE,
          about("world-writable", "none")),
    Check("files.sticky", "medium", "In shared folders nobody removes another's files", "the sticky bit",
          "file: {path: PATH, mode: +t}", about("sticky", "none without it")),
    Check("files.unowned", "low", "Every file belongs to somebody", "an account and a group that exist",
          "file: {path: PATH, owner: NAME}", about("unowned", "none")),
    Check("files.setuid", "high", "Only known programs lend power", "Debian's own, and setuid_allowed",
          "file: {path: PATH, mode: 'u-s,g-s'}", about("setuid", "only Debian's own")),
)  # fmt: skip
CRON = (
    Check("cron.files", "critical", "Only root changes what runs by the clock", "root's, no o+w",
          "file: {path: PATH, owner: root, mode: go-w}", cron_files),
    Check("cron.programs", "critical", "Only root changes the programs that run by the clock", "root's, no o+w",
          "file: {path: PATH, owner: root, mode: go-w}", cron_programs),
)  # fmt: skip
