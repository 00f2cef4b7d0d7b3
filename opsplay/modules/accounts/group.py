"""Make, change and remove groups."""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Name, Params
from opsplay.modules.accounts._helpers import find_group, require_tool

PARAMS = {
    "name": Name(required=True, help="The group's name"),
    "gid": Int(min=0, help="The group's number; without it the system picks the next free one"),
    "state": Choice("present", "absent", default="present", help="Whether the group is there"),
    "force": Bool(default=False, help="Remove the group even when it is the primary group of a user"),
    "system": Bool(default=False, help="Make a system group, with a number from their range; only when it is made"),
    "local": Bool(default=False, help="Use libuser's tools, which know no groups but those of /etc/group"),
    "non_unique": Bool(default=False, help="Allow a number that another group has; needs gid"),
    "gid_min": Int(min=0, help="The least number for a new group, instead of GID_MIN of /etc/login.defs"),
    "gid_max": Int(min=0, help="The greatest number for a new group, instead of GID_MAX of /etc/login.defs"),
}
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.local and (params.gid_min is not None or params.gid_max is not None):
        host.fail("gid_min and gid_max cannot be used with local: libuser's tools do not know them")
    if params.non_unique and params.gid is None:
        host.fail("non_unique needs gid: the number that may be used twice")
    before = find_group(host, params.name, params.local)
    if before is not None and before["name"] != params.name:
        before = None
    if params.state == "absent":
        return _remove(host, params, before)
    output = _create(host, params) if before is None else _modify(host, params, before)
    after = find_group(host, params.name, params.local)
    gid = after["gid"] if after else params.gid
    return dict(host.outcome(name=params.name, state="present", gid=gid, system=params.system), **output)


def _create(host: Host, params: Params) -> Dict[str, Any]:
    argv = [require_tool(host, "lgroupadd" if params.local else "groupadd")]
    if params.system:
        argv.append("-r")
    for key in ("gid_min", "gid_max"):
        if params[key] is not None:
            argv += ["-K", "%s=%d" % (key.upper(), params[key])]
    argv += _number(params) + [params.name]
    host.note("", "group %s\n" % params.name, "group %s" % params.name)
    done = host.must_run(argv, foreseen=True)
    if host.check:
        host.shadow.groups[params.name] = {"gid": params.gid}
    return _said(done)


def _modify(host: Host, params: Params, before: Dict[str, Any]) -> Dict[str, Any]:
    if params.gid is None or params.gid == before["gid"]:
        return {}
    argv = [require_tool(host, "lgroupmod" if params.local else "groupmod")] + _number(params) + [params.name]
    host.note("gid %s\n" % before["gid"], "gid %d\n" % params.gid, "group %s" % params.name)
    done = host.must_run(argv, foreseen=True)
    if host.check:
        host.shadow.groups[params.name] = {"gid": params.gid}
    return _said(done)


def _remove(host: Host, params: Params, before: Any) -> Dict[str, Any]:
    output: Dict[str, Any] = {}
    if before is not None:
        _refuse_primary(host, params, before)
        argv = [require_tool(host, "lgroupdel" if params.local else "groupdel")]
        if params.force and not params.local:
            argv.append("-f")
        host.note("group %s\n" % params.name, "", "group %s" % params.name)
        output = _said(host.must_run(argv + [params.name], foreseen=True))
        if host.check:
            host.shadow.groups[params.name] = False
    return dict(host.outcome(name=params.name, state="absent"), **output)


def _refuse_primary(host: Host, params: Params, before: Dict[str, Any]) -> None:
    """What groupdel refuses is to fail in a preview already."""
    import pwd

    users = [entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == before["gid"]]
    if host.check:
        users = [name for name in users if host.shadow.users.get(name) is not False]
    if users and not params.force:
        message = "the group %s is the primary group of %s; remove or change that user first, or set force"
        host.fail(message % (params.name, ", ".join(users[:5])), name=params.name)


def _number(params: Params) -> List[str]:
    if params.gid is None:
        return []
    return ["-g", str(params.gid)] + (["-o"] if params.non_unique else [])


def _said(done: Any) -> Dict[str, Any]:
    """What the tool wrote, when it wrote something."""
    return {key: text for key, text in (("stdout", done.stdout), ("stderr", done.stderr)) if text}
