"""Ranges in host names: web[01:10:2].example, db-[a:f]."""

from __future__ import annotations

import re

from opsplay.errors import InventoryError, Location

RANGE = re.compile(r"\[(\w*):(\w+)(?::(\d+))?\]")


def expand(pattern: str, at: Location | None = None) -> list[str]:
    """Every name that a pattern stands for: ends included, leading zeros kept, [:3] from 0. Raises InventoryError."""
    found = RANGE.search(pattern)
    if not found:
        return [pattern]
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return [head + value + rest for value in _values(found, at) for rest in expand(tail, at)]


def _values(found: re.Match[str], at: Location | None) -> list[str]:
    first, last, step = found.group(1) or "0", found.group(2), int(found.group(3) or 1)
    if step < 1:
        raise InventoryError(f"the step of {found.group()} must be at least 1", at=at)
    if first.isdigit() and last.isdigit():
        width = len(first) if first.startswith("0") else 0
        if width and len(last) != len(first):
            raise InventoryError(f"both ends of {found.group()} need the same number of digits", at=at)
        values = [str(number).zfill(width) for number in range(int(first), int(last) + 1, step)]
    elif len(first) == len(last) == 1 and first.isalpha() and last.isalpha():
        values = [chr(code) for code in range(ord(first), ord(last) + 1, step)]
    else:
        raise InventoryError(f"{found.group()} is not a range of numbers or of letters", at=at)
    if not values:
        raise InventoryError(f"the range {found.group()} is empty: its end comes before its begin", at=at)
    return values
