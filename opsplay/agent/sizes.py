"""Numbers of bytes: as people write them, as people read them, and how many are free."""

from __future__ import annotations

import os
import stat
from typing import Any

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def bytes_of(text: str) -> int:
    """A size: bytes, or with K, M, G, T (powers of 1024; KiB and the like are the same). Raises ValueError."""
    word = text.strip().upper()
    for ending in ("IB", "B"):
        word = word[: -len(ending)] if word.endswith(ending) else word
    number, unit = (word[:-1], word[-1:]) if word[-1:] in UNITS and not word[-1:].isdigit() else (word, "")
    try:
        return int(float(number.strip()) * UNITS[unit])
    except ValueError:
        raise ValueError("%r is no size; write it as 52428800 or 50M" % text) from None


def read_limits(host: Any, params: Any) -> None:
    """Make numbers of the parameters size_min and size_max, where they are given. Fails for what is no size."""
    for name in ("size_min", "size_max"):
        if params[name]:
            try:
                params[name] = bytes_of(params[name])
            except ValueError as problem:
                host.fail("%s: %s" % (name, problem))


def told_size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return "%d bytes" % count if unit == "bytes" else "%.1f %s" % (count, unit)
        count /= 1024
    return "%.1f TiB" % count


def free_bytes(folder: str) -> int:
    """What can still be written to the file system of a folder, or of the one that it will be in. Raises OSError."""
    found = os.statvfs(existing(folder))
    return found.f_bavail * found.f_frsize


def existing(folder: str) -> str:
    """A folder, or the nearest one above it that is there."""
    while not os.path.isdir(folder) and folder not in ("", "/"):
        folder = os.path.dirname(folder)
    return folder or "."


def tree_size(path: str) -> int:
    """The bytes of a file, or of all regular files in a folder, as far as they are there; links are not followed."""
    if not os.path.isdir(path) or os.path.islink(path):
        return _size(path)
    return sum(_size(os.path.join(above, name)) for above, _, names in os.walk(path) for name in names)


def _size(path: str) -> int:
    try:
        found = os.lstat(path)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
