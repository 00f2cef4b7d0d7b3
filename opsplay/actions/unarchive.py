"""Unpack an archive into a directory of the host."""

from __future__ import annotations

from opsplay.actions.base import ActionFailed, Control, Prepared, Remote
from opsplay.actions.copy import carried, content_of
from opsplay.agent.spec import Params
from opsplay.modules.files import unarchive as shipped

PARAMS = shipped.PARAMS
CHECK = shipped.CHECK
EXCLUSIVE = (("include", "exclude"),)
MODULE = shipped.__name__


def prepare(control: Control, params: Params) -> Prepared:
    # A dictionary has an attribute of this name.
    copy = params["copy"]
    if copy is not None and params.remote_src:
        raise ActionFailed("parameters are mutually exclusive: copy|remote_src")
    if params.remote_src or copy is False:
        return Remote(MODULE, {**params, "remote_src": True})
    source = control.find_file("files", params.src)
    content = content_of(control, source, params.decrypt)
    return Remote(MODULE, {**params, "src": source, **carried(content)})
