"""The arguments of a module: a mapping, key=value text, or free form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from opsplay.documents.values import Template, place_of
from opsplay.errors import LanguageError, Location

KEY = re.compile(r"([A-Za-z_]\w*)=")


def split_words(text: str) -> list[str]:
    """Words separated by blanks, with quotes and template expressions kept whole and as they are written."""
    words: list[str] = []
    current, quote, depth, index = "", "", 0, 0
    while index < len(text):
        pair, char = text[index : index + 2], text[index]
        if pair in ("{{", "{%") and not quote:
            depth, current, index = depth + 1, current + pair, index + 2
            continue
        if pair in ("}}", "%}") and depth:
            depth, current, index = depth - 1, current + pair, index + 2
            continue
        if char == "\\" and quote and index + 1 < len(text):
            current, index = current + pair, index + 2
            continue
        if char in "'\"" and not depth:
            quote = "" if quote == char else quote or char
        if char.isspace() and not quote and not depth:
            if current:
                words.append(current)
            current = ""
        else:
            current += char
        index += 1
    return [*words, current] if current else words


def unquote(word: str) -> str:
    """A word without the quotes around it."""
    if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
        return word[1:-1]
    return word


def key_values(text: str, at: Location) -> tuple[dict[str, Any], str]:
    """`key=value` words as parameters, and the text that is left."""
    found: dict[str, Any] = {}
    rest: list[str] = []
    for word in split_words(text):
        match = KEY.match(word)
        if match:
            found[match.group(1)] = Template(unquote(word[match.end() :]), at)
        else:
            rest.append(word)
    return found, " ".join(rest)


def free_form(text: str, known: Mapping[str, Any], at: Location) -> tuple[dict[str, Any], str]:
    """Known `key=value` words of a command's free form, and the command as it was written without them."""
    found: dict[str, Any] = {}
    remaining = text
    for word in split_words(text):
        match = KEY.match(word)
        if match and match.group(1) in known and not match.group(1).startswith("_"):
            found[match.group(1)] = Template(unquote(word[match.end() :]), at)
            remaining = remaining.replace(word, "", 1)
    return found, remaining.strip()


def mapping(value: Any, what: str, at: Location) -> Mapping[str, Any]:
    """A mapping of parameters. Raises LanguageError."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise LanguageError(f"{what} must be a mapping", at=place_of(value, at))
    return value
