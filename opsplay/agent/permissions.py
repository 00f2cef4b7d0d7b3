"""What modules that leave files share: the parameters of a file's permissions, and its description in results."""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.record import kind_of
from opsplay.agent.spec import Bool, Mode, Param, Params, Str

LABEL = "security.selinux"

PERMISSIONS: Dict[str, Param] = {
    "mode": Mode(help='Permission bits: "0644", or symbolic as in "u=rw,go=r"'),
    "owner": Str(help="The user who owns it, by name or number"),
    "group": Str(help="The group that owns it, by name or number"),
    "attributes": Str(aliases=("attr",), help="Attributes as for chattr, e.g. +i; an operator (=, +, -) comes first"),
    "seuser": Str(help="The user part of the SELinux label; _default takes the policy's"),
    "serole": Str(help="The role part of the SELinux label"),
    "setype": Str(help="The type part of the SELinux label"),
    "selevel": Str(help="The level part of the SELinux label"),
    "unsafe_writes": Bool(default=False, help="Overwrite a file in place where it cannot be replaced at once"),
}


def settle(host: Host, path: str, params: Params, follow: bool = True, mode: Any = None) -> None:
    """Give what lies at `path` the permissions, attributes and label that the task asks for."""
    wanted = params.mode if mode is None else mode
    host.permissions(path, wanted, params.owner, params.group, follow=follow)
    finish_permissions(host, path, params)


def finish_permissions(host: Host, path: str, params: Params) -> None:
    """The parts of a file's permissions that are not mode and owner."""
    if params.seuser or params.serole or params.setype or params.selevel:
        set_label(host, path, [params.seuser, params.serole, params.setype, params.selevel])
    if params.attributes:
        set_attributes(host, path, params.attributes)


def set_label(host: Host, path: str, wanted: List[Optional[str]]) -> None:
    """Change parts of the SELinux label. Without SELinux on the host nothing is done, as in Ansible."""
    if not os.path.exists("/sys/fs/selinux/enforce") or not os.path.lexists(path):
        return
    try:
        before = os.getxattr(path, LABEL, follow_symlinks=False).rstrip(b"\0").decode()
    except OSError as problem:
        host.fail("cannot read the SELinux label of %s: %s" % (path, problem.strerror), path=path)
    parts = before.split(":", 3)
    if "_default" in wanted:
        policy = host.query(["matchpathcon", "-n", path]).stdout.strip().split(":", 3)
        wanted = [policy[place] if part == "_default" else part for place, part in enumerate(wanted)]
    after = ":".join(wanted[place] or part for place, part in enumerate(parts))
    if after == before:
        return
    host.note(before + "\n", after + "\n", "label of " + path)
    if not host.check:
        os.setxattr(path, LABEL, after.encode() + b"\0", follow_symlinks=False)


def set_attributes(host: Host, path: str, wanted: str) -> None:
    """Change a file's attributes with chattr, when they differ."""
    operator, letters = (wanted[0], wanted[1:]) if wanted[0] in "+-=" else ("=", wanted)
    before = read_attributes(host, path)
    if before is None:
        if not host.check:
            hint = "cannot read the attributes of %s: its file system has none, or lsattr is missing"
            host.fail(hint % path, path=path)
        return
    have = set(before) - {"-", "e"}
    asked = set(letters) - {"e"}
    after = asked if operator == "=" else have | asked if operator == "+" else have - asked
    if after == have:
        return
    host.note("".join(sorted(have)) + "\n", "".join(sorted(after)) + "\n", "attributes of " + path)
    if host.check:
        return
    done = host.query(["chattr", operator + letters, path])
    if done.rc:
        host.fail("chattr failed for %s: %s" % (path, done.stderr.strip()), path=path, rc=done.rc)


def read_attributes(host: Host, path: str) -> Optional[str]:
    """The attribute letters that lsattr shows, dashes left out; None when they cannot be known."""
    done = host.query(["lsattr", "-d", path])
    words = done.stdout.split()
    return words[0].replace("-", "") if done.rc == 0 and words else None


def name_of(database: str, number: int) -> str:
    """A user's or group's name, the number as text when it has none."""
    if database == "user":
        import pwd

        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return str(number)
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def describe(host: Host, path: str) -> Dict[str, Any]:
    """Owner, mode, size and state of what lies at `path`, under the names that Ansible returns."""
    found = host.stat(path)
    if found is None:
        return {"state": "absent"}
    return {
        "uid": found.st_uid,
        "gid": found.st_gid,
        "owner": name_of("user", found.st_uid),
        "group": name_of("group", found.st_gid),
        "mode": "0%03o" % stat.S_IMODE(found.st_mode),
        "state": state_of(found),
        "size": found.st_size,
    }


def state_of(found: Any) -> str:
    """The state in Ansible's words: absent, link, directory, hard (a file with several names) or file."""
    if found is None:
        return "absent"
    kind = kind_of(found)
    if kind in ("link", "directory"):
        return kind
    return "hard" if found.st_nlink > 1 else "file"
