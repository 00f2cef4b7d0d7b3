"""Write a file, or a tree of files, with content from the control side or from the host itself."""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, Tuple
from typing import List as ListOf

from opsplay.agent.host import Blob, Host, ModuleFailed
from opsplay.agent.permissions import PERMISSIONS, describe, finish_permissions
from opsplay.agent.spec import Bool, Mode, Params, Path, Raw, Str

INTERNAL = "set by the control side"

PARAMS = {
    "dest": Path(required=True, help="Where the content goes; with a slash at its end it is a directory"),
    "src": Str(help="The source, on the control side or with remote_src on the host"),
    "content": Raw(help="The content itself, instead of src; a list or dictionary is written as JSON"),
    "backup": Bool(default=False, help="Keep a dated copy of a file that is replaced"),
    "force": Bool(default=True, help="Replace a file whose content differs; without it an existing file is left"),
    "directory_mode": Mode(help="Permission bits of the directories that are made"),
    "remote_src": Bool(default=False, help="src lies on the host"),
    "follow": Bool(default=False, help="Where dest is a link, write what it leads to"),
    "local_follow": Bool(help="Where the source holds links, take what they lead to; the default of the control side"),
    "validate": Str(help="A command that checks the file before it is used; %s stands for its path"),
    "checksum": Str(help="The SHA-1 that the source must have"),
    "decrypt": Bool(default=True, help="Decrypt a source that is a vault file"),
    "_content": Raw(help=INTERNAL),
    "_blob": Raw(help=INTERNAL),
    "_checksum": Str(help=INTERNAL),
    "_name": Str(help=INTERNAL),
    "_mode": Mode(help=INTERNAL),
    "_tree": Raw(help=INTERNAL),
}
PARAMS.update(PERMISSIONS)
CHECK = "exact"


class Source:
    """What is written: its content (bytes or Blob), SHA-1, base name, and mode for `mode: preserve`."""

    __slots__ = ("content", "sha1", "name", "mode")

    def __init__(self, content: Any, sha1: str, name: str = "", mode: Any = None) -> None:
        self.content = content
        self.sha1 = sha1
        self.name = name
        self.mode = mode


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params._tree is not None:
        return copy_tree(host, params, params._tree)
    if params.remote_src and params.src is not None and params.content is None:
        path = host.expand(params.src)
        found = host.stat(path, follow=True)
        if found is None:
            host.fail("Source %s not found" % path, src=path)
        if stat.S_ISDIR(found.st_mode):
            return copy_tree(host, params, local_tree(host, path, params), local=path)
        digest = host.digest(path, "sha1")
        source = Source(host.local_content(path), digest, os.path.basename(path), stat.S_IMODE(found.st_mode))
    else:
        source = given_source(host, params)
    if params.checksum and params.checksum.lower() != source.sha1:
        message = "Copied file does not match the expected checksum. Transfer failed."
        host.fail(message, checksum=source.sha1, expected_checksum=params.checksum)
    return copy_file(host, params, source)


def given_source(host: Host, params: Params) -> Source:
    """The content that the control side sent along."""
    if params._blob is not None:
        blob = Blob(params._blob["sha256"], params._blob["size"])
        return Source(blob, params._checksum or "", params._name or "", params._mode)
    content = params._content if params._content is not None else params.content
    if content is None:
        host.fail("src (or content) is required", dest=params.dest)
    data = as_bytes(content)
    return Source(data, params._checksum or sha1_of(data), params._name or "", params._mode)


def as_bytes(content: Any) -> bytes:
    """Content as it is written: text as UTF-8, lists and dictionaries as JSON."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, (dict, list, bool)):
        import json

        content = json.dumps(content)
    return str(content).encode("utf-8", "surrogateescape")


def sha1_of(data: bytes) -> str:
    import hashlib

    return hashlib.sha1(data).hexdigest()


def copy_file(host: Host, params: Params, source: Source) -> Dict[str, Any]:
    path = host.expand(params.dest)
    if params.dest.endswith("/") or host.is_directory(path):
        if not source.name:
            host.fail("can not use content with a dir as dest: %s" % path, dest=path)
        if not host.is_directory(path):
            host.directory(path, params.directory_mode)
        path = os.path.join(path, source.name)
    if host.is_directory(path) and host.link_target(path) is None:
        host.fail("%s is a directory: a file cannot be copied over it" % path, dest=path)
    if params.follow and host.link_target(path) is not None:
        path = host.real(path)
    shown = {"dest": path, "path": path, "src": params.src}
    if not params.force and host.exists(path):
        return host.outcome(msg="file already exists", changed=host.changed, **dict(describe(host, path), **shown))
    shown["checksum"] = source.sha1
    try:
        write(host, params, path, source, wanted_mode(params, source))
    except ModuleFailed as problem:
        problem.result.setdefault("checksum", source.sha1)
        raise
    if host.backup_file:
        shown["backup_file"] = host.backup_file
    return host.outcome(**dict(describe(host, path), **shown))


def write(host: Host, params: Params, path: str, source: Source, mode: Any) -> None:
    owner, group = params.owner, params.group
    host.write(path, source.content, mode, owner, group, params.backup, params.validate, params.unsafe_writes)
    finish_permissions(host, path, params)


def wanted_mode(params: Params, source: Source) -> Any:
    return source.mode if params.mode == "preserve" else params.mode


def copy_tree(host: Host, params: Params, entries: ListOf[Dict[str, Any]], local: str = "") -> Dict[str, Any]:
    """Write a directory with all it holds. What is there besides is left alone."""
    base = host.expand(params.dest)
    found = host.is_directory(base)
    if not found and host.exists(base):
        host.fail("cannot copy a directory over the file %s" % base, dest=base)
    if local and not params.dest.endswith("/") and not host.is_directory(os.path.dirname(base)):
        host.fail("Destination directory %s does not exist" % os.path.dirname(base), dest=base)
    # The control side puts the source's own name into the paths where it belongs.
    name = os.path.basename(local) if local and not params.src.endswith("/") else ""
    top = os.path.join(base, name) if name else base
    mode = stat.S_IMODE(os.stat(local).st_mode) if local and os.path.isdir(local) else None
    make_directory(host, params, top, mode)
    for entry in entries:
        path = os.path.join(top, entry["path"])
        if not (path + "/").startswith(top.rstrip("/") + "/") or ".." in entry["path"].split("/"):
            host.fail("%s would lie outside of %s" % (entry["path"], top), dest=top)
        copy_entry(host, params, path, entry)
    shown = top if found or params.dest.endswith("/") else base
    # What came from the control side ends with a slash, as in Ansible.
    return host.outcome(**dict(describe(host, shown), dest=shown if local else os.path.join(shown, ""), src=params.src))


def copy_entry(host: Host, params: Params, path: str, entry: Dict[str, Any]) -> None:
    kind = entry["kind"]
    if kind == "directory":
        make_directory(host, params, path, entry.get("local_mode"))
    elif kind == "link":
        host.link(path, entry["target"])
        host.permissions(path, None, params.owner, params.group)
    else:
        if not host.is_directory(os.path.dirname(path)):
            make_directory(host, params, os.path.dirname(path))
        if params.follow and host.link_target(path) is not None:
            path = host.real(path)
        if not params.force and host.exists(path):
            return
        blob = entry.get("blob")
        local = entry.get("local")
        content = entry.get("content", b"")
        if blob:
            content = Blob(blob["sha256"], blob["size"])
        elif local:
            content = host.local_content(local)
        source = Source(content, "", mode=entry.get("mode"))
        mode = entry.get("local_mode") if params.mode is None else wanted_mode(params, source)
        write(host, params, path, source, mode)


def make_directory(host: Host, params: Params, path: str, mode: Any = None) -> None:
    """Make a directory that is missing; the mode of one that is there is not changed."""
    if host.is_directory(path):
        host.permissions(path, None, params.owner, params.group, follow=True)
        return
    host.directory(path, mode if params.directory_mode is None else params.directory_mode, params.owner, params.group)


def local_tree(host: Host, top: str, params: Params) -> ListOf[Dict[str, Any]]:
    """The entries of a directory of this host, as the control side sends them; they keep their modes."""
    entries: ListOf[Dict[str, Any]] = []
    pending: ListOf[Tuple[str, str]] = [(top, "")]
    while pending:
        folder, relative = pending.pop()
        for name in host.names(folder):
            path, inner = os.path.join(folder, name), os.path.join(relative, name)
            target = host.link_target(path)
            found = host.stat(path, follow=bool(params.local_follow))
            if found is None or stat.S_ISLNK(found.st_mode):
                if target is not None:
                    entries.append({"path": inner, "kind": "link", "target": target})
                continue
            mode = stat.S_IMODE(found.st_mode)
            if stat.S_ISDIR(found.st_mode):
                entries.append({"path": inner, "kind": "directory", "local_mode": mode})
                pending.append((path, inner))
            else:
                entries.append({"path": inner, "kind": "file", "mode": mode, "local_mode": mode, "local": path})
    return entries
