"""Go on with the tasks of another file, chosen while the play runs."""

from __future__ import annotations

from opsplay.actions.base import ActionFailed, Answer, Bring, Control, Prepared
from opsplay.agent.spec import Dict, Params, Str

PARAMS = {
    "file": Str(help="The file of tasks: beside the one that names it, in the role's tasks, or beside the playbook"),
    "apply": Dict(help="Keywords, such as tags and become, for every included task"),
    "_raw_params": Str(help="The file, written as include_tasks: FILE"),
}
CHECK = "exact"
# Keywords of `apply` hold for the included tasks, and are rendered with them.
UNRENDERED = ("apply",)


def prepare(control: Control, params: Params) -> Prepared:
    file = params.file or params._raw_params
    if not file:
        raise ActionFailed("include_tasks names no file")
    return Answer({"changed": False, "include": file}, Bring({"file": file, "apply": params.apply}))
