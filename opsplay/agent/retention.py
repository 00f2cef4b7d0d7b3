"""Which backups may go: by age, or so many days, weeks and months; never the last good ones."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional, Set

from opsplay.agent import chain
from opsplay.agent.backups import Backup, backups_below, latest, withdraw
from opsplay.agent.host import Host
from opsplay.agent.spec import Int

# The parameters of every module that prunes backups.
RETENTION = {
    "keep_days": Int(
        min=1, aliases=["retention_days"],
        help="Remove what is older than so many days, to the second. Without any keep_… but keep_min nothing goes",
    ),
    "keep_daily": Int(min=1, help="Keep the newest backup of so many days"),
    "keep_weekly": Int(min=1, help="And of so many weeks before those days"),
    "keep_monthly": Int(min=1, help="And of so many months before those weeks"),
    "keep_min": Int(default=3, min=1, help="So many of the newest verified backups stay, however old they are"),
}  # fmt: skip
DAY = 86400.0
# Each period as strftime(3) names it, so that two moments of one period have one name. Weeks begin on Monday.
PERIODS = (("keep_daily", "%Y-%j"), ("keep_weekly", "%G-%V"), ("keep_monthly", "%Y-%m"))


def prunes(params: Any) -> bool:
    """Whether anything may be removed at all."""
    return any(params[name] for name in ("keep_days", "keep_daily", "keep_weekly", "keep_monthly"))


def expired(known: List[Backup], params: Any, pointed: str = "", now: Optional[float] = None) -> List[Backup]:
    """Those of one name's backups that may go, oldest first. `pointed` is the stamp that `latest` leads to.

    What is tagged stays (unless `tags` lets it go as others do), `latest` stays, the newest `keep_min` verified ones
    stay, and only what is older than the newest verified one goes. With an increment that stays its base stays.
    """
    may_go = [backup for backup in known if not backup.tag or params.get("tags")]
    ordinary = sorted(may_go, key=lambda backup: backup.stamp)
    # An increment that has lost its base brings nothing back: it is no reason to let others go.
    whole = {backup.stamp for backup in chain.based(known)}
    verified = [backup for backup in ordinary if backup.level and backup.stamp in whole]
    if not verified or not prunes(params):
        return []
    now = time.time() if now is None else now
    kept = {backup.stamp for backup in verified[-params["keep_min"] :]} | {pointed}
    kept |= by_age(ordinary, params["keep_days"], now)
    kept |= by_period(verified, params)
    newest = verified[-1].stamp
    gone = {backup.stamp for backup in ordinary if backup.stamp < newest and backup.stamp not in kept}
    gone -= set(chain.wanted_by(known, {backup.stamp for backup in known} - gone))
    return [backup for backup in ordinary if backup.stamp in gone]


def by_age(known: List[Backup], days: Optional[int], now: float) -> Set[str]:
    """The stamps of those that are young enough."""
    return {backup.stamp for backup in known if days and backup.finished >= now - days * DAY}


def by_period(known: List[Backup], params: Any) -> Set[str]:
    """The stamps of those that stand for a day, for a week before those days, or for a month before those weeks."""
    kept: Set[str] = set()
    rest = sorted(known, key=lambda backup: backup.stamp, reverse=True)
    for name, pattern in PERIODS:
        if not params[name]:
            continue
        newest: Dict[str, str] = {}
        while rest:
            period = time.strftime(pattern, time.gmtime(rest[0].finished))
            if period not in newest and len(newest) == params[name]:
                break
            newest.setdefault(period, rest.pop(0).stamp)
        kept |= set(newest.values())
    return kept


def prune(host: Host, directory: str, params: Any, coming: Optional[Backup] = None) -> List[str]:
    """Remove what may go from DIR/NAME; a preview only records it. Returns the folders. Raises Unreadable, OSError.

    `coming` is the backup that a preview would have made by then.
    """
    known = backups_below(directory) + ([coming] if coming is not None else [])
    current = coming or latest(directory)
    removed = []
    gone = expired(known, params, current.stamp if current else "")
    # Increments before what they stand on: at no time one lacks its base.
    for backup in sorted(gone, key=lambda each: each.increment_of is None):
        if not host.check and came_to_be_wanted(directory, backup):
            continue
        host.note("backup of %s\n" % backup.data["finished"], "", backup.folder)
        host.progress("removing %s" % backup.folder)
        if not host.check:
            withdraw(host, backup)
        removed.append(backup.folder)
    return removed


def came_to_be_wanted(directory: str, backup: Backup) -> bool:
    """Whether an increment stands on a backup that is to go: one may have been published since the choice was made."""
    if backup.data.get("type") != "full":
        return False
    now = backups_below(directory)
    return backup.stamp in chain.wanted_by(now, {each.stamp for each in now})
