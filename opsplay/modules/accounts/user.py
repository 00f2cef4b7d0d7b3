"""Make, change and remove user accounts."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.spec import Bool, Choice, Float, Int, Name, Params, Path, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.accounts import _changes, _helpers, _ssh_key
from opsplay.modules.accounts._helpers import Account, find_group, find_user, require_tool

_ELSEWHERE = "Accepted for playbooks that also serve other systems; has no effect on Linux"

PARAMS = {
    "name": Name(required=True, aliases=("user",), help="The account's name"),
    "uid": Int(min=0, help="The account's number; without it the system picks the next free one"),
    "comment": Str(help="The description (GECOS field), usually the full name"),
    "non_unique": Bool(default=False, help="Allow a number that another account has; needs uid"),
    "seuser": Str(help="The SELinux user that the account is mapped to"),
    "group": Str(help="The primary group, by name or number"),
    "groups": ListOf(of=Str(), help="The supplementary groups; an empty string or list for none"),
    "append": Bool(default=False, help="Add to groups, and leave the account in others that it is a member of"),
    "shell": Path(help="The login shell"),
    "home": Path(help="The home directory"),
    "skeleton": Str(help="The directory whose content a new home directory begins with, instead of /etc/skel"),
    "password": Str(secret=True, help="The hash of the password, as in /etc/shadow; '!' or '*' for none that fits"),
    "state": Choice("present", "absent", default="present", help="Whether the account is there"),
    "create_home": Bool(default=True, aliases=("createhome",), help="Make the home directory when it is missing"),
    "move_home": Bool(default=False, help="Move the old home directory when home names another"),
    "system": Bool(default=False, help="Make a system account, with a number from their range; only when it is made"),
    "force": Bool(
        default=False,
        help="With state absent: remove the account even when it is logged in. With generate_ssh_key: replace the key",
    ),
    "remove": Bool(default=False, help="With state absent: remove the home directory and the mail spool too"),
    "generate_ssh_key": Bool(default=False, help="Make an SSH key pair for the account, unless it has one"),
    "ssh_key_bits": Int(min=1, help="The key's length in bits; without it ssh-keygen's default"),
    "ssh_key_type": Str(default="rsa", help="The key's type, e.g. ed25519"),
    "ssh_key_file": Path(help="The key's file; a relative one lies in the home directory. Default .ssh/id_<type>"),
    "ssh_key_comment": Str(help="The key's comment; without it 'ansible-generated on <host name>'"),
    "ssh_key_passphrase": Str(secret=True, help="The key's passphrase; without it none"),
    "update_password": Choice(
        "always", "on_create", default="always", help="Whether the password of an account that is there is changed"
    ),
    "expires": Float(help="When the account expires, in seconds since 1970 (the day counts); negative for never"),
    "password_lock": Bool(help="Lock or unlock the password; other ways to log in stay as they are"),
    "local": Bool(default=False, help="Use libuser's tools, which know no users but those of /etc/passwd"),
    "password_expire_max": Int(help="The most days between password changes"),
    "password_expire_min": Int(help="The least days between password changes"),
    "password_expire_warn": Int(help="Days of warning before a password expires"),
    "password_expire_account_disable": Int(help="Days from a password's expiry until the account is disabled"),
    "umask": Str(help="The umask (octal) that the mode of a new home directory follows"),
    "uid_min": Int(min=0, help="The least number for a new account, instead of UID_MIN of /etc/login.defs"),
    "uid_max": Int(min=0, help="The greatest number for a new account, instead of UID_MAX of /etc/login.defs"),
    "hidden": Bool(help=_ELSEWHERE),
    "login_class": Str(help=_ELSEWHERE),
    "profile": Str(help=_ELSEWHERE),
    "authorization": Str(help=_ELSEWHERE),
    "role": Str(help=_ELSEWHERE),
}
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    _refuse(host, params)
    account = find_user(host, params.name, params.local)
    if params.state == "absent":
        return _remove(host, params, account)
    result = {"name": params.name, "state": "present"}
    if account is None:
        account = _create(host, params)
        result.update(create_home=params.create_home, system=params.system)
    else:
        _changes.modify(host, params, account)
        result.update(append=params.append, move_home=params.move_home)
        if not host.check:
            account = find_user(host, params.name, params.local) or account
    if host.check and host.changed:
        host.shadow.users[params.name] = {"uid": account.uid, "gid": account.gid, "account": account.fields()}
    _ensure_home(host, params, account)
    result.update(uid=account.uid, group=account.gid, comment=account.comment, home=account.home, shell=account.shell)
    if params.groups is not None:
        result["groups"] = ",".join(params.groups)
    if params.password is not None:
        result["password"] = "NOT_LOGGING_PASSWORD"
    if params.generate_ssh_key:
        result.update(_ssh_key.ensure(host, params, account))
    return host.outcome(**result)


def _refuse(host: Host, params: Params) -> None:
    if params.local and (params.umask is not None or params.uid_min is not None or params.uid_max is not None):
        host.fail("umask, uid_min and uid_max cannot be used with local: libuser's tools do not know them")
    if params.umask is not None and (not params.umask or params.umask.strip("01234567")):
        host.fail("umask %r is not octal; write it as \"027\"" % params.umask)
    for key, value in (("comment", params.comment), ("home", params.home), ("shell", params.shell)):
        if value is not None and (":" in value or "\n" in value):
            host.fail("%s %r cannot be kept in /etc/passwd: it holds a colon or a line break" % (key, value))
    if params.password is not None and (":" in params.password or "\n" in params.password):
        host.fail("password cannot be kept in /etc/shadow: it holds a colon or a line break; give its hash")
    if params.append and params.groups is None:
        host.warn("'append' is set, but no 'groups' are specified: no group is added")
    if params.password is not None and not _changes.looks_hashed(params.password):
        host.warn("password does not look like a hash; give it as made by the filter password_hash('sha512')")


def _create(host: Host, params: Params) -> Account:
    argv = [require_tool(host, "luseradd" if params.local else "useradd")]
    argv += _identity(host, params)
    groups = _changes.wanted_groups(host, params, None)
    if groups and not params.local:
        argv += ["-G", ",".join(groups)]
    for flag, value in (("-c", params.comment), ("-d", params.home), ("-s", params.shell), ("-Z", params.seuser)):
        if value is not None:
            argv += [flag, value]
    argv += _making(host, params)
    host.note("", "user %s\n" % params.name, "user %s" % params.name)
    if not params.local:
        if params.expires is not None and params.expires >= 0:
            argv += ["-e", _changes.as_date(params.expires)]
        if params.password_expire_account_disable is not None:
            argv += ["-f", str(params.password_expire_account_disable)]
    host.must_run(argv + [params.name], foreseen=True)
    account = _foresee(host, params, groups or []) if host.check else find_user(host, params.name, params.local)
    if account is None:
        host.fail("%s ended well, but there is no user %s" % (argv[0], params.name))
    _changes.set_password(host, params, account, created=True)
    _changes.set_aging(host, params, account)
    if params.local:
        _changes.set_local_extras(host, params, account, groups)
    return account


def _identity(host: Host, params: Params) -> List[str]:
    argv: List[str] = []
    if params.uid is not None:
        argv += ["-u", str(params.uid)]
        if params.non_unique:
            argv.append("-o")
    if params.group is not None:
        argv += ["-g", _changes.require_group(host, params.group, params.local)]
    elif find_group(host, params.name, params.local):
        # useradd refuses to make the group of the same name a second time; libuser's takes the group that is there.
        argv += ["-g", params.name] if params.local else ["-N"]
    return argv


def _making(host: Host, params: Params) -> List[str]:
    """Flags that only matter while the account is made."""
    argv: List[str] = []
    if params.create_home:
        argv += [] if params.local else ["-m"]
        if params.skeleton is not None:
            argv += ["-k", params.skeleton]
        if params.umask is not None:
            argv += ["-K", "UMASK=" + params.umask]
            if _helpers.login_defs(host, "HOME_MODE", ""):
                # HOME_MODE of /etc/login.defs would win over the umask that was asked for.
                argv += ["-K", "HOME_MODE=%04o" % _helpers.home_mode(host, params.umask)]
    else:
        argv.append("-M")
    for key in ("uid_min", "uid_max"):
        if params[key] is not None:
            argv += ["-K", "%s=%d" % (key.upper(), params[key])]
    if params.system:
        argv.append("-r")
    return argv


def _foresee(host: Host, params: Params, groups: List[str]) -> Account:
    """The account as useradd would make it, as far as that can be known."""
    group = find_group(host, params.group or params.name, params.local)
    gid = group["gid"] if group else None
    if params.group is None and group is None:
        host.shadow.groups[params.name] = {"gid": None}
    home = params.home or "/home/" + params.name
    account = Account(params.name, params.uid, gid, params.comment or "", home, params.shell or _default_shell(host))
    account.groups = list(groups)
    if params.expires is not None and params.expires >= 0:
        account.expire = str(int(params.expires // 86400))
    for field in ("min", "max", "warn"):
        days = _helpers.login_defs(host, "PASS_WARN_AGE" if field == "warn" else "PASS_%s_DAYS" % field.upper(), "")
        account.aging[field] = days if days.isdigit() else ""
    if params.password_expire_account_disable is not None:
        account.aging["inactive"] = str(params.password_expire_account_disable)
    if params.create_home and not host.exists(home):
        _helpers.foresee_home(host, account, params.skeleton, _helpers.home_mode(host, params.umask))
    return account


def _default_shell(host: Host) -> str:
    try:
        for line in host.read("/etc/default/useradd").decode("utf-8", "replace").split("\n"):
            if line.startswith("SHELL="):
                return line[6:].strip()
    except OSError:
        pass
    return "/bin/sh"


def _ensure_home(host: Host, params: Params, account: Account) -> None:
    # Debian's policy gives /nonexistent to accounts that must not have a home directory.
    if not params.create_home or not account.home or account.home == "/nonexistent" or host.exists(account.home):
        return
    _helpers.make_home(host, account, params.skeleton, _helpers.home_mode(host, params.umask))


def _remove(host: Host, params: Params, account: Optional[Account]) -> Dict[str, Any]:
    result = {"name": params.name, "state": "absent"}
    if account is None:
        return host.outcome(**result)
    argv = [require_tool(host, "luserdel" if params.local else "userdel")]
    argv += ["-f"] if params.force and not params.local else []
    argv += ["-r"] if params.remove else []
    host.note("user %s\n" % params.name, "", "user %s" % params.name)
    done = host.run(argv + [params.name], foreseen=True)
    if done.rc == 8:
        message = "the user %s is logged in or has processes: %s; end them first, or set force"
        host.fail(message % (params.name, done.stderr.strip()), rc=done.rc, stderr=done.stderr)
    elif done.rc != 0:
        host.fail("userdel failed: %s" % (done.stderr.strip() or done.error), rc=done.rc, stderr=done.stderr)
    if host.check:
        _forget(host, params, account)
    result.update(force=params.force, remove=params.remove)
    result.update({key: text for key, text in (("stdout", done.stdout), ("stderr", done.stderr)) if text})
    return host.outcome(**result)


def _forget(host: Host, params: Params, account: Account) -> None:
    host.shadow.users[params.name] = False
    own = find_group(host, params.name, params.local)
    # userdel removes the group of the same name with its last member.
    if own and own["gid"] == account.gid and not [name for name in own["members"] if name and name != params.name]:
        host.shadow.groups[params.name] = False
    if params.remove:
        host.pretend(account.home, Node("absent"))
