"""Files of the write-ahead log: their names, which are needed from a base on, and which are missing."""

from __future__ import annotations

import os
from typing import Dict, List, Tuple

from opsplay.modules.postgres import _clusters

DIGITS = frozenset("0123456789ABCDEF")


def is_segment(name: str) -> bool:
    return len(name) == 24 and not set(name) - DIGITS


def number(lsn: str) -> int:
    """An LSN such as 0/3000158 as a number."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def segment(timeline: int, index: int, size: int) -> str:
    """The name of a segment by its number."""
    per = 0x100000000 // size
    return "%08X%08X%08X" % (timeline, index // per, index % per)


def index_of(name: str, size: int) -> int:
    return int(name[8:16], 16) * (0x100000000 // size) + int(name[16:], 16)


def history(folder: str, timeline: str, base: int) -> List[Tuple[int, int]]:
    """The timelines from the base's on, each with the LSN at which it begins; `latest` is the newest there is.

    Empty when the timeline does not come from the base's.
    """
    known = [int(name[:8], 16) for name in _clusters.listing(folder) if name.endswith(".history") and len(name) == 16]
    last = max(known + [base]) if timeline == "latest" else int(timeline)
    found, begins = [], 0
    lines = _clusters.lines_of(os.path.join(folder, "%08X.history" % last)) if last > 1 else []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0].isdigit():
            found.append((int(words[0]), begins))
            begins = number(words[1])
    found.append((last, begins))
    numbers = [timeline_ for timeline_, _ in found]
    return found[numbers.index(base) :] if base in numbers else []


def missing(folder: str, start: int, lines: List[Tuple[int, int]], size: int, until: float) -> Tuple[List[str], bool]:
    """The segments that a recovery from LSN `start` to the time `until` needs and that are not there, and whether
    what is there reaches that time: a segment is archived after its last record was written."""
    there: Dict[str, float] = {}
    for name in _clusters.listing(folder):
        if is_segment(name):
            there[name] = os.stat(os.path.join(folder, name)).st_mtime
    newest = max([index_of(name, size) for name in there] or [0])
    absent: List[str] = []
    for index in range(start // size, newest + 1):
        timeline = [number_ for number_, begins in lines if begins // size <= index][-1]
        name = segment(timeline, index, size)
        if name not in there:
            absent.append(name)
        elif there[name] > until:
            return absent, True
    return absent, False
