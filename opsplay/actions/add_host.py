"""Add a host, and groups for it, to the inventory that later plays and tasks see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from opsplay.actions.base import ActionFailed, AddHost, Answer, Control, Prepared
from opsplay.agent.spec import Param, Params

PARAMS: dict[str, Param] = {}
OPEN_ENDED = True
CHECK = "exact"
# One host of the batch does it for all, as in Ansible.
ONCE = True
NAMES = ("name", "hostname", "host")
GROUPS = ("groups", "groupname", "group")


def prepare(control: Control, params: Params) -> Prepared:
    given = dict(params)
    name = next((given.pop(key) for key in NAMES if key in given), None)
    if not name:
        raise ActionFailed("add_host needs a name")
    name, port = split_port(str(name))
    if port:
        given["ansible_ssh_port"] = port
    groups = next((given.pop(key) for key in GROUPS if key in given), None) or []
    names = groups.split(",") if isinstance(groups, str) else groups
    chosen = tuple(str(group).strip() for group in names)
    shown = {"host_name": name, "groups": list(chosen), "host_vars": given}
    changed = not is_there(control, name, chosen, given)
    return Answer({"changed": changed, "add_host": shown}, AddHost(name, chosen, given))


def is_there(control: Control, name: str, groups: tuple[str, ...], values: Mapping[str, Any]) -> bool:
    """Whether the inventory has the host already, in these groups and with these values."""
    members = control.templar.lookup("groups")
    if any(name not in members.get(group, ()) for group in ("all", *groups)):
        return False
    known = control.templar.globals["hostvars"][name]
    return all(key in known and known[key] == value for key, value in values.items())


def split_port(name: str) -> tuple[str, int | None]:
    """A host and the port that is written behind it; an IPv6 address needs brackets for that."""
    found = re.fullmatch(r"(?:\[([^\]]+)\]|([^:]+)):(\d+)", name)
    return (found.group(1) or found.group(2), int(found.group(3))) if found else (name, None)
