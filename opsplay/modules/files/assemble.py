"""Make a file from the fragments in a directory, in the order of their names."""

from __future__ import annotations

import os
from typing import Any, Dict
from typing import List as ListOf

from opsplay.agent import files
from opsplay.agent.host import Host
from opsplay.agent.permissions import PERMISSIONS, describe, finish_permissions
from opsplay.agent.spec import Bool, Params, Path, Raw, Str

INTERNAL = "set by the control side"

PARAMS = dict(
    PERMISSIONS,
    src=Path(required=True, help="The directory of the fragments"),
    dest=Path(required=True, help="The file that is made"),
    remote_src=Bool(default=True, help="src lies on the host; otherwise on the control side"),
    delimiter=Str(help="What stands in a line of its own between the fragments; \\n and the like are understood"),
    regexp=Str(help="Only fragments whose name this regular expression finds are used"),
    ignore_hidden=Bool(default=False, help="Leave out fragments whose name begins with a dot"),
    backup=Bool(default=False, help="Keep a dated copy of a file that is replaced"),
    validate=Str(help="A command that checks the file before it is used; %s stands for its path"),
    decrypt=Bool(default=True, help="Decrypt fragments of the control side that are vault files"),
    _fragments=Raw(help=INTERNAL),
)
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    path = host.real(params.dest)
    if params._fragments is None:
        content = joined(fragments_here(host, params), params.delimiter)
    else:
        content = joined(params._fragments, params.delimiter)
    owner, group = params.owner, params.group
    host.write(path, content, params.mode, owner, group, params.backup, params.validate, params.unsafe_writes)
    finish_permissions(host, path, params)
    shown = dict(describe(host, path), src=params.src, dest=path, checksum=hashed("sha1", content))
    shown.update(md5sum=hashed("md5", content), msg="OK")
    if host.backup_file:
        shown["backup_file"] = host.backup_file
    return host.outcome(**shown)


def fragments_here(host: Host, params: Params) -> ListOf[bytes]:
    """The content of the fragments on the host."""
    folder = host.expand(params.src)
    if not host.exists(folder):
        host.fail("Source (%s) does not exist" % folder)
    if not host.is_directory(folder):
        host.fail("Source (%s) is not a directory" % folder)
    try:
        names = chosen(host.names(folder), params.regexp, params.ignore_hidden)
    except ValueError as problem:
        host.fail(str(problem))
    paths = [os.path.join(folder, name) for name in names]
    return [host.read(path) for path in paths if not host.is_directory(path)]


def chosen(names: ListOf[str], regexp: Any, ignore_hidden: bool) -> ListOf[str]:
    """The names of the fragments that are used, in order. Raises ValueError for a bad regular expression."""
    kept = [name for name in sorted(names) if not (ignore_hidden and name.startswith("."))]
    if not regexp:
        return kept
    import re

    try:
        pattern = re.compile(regexp)
    except re.error as problem:
        raise ValueError("Invalid Regexp (%s) in \"%s\"" % (problem, regexp))
    return [name for name in kept if pattern.search(name)]


def joined(fragments: ListOf[bytes], delimiter: Any) -> bytes:
    """The fragments with the delimiter between them, each in lines of its own."""
    between = unescaped(delimiter) if delimiter else b""
    if between and not between.endswith(b"\n"):
        between += b"\n"
    ended = [fragment if fragment.endswith(b"\n") else fragment + b"\n" for fragment in fragments[:-1]]
    return between.join(ended + fragments[-1:])


def unescaped(text: str) -> bytes:
    """A delimiter as it is written: its escapes, such as \\n and \\t, mean what they do in Python."""
    from codecs import escape_decode

    return bytes(escape_decode(text.encode("utf-8", "surrogateescape"))[0])


def hashed(algorithm: str, content: bytes) -> Any:
    """The content's hash; None where the host forbids the algorithm."""
    try:
        hasher = files.new_hash(algorithm, len(content))
    except ValueError:
        return None
    hasher.update(content)
    return hasher.hexdigest()
