"""The account databases as they are, or as a preview would have left them."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent import files
from opsplay.agent.host import Host
from opsplay.agent.shadow import Node

PASSWD = "/etc/passwd"
SHADOW = "/etc/shadow"
GROUP = "/etc/group"


class Account:
    """A user. The fields of /etc/shadow are as there: days as a text, empty for "not set"."""

    __slots__ = ("name", "uid", "gid", "comment", "home", "shell", "groups", "password", "expire", "aging", "is_local")

    def __init__(self, name: str, uid: Any, gid: Any, comment: str = "", home: str = "", shell: str = "") -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.comment = comment
        self.home = home
        self.shell = shell
        self.groups: List[str] = []
        self.password = "!"
        self.expire = ""
        self.aging = {"min": "", "max": "", "warn": "", "inactive": ""}
        self.is_local = True

    @classmethod
    def of(cls, fields: Dict[str, Any]) -> "Account":
        """The account that `fields` gave."""
        account = cls(fields["name"], fields["uid"], fields["gid"])
        for name, value in fields.items():
            setattr(account, name, value)
        return account

    def fields(self) -> Dict[str, Any]:
        """All of it, in values that can travel."""
        return {name: getattr(self, name) for name in self.__slots__}


def find_user(host: Host, name: str, local: bool = False) -> Optional[Account]:
    """The account, None when there is none. With `local`, only /etc/passwd counts."""
    known = host.shadow.users.get(name) if host.check else None
    if known is not None:
        return Account.of(known["account"]) if known and "account" in known else None
    fields = local_entry(PASSWD, name)
    if fields is None and not local:
        import pwd

        try:
            fields = [str(field) for field in pwd.getpwnam(name)]
        except KeyError:
            return None
        account = _account(fields)
        account.is_local = False
    elif fields is None:
        return None
    else:
        account = _account(fields)
    account.groups = groups_of(name, local)
    _read_shadow(account)
    return account


def _account(fields: List[str]) -> Account:
    account = Account(fields[0], int(fields[2]), int(fields[3]), fields[4], fields[5], fields[6])
    account.password = fields[1]
    return account


def _read_shadow(account: Account) -> None:
    """The hash and the ages of the password; they stay unknown to those who may not read them."""
    try:
        fields = local_entry(SHADOW, account.name)
    except OSError:
        return
    if fields and len(fields) >= 8:
        account.password = fields[1]
        account.aging = {"min": fields[3], "max": fields[4], "warn": fields[5], "inactive": fields[6]}
        account.expire = fields[7]


def local_entry(path: str, name: str) -> Optional[List[str]]:
    """The fields of a name's line in a database such as /etc/passwd. Raises OSError."""
    wanted = name.encode("utf-8", "surrogateescape") + b":"
    try:
        content = files.read_whole(path)
    except FileNotFoundError:
        return None
    for line in content.split(b"\n"):
        if line.startswith(wanted):
            return line.decode("utf-8", "surrogateescape").split(":")
    return None


def groups_of(name: str, local: bool = False) -> List[str]:
    """The supplementary groups that list this user as a member."""
    if not local:
        import grp

        return [entry.gr_name for entry in grp.getgrall() if name in entry.gr_mem]
    found = []
    for line in files.read_whole(GROUP).decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(":")
        if len(fields) >= 4 and name in fields[3].split(","):
            found.append(fields[0])
    return found


def find_group(host: Host, name: str, local: bool = False) -> Optional[Dict[str, Any]]:
    """A group by name or number: its name, gid (None when a preview cannot know it) and members."""
    if host.check:
        for known, entry in host.shadow.groups.items():
            if known == name or (entry and str(entry.get("gid")) == name):
                return {"name": known, "gid": entry.get("gid"), "members": []} if entry else None
    if local:
        fields = local_entry(GROUP, name)
        return {"name": name, "gid": int(fields[2]), "members": fields[3].split(",")} if fields else None
    import grp

    try:
        found = grp.getgrnam(name)
    except KeyError:
        if not name.isdigit():
            return None
        try:
            found = grp.getgrgid(int(name))
        except KeyError:
            return None
    return {"name": found.gr_name, "gid": found.gr_gid, "members": list(found.gr_mem)}


def require_tool(host: Host, program: str) -> str:
    """The full path of an account tool, or a failure that says which package has it."""
    path = host.which(program)
    if path is None:
        package = "libuser" if program.startswith("l") else "passwd (shadow-utils)"
        host.fail("%s is not on this host; install the package %s first" % (program, package))
    return str(path)


def login_defs(host: Host, key: str, default: str) -> str:
    """A setting of /etc/login.defs."""
    try:
        text = host.read("/etc/login.defs").decode("utf-8", "replace")
    except OSError:
        return default
    for line in text.split("\n"):
        words = line.split()
        if len(words) > 1 and words[0] == key:
            return words[1]
    return default


def home_mode(host: Host, umask: Optional[str]) -> int:
    """The mode that useradd gives a home directory: HOME_MODE, else what UMASK leaves."""
    if umask is not None:
        return 0o777 & ~int(umask, 8)
    mode = login_defs(host, "HOME_MODE", "")
    return int(mode, 8) if mode else 0o777 & ~int(login_defs(host, "UMASK", "022"), 8)


def make_home(host: Host, account: Account, skeleton: Optional[str], mode: int) -> None:
    """Make the home directory of an account that exists already, with what the skeleton holds."""
    uid, gid = account.uid, account.gid
    host.directory(os.path.dirname(account.home))
    host.directory(account.home, mode, uid, gid)
    for source, target, kind in _skeleton(skeleton or "/etc/skel", account.home):
        if kind == "link":
            host.link(target, os.readlink(source))
            host.permissions(target, None, uid, gid)
        elif kind == "directory":
            host.directory(target, os.stat(source).st_mode & 0o7777, uid, gid)
        else:
            host.write(target, files.read_whole(source), os.stat(source).st_mode & 0o7777, uid, gid)


def foresee_home(host: Host, account: Account, skeleton: Optional[str], mode: int) -> None:
    """Let a preview know the home directory that useradd would make."""
    uid = -2 if account.uid is None else account.uid
    gid = -2 if account.gid is None else account.gid
    host.pretend(account.home, Node("directory", mode, uid, gid))
    for source, target, kind in _skeleton(skeleton or "/etc/skel", account.home):
        content = files.read_whole(source) if kind == "file" else None
        link = os.readlink(source) if kind == "link" else ""
        bits = os.lstat(source).st_mode & 0o7777
        host.pretend(target, Node(kind, bits, uid, gid, content, link))


def _skeleton(source: str, target: str) -> List[Any]:
    """What lies below a skeleton: source, target and kind of each, folders before what is in them."""
    found: List[Any] = []
    try:
        names = sorted(os.listdir(source))
    except OSError:
        return found
    for name in names:
        path, wanted = os.path.join(source, name), os.path.join(target, name)
        if os.path.islink(path):
            found.append((path, wanted, "link"))
        elif os.path.isdir(path):
            found.append((path, wanted, "directory"))
            found.extend(_skeleton(path, wanted))
        elif os.path.isfile(path):
            found.append((path, wanted, "file"))
    return found
