"""Words of a command line and variables in a text, without `re`: shlex and os.path.expandvars both import it."""

from __future__ import annotations

import os
from typing import List, Tuple

NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def split(text: str) -> List[str]:
    """The words of a command line, as `shlex.split` finds them. Raises ValueError for a quotation without its end."""
    words: List[str] = []
    word: List[str] = []
    started, index = False, 0
    while index < len(text):
        char = text[index]
        index += 1
        if char in " \t\r\n":
            if started:
                words.append("".join(word))
            word, started = [], False
            continue
        started = True
        if char == "\\":
            if index == len(text):
                raise ValueError("No escaped character")
            word.append(text[index])
            index += 1
        elif char in "'\"":
            part, index = _quoted(text, index, char)
            word.append(part)
        else:
            word.append(char)
    if started:
        words.append("".join(word))
    return words


def _quoted(text: str, index: int, quote: str) -> Tuple[str, int]:
    """The quotation that begins at `index`, and the place after its end."""
    part: List[str] = []
    while index < len(text):
        char = text[index]
        index += 1
        if char == quote:
            return "".join(part), index
        if char == "\\" and quote == '"':
            # Within double quotes a backslash is special only before itself and the quote.
            if index == len(text):
                raise ValueError("No escaped character")
            if text[index] in "\\\"":
                char = text[index]
                index += 1
        part.append(char)
    raise ValueError("No closing quotation")


def expand_variables(text: str) -> str:
    """`$name` and `${name}` replaced from the environment; names that are not set stay as they are."""
    start = text.find("$")
    while start >= 0:
        end = start + 1
        if text[end : end + 1] == "{":
            close = text.find("}", end)
            name, end = (text[end + 1 : close], close + 1) if close > 0 else ("", end)
        else:
            while end < len(text) and text[end] in NAME:
                end += 1
            name = text[start + 1 : end]
        value = os.environ.get(name) if name else None
        if value is not None:
            text = text[:start] + value + text[end:]
            end = start + len(value)
        start = text.find("$", end)
    return text


def expand_user(text: str) -> str:
    """A leading `~` or `~name` and variables replaced, as Ansible does with paths and a command's words."""
    if "$" in text:
        text = expand_variables(text)
    return os.path.expanduser(text) if text.startswith("~") else text
