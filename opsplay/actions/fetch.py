"""Bring a file from the host to the control side, below a folder of the host's own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from opsplay.actions.base import ActionFailed, Control, Live, Prepared, Steps
from opsplay.agent.spec import Bool, Params, Str

PARAMS = {
    "src": Str(required=True, help="The file on the host"),
    "dest": Str(required=True, help="The folder here; the file comes to lie in DEST/HOST/SRC"),
    "flat": Bool(default=False, help="dest is the file itself, or with a slash at its end the folder"),
    "fail_on_missing": Bool(default=True, help="Fail when there is no such file on the host"),
    "validate_checksum": Bool(default=True, help="Compare what came with what the host has"),
}
CHECK = "exact"
MODULE = "opsplay.modules.files._fetch"


def prepare(control: Control, params: Params) -> Prepared:
    base = os.path.dirname(os.path.abspath(control.at.file))
    dest = destination(params, base, control.host)
    return Steps(lambda live: fetch(live, params, dest))


def destination(params: Params, base: str, host: str) -> str:
    """The file here. Raises ActionFailed when the host's path leads out of the folder."""
    dest = os.path.join(base, os.path.expanduser(params.dest))
    if params.flat:
        return os.path.join(dest, os.path.basename(params.src)) if params.dest.endswith("/") else dest
    folder = os.path.join(dest, host)
    path = os.path.normpath(os.path.join(folder, params.src.lstrip("/")))
    if not path.startswith(os.path.normpath(folder) + os.sep):
        raise ActionFailed(f"{params.src} leads out of {folder}")
    return path


def fetch(live: Live, params: Params, dest: str) -> Mapping[str, Any]:
    """Compare, then receive beside and rename. Raises ActionFailed."""
    if os.path.isdir(dest):
        raise ActionFailed(f"{dest} is a folder", hint="end dest with a slash to put the file into it")
    known = sha1_of(dest)
    common = {"dest": dest, "file": params.src}
    if live.check:
        found = live.call(MODULE, {"src": params.src, "known": "any"})
        return _outcome(found, params, {**common, "changed": found.get("checksum") != known})
    with beside(dest) as (file, path):
        digest = hashlib.sha1()

        def receive(chunk: bytes) -> None:
            digest.update(chunk)
            file.write(chunk)

        found = live.call(MODULE, {"src": params.src, "known": known or ""}, receive)
        if not found.get("sent"):
            return _outcome(found, params, {**common, "changed": False})
        if params.validate_checksum and digest.hexdigest() != found["checksum"]:
            raise ActionFailed("checksum mismatch: the file changed while it was fetched", **common)
        file.close()
        os.replace(path, dest)
    return _outcome(found, params, {**common, "changed": True})


def _outcome(found: Mapping[str, Any], params: Params, common: Mapping[str, Any]) -> Mapping[str, Any]:
    if found.get("failed"):
        if found.get("missing") and not params.fail_on_missing:
            said = "the remote file does not exist, not transferring, ignored"
            return {**common, "changed": False, "failed": False, "msg": said}
        return {**found, **common, "changed": False}
    sums = {"checksum": found["checksum"], "remote_checksum": found["checksum"], "md5sum": None, "remote_md5sum": None}
    return {**common, **sums}


@contextlib.contextmanager
def beside(dest: str) -> Any:
    """An open file in the folder of `dest` that goes unless it was renamed."""
    os.makedirs(os.path.dirname(dest) or ".", exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=os.path.dirname(dest) or ".", prefix=".opsplay-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def sha1_of(path: str) -> str | None:
    """A file's hash; None when there is none."""
    digest = hashlib.sha1()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()
