"""Make a file from the fragments in a directory, in the order of their names."""

from __future__ import annotations

from pathlib import Path

from opsplay.actions.base import ActionFailed, Control, Prepared, Remote
from opsplay.agent.spec import Params
from opsplay.documents.keyring import KEYRING
from opsplay.errors import DocumentError
from opsplay.modules.files import assemble as shipped

PARAMS = shipped.PARAMS
CHECK = shipped.CHECK
MODULE = shipped.__name__


def prepare(control: Control, params: Params) -> Prepared:
    if params.remote_src:
        return Remote(MODULE, dict(params))
    folder = Path(control.find_file("files", params.src))
    if not folder.is_dir():
        raise ActionFailed(f"Source ({folder}) is not a directory")
    try:
        names = shipped.chosen([path.name for path in folder.iterdir()], params.regexp, params.ignore_hidden)
    except ValueError as problem:
        raise ActionFailed(str(problem)) from problem
    fragments = [_fragment(folder / name, params.decrypt) for name in names if (folder / name).is_file()]
    return Remote(MODULE, {**params, "src": str(folder), "_fragments": fragments})


def _fragment(path: Path, decrypt: bool) -> bytes:
    """A fragment's content; that of a vault decrypted. Raises ActionFailed."""
    try:
        return KEYRING.read_secret(path) if decrypt else path.read_bytes()
    except DocumentError as problem:
        raise ActionFailed(str(problem)) from problem
