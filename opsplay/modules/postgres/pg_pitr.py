"""Recover a whole server to a moment: beside the one in use, which is only replaced by what has reached that moment."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Tuple

from opsplay.agent import backups, confirmation
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed
from opsplay.agent.spec import Bool, Int, List, Name, Path, Raw, Str
from opsplay.modules.postgres import (
    _bases,
    _leftovers,
    _pgbackrest,
    _psql,
    _recovery,
    _restoring,
    _server,
    _service,
    _wal,
    _writers,
)  # fmt: skip

PARAMS = dict(
    _server.CONNECTION,
    **_pgbackrest.PARAMS,
    target_time=Str(required=True, help="The moment, with its zone, e.g. 2026-11-28 12:00:00+00"),
    inclusive=Bool(default=True, help="Whether what was committed at just that moment is there"),
    bases=Path(help="The folder of base backups, DIR/NAME of pg_basebackup; the server's own tools need it"),
    base=Path(help="One base backup (of pgBackRest: its label) instead of the newest that had ended before the moment"),
    archive=Path(help="The folder of the archived log, dir of pg_archive; the server's own tools need it"),
    timeline=Str(default="latest", help="The timeline to follow: latest, or a number"),
    db=Name(default="postgres", help="The database that verify_queries ask"),
    verify_queries=List(of=Raw(), split=False, default=[], help="Queries that must give true, or {query, equals},"
                        " before the recovered server goes into service"),
    writers=List(of=Name(), default=[], help="systemd units that write: stopped before, started after, on failure too"),
    start_writers=Bool(default=True, help="Start the writers after success; after a failure they always are"),
    timeout=Int(default=14400, min=10, help="Seconds that the recovery may take"),
    confirm=confirmation.parameter("recover CLUSTER"),
)  # fmt: skip
CHECK = "exact"
SWITCH_SECONDS = 60


def run(host: Host, params: Any) -> Dict[str, Any]:
    _restoring.refuse_queries(host, params.verify_queries)
    target = _bases.moment(host, params.target_time)
    if target > time.time():
        host.fail("target_time: %s lies in the future" % params.target_time)
    server = _server.find_server(host, params)
    if server is None:
        host.note("", "recovered to %s\n" % params.target_time, "the server")
        host.unknown("kept", "base", "stopped_at", "timeline")
        return host.outcome()
    cluster = _service.own_cluster(host, server, "pg_pitr")
    tool, archive, found = _source(host, params, cluster)
    with _writers.Writers(host, params.writers, params.start_writers) as writers:
        try:
            base, lines = _bases.chosen(host, found, archive, params, target, _control(host, cluster)[0])
            _refuse(host, params, cluster, server, base, archive, lines, target)
        except Failed as problem:
            host.fail("%s; nothing was stopped" % problem)
        confirmation.require(host, params.confirm, "recover %s" % cluster.name)
        after = "at %s, from the base %s of %s\nthe old data directory is kept as %s_old_<time>\n"
        words = (_bases.text_of(target), base.folder, base.data["finished"], cluster.data)
        host.note("as it is\n", after % words, "cluster %s" % cluster.name)
        if host.check:
            _leftovers.told(host, cluster)
            writers.stop()
            host.unknown("kept", "stopped_at", "timeline", "seconds")
            return host.outcome(tool=tool, base=base.folder)
        with host.lock("pg-server-%s" % cluster.name.replace("/", "-")):
            _leftovers.sweep(host, cluster)
            told = _recovered(host, params, cluster, server, base, archive, target, writers)
    return host.outcome(tool=tool, base=base.folder, **told)


def _source(host: Host, params: Any, cluster: Any) -> Any:
    """Which tool brings the cluster back, the archive of its log, and the bases there are."""
    stanza = _pgbackrest.chosen(host, params, cluster)
    if stanza is None:
        if not params.bases or not params.archive:
            host.fail("the server's own tools recover %s: give bases and archive" % cluster.name)
        found = _bases.found_in(host, host.expand(params.bases), params.base or "")
        return "server", _wal.Folder(host.expand(params.archive)), found
    try:
        found = stanza.bases(*_control(host, cluster))
    except Failed as problem:
        host.fail("%s; nothing was stopped" % problem)
    if params.base:
        known, found = found, [base for base in found if base.folder == params.base]
        if not found:
            there = ", ".join(base.folder for base in known) or "none"
            host.fail("base: %s has no backup %s of this server; there is %s" % (stanza.place, params.base, there))
    return "pgbackrest", stanza, found


def _control(host: Host, cluster: Any) -> Tuple[str, int]:
    """The identifier of a cluster by its control file (empty when that cannot be read), and its segments' size."""
    from opsplay.modules.postgres import _clusters

    program = os.path.join(_clusters.bin_folder(host, cluster.version), "pg_controldata")
    said = host.query([program, cluster.data], env={"LC_ALL": "C"}).stdout.split("\n")
    found = {name: value.strip() for name, _, value in (line.partition(":") for line in said)}
    return found.get("Database system identifier", ""), int(found.get("Bytes per WAL segment") or 16 << 20)


def _refuse(
    host: Host, params: Any, cluster: Any, server: Any, base: Any, archive: Any, lines: Any, target: float
) -> None:
    """Fail on all that can be known before anything is stopped."""
    if os.path.ismount(cluster.data):
        host.fail("%s is a mount point, which cannot be renamed: keep the data in a folder below it" % cluster.data)
    if str(base.data["server"]["major"]) != str(cluster.major):
        host.fail("%s is of PostgreSQL %s, %s is not" % (base.folder, base.data["server"]["major"], cluster.name))
    if base.data["base"].get("error"):
        host.warn("pgBackRest has found pages with a wrong checksum when it made %s" % base.folder)
    damaged = backups.damage(host, base)
    if damaged:
        host.fail("the base backup is damaged: %s; nothing was stopped" % "; ".join(damaged))
    _restoring.refuse_full(host, server, os.path.dirname(cluster.data), int(base.data["base"]["size"]),
                           "the recovery of %s" % cluster.name)  # fmt: skip
    size, start = int(base.data["base"]["segment_size"]), _wal.number(base.data["base"]["start_lsn"])
    absent, reached = _wal.missing(archive, start, lines, size, target)
    if absent:
        shown = ", ".join(absent[:3]) + (" and %d more" % (len(absent) - 3) if len(absent) > 3 else "")
        host.fail("the log has a gap: %s is not in %s; nothing was stopped" % (shown, archive.place))
    if not reached and not host.check:
        _archive_rest(host, server, archive)


def _archive_rest(host: Host, server: Any, archive: Any) -> None:
    """What the server in use has written last is not archived yet: let it be."""
    try:
        with _psql.Psql(server) as db:
            name = _wal.end_segment(db)
    except _psql.SqlError as problem:
        host.warn("the last log of the server in use could not be archived: %s" % problem)
        return
    deadline = time.monotonic() + SWITCH_SECONDS
    while not archive.holds(name):
        if time.monotonic() > deadline:
            text = "%s was not archived to %s within %d s; nothing was stopped"
            host.fail(text % (name, archive.place, SWITCH_SECONDS))
        host.progress("waiting for %s in %s" % (name, archive.place))
        time.sleep(0.1)


def _recovered(
    host: Host, params: Any, cluster: Any, server: Any, base: Any, archive: Any, target: float, writers: Any
) -> Dict[str, Any]:
    began = time.monotonic()
    stamp = time.strftime("%Y%m%dT%H%M%S")
    with _recovery.Recovery(host, cluster, base, archive, stamp) as new:
        try:
            new.unpack()
            new.configure(params, target)
        except (Failed, OSError) as problem:
            host.fail("%s; the server in use is untouched" % problem)
        apart = new.recover(params.timeout)
        wrong = _restoring.verify_queries(apart, params.db, params.verify_queries)
        if wrong:
            host.fail(
                "the recovered server is not what it should be: %s; the one in use is untouched" % "; ".join(wrong)
            )
        new.forget_target(apart)
        with _psql.Psql(apart) as db:
            timeline = int(db.value("SELECT timeline_id AS t FROM pg_control_checkpoint()"))
        new.stop()
        stopped_at = new.stopped_at()
        writers.stop()
        kept = _exchange(host, cluster, server, new, stamp)
    try:
        archived = _await_archived(host, server, archive, timeline)
    except Failed as problem:
        archived = False
        host.warn("whether the new timeline is archived is not known: %s" % problem)
    seconds = round(time.monotonic() - began, 2)
    return {"kept": kept, "stopped_at": stopped_at, "timeline": timeline, "archived": archived, "seconds": seconds,
            "stopped": writers.stopped}  # fmt: skip


def _exchange(host: Host, cluster: Any, server: Any, new: Any, stamp: str) -> str:
    """Stop the old server, let the new directory take its place, start. Puts the old one back when that fails."""
    kept = "%s_old_%s" % (cluster.data.rstrip("/"), stamp)
    with host.critical(600):
        problem = _service.act(host, cluster, "stop") if cluster.pid else ""
        if problem:
            host.fail("%s cannot be stopped: %s; it is as it was" % (cluster.name, problem))
        said = _service.take_place(host, cluster, server, new.folder, kept)
        if said:
            back = _service.act(host, cluster, "start") or _service.await_ready(server, 120, writable=False)
            state = "the old one is in service again" if not back else "nor does the old one, in its place: %s" % back
            host.fail("the recovered server does not come into service: %s; %s" % (said, state))
        new.keep()
    return kept


def _await_archived(host: Host, server: Any, archive: Any, timeline: int) -> bool:
    """Whether the new timeline is archived; without archiving there is nothing to wait for."""
    with _psql.Psql(server) as db:
        if db.value("SELECT current_setting('archive_mode') AS m") == "off":
            host.warn("the server does not archive its log: it cannot be recovered to a moment from now on")
            return False
        name = _wal.end_segment(db)
    deadline = time.monotonic() + SWITCH_SECONDS
    while not (archive.holds(name) and archive.holds("%08X.history" % timeline)):
        if time.monotonic() > deadline:
            host.warn("the new timeline is not archived after %d s; look into the server's log" % SWITCH_SECONDS)
            return False
        time.sleep(0.1)
    return True
