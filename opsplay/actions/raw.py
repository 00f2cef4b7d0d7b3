"""Run a command line over SSH, with no Python on the host: to install one, or on devices that have none."""

from __future__ import annotations

import shlex

from opsplay.actions.base import Answer, Control, Prepared, RawCommand
from opsplay.agent.spec import Params, Path, Str

PARAMS = {
    "_raw_params": Str(required=True, help="The command line, for the host's login shell"),
    "executable": Path(help="The shell to run it with, by its full path"),
}
CHECK = "skipped"


def prepare(control: Control, params: Params) -> Prepared:
    if control.check:
        return Answer({"skipped": True, "skip_reason": "raw is not run in check mode", "changed": False})
    command = params._raw_params
    if params.executable:
        command = shlex.join([params.executable, "-c", command])
    return RawCommand(command)
