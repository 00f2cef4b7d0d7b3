"""Files of the write-ahead log: their names, which are needed from a base on, and which are missing."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Tuple

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


def begins(name: str, size: int) -> str:
    """The LSN at which a segment begins."""
    return lsn(index_of(name, size) * size)


def lsn(position: int) -> str:
    """A position in the log as PostgreSQL writes it; the way back is `number`."""
    return "%X/%X" % (position >> 32, position & 0xFFFFFFFF)


def end_segment(db: Any) -> str:
    """End the segment that is written, so that it is archived. Returns its name. Raises SqlError.

    One without a record is not ended; from 17 on its name is told all the same, and nobody ever archives it.
    """
    db.execute("SELECT pg_create_restore_point('opsplay')")
    return str(db.value("SELECT pg_walfile_name(pg_switch_wal()) AS w"))


class Folder:
    """An archive that is a folder on this host, as pg_archive's own command fills it; `place` is that folder."""

    def __init__(self, place: str) -> None:
        self.place = place

    def segments(self, log: int = 0) -> Dict[str, float]:
        """Each segment, and when it was archived; those before the log file `log` (an LSN's upper half) may lack."""
        names = [name for name in _clusters.listing(self.place) if is_segment(name)]
        return {name: os.stat(os.path.join(self.place, name)).st_mtime for name in names}

    def histories(self) -> List[int]:
        """The timelines that have a history: all but the first."""
        names = [name for name in _clusters.listing(self.place) if name.endswith(".history") and len(name) == 16]
        return [int(name[:8], 16) for name in names]

    def history(self, timeline: int) -> List[str]:
        """The lines of a timeline's history."""
        return _clusters.lines_of(os.path.join(self.place, "%08X.history" % timeline))

    def holds(self, name: str) -> bool:
        """Whether a segment, or a history, is there."""
        return os.path.exists(os.path.join(self.place, name))

    def restore_command(self, folder: str) -> str:
        """How the server whose data directory is `folder` gets its log from here."""
        return 'cp "%s/%%f" "%%p"' % self.place.replace("%", "%%")


def history(archive: Any, timeline: str, newest: int) -> List[Tuple[int, int]]:
    """The timelines that lead to one, oldest first, each with the LSN at which it begins.

    `latest` is the newest there is, in the archive or of a base (`newest`).
    """
    last = max(archive.histories() + [newest]) if timeline == "latest" else int(timeline)
    found, begins = [], 0
    for line in archive.history(last) if last > 1 else []:
        words = line.split()
        if len(words) >= 2 and words[0].isdigit():
            found.append((int(words[0]), begins))
            begins = number(words[1])
    return found + [(last, begins)]


def lines_from(lines: List[Tuple[int, int]], timeline: int, end: int) -> List[Tuple[int, int]]:
    """The timelines of a recovery from a base on that ends at LSN `end`; empty when they do not come from that base."""
    for place, (known, _) in enumerate(lines):
        if known == timeline:
            left = lines[place + 1][1] if place + 1 < len(lines) else end
            return lines[place:] if end <= left else []
    return []


def on_way(lines: List[Tuple[int, int]], index: int, size: int) -> str:
    """The segment of a number that a recovery along these timelines reads; empty before the first of them."""
    timelines = [timeline for timeline, begins in lines if begins // size <= index]
    return segment(timelines[-1], index, size) if timelines else ""


def missing(archive: Any, start: int, lines: List[Tuple[int, int]], size: int, until: float) -> Tuple[List[str], bool]:
    """The segments that a recovery from LSN `start` to the time `until` needs and that are not there, and whether
    what is there reaches that time: a segment is archived after its last record was written."""
    # Those of a timeline that was left, which may be of higher numbers, are on no way.
    found = archive.segments(start >> 32)
    there = {name: found[name] for name in found if name == on_way(lines, index_of(name, size), size)}
    newest = max([index_of(name, size) for name in there] or [0])
    absent: List[str] = []
    for index in range(start // size, newest + 1):
        name = on_way(lines, index, size)
        if name not in there:
            absent.append(name)
        elif there[name] > until:
            return absent, True
    return absent, False
