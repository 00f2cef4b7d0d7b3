"""VACUUM, ANALYZE and REINDEX where they are needed, within a window, and never beside a backup.

Tables are chosen by their dead or changed rows, so that a run without need changes nothing. PostgreSQL's own vacuumdb
and reindexdb do the work, in parallel; indexes are made anew beside the old ones (CONCURRENTLY), so that writers go on.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Int, Params, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.postgres import _server, _sql
from opsplay.modules.postgres._connect import Connection, pretended
from opsplay.modules.postgres._locks import lock_name

PARAMS = dict(
    _server.CONNECTION,
    db=Str(required=True, aliases=["login_db"], help="The database"),
    op=Choice("vacuum", "analyze", "vacuum_analyze", "reindex", default="vacuum_analyze", help="What is done"),
    tables=ListOf(of=Str(), default=[], help="Only these, as table or schema.table"),
    min_dead_tuples=Int(
        default=1000, min=0, help="Tables with fewer dead rows (for analyze: changed rows) are passed over; 0 takes all"
    ),
    jobs=Int(default=1, min=1, max=64, help="Connections that work side by side"),
    window=Str(help='Only at this time of the host\'s day, e.g. "01:00-05:00"; else nothing is done'),
    timeout=Int(default=14400, min=1, help="Seconds that it may take"),
    lock_wait=Int(default=0, min=0, help="Seconds to wait for a backup or other maintenance of the database to end"),
)
CHECK = "exact"
LOOK = """SELECT schemaname AS schema, relname AS name, n_dead_tup AS dead, n_mod_since_analyze AS modified,
 coalesce(last_analyze, last_autoanalyze) IS NULL AND n_live_tup > 0 AS never, pg_total_relation_size(relid) AS bytes
 FROM pg_stat_user_tables ORDER BY pg_total_relation_size(relid) DESC, 1, 2"""
PROGRAMS = {
    "vacuum": ["vacuumdb"],
    "analyze": ["vacuumdb", "--analyze-only"],
    "vacuum_analyze": ["vacuumdb", "--analyze"],
    "reindex": ["reindexdb", "--concurrently"],
}


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.window and not is_within(host, params.window, time.strftime("%H:%M", time.localtime())):
        return host.outcome(
            tables=[], in_window=False, msg="not within the window %s: nothing was done" % params.window
        )
    server = _server.find_server(host, params)
    if server is None or pretended(server, "database", params.db):
        host.unknown("tables")
        return host.outcome(in_window=True)
    with host.lock(lock_name(server, params.db), wait=params.lock_wait):
        with Connection(server, params.db) as conn:
            if conn.value("SELECT pg_is_in_recovery() AS r"):
                host.fail("PostgreSQL %s is a standby: maintain its primary" % server.describe())
            chosen = choose(host, params, conn.rows(LOOK))
        if chosen:
            maintain(host, server, params, chosen)
    return host.outcome(tables=[shown(row) for row in chosen], in_window=True)


def is_within(host: Host, window: str, now: str) -> bool:
    """Whether a time of day is in a window, which may go over midnight."""
    start, dash, stop = (part.strip() for part in window.partition("-"))
    for text in (start, stop):
        hours, _, minutes = text.partition(":")
        if not (dash and hours.isdigit() and minutes.isdigit() and int(hours) < 25 and int(minutes) < 60):
            host.fail('window: %r is not a time such as "01:00-05:00"' % window)
    first, last = ("%5s" % text.replace(" ", "") for text in (start.rjust(5, "0"), stop.rjust(5, "0")))
    return first <= now < last if first <= last else now >= first or now < last


def choose(host: Host, params: Params, rows: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The tables that need it. Fails for one that is not there."""
    names = {shown(row): row for row in rows}
    names.update((row["name"], row) for row in rows if row["schema"] == "public")
    missing = [name for name in params.tables if name not in names]
    if missing:
        host.fail("database %s has no table %s" % (params.db, ", ".join(missing)))
    found = [names[name] for name in params.tables] if params.tables else rows
    return [row for row in found if needs(row, params.op, params.min_dead_tuples)]


def needs(row: Dict[str, Any], op: str, least: int) -> bool:
    if not least or op == "reindex":
        return True
    dead, modified = row["dead"] >= least, row["modified"] >= least or row["never"]
    return bool({"vacuum": dead, "analyze": modified, "vacuum_analyze": dead or modified}[op])


def shown(row: Dict[str, Any]) -> str:
    return "%s.%s" % (row["schema"], row["name"])


def maintain(host: Host, server: _server.Server, params: Params, rows: List[Dict[str, Any]]) -> None:
    program, words = PROGRAMS[params.op][0], PROGRAMS[params.op][1:]
    host.note("", "".join("%s\n" % shown(row) for row in rows), "%s in database %s" % (params.op, params.db))
    jobs = min(params.jobs, len(rows))
    words = words + ["--no-password", "--quiet"] + (["--jobs=%d" % jobs] if jobs > 1 else [])
    words += ["--table=%s" % _sql.identifier(row["schema"], row["name"]) for row in rows]
    host.progress("%s of %d tables in %s" % (params.op, len(rows), params.db))
    done = server.query(program, *words, database=params.db, timeout=params.timeout) if not host.check else None
    if done is not None and done.timed_out:
        host.fail("%s in database %s took more than %d s and was ended" % (params.op, params.db, params.timeout))
    if done is not None and done.rc != 0:
        host.fail("%s in database %s: %s" % (params.op, params.db, done.stderr.strip() or done.error))
