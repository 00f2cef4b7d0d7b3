"""Put hosts into groups by what is known of them, for later plays."""

from __future__ import annotations

from opsplay.actions.base import AddToGroup, Answer, Control, Prepared
from opsplay.agent.spec import List, Params, Str

PARAMS = {
    "key": Str(required=True, help="The group's name; blanks become dashes"),
    "parents": List(default=("all",), help="The groups that it belongs to"),
}
CHECK = "exact"


def prepare(control: Control, params: Params) -> Prepared:
    name = params.key.replace(" ", "-")
    parents = tuple(str(parent).replace(" ", "-") for parent in params.parents)
    there = control.host in control.templar.lookup("groups").get(name, ())
    result = {"changed": not there, "add_group": name, "parent_groups": list(parents)}
    return Answer(result, AddToGroup(name, parents))
