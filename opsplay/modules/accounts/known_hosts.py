"""Say which host keys SSH believes, in a known_hosts file."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.permissions import describe
from opsplay.agent.spec import Bool, Choice, Params, Path, Str
from opsplay.modules.accounts._keys import is_key, split_word

PARAMS = {
    "name": Str(required=True, aliases=("host",), help="The host, as in the key's line; [host]:port for another port"),
    "key": Str(help="The host's keys, a line each: names, type and base64, as ssh-keyscan prints them"),
    "path": Path(default="~/.ssh/known_hosts", help="The file; its directory must be there"),
    "hash_host": Bool(default=False, help="Write the names hashed, so that the file does not tell them"),
    "state": Choice("present", "absent", default="present", help="Whether the keys are in the file"),
}
CHECK = "exact"
# What begins a hashed name, and the length of its salt: that of SHA-1 (ssh-keygen(1), -H).
HASHED = "|1|"
SALT = 20


class Line:
    """A line of the file: a marker such as @revoked (or empty), names or one hashed name, the key and its comment."""

    __slots__ = ("marker", "names", "kind", "blob", "comment")

    def __init__(self, marker: str, names: List[str], kind: str, blob: str, comment: str = "") -> None:
        self.marker = marker
        self.names = names
        self.kind = kind
        self.blob = blob
        self.comment = comment

    @classmethod
    def parse(cls, text: str) -> Optional["Line"]:
        """What a line says; None for comments, empty lines and what is no key."""
        first, rest = split_word(text.strip())
        marker = ""
        if first.startswith("@"):
            marker, (first, rest) = first, split_word(rest)
        kind, rest = split_word(rest)
        blob, comment = split_word(rest)
        if first.startswith("#") or not blob:
            return None
        return cls(marker, first.split(","), kind, blob, comment)

    def __str__(self) -> str:
        parts = (self.marker, ",".join(self.names), self.kind, self.blob, self.comment)
        return " ".join(part for part in parts if part)

    @property
    def is_hashed(self) -> bool:
        return self.names[0].startswith(HASHED)

    def is_for(self, name: str) -> bool:
        """Whether the line names this very host; patterns that fit it are not its own."""
        if self.is_hashed:
            salt = self.names[0].split("|")[2]
            return self.names[0] == hashed(name, salt)
        return name.lower() in [known.lower() for known in self.names]


def run(host: Host, params: Params) -> Dict[str, Any]:
    wanted = wanted_lines(host, params)
    path = host.real(params.path)
    before = read_lines(host, path)
    if params.state == "present":
        after = before
        for line in wanted:
            after = with_line(after, line, params.hash_host)
    else:
        kinds = [line.kind for line in wanted] if wanted else None
        after = forget(before, params.name, kinds)
    if after != before:
        host.write(path, "".join(line + "\n" for line in after))
    returned = {name: params[name] for name in ("name", "key", "hash_host", "state")}
    returned.update(describe(host, path))
    return host.outcome(path=path, **returned)


def wanted_lines(host: Host, params: Params) -> List[Line]:
    """The lines that are asked for; each must name the host."""
    wanted = []
    for text in (params.key or "").split("\n"):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        line = Line.parse(text)
        if line is None or not is_key(line.kind, line.blob):
            host.fail("key is no line of a known_hosts file: %s; it has names, type and base64" % text.strip()[:80])
        if not line.is_for(params.name):
            host.fail("Host parameter does not match hashed host field in supplied key: %s" % ",".join(line.names))
        wanted.append(line)
    if not wanted and params.state == "present":
        host.fail("No key specified when adding a host", name=params.name)
    return wanted


def read_lines(host: Host, path: str) -> List[str]:
    if not host.exists(path):
        return []
    lines = host.read(path).decode("utf-8", "surrogateescape").split("\n")
    return lines if lines[-1] else lines[:-1]


def with_line(lines: List[str], wanted: Line, hash_names: bool) -> List[str]:
    """The lines with this key for its names, and no other key of its type for them."""
    hash_names = hash_names and not wanted.is_hashed
    if wanted.is_hashed:
        return lines if str(wanted) in lines else lines + [str(wanted)]
    if all(is_right(lines, wanted, name, hash_names) for name in wanted.names):
        return lines
    for name in wanted.names:
        lines = forget(lines, name, [wanted.kind], wanted.marker)
    if not hash_names:
        return lines + [str(wanted)]
    hidden = [hashed(name, new_salt()) for name in wanted.names]
    return lines + [str(Line(wanted.marker, [name], wanted.kind, wanted.blob, wanted.comment)) for name in hidden]


def is_right(lines: List[str], wanted: Line, name: str, hash_names: bool) -> bool:
    """Whether all that the lines say of a name and this type of key is as wanted, and something is said."""
    found = [line for line in map(Line.parse, lines) if line is not None and concerns(line, name, wanted)]
    return bool(found) and all(line.blob == wanted.blob and line.is_hashed == hash_names for line in found)


def concerns(line: Line, name: str, wanted: Line) -> bool:
    return (line.kind, line.marker) == (wanted.kind, wanted.marker) and line.is_for(name)


def forget(lines: List[str], name: str, kinds: Optional[List[str]], marker: Optional[str] = None) -> List[str]:
    """The lines without this name, for keys of these types (None for all); other names in a line stay."""
    kept = []
    for text in lines:
        line = Line.parse(text)
        meant = line is not None and (kinds is None or line.kind in kinds) and (marker is None or line.marker == marker)
        if line is None or not meant or not line.is_for(name):
            kept.append(text)
            continue
        line.names = [known for known in line.names if known.lower() != name.lower() and not line.is_hashed]
        kept += [str(line)] if line.names else []
    return kept


def hashed(name: str, salt: str) -> str:
    """A name as ssh-keygen -H writes it: HMAC-SHA1 of the lower-case name, keyed by the salt in base64."""
    import hmac
    from binascii import Error, a2b_base64, b2a_base64

    try:
        key = a2b_base64(salt)
    except Error:
        return ""
    digest = hmac.new(key, name.lower().encode("utf-8", "surrogateescape"), "sha1").digest()
    return "%s%s|%s" % (HASHED, salt, b2a_base64(digest, newline=False).decode("ascii"))


def new_salt() -> str:
    from binascii import b2a_base64

    return b2a_base64(os.urandom(SALT), newline=False).decode("ascii")
