"""What differs between an account as it is and as it is wanted, and the tools that change it."""

from __future__ import annotations

import time
from typing import Any, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.spec import Params
from opsplay.modules.accounts._helpers import Account, find_group, require_tool

DAY = 86400
# Parameter, flag of chage(1), and the field of /etc/shadow.
AGING = (
    ("password_expire_max", "-M", "max"),
    ("password_expire_min", "-m", "min"),
    ("password_expire_warn", "-W", "warn"),
    ("password_expire_account_disable", "-I", "inactive"),
)


def as_date(seconds: float) -> str:
    """A time as the account tools take it: the day in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def looks_hashed(password: str) -> bool:
    """Whether a text can be what /etc/shadow holds for a password: a crypt(5) hash, or none that fits."""
    text = password.lstrip("!")
    if text in ("", "*") or password.startswith("*"):
        return True
    if text.startswith(("$", "_")):
        return text.startswith("_") or text.count("$") >= 3
    return len(text) == 13 and not text.strip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./")


def require_group(host: Host, name: str, local: bool) -> str:
    """The group's name; fails when it is not there, and no earlier task of a preview would bring it."""
    found = find_group(host, name, local)
    if found is not None:
        return str(found["name"])
    if not (host.check and host.shadow.brings_unknown_files):
        host.fail("Group %s does not exist; make it with the group module first" % name, name=name)
    host.warn("the group %s is not there yet; a package that would be installed may bring it" % name)
    return name


def wanted_groups(host: Host, params: Params, account: Optional[Account]) -> Optional[List[str]]:
    """The supplementary groups that are asked for, without the primary one; None when nothing is asked."""
    if params.groups is None:
        return None
    names: List[str] = []
    primary = params.group
    if primary is None and account is not None:
        found = find_group(host, str(account.gid))
        primary = found["name"] if found else None
    for name in params.groups:
        if name:
            name = require_group(host, name, params.local)
            if name not in names and name != primary:
                names.append(name)
    return names


def modify(host: Host, params: Params, account: Account) -> None:
    """Bring an account that is there to what is asked for: one usermod, then the password, then its ages."""
    argv: List[str] = []
    before: List[str] = []
    after: List[str] = []

    def change(flags: List[str], what: str, old: Any, new: Any) -> None:
        argv.extend(flags)
        before.append("%s %s\n" % (what, old))
        after.append("%s %s\n" % (what, new))

    if params.uid is not None and params.uid != account.uid:
        change(["-u", str(params.uid)] + (["-o"] if params.non_unique else []), "uid", account.uid, params.uid)
        account.uid = params.uid
    _change_primary_group(host, params, account, change)
    groups = wanted_groups(host, params, account)
    if groups is not None and not params.local:
        _change_groups(params, account, groups, change)
    for key, flag in (("comment", "-c"), ("shell", "-s")):
        if params[key] is not None and params[key] != getattr(account, key):
            change([flag, params[key]], key, getattr(account, key), params[key])
            setattr(account, key, params[key])
    _change_home(host, params, account, change)
    if not params.local:
        _change_expiry(params, account, change)
    _change_lock(host, params, account, change)
    if params.seuser is not None and argv:
        argv.extend(["-Z", params.seuser])
    if argv:
        host.note("".join(before), "".join(after), "user %s" % params.name)
        tool = require_tool(host, "lusermod" if params.local else "usermod")
        host.must_run([tool] + argv + [params.name], foreseen=True)
    set_password(host, params, account, created=False)
    set_aging(host, params, account)
    if params.local:
        set_local_extras(host, params, account, groups)


def _change_primary_group(host: Host, params: Params, account: Account, change: Any) -> None:
    if params.group is None:
        return
    name = require_group(host, params.group, params.local)
    found = find_group(host, name, params.local)
    gid = found["gid"] if found else None
    if gid is None or gid != account.gid:
        change(["-g", name], "group", account.gid, name)
        account.gid = gid


def _change_groups(params: Params, account: Account, groups: List[str], change: Any) -> None:
    missing = [name for name in groups if name not in account.groups]
    extra = [] if params.append else [name for name in account.groups if name not in groups]
    if not missing and not extra:
        return
    old = ",".join(sorted(account.groups))
    account.groups = sorted(set(account.groups) | set(groups)) if params.append else sorted(groups)
    flags = ["-a"] if params.append else []
    change(flags + ["-G", ",".join(groups)], "groups", old, ",".join(account.groups))


def _change_home(host: Host, params: Params, account: Account, change: Any) -> None:
    if params.home is None or params.home.rstrip("/") == account.home.rstrip("/"):
        return
    old, account.home = account.home, params.home
    moves = params.move_home and host.is_directory(old) and not host.exists(params.home)
    change(["-d", params.home] + (["-m"] if moves else []), "home", old, params.home)
    if moves and host.check:
        host.pretend(params.home, Node("directory", 0o755, account.uid, account.gid or 0))
        host.pretend(old, Node("absent"))


def _change_expiry(params: Params, account: Account, change: Any) -> None:
    if params.expires is None:
        return
    current = int(account.expire) if account.expire.isdigit() else -1
    wanted = int(params.expires // DAY) if params.expires >= 0 else -1
    if wanted != current:
        date = as_date(params.expires) if wanted >= 0 else ""
        change(["-e", date], "expires", as_date(current * DAY) if current >= 0 else "never", date or "never")
        account.expire = str(wanted) if wanted >= 0 else ""


def _change_lock(host: Host, params: Params, account: Account, change: Any) -> None:
    locked = account.password.startswith("!")
    if params.password_lock is None or params.password_lock == locked or _new_hash(params, account, False) is not None:
        return
    if not params.password_lock and account.password == "!":
        hint = "give password, its hash"
        host.fail("%s has no password that could be unlocked; %s" % (params.name, hint), name=params.name)
    words = ("locked", "open") if locked else ("open", "locked")
    change(["-L" if params.password_lock else "-U"], "password", *words)
    account.password = "!" + account.password if params.password_lock else account.password[1:]


def _new_hash(params: Params, account: Account, created: bool) -> Optional[str]:
    """The hash to set, None when the account has it. The lock is a matter of its own, and not compared."""
    if params.password is None or not (created or params.update_password == "always"):
        return None
    wanted = "!" + params.password.lstrip("!") if params.password_lock else str(params.password)
    if wanted == account.password or wanted.lstrip("!") == account.password.lstrip("!"):
        return None
    return wanted


def set_password(host: Host, params: Params, account: Account, created: bool) -> None:
    """Set the hash through chpasswd's standard input: a command line is for everybody to read."""
    wanted = _new_hash(params, account, created)
    if created and params.password_lock and wanted is None and not account.password.startswith("!"):
        wanted = "!" + account.password
    if wanted is None:
        return
    host.note("password: as before\n", "password: changed\n", "user %s" % params.name)
    line = "%s:%s\n" % (params.name, wanted)
    host.must_run([require_tool(host, "chpasswd"), "-e"], foreseen=True, stdin=line.encode("utf-8", "surrogateescape"))
    account.password = wanted


def set_aging(host: Host, params: Params, account: Account) -> None:
    """Set the password's ages with one chage."""
    argv: List[str] = []
    before: List[str] = []
    after: List[str] = []
    for key, flag, field in AGING:
        wanted, current = params[key], account.aging[field]
        # A negative number empties the field.
        if wanted is None or (str(wanted) == current) or (wanted < 0 and current in ("", "-1")):
            continue
        argv += [flag, str(wanted)]
        before.append("%s %s\n" % (key, current))
        after.append("%s %s\n" % (key, wanted))
        account.aging[field] = str(wanted) if wanted >= 0 else ""
    if argv:
        host.note("".join(before), "".join(after), "user %s" % params.name)
        host.must_run([require_tool(host, "chage")] + argv + [params.name], foreseen=True)


def set_local_extras(host: Host, params: Params, account: Account, groups: Optional[List[str]]) -> None:
    """Groups and expiry, for which libuser has tools of their own."""
    if groups is not None:
        joins = [(name, "-M") for name in groups if name not in account.groups]
        leaves = [] if params.append else [(name, "-m") for name in account.groups if name not in groups]
        for name, flag in joins + leaves:
            host.note("", "%s %s\n" % ("member of" if flag == "-M" else "not in", name), "user %s" % params.name)
            host.must_run([require_tool(host, "lgroupmod"), flag, params.name, name], foreseen=True)
    if params.expires is not None:
        current = int(account.expire) if account.expire.isdigit() else -1
        wanted = int(params.expires // DAY) if params.expires >= 0 else -1
        if wanted != current:
            host.note("expires %d\n" % current, "expires %d\n" % wanted, "user %s" % params.name)
            host.must_run([require_tool(host, "lchage"), "-E", str(wanted), params.name], foreseen=True)
