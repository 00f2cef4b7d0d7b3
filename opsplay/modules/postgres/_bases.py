"""Base backups in their folders: which there are, and which one leads to a moment."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from opsplay.agent import backups
from opsplay.agent.host import Host
from opsplay.modules.postgres import _wal

KIND = "pg_basebackup"


def bases_below(folder: str) -> List[backups.Backup]:
    """Whole base backups, oldest first."""
    return [backup for backup in backups.backups_below(folder) if backup.data["kind"] == KIND]


def moment(host: Host, text: str) -> float:
    """A target time as seconds since 1970. Fails when it has no zone: a time without one is another time elsewhere."""
    import re
    from datetime import datetime, timedelta

    shape = r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,6})?\s?(Z|UTC|[+-]\d\d(?::?\d\d)?)?"
    found = re.fullmatch(shape, text.strip())
    if not found:
        host.fail("target_time: %r is no time; write it as 2026-11-28 12:00:00+00" % text)
    day, clock, fraction, zone = found.groups()
    if not zone:
        host.fail("target_time: %r has no time zone; write e.g. %s+00 for UTC" % (text, text.strip()))
    try:
        when = datetime.strptime("%s %s" % (day, clock), "%Y-%m-%d %H:%M:%S")
    except ValueError:
        host.fail("target_time: %r is no time" % text)
    digits = zone.replace(":", "")[1:] if zone[0] in "+-" else "0"
    minutes = int(digits[:2]) * 60 + int(digits[2:] or 0)
    when -= timedelta(minutes=-minutes if zone[0] == "-" else minutes)
    return (when - datetime(1970, 1, 1)).total_seconds() + float(fraction or 0)


def found_in(host: Host, folder: str, named: str) -> List[backups.Backup]:
    """The bases below a folder, or just the named one. Fails when that is none."""
    if not named:
        return bases_below(folder)
    try:
        return [backups.load(host.expand(named))]
    except backups.Unreadable as problem:
        host.fail("%s; nothing was stopped" % problem)


def chosen(host: Host, found: List[backups.Backup], archive: Any, params: Any, target: float, system: str) -> Any:
    """The newest base that was finished before the target, and the timelines from it on.

    Fails when there is none, or when none that is old enough is on the way to the timeline that is to be followed.
    """
    own = [base for base in found if system in ("", str(base.data["server"]["system_identifier"]))]
    older = [base for base in own if base.finished <= target]
    if not older:
        _refuse(host, own, params.target_time)
    ways = _wal.history(archive, params.timeline, max(int(base.data["base"]["timeline"]) for base in older))
    for base in reversed(older):
        lines = _wal.lines_from(ways, int(base.data["base"]["timeline"]), _wal.number(base.data["base"]["end_lsn"]))
        if lines:
            return base, lines
    return host.fail("%s; nothing was stopped" % _strayed(ways, older[-1]))


def _strayed(ways: List[Tuple[int, int]], base: Any) -> str:
    """Why a base is not on the way to a timeline."""
    last, own = ways[-1][0], base.data["base"]
    if last > 1 and len(ways) == 1:
        text = "the history of timeline %d names none before it: %08X.history is missing, empty or damaged"
        return text % (last, last)
    ends = [begins for _, begins in ways[1:]]
    way = ", ".join("%d up to %s" % (ways[n][0], _wal.lsn(end)) for n, end in enumerate(ends))
    text = "timeline %d comes from %s, and not from %s, which ended on timeline %d at %s"
    return text % (last, way or "none", base.folder, own["timeline"], own["end_lsn"])


def _refuse(host: Host, own: List[backups.Backup], text: str) -> None:
    there = ["%s (ended %s)" % (base.stamp, base.data["finished"]) for base in own]
    words = there[0] if there else "none of this server"
    if len(there) > 1:
        words = "%s, the oldest of %d" % (there[0], len(there))
    message = "no base backup ended before %s: there is %s; a younger one would bring back what is to be undone"
    host.fail((message + "; nothing was stopped") % (text, words))


def text_of(target: float) -> str:
    """Seconds since 1970 as PostgreSQL reads them."""
    from datetime import datetime, timedelta

    when = datetime(1970, 1, 1) + timedelta(seconds=target)
    return when.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".") + "+00"


def described(document: Dict[str, Any]) -> Dict[str, Any]:
    """What PostgreSQL's own backup_manifest says: the range of the log, the bytes of all files."""
    ranges = document["WAL-Ranges"][0]
    return {
        "timeline": ranges["Timeline"],
        "start_lsn": ranges["Start-LSN"],
        "end_lsn": ranges["End-LSN"],
        "size": sum(int(entry["Size"]) for entry in document["Files"]),
    }
