"""Wait until a PostgreSQL server takes connections and answers a query, as a client would find it."""

from __future__ import annotations

import time
from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Float, Int, Str
from opsplay.modules.postgres import _psql, _server

PARAMS = dict(
    _server.CONNECTION,
    db=Str(default="postgres", help="The database to ask"),
    timeout=Int(default=60, min=0, help="Seconds until it is given up; 0 asks once"),
    interval=Float(default=0.5, help="Seconds between two attempts"),
    writable=Bool(default=False, help="Wait for a server that is no standby and takes writes"),
)
CHECK = "exact"


def run(host: Host, params: Any) -> Dict[str, Any]:
    server = _server.find_server(host, params)
    if server is None:
        host.unknown("version", "in_recovery", "waited")
        return host.outcome()
    began = time.monotonic()
    while True:
        found, problem = ask(server, params.db)
        if found and params.writable and found["in_recovery"]:
            problem = "it is a standby, which takes no writes"
        if not problem:
            break
        waited = time.monotonic() - began
        if waited >= params.timeout:
            host.fail("PostgreSQL %s is not ready after %.1f s: %s" % (server.describe(), waited, problem))
        host.progress("waiting for PostgreSQL: %s" % problem)
        time.sleep(max(0.05, min(params.interval, params.timeout - waited)))
    return host.outcome(waited=round(time.monotonic() - began, 2), **found)


def ask(server: _server.Server, database: str) -> Any:
    """What the server says of itself, and why it does not."""
    columns = "version() AS version, pg_is_in_recovery() AS in_recovery"
    try:
        with _psql.Psql(server, database, seconds=30) as db:
            return db.row("SELECT %s" % columns), ""
    except _psql.SqlError as problem:
        return {}, str(problem)
