"""Set variables in a file of KEY=value lines: an EnvironmentFile of systemd's, a .env of compose, a file that sh reads.

Values are secrets: they are quoted so that systemd and sh read the same, and shown in no difference. `docker run
--env-file` knows no quotes; give it no file with values that need them.
"""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Mode, Params, Path, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.agent.spec import List as ListOf
from opsplay.modules.files._environment import edited, is_name, masked, pieces, written

PARAMS = {
    "path": Path(required=True, aliases=("dest",), help="The file; a link is followed"),
    "set": DictOf(default={}, help="Variables and their values; true and false are written as such"),
    "unset": ListOf(of=Str(), default=[], help="Variables that go"),
    "exclusive": Bool(default=False, help="Remove every variable that is not in set; comments stay"),
    "mode": Mode(default=0o600, help="The permission bits"),
    "owner": Str(help="The user who owns it, by name or number"),
    "group": Str(help="The group that owns it, by name or number"),
    "backup": Bool(default=False, help="Keep a copy of what was there, with the same permissions"),
    "state": Choice("present", "absent", default="present", help="Whether the file is there"),
}
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    path = host.real(params.path)
    if params.state == "absent":
        host.remove(path)
        return host.outcome(path=path)
    wanted = refuse_wrong(host, params)
    before = ""
    if host.exists(path):
        before = host.read(path).decode("utf-8", "surrogateescape")
    old, new = pieces(before), edited(before, wanted, params.unset, params.exclusive)
    had = {piece.key: piece.value for piece in old if piece.key}
    kept = {piece.key for piece in new if piece.key}
    differing = {key for key in wanted if key not in had or had[key] != wanted[key]}
    removed = sorted(set(had) - kept)
    # What is too open is closed first, so that the copy is not open either.
    host.permissions(path, params.mode, params.owner, params.group)
    shown = (masked(old, differing, ""), masked(new, differing, " (new value)"))
    text = "".join(piece.text for piece in new)
    result: Dict[str, Any] = {"path": path, "set": sorted(differing), "removed": removed}
    if text != before or not host.exists(path):
        there = host.exists(path)
        host.write(path, text, params.mode, params.owner, params.group, backup=params.backup, shown=shown)
        if params.backup and there:
            result["backup_file"] = host.backup_file
            if host.check:
                host.unknown("backup_file")
    return host.outcome(**result)


def refuse_wrong(host: Host, params: Params) -> Dict[str, str]:
    """The wanted values. Fails, without telling a value, for what cannot be kept in such a file."""
    if not params.set and not params.unset and not params.exclusive:
        host.fail("nothing is asked for: give set, unset or exclusive")
    wanted: Dict[str, str] = {}
    for key, value in params.set.items():
        if value is None or isinstance(value, (dict, list, tuple)):
            host.fail('set: the value of %s is no text; give "" for an empty one' % key)
        wanted[key] = str(value).lower() if isinstance(value, bool) else str(value)
        try:
            written(wanted[key])
        except ValueError as problem:
            host.fail("set: the value of %s %s, which cannot be kept in such a file" % (key, problem))
    for key in list(wanted) + params.unset:
        if not is_name(key):
            host.fail("%r cannot be a variable's name: letters, digits and _, and no digit first" % key)
    both = sorted(set(wanted) & set(params.unset))
    if both:
        host.fail("%s is both set and unset" % both[0])
    return wanted
