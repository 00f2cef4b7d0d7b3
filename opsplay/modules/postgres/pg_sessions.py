"""Sessions of clients: listed, their query cancelled, or the session ended; chosen by database, role, state and age.

The age of a session is that of its state: of an active one that of its query, of an idle one the time since its last
query. The server's own processes are never touched, nor is the module's own session.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Params, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.postgres import _durations, _server, _sql
from opsplay.modules.postgres._connect import Connection

PARAMS = dict(
    _server.CONNECTION,
    action=Choice("list", "cancel", "terminate", default="list", help="cancel ends the query, terminate the session"),
    db=Str(aliases=["login_db"], help="Only sessions in this database"),
    user=Str(help="Only sessions of this role"),
    application=Str(help="Only sessions that call themselves so"),
    state=ListOf(
        of=Str(), default=[], help="Only these: active, idle, idle in transaction, idle in transaction (aborted)"
    ),
    older_than=Str(help="Only those that have been in their state for longer, e.g. 5m, 1h"),
    exclude_users=ListOf(of=Str(), default=[], help="Never those of these roles"),
    exclude_self=Bool(default=True, help="Leave other sessions of opsplay alone, too, such as a backup that runs"),
    max=Int(min=0, help="Refuse when more than so many would be ended"),
    wait=Int(default=10, min=0, help="Seconds until a session must have ended"),
    show_query=Bool(default=False, help="Return the texts of queries, which may hold personal data"),
)
CHECK = "exact"
STATES = (
    "active",
    "idle",
    "idle in transaction",
    "idle in transaction (aborted)",
    "fastpath function call",
    "disabled",
)
AGE = """extract(epoch FROM clock_timestamp() - CASE WHEN state IN ('active', 'fastpath function call')
 THEN query_start ELSE coalesce(state_change, backend_start) END)"""
LOOK = (
    """SELECT pid, backend_start::text AS started, datname AS db, usename AS "user", state,
 application_name AS application, host(client_addr) AS client, round((%s)::numeric, 1) AS seconds,
 wait_event_type AS waits_for, pg_blocking_pids(pid) AS blocked_by%%s
 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()%%s
 ORDER BY seconds DESC, pid"""
    % AGE
)
ENDS = {"cancel": "pg_cancel_backend", "terminate": "pg_terminate_backend"}


def run(host: Host, params: Params) -> Dict[str, Any]:
    conditions = chosen(host, params)
    server = _server.find_server(host, params)
    if server is None:
        host.unknown("sessions", "count")
        return host.outcome()
    with Connection(server) as conn:
        query = ", query" if params.show_query else ""
        found = conn.rows(LOOK % (query, "".join(" AND " + one for one in conditions)))
        if params.action != "list" and found:
            if params.max is not None and len(found) > params.max:
                hint = "nothing was ended; narrow it down, or raise max"
                host.fail("%d sessions match, max is %d; %s" % (len(found), params.max, hint), sessions=found)
            end(host, conn, server, params, found)
    for row in found:
        del row["started"]
    return host.outcome(sessions=found, count=len(found))


def chosen(host: Host, params: Params) -> List[str]:
    """The conditions of WHERE. Fails where all sessions of a server would be ended."""
    unknown = [state for state in params.state if state not in STATES]
    if unknown:
        host.fail("state: %r is none of %s" % (unknown[0], ", ".join(STATES)))
    states = params.state or (["active"] if params.action == "cancel" else [])
    named = (("datname", params.db), ("usename", params.user), ("application_name", params.application))
    found = ["%s = %s" % (column, _sql.literal(value)) for column, value in named if value is not None]
    if states:
        found.append("state IN (%s)" % ", ".join(_sql.literal(state) for state in states))
    if params.older_than is not None:
        found.append("%s > %r" % (AGE, _durations.parameter(host, "older_than", params.older_than)))
    if params.action == "terminate" and not found:
        host.fail("this would end every session of the server; say which: db, user, application, state or older_than")
    if params.exclude_users:
        found.append("usename NOT IN (%s)" % ", ".join(_sql.literal(user) for user in params.exclude_users))
    if params.exclude_self:
        found.append("application_name <> 'opsplay'")
    return found


def end(host: Host, conn: Connection, server: _server.Server, params: Params, found: List[Dict[str, Any]]) -> None:
    """End what was found; a pid that is another's by now is left alone."""
    call = "SELECT %s(pid) FROM pg_stat_activity WHERE pid = %d AND backend_start = %s::timestamptz"
    verb = {"cancel": "query cancelled", "terminate": "ended"}[params.action]
    for row in found:
        shown = "pid %(pid)d: %(user)s in %(db)s, %(state)s" % row
        host.note(shown + "\n", shown + ", " + verb + "\n", "sessions of PostgreSQL %s" % server.describe())
        if not host.check:
            conn.execute(call % (ENDS[params.action], row["pid"], _sql.literal(row["started"])))
    if not host.check:
        await_end(host, conn, params, found)


def await_end(host: Host, conn: Connection, params: Params, found: List[Dict[str, Any]]) -> None:
    still = "SELECT pid FROM pg_stat_activity WHERE (pid, backend_start) IN (%s)%s"
    keys = ", ".join("(%d, %s::timestamptz)" % (row["pid"], _sql.literal(row["started"])) for row in found)
    running = " AND state = 'active'" if params.action == "cancel" else ""
    deadline = time.monotonic() + params.wait
    while True:
        left = conn.rows(still % (keys, running))
        if not left:
            return
        if time.monotonic() > deadline:
            pids = ", ".join(str(row["pid"]) for row in left)
            host.fail("after %d s these have not ended: pid %s; they may be waiting for a disk" % (params.wait, pids))
        time.sleep(0.1)
