"""What the modules that edit text files share: reading, and writing back what an edit made of it."""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, List, Optional, Pattern, Tuple

from opsplay.agent import files
from opsplay.agent.host import Host
from opsplay.agent.permissions import PERMISSIONS, finish_permissions
from opsplay.agent.spec import Bool, Param, Params, Path, Str

EDITING: Dict[str, Param] = dict(
    PERMISSIONS,
    path=Path(required=True, aliases=("dest", "destfile", "name"), help="The file that is edited; a link is followed"),
    backup=Bool(default=False, help="Keep a dated copy of the file as it was"),
    validate=Str(help="A command that checks the file before it is used; %s stands for its path"),
)
PERMISSIONS_CHANGED = "ownership, perms or SE linux context changed"

# What means more than itself in a regular expression.
SPECIAL = frozenset("^$.*+?[](){}|")


class Text:
    """A file that is edited: its real path, and its content, None when it is not there."""

    __slots__ = ("path", "content")

    def __init__(self, path: str, content: Optional[bytes]) -> None:
        self.path = path
        self.content = content


def open_text(host: Host, params: Params, create: bool, missing: str) -> Text:
    """The file as it is. `missing` is the failure's message when it is absent and shall not be made."""
    path = host.real(params.path)
    if host.is_directory(path):
        host.fail("Path %s is a directory !" % path, rc=256)
    if host.exists(path):
        return Text(path, host.read(path))
    if not create:
        host.fail(missing % path, rc=257)
    return Text(path, None)


def save(host: Host, params: Params, text: Text, content: Optional[bytes], message: str) -> Dict[str, Any]:
    """Write the edited content (None to leave the file), set permissions, and return what Ansible returns."""
    before = permissions_of(host, text.path)
    if content is not None and content != text.content:
        if text.content is None and not host.is_directory(os.path.dirname(text.path)):
            host.directory(os.path.dirname(text.path))
        owner, group = params.owner, params.group
        host.write(text.path, content, params.mode, owner, group, params.backup, params.validate, params.unsafe_writes)
    else:
        message = ""
        host.permissions(text.path, params.mode, params.owner, params.group, follow=True)
    finish_permissions(host, text.path, params)
    if host.changed and permissions_of(host, text.path) != before:
        message += (" and " if message else "") + PERMISSIONS_CHANGED
    return host.outcome(msg=message)


def permissions_of(host: Host, path: str) -> Tuple[int, int, int]:
    """Mode and owner of a file; for one that is not there, what a new file gets."""
    found = host.stat(path)
    if found is None:
        return 0o666 & ~files.current_umask(), os.geteuid(), os.getegid()
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def compiled(host: Host, pattern: str, name: str, flags: int = 0) -> Pattern[bytes]:
    """A regular expression over bytes. Fails with the parameter's name when it is none."""
    import re

    try:
        return re.compile(as_bytes(pattern), flags)
    except re.error as problem:
        host.fail("%s is not a regular expression: %s: %s" % (name, problem, pattern))


def placed_once(host: Host, params: Params) -> None:
    """Refuse insertafter together with insertbefore."""
    if params.insertafter is not None and params.insertbefore is not None:
        host.fail("parameters are mutually exclusive: insertbefore|insertafter")


def keep_ends(content: bytes) -> List[bytes]:
    """The lines with their ends; only a line feed ends a line."""
    lines = content.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]


def as_bytes(text: str) -> bytes:
    """Text as it stands in a file; bytes that are no UTF-8 survive the way through Python."""
    return text.encode("utf-8", "surrogateescape")


class PlainPattern:
    """A regular expression of ordinary characters, perhaps anchored: found without `re`, which takes 6 ms to import."""

    __slots__ = ("text", "from_start", "to_end")

    def __init__(self, text: bytes, from_start: bool, to_end: bool) -> None:
        self.text = text
        self.from_start = from_start
        self.to_end = to_end

    def search(self, line: bytes) -> bool:
        """Whether one line, with or without its end, matches."""
        if self.to_end:
            body = line[:-1] if line.endswith(b"\n") else line
            if self.from_start:
                return self.text in (body, line)
            return body.endswith(self.text) or line.endswith(self.text)
        return line.startswith(self.text) if self.from_start else self.text in line


def plain_pattern(pattern: str) -> Optional[PlainPattern]:
    """The same pattern without `re`, or None when it says more than characters and anchors."""
    from_start = pattern.startswith("^")
    to_end = pattern.endswith("$") and not pattern.endswith("\\$")
    body = pattern[1 if from_start else 0 : len(pattern) - 1 if to_end else len(pattern)]
    text, escaped = [], False
    for char in body:
        if escaped:
            if char.isalnum() or char == "_":
                return None
            text.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in SPECIAL:
            return None
        else:
            text.append(char)
    return None if escaped else PlainPattern(as_bytes("".join(text)), from_start, to_end)
