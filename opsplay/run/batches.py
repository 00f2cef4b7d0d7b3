"""`serial`: a play's hosts in batches, by number or percentage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opsplay.errors import LanguageError, Location


def batches(hosts: Sequence[str], serial: Sequence[Any], at: Location) -> list[list[str]]:
    """The hosts in the wanted batches; the last size repeats. Raises LanguageError."""
    remaining = list(hosts)
    found: list[list[str]] = []
    sizes = [size_of(entry, len(remaining), at) for entry in serial] or [len(remaining)]
    while remaining:
        size = sizes[min(len(found), len(sizes) - 1)]
        found.append(remaining[:size])
        remaining = remaining[size:]
    return found


def size_of(entry: Any, total: int, at: Location) -> int:
    """One batch size; 0 and below mean all, a percentage is of the play's hosts and at least one."""
    text = str(entry).strip()
    try:
        if text.endswith("%"):
            return max(1, int(float(text[:-1]) * total / 100))
        number = int(text)
    except ValueError as problem:
        raise LanguageError(f"serial: {entry!r} is not a number or a percentage", at=at) from problem
    return number if number > 0 else max(1, total)
