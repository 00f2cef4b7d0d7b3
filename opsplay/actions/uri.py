"""Send a request to a web service, and return or keep its answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsplay.actions.base import Control, Prepared, Remote
from opsplay.actions.copy import carried
from opsplay.agent.spec import Params
from opsplay.modules.network import uri as shipped

PARAMS = shipped.PARAMS
CHECK = shipped.CHECK
EXCLUSIVE = (("body", "src"),)
MODULE = shipped.__name__


def prepare(control: Control, params: Params) -> Prepared:
    if params.remote_src:
        return Remote(MODULE, dict(params))
    fields: dict[str, Any] = dict(params)
    if params.src is not None:
        fields.update(carried(control.blobs.from_file(control.find_file("files", params.src))))
    if params.body_format == "form-multipart" and isinstance(params.body, Mapping):
        fields["body"] = {name: with_file(control, value) for name, value in params.body.items()}
    return Remote(MODULE, fields)


def with_file(control: Control, field: Any) -> Any:
    """A field of a form, with the content of the file that it names."""
    if not isinstance(field, Mapping) or not field.get("filename") or field.get("content") is not None:
        return field
    path = Path(control.find_file("files", str(field["filename"])))
    return {**field, "content": path.read_bytes()}
