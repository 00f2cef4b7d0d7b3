"""The arguments of a module: a mapping, key=value text, or free form."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any

from opsplay.documents.values import Template
from opsplay.errors import LanguageError, Location

KEY = re.compile(r"([A-Za-z_]\w*)=")
ESCAPE = re.compile(r"\\(?:U[0-9a-fA-F]{8}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|N\{[^}]+\}|[\\'\"abfnrtv])")

# What may stand as key=value within a command's free form; any other word with = belongs to the command.
BESIDE_COMMANDS = ("chdir", "creates", "executable", "removes", "stdin", "stdin_add_newline", "strip_empty_ends")

Span = tuple[int, int]


def word_spans(text: str) -> tuple[list[Span], bool]:
    """Where words begin and end, quotes and template expressions kept whole; and whether all of those are closed."""
    spans: list[Span] = []
    quote, depth, index, start = "", 0, 0, -1
    while index < len(text):
        pair, char = text[index : index + 2], text[index]
        step = 1
        if pair in ("{{", "{%") and not quote:
            depth, step = depth + 1, 2
        elif pair in ("}}", "%}") and depth:
            depth, step = depth - 1, 2
        elif char == "\\" and quote and index + 1 < len(text):
            step = 2
        elif char in "'\"" and not depth:
            quote = "" if quote == char else quote or char
        if char.isspace() and not quote and not depth:
            if start >= 0:
                spans.append((start, index))
            start = -1
        elif start < 0:
            start = index
        index += step
    if start >= 0:
        spans.append((start, len(text)))
    return spans, not quote and not depth


def split_words(text: str) -> list[str]:
    """Words separated by blanks, as they are written."""
    return [text[start:end] for start, end in word_spans(text)[0]]


def unquote(word: str) -> str:
    """A word without the quotes around it."""
    if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
        return word[1:-1]
    return word


def value_of(text: str, at: Location) -> Template:
    """The value of a key=value word: escapes such as \\n are taken, then the quotes around it removed."""
    return Template(unquote(ESCAPE.sub(lambda found: codecs.decode(found.group(), "unicode_escape"), text)), at)


def key_values(text: str, at: Location) -> tuple[dict[str, Any], str]:
    """`key=value` words as parameters, and the text that is left. Raises LanguageError."""
    found: dict[str, Any] = {}
    rest: list[str] = []
    spans, closed = word_spans(text)
    if not closed:
        message = f"a quote or a template expression does not end: {text}"
        raise LanguageError(message, at=at, rule="module-arguments")
    for start, end in spans:
        word = text[start:end]
        match = KEY.match(word)
        if match:
            found[match.group(1)] = value_of(word[match.end() :], at)
        else:
            rest.append(word)
    return found, " ".join(rest)


def free_form(text: str, known: Mapping[str, Any], at: Location) -> tuple[dict[str, Any], str]:
    """Known `key=value` words of a command's free form, and the command as it was written without them."""
    found: dict[str, Any] = {}
    kept: list[str] = []
    done = 0
    for start, end in word_spans(text)[0]:
        word = text[start:end]
        match = KEY.match(word)
        if match and match.group(1) in BESIDE_COMMANDS and match.group(1) in known:
            found[match.group(1)] = value_of(word[match.end() :], at)
            kept.append(text[done:start].rstrip())
        elif word == "\\" and text[end : end + 1] == "\n":
            kept.append(text[done:start])
            end += 1
        else:
            kept.append(text[done:end])
        done = end
    return found, "".join([*kept, text[done:]]).lstrip().rstrip(" \t")
