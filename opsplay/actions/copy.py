"""Copy files, folders or given content to the host."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from opsplay.actions.base import ActionFailed, Control, Prepared, Remote
from opsplay.agent.spec import Params
from opsplay.documents.keyring import KEYRING
from opsplay.documents.vault import is_vault_file
from opsplay.errors import DocumentError
from opsplay.modules.files import copy as shipped
from opsplay.session.blobs import INLINE_LIMIT, Content

PARAMS = shipped.PARAMS
CHECK = shipped.CHECK
EXCLUSIVE = (("src", "content"),)
MODULE = shipped.__name__


def prepare(control: Control, params: Params) -> Prepared:
    if params.content is not None:
        if params.src is not None:
            raise ActionFailed("src and content cannot both be given")
        return remote(params, control, content_bytes(params.content), None)
    if params.src is None:
        raise ActionFailed("src or content must be given")
    if params.remote_src:
        return Remote(MODULE, dict(params))
    source = control.find_file("files", params.src)
    if os.path.isdir(source):
        keep_name = not params.src.endswith("/")
        return Remote(
            MODULE,
            {
                **params,
                "_tree": list(tree(control, source, keep_name, params.local_follow, params.decrypt)),
                "_name": os.path.basename(source),
            },
        )
    return with_content(params, content_of(control, source, params.decrypt), source)


def content_of(control: Control, path: str, decrypt: bool) -> Content:
    """The content of a file of the control side; that of a vault decrypted. Raises OSError and ActionFailed."""
    if not decrypt or not is_vault_file(path):
        return control.blobs.from_file(path)
    try:
        return control.blobs.from_bytes(KEYRING.read_secret(path))
    except DocumentError as problem:
        raise ActionFailed(str(problem)) from problem


def remote(params: Mapping[str, Any], control: Control, data: bytes, source: str | None) -> Remote:
    """A copy of content that is in memory."""
    return with_content(params, control.blobs.from_bytes(data), source)


def with_content(params: Mapping[str, Any], content: Content, source: str | None) -> Remote:
    """The host's part of the work; a small content goes along, a large one is fetched when it differs."""
    fields: dict[str, Any] = {**params, "content": None, "_checksum": content.sha1, **carried(content)}
    if source is not None:
        fields["_name"] = os.path.basename(source)
        if params.get("mode") == "preserve":
            fields["_mode"] = os.stat(source).st_mode & 0o7777
    return Remote(MODULE, fields)


def carried(content: Content) -> dict[str, Any]:
    """How a content travels: by itself or as a reference."""
    if content.data is not None and content.size <= INLINE_LIMIT:
        return {"_content": content.data}
    return {"_blob": content.reference()}


def content_bytes(content: Any) -> bytes:
    """The text of the `content` parameter; structures become JSON, as Ansible does."""
    if isinstance(content, (dict, list)):
        return json.dumps(content).encode()
    return str(content).encode("utf-8", "surrogateescape")


def tree(control: Control, source: str, keep_name: bool, follow: bool, decrypt: bool) -> Iterator[dict[str, Any]]:
    """Every folder, file and link below a folder, by its path relative to the target; links are followed on demand."""
    root = Path(source)
    base = root.parent if keep_name else root
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=follow):
        here = Path(folder)
        real = os.path.realpath(folder)
        if real in seen:
            raise ActionFailed(f"{folder}: its links lead in a circle")
        seen.add(real)
        folders.sort()
        relative = here.relative_to(base).as_posix()
        if relative != ".":
            yield {"path": relative, "kind": "directory", "mode": here.stat().st_mode & 0o7777}
        links = [] if follow else [name for name in folders if (here / name).is_symlink()]
        for name in sorted([*files, *links]):
            yield entry(control, here / name, (here / name).relative_to(base).as_posix(), follow, decrypt)


def entry(control: Control, path: Path, relative: str, follow: bool, decrypt: bool) -> dict[str, Any]:
    """A file or link of a tree."""
    if path.is_symlink() and (not follow or not path.exists()):
        return {"path": relative, "kind": "link", "target": os.readlink(path), "mode": 0o777}
    content = content_of(control, str(path), decrypt)
    how = carried(content)
    fields = {"content": how["_content"]} if "_content" in how else {"blob": how["_blob"]}
    return {"path": relative, "kind": "file", "mode": path.stat().st_mode & 0o7777, "checksum": content.sha1, **fields}
