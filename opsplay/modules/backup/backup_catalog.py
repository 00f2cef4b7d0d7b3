"""Say which backups there are, choose one to restore from, and fail when the newest is too old or not good enough.

It judges by the manifests, never by the times or names of files: a file that was touched, or one that is still being
written, is not chosen. An increment is chosen only when the full set that it stands on is there and is the right one.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent import backups, chain, signatures
from opsplay.agent.backups import LEVELS, Backup
from opsplay.agent.host import Host
from opsplay.agent.signatures import SIGNED_BY
from opsplay.agent.spec import Bool, Choice, Int, Name, Path, Str
from opsplay.agent.spec import List as ListOf

PARAMS = {
    "dir": Path(required=True, help="The folder of all backups"),
    "name": ListOf(of=Name(), default=[], help="Only of these names. Default: of all that there are"),
    "stamp": Str(help="Only the one whose folder bears this name"),
    "select": Choice(
        "latest", "latest_verified", "latest_proven",
        help="Return one as `selected`, and fail when there is none: the newest, the newest that was verified when it"
             " was made, or the newest that a restore has proven. Without it, they are only listed",
    ),
    "level": Choice(*LEVELS, default="read", help="How thoroughly one must have been verified to count as verified"),
    "before": Str(
        help="Only those whose data is older than this moment, with its zone: 2026-11-28T02:00:00Z, or with +01:00"
    ),
    "tags": Bool(default=False, help="Let `select` take tagged ones, too; what a restore has replaced only by `stamp`"),
    "signed_by": SIGNED_BY,
    "check": Bool(default=False, help="Compare the hash of each file of the selected one"),
    "max_age": Int(min=1, help="Fail when the newest (that `select` would take) is older than so many hours"),
}  # fmt: skip
CHECK = "exact"


def run(host: Host, params: Any) -> Dict[str, Any]:
    directory = host.expand(params.dir)
    limit = moment_of(host, params.before) if params.before else None
    names = params.name or backups.names_below(directory)
    found: List[Backup] = []
    unreadable: List[str] = []
    for name in names:
        found += backups.backups_below(os.path.join(directory, name), unreadable)
    for reason in unreadable:
        host.warn("not counted as a backup: %s" % reason)
    if params.stamp:
        found = [backup for backup in found if backup.stamp == params.stamp]
    if limit is not None:
        found = [backup for backup in found if backups.seconds_of(data_time(backup)) < limit]
    found.sort(key=lambda backup: (data_time(backup), backup.stamp), reverse=True)
    result: Dict[str, Any] = {"backups": [told(host, params, backup) for backup in found], "selected": None}
    if params.select or params.max_age:
        selected = choose(host, params, directory, names, found)
        if params.check:
            damaged = chain.damage(host, selected)
            if damaged:
                host.fail("; ".join(damaged), **result)
        result["selected"] = told(host, params, selected)
    return host.outcome(**result)


def choose(host: Host, params: Any, directory: str, names: List[str], found: List[Backup]) -> Backup:
    """The newest that is good enough. Fails when there is none, or it is too old."""
    kind = params.select or "latest"
    fit = [backup for backup in found if may_be_chosen(backup, params) and good_enough(backup, kind, params.level)]
    selected, refused = first_good(host, params, fit)
    for reason in refused:
        host.warn("not chosen: %s" % reason)
    if selected is None:
        what = {"latest": "", "latest_verified": " verified", "latest_proven": " proven"}[kind]
        where = "%s (%s)" % (directory, ", ".join(names) or "no backups at all")
        before = " from before %s" % params.before if params.before else ""
        before += " of the stamp %s" % params.stamp if params.stamp else ""
        why = "; %s" % refused[0] if refused else ""
        host.fail("there is no%s backup%s in %s; %d do not fit%s" % (what, before, where, len(found), why))
    age = (time.time() - selected.finished) / 3600
    if params.max_age and age > params.max_age:
        host.fail("the newest backup, %s, is %.1f hours old; max_age is %d" % (selected.folder, age, params.max_age))
    return selected


def may_be_chosen(backup: Backup, params: Any) -> bool:
    """What is not tagged; with `tags` the others, too, but for what a restore has replaced: that by its stamp alone."""
    if not backup.tag:
        return True
    return bool(params.tags and (params.stamp or backup.tag != backups.BEFORE_RESTORE))


def first_good(host: Host, params: Any, fit: List[Backup]) -> Tuple[Optional[Backup], List[str]]:
    """The first whose base is there and that is signed as wanted, and why those before it are not taken."""
    refused: List[str] = []
    for backup in fit:
        try:
            chain.base_of(host, backup)
            signatures.refuse(host, backup, params.signed_by)
            return backup, refused
        except (chain.Broken, signatures.Refused) as problem:
            refused.append(str(problem))
    return None, refused


def good_enough(backup: Backup, kind: str, level: str) -> bool:
    if kind == "latest" or backup.proof:
        return True
    return kind == "latest_verified" and backup.level in LEVELS[LEVELS.index(level) :]


def data_time(backup: Backup) -> str:
    """The moment that a backup shows: that of its snapshot, else when it was begun."""
    database = backup.data.get("database") or {}
    return str(database.get("snapshot_time") or backup.data["started"])


def told(host: Host, params: Any, backup: Backup) -> Dict[str, Any]:
    database = backup.data.get("database") or {}
    server = backup.data.get("server") or {}
    more = {"database": database.get("name"), "server_version": server.get("version"), "data_time": data_time(backup)}
    # With signed_by: by one of those keys.
    more["signed"] = signatures.signed(host, backup, params.signed_by)
    hours = round((time.time() - backup.finished) / 3600, 1)
    more.update(age_hours=hours, files=backup.files, content=backup.data.get("content"))
    return dict(backup.describe(), **more)


def moment_of(host: Host, text: str) -> float:
    """Seconds since 1970 of an ISO time with its zone. Fails for another."""
    from datetime import datetime

    word: Optional[str] = text.strip().replace(" ", "T", 1)
    if word and word[-1] in "zZ":
        word = word[:-1] + "+0000"
    elif word and len(word) > 6 and word[-6] in "+-" and word[-3] == ":":
        word = word[:-3] + word[-2:]
    for pattern in ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"):
        try:
            return datetime.strptime(str(word), pattern).timestamp()
        except ValueError:
            continue
    return host.fail("before: %r is no moment with a zone; write it as 2026-11-28T02:00:00Z or with +01:00" % text)
