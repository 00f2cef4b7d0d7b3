"""Problems of the files as a person reads them: where, what, the line itself with a mark, and what to do about it."""

from __future__ import annotations

import functools
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator

import click

from opsplay.errors import Location, OpsplayError, Severity

COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}
# What is underlined: a quoted text, a word, or one character.
TOKEN = re.compile(r"""'[^']*'|"[^"]*"|[\w./-]+|.""")
NO_TERMINAL = 120
TAB = "    "


def ordered(problems: Iterable[OpsplayError]) -> list[OpsplayError]:
    """Each problem once, by file and line."""
    unique = {(_order(problem), problem.message): problem for problem in problems}
    return sorted(unique.values(), key=_order)


def _order(problem: OpsplayError) -> tuple[str, int, int]:
    at = problem.at or Location("")
    return shown(at), at.line, at.column


def shown(at: Location | None) -> str:
    """A file as people call it: from where they stand, if it is below."""
    if at is None or not os.path.isabs(at.file):
        return os.path.normpath(at.file) if at is not None and at.file else ""
    relative = os.path.relpath(at.file)
    return at.file if relative.startswith("..") else relative


def place(at: Location) -> str:
    """A place as editors and terminals know how to open it."""
    return str(Location(shown(at), at.line, at.column))


def report(problem: OpsplayError) -> Iterator[str]:
    """The lines of one problem."""
    where = f"{click.style(place(problem.at), bold=True)}: " if problem.at else ""
    kind = click.style(problem.severity.value, fg=COLOURS[problem.severity], bold=True)
    rule = click.style(f" [{problem.rule}]", dim=True) if problem.rule else ""
    yield f"{where}{kind}: {printable(problem.message)}{rule}"
    gutter = "  "
    line = source_line(problem.at) if problem.at else None
    if line is not None and problem.at is not None:
        gutter = " " * (len(str(problem.at.line)) + 1)
        yield from _marked(line, problem.at, gutter)
    if problem.hint:
        yield f"{gutter} {click.style('=', fg='blue', bold=True)} {printable(problem.hint)}"


def _marked(line: str, at: Location, gutter: str) -> Iterator[str]:
    """The line of a file, and a mark below the column."""
    bar = click.style("|", fg="blue", bold=True)
    number = click.style(f" {at.line}", fg="blue", bold=True)
    start = max(0, min(at.column - 1, len(line)))
    before, token, after = _parts(line, start)
    yield f"{number} {bar} {before}{token}{after}".rstrip()
    if at.column:
        mark = click.style("^" * max(1, width(token)), fg="red", bold=True)
        yield f"{gutter} {bar} {' ' * width(before)}{mark}"


def _parts(line: str, start: int) -> tuple[str, str, str]:
    """What stands before the marked word, the word, and what follows, as much as the terminal has room for."""
    found = TOKEN.match(line, start)
    end = found.end() if found else start
    before, token, after = (printable(part) for part in (line[:start], line[start:end], line[end:]))
    room = max(40, shutil.get_terminal_size((NO_TERMINAL, 0)).columns - 10)
    if width(before) + width(token) > room:
        before, token = "…" + before[-room // 3 :], token[: room // 2]
    left = room - width(before) - width(token)
    return before, token, after if width(after) <= left else after[: max(0, left - 1)] + "…"


def printable(text: str) -> str:
    """A text without what could steer a terminal."""
    return "".join(
        char if char.isprintable() else TAB if char == "\t" else char.encode("unicode_escape").decode() for char in text
    )


def width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def source_line(at: Location) -> str | None:
    """The line of a file that a place is in; None when there is none to show."""
    lines = _lines(at.file) if at.line else ()
    return lines[at.line - 1] if 0 < at.line <= len(lines) else None


@functools.lru_cache(maxsize=64)
def _lines(file: str) -> tuple[str, ...]:
    from opsplay.documents.vault import is_vault

    try:
        with open(file, encoding="utf-8") as opened:
            text = opened.read()
    except (OSError, UnicodeDecodeError):
        return ()
    # The lines of an encrypted file are not those that were read.
    return () if is_vault(text) else tuple(text.split("\n"))


def count(problems: Iterable[OpsplayError]) -> str:
    """How many errors and warnings there are, in words."""
    found = [problem.severity for problem in problems]
    words = [f"{number} {severity.value}{'s' * (number != 1)}"
             for severity in Severity if (number := found.count(severity))]  # fmt: skip
    return " and ".join(words)
