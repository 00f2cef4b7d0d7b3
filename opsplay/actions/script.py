"""Run a script of the control side on the host, with arguments."""

from __future__ import annotations

import os
import shlex

from opsplay.actions.base import ActionFailed, Control, Prepared, Remote
from opsplay.actions.copy import carried, content_of
from opsplay.agent.spec import Params
from opsplay.modules.commands import script as shipped

PARAMS = shipped.PARAMS
CHECK = shipped.CHECK
MODULE = shipped.__name__


def prepare(control: Control, params: Params) -> Prepared:
    if params.cmd is not None and params._raw_params:
        raise ActionFailed("give the script as cmd or as free form, not both")
    name, arguments = split(params.cmd or params._raw_params or "")
    source = control.find_file("files", name)
    content = content_of(control, source, params.decrypt)
    fields = {"_name": os.path.basename(source), "_arguments": arguments}
    return Remote(MODULE, {**params, **fields, **carried(content)})


def split(line: str) -> tuple[str, str]:
    """The script's name, its quotes removed, and the rest of the line as it stands."""
    words = shlex.shlex(line, posix=False, punctuation_chars="")
    words.whitespace_split = True
    words.commenters = ""
    try:
        first = words.get_token()
        name = shlex.split(first or "")
    except ValueError as problem:
        raise ActionFailed(f"cannot split the line: {problem}: {line}") from problem
    if not first or not name:
        raise ActionFailed("no script is named")
    return name[0], line.lstrip()[len(first) :].strip()
