"""What a server and a database tell of themselves, each with the one number that is compared with thresholds."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host
from opsplay.agent.sizes import free_bytes
from opsplay.modules.postgres import _sql
from opsplay.modules.postgres._psql import Psql

# A table with fewer dead rows is no trouble, however large their share is.
DEAD_MANY = 1000
CLIENTS = "backend_type = 'client backend' AND pid <> pg_backend_pid()"


def connections(host: Host, conn: Psql, params: Any) -> Tuple[Dict[str, Any], float]:
    """Sessions of clients against what the server allows; the percentage."""
    row = conn.row(
        """SELECT count(*) AS used, current_setting('max_connections')::int
     - current_setting('superuser_reserved_connections')::int AS usable FROM pg_stat_activity WHERE %s"""
        % CLIENTS
    )
    assert row is not None
    percent = round(100.0 * row["used"] / max(1, row["usable"]), 1)
    found = {"used": row["used"], "usable": row["usable"], "percent": percent}
    for name, column in (("by_state", "state"), ("by_db", "datname"), ("by_user", "usename")):
        sql = "SELECT coalesce(%s, '') AS k, count(*) AS n FROM pg_stat_activity WHERE %s GROUP BY 1 ORDER BY 2 DESC, 1"
        found[name] = {one["k"]: one["n"] for one in conn.rows(sql % (column, CLIENTS))}
    return found, percent


def size(host: Host, conn: Psql, params: Any) -> Tuple[Dict[str, Any], float]:
    """Bytes of the database, and its largest tables with their indexes."""
    total = conn.value("SELECT pg_database_size(current_database()) AS n")
    sql = """SELECT n.nspname AS schema, c.relname AS name, pg_total_relation_size(c.oid) AS bytes FROM pg_class c
     JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'm') ORDER BY 3 DESC LIMIT %d"""
    return {"bytes": total, "largest": conn.rows(sql % params.top)}, float(total)


def long_queries(host: Host, conn: Psql, params: Any) -> Tuple[Dict[str, Any], float]:
    """Queries that run for longer than `older_than`; an idle session runs none."""
    sql = """SELECT pid, datname AS db, usename AS "user", application_name AS application,
     round(extract(epoch FROM clock_timestamp() - query_start)::numeric, 1) AS seconds%s FROM pg_stat_activity
     WHERE %s AND state = 'active' AND clock_timestamp() - query_start > make_interval(secs => %r) ORDER BY 5 DESC"""
    rows = conn.rows(sql % (", query" if params.show_query else "", CLIENTS, params.seconds))
    return {"queries": rows, "count": len(rows)}, float(len(rows))


def blockers(host: Host, conn: Psql, params: Any) -> Tuple[Dict[str, Any], float]:
    """Who waits for whose lock; `roots` are those who wait for nobody themselves."""
    sql = """SELECT pid, datname AS db, usename AS "user", state, application_name AS application,
     pg_blocking_pids(pid) AS blocked_by, round(extract(epoch FROM clock_timestamp()
     - coalesce(state_change, backend_start))::numeric, 1) AS seconds%s FROM pg_stat_activity
     WHERE pid <> pg_backend_pid()"""
    rows = {row["pid"]: row for row in conn.rows(sql % (", query" if params.show_query else ""))}
    waiting = [row for row in rows.values() if row["blocked_by"]]
    holders = {pid for row in waiting for pid in row["blocked_by"]}
    roots = [rows[pid] for pid in sorted(holders) if pid in rows and not rows[pid]["blocked_by"]]
    return {"waiting": waiting, "roots": roots, "count": len(waiting)}, float(len(waiting))


def bloat(host: Host, conn: Psql, params: Any) -> Tuple[Dict[str, Any], float]:
    """Dead rows by table; the largest share, in percent, of those tables that have many."""
    sql = """SELECT schemaname AS schema, relname AS name, n_live_tup AS live, n_dead_tup AS dead,
     round(100.0 * n_dead_tup / greatest(1, n_live_tup + n_dead_tup), 1) AS percent,
     greatest(last_vacuum, last_autovacuum)::text AS vacuumed FROM pg_stat_user_tables
     WHERE n_dead_tup >= %d ORDER BY n_dead_tup DESC LIMIT %d"""
    rows = conn.rows(sql % (DEAD_MANY, params.top))
    return {"tables": rows}, max([float(row["percent"]) for row in rows] or [0.0])


def cache_hit(host: Host, conn: Psql, params: Any) -> Tuple[Dict[str, Any], float]:
    """How many of 100 blocks were found in shared_buffers; 100 when none was asked for yet."""
    row = conn.row("SELECT blks_hit AS hit, blks_read AS read FROM pg_stat_database WHERE datname = current_database()")
    assert row is not None
    asked = row["hit"] + row["read"]
    percent = round(100.0 * row["hit"] / asked, 2) if asked else 100.0
    return dict(row, percent=percent), percent


def slow_queries(host: Host, conn: Psql, params: Any) -> Tuple[Dict[str, Any], float]:
    """The queries with the longest mean time (ms), as pg_stat_statements has them; its column is mean_exec_time."""
    where = conn.value("""SELECT n.nspname AS s FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace
     WHERE extname = 'pg_stat_statements'""")
    loaded = conn.value("SELECT current_setting('shared_preload_libraries') AS s") or ""
    if not where or "pg_stat_statements" not in loaded:
        text = "slow_queries needs the extension pg_stat_statements: set shared_preload_libraries with pg_settings and"
        host.fail(text + " make it in database %s with pg_ext" % params.db)
    sql = """SELECT s.queryid::text AS id, calls, round(mean_exec_time::numeric, 3) AS mean_ms,
     round(max_exec_time::numeric, 3) AS max_ms, round(total_exec_time::numeric, 1) AS total_ms, rows%s
     FROM %s s WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND calls >= %d
     ORDER BY mean_exec_time DESC LIMIT %d"""
    view = _sql.identifier(where, "pg_stat_statements")
    # Constants are already replaced by $1 there.
    rows = conn.rows(sql % (", query" if params.show_query else "", view, params.min_calls, params.top))
    return {"queries": rows}, max([float(row["mean_ms"]) for row in rows] or [0.0])


def growth(host: Host, conn: Psql, params: Any) -> Tuple[Dict[str, Any], float]:
    """How much larger the database is than at the last measurement (percent), and how long the disk will last."""
    import os
    import time

    if not params.trend_file:
        host.fail("growth needs trend_file: where the measurements are kept")
    path, now = host.expand(params.trend_file), time.time()
    total = int(conn.value("SELECT pg_database_size(current_database()) AS n"))
    points = measurements(path, params.db)
    found: Dict[str, Any] = {"bytes": total, "measurements": len(points), "per_day": None, "days_to_full": None}
    percent = 0.0
    if points:
        (first_at, first), (_, last) = points[0], points[-1]
        percent = round(100.0 * (total - last) / max(1, last), 2)
        days = (now - first_at) / 86400
        found["per_day"] = int((total - first) / days) if days > 0 else None
        folder = conn.value("SELECT current_setting('data_directory') AS d")
        if found["per_day"] and found["per_day"] > 0 and os.path.isdir(folder):
            found["days_to_full"] = round(free_bytes(folder) / found["per_day"], 1)
    if not host.check:
        with open(path, "a", encoding="utf-8") as file:
            file.write("%d %d %s\n" % (now, total, params.db))
    return dict(found, percent=percent), percent


def measurements(path: str, db: str) -> List[Tuple[float, int]]:
    """Moments and sizes of one database, oldest first; lines that are none are passed over."""
    found = []
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except OSError:
        return []
    for line in lines:
        at, _, rest = line.partition(" ")
        number, _, name = rest.partition(" ")
        if name == db and at.isdigit() and number.isdigit():
            found.append((float(at), int(number)))
    return found
