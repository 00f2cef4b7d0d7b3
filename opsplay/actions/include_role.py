"""Go on with the tasks of a role, chosen while the play runs."""

from __future__ import annotations

from opsplay.actions.base import Answer, Bring, Control, Prepared
from opsplay.agent.spec import Bool, Dict, Params, Str

PARAMS = {
    "name": Str(required=True, aliases=("role",), help="The role's name"),
    "tasks_from": Str(default="main", help="The file of the role's tasks to begin with"),
    "vars_from": Str(default="main", help="The file of the role's vars"),
    "defaults_from": Str(default="main", help="The file of the role's defaults"),
    "handlers_from": Str(default="main", help="The file of the role's handlers"),
    "public": Bool(default=False, help="Whether later tasks of the play see the role's variables"),
    "allow_duplicates": Bool(default=True, help="Whether the role may run again"),
    "rolespec_validate": Bool(default=True, help="Whether the role's argument specification is checked"),
    "apply": Dict(help="Keywords, such as tags and become, for every task of the role"),
}
CHECK = "exact"
UNRENDERED = ("apply",)


def prepare(control: Control, params: Params) -> Prepared:
    return Answer({"changed": False, "include": params.name}, Bring(dict(params)))
