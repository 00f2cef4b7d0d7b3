"""pg_restore in the database itself: its objects are replaced in one transaction, or not at all."""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, flow
from opsplay.modules.postgres import _beside, _restoring, _writers
from opsplay.modules.postgres._psql import Psql
from opsplay.modules.postgres._server import Server
from opsplay.modules.postgres._sql import literal

# Ends the sessions that hold a lock which the restore waits for.
UNBLOCK = """SELECT count(pg_terminate_backend(b)) AS n FROM pg_stat_activity a, unnest(pg_blocking_pids(a.pid)) b
  WHERE a.datname = %s AND a.application_name = 'opsplay' AND b <> 0"""


def restore(host: Host, params: Any, server: Server, source: Any, old: Any) -> Dict[str, Any]:
    """Drop what the dump holds and make it anew. What the dump does not hold stays."""
    if source.format == "plain":
        host.fail("a plain dump cannot replace what is there: it would be loaded over it; use mode: swap")
    with _writers.Writers(host, params.writers, params.start_writers) as writers:
        after = "its objects from %s, in one transaction\n" % source.describe()
        host.note("database %s as it is\n" % params.db, after, "database %s" % params.db)
        writers.stop()
        if host.check:
            host.unknown("safety", "rows", "seconds")
            return {"tables": len(source.tables), "stopped": writers.stopped, "kept": ""}
        safety = _beside.safety_dump(host, params, server, old)
        try:
            _replace(source, server, params)
        except Failed as problem:
            host.fail("%s; the transaction was rolled back, %s" % (problem, _beside.still(params)))
        rows = _proven(host, params, server, source, safety)
    return {"kept": "", "safety": safety, "rows": rows, "tables": len(source.tables), "stopped": writers.stopped}


def _replace(source: Any, server: Server, params: Any) -> None:
    words = ["--clean", "--if-exists", "--exit-on-error", "--single-transaction", "--no-password"]
    words += ["--dbname=%s" % params.db] + ["--no-owner"] * bool(params.no_owner)
    words += ["--no-privileges"] * bool(params.no_privileges)
    env, text = server.environment(params.db), "restoring %s" % params.db
    with Psql(server) as db:

        def unblock() -> int:
            db.value(UNBLOCK % literal(params.db))
            return 0

        if source.format == "directory":
            argv = _restoring.reader(server, source.place, ["pg_restore"] + words + [source.place])
            flow(source.host, [Program(argv, env)], text=text, tick=unblock)
        else:
            source.feed([Program(server.command("pg_restore", *words), env)], text, unblock)


def _proven(host: Host, params: Any, server: Server, source: Any, safety: str) -> int:
    rows = 0
    found: List[str] = []
    if params.analyze:
        _restoring.analyze(server, params.db, 1)
    if params.verify and source.tables:
        with Psql(server, params.db, seconds=24 * 3600) as db:
            found, rows = _restoring.differences(db, source.tables)
    found += _restoring.verify_queries(server, params.db, params.verify_queries)
    if found:
        back = "; it is as it was in %s" % safety if safety else ""
        host.fail("%s was restored, but is not what it should be: %s%s" % (params.db, "; ".join(found), back))
    return rows
