"""The form of audit rules, for hosts on which auditctl cannot open its way to the kernel and looks at no rule."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Set

from opsplay.agent.host import Host

# auditctl(8).
LISTS = ("task", "exit", "user", "exclude", "filesystem", "io_uring")
ACTIONS = ("always", "never")
WITH_VALUE = ("-w", "-W", "-p", "-k", "-a", "-A", "-d", "-S", "-F", "-C", "-r", "--backlog_wait_time", "-q")
ALONE = ("-i", "-c", "-t", "--loginuid-immutable")
FIELDS = frozenset((
    "a0", "a1", "a2", "a3", "arch", "auid", "devmajor", "devminor", "dir", "egid", "euid", "exe", "exit",
    "field_compare", "filetype", "fsgid", "fstype", "fsuid", "gid", "inode", "key", "loginuid", "msgtype",
    "obj_gid", "obj_lev_high", "obj_lev_low", "obj_role", "obj_type", "obj_uid", "obj_user", "path", "perm",
    "pers", "pid", "ppid", "saddr_fam", "sessionid", "sgid", "subj_clr", "subj_role", "subj_sen", "subj_type",
    "subj_user", "success", "suid", "uid",
))  # fmt: skip
SIGNS = ("!=", ">=", "<=", "&=", "=", ">", "<", "&")


def objection(argv: List[str], calls: Callable[[str], Optional[Set[str]]]) -> str:
    """Why a rule cannot be; empty when its form is right. `calls` knows the system calls of an architecture."""
    place, arch = 0, ""
    named: List[str] = []
    while place < len(argv):
        option = argv[place]
        place += 1
        if option in ALONE:
            continue
        if option not in WITH_VALUE:
            return "%s is no option of a rule" % option
        if place == len(argv):
            return "%s needs a value" % option
        value = argv[place]
        place += 1
        why = of_option(option, value)
        if why:
            return why
        if option == "-F" and value.startswith("arch="):
            arch = value[5:]
        named += value.split(",") if option == "-S" else []
    if not any(option in argv for option in ("-w", "-W", "-a", "-A", "-d", "-r", "--backlog_wait_time", "-q", *ALONE)):
        return "it neither watches a path (-w) nor adds to a list (-a)"
    known = calls(arch)
    for name in named:
        if known is not None and not name.isdigit() and name != "all" and name not in known:
            return "there is no system call %s" % name
    return ""


def of_option(option: str, value: str) -> str:
    """What is wrong with an option's value."""
    if option in ("-w", "-W") and not value.startswith("/"):
        return "the path %s does not begin with a slash" % value
    if option == "-p" and (not value or value.strip("rwxa")):
        return "the permissions %s are not made of r, w, x and a" % value
    if option in ("-a", "-A", "-d"):
        words = value.split(",")
        if len(words) != 2 or not (set(words) & set(LISTS) and set(words) & set(ACTIONS)):
            return "%s names no list (%s) with always or never" % (value, ", ".join(LISTS))
    if option == "-F":
        sign = next((one for one in SIGNS if one in value), "")
        if not sign or not value.partition(sign)[2]:
            return "%s compares nothing" % value
        if value.partition(sign)[0] not in FIELDS:
            return "there is no field %s" % value.partition(sign)[0]
    return ""


class Calls:
    """The system calls that ausyscall(8) knows, by architecture; None where it is not installed."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.known: Dict[str, Optional[Set[str]]] = {}

    def __call__(self, arch: str) -> Optional[Set[str]]:
        if arch not in self.known:
            words = {"b32": ["i386"], "b64": []}.get(arch, [arch] if arch else [])
            done = self.host.query(["ausyscall"] + words + ["--dump"], timeout=30)
            names = {line.split()[1] for line in done.stdout.splitlines() if len(line.split()) == 2}
            self.known[arch] = names if done.rc == 0 and len(names) > 50 else None
        return self.known[arch]
