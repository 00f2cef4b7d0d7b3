"""Public SSH keys in text: one a line, with options before and a comment behind (sshd(8), AUTHORIZED_KEYS)."""

from __future__ import annotations

from typing import List, Optional

BLANKS = " \t"


class Key:
    """A key: its options as written (empty for none), its type, its blob in base64, its comment."""

    __slots__ = ("options", "kind", "blob", "comment")

    def __init__(self, kind: str, blob: str, options: str = "", comment: str = "") -> None:
        self.kind = kind
        self.blob = blob
        self.options = options
        self.comment = comment

    def __str__(self) -> str:
        return " ".join(part for part in (self.options, self.kind, self.blob, self.comment) if part)


def parse(line: str) -> Optional[Key]:
    """The key that a line holds; None for comments, empty lines and what is no key."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    first, rest = split_word(line)
    options = ""
    if not is_key(first, split_word(rest)[0]):
        options, line = split_options(line)
        first, rest = split_word(line)
    blob, comment = split_word(rest)
    return Key(first, blob, options, comment) if is_key(first, blob) else None


def is_key(kind: str, blob: str) -> bool:
    """Whether a word is a key of this type: the blob repeats the type (RFC 4253, section 6.6)."""
    from binascii import Error, a2b_base64

    try:
        data = a2b_base64(blob.encode("ascii"))
    except (Error, UnicodeError):
        return False
    return bool(kind) and data[4 : 4 + int.from_bytes(data[:4], "big")] == kind.encode() and len(data) > 4 + len(kind)


def split_word(text: str) -> List[str]:
    """The first word, and the rest without the blanks between."""
    place = next((number for number, char in enumerate(text) if char in BLANKS), len(text))
    return [text[:place], text[place:].strip()]


def split_options(line: str) -> List[str]:
    """The options, which may hold blanks within double quotes, and the rest."""
    quoted = escaped = False
    for number, char in enumerate(line):
        if char in BLANKS and not quoted:
            return [line[:number], line[number:].strip()]
        if char == '"' and not escaped:
            quoted = not quoted
        escaped = char == "\\" and not escaped
    return [line, ""]
