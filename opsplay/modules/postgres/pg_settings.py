"""A server's settings: compared by what they mean, set with ALTER SYSTEM, read back, put back when it does not come up.

ALTER SYSTEM writes postgresql.auto.conf, which prevails over every other file; it works on a server elsewhere, too.
The server is reloaded; it is restarted only when a setting asks for that and `restart` allows it. A restart that fails
ends with the old settings in force and the server's own words.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List

from opsplay.agent import files
from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Int, Params, Raw
from opsplay.agent.spec import Dict as DictOf
from opsplay.modules.postgres import _server, _service, _sql
from opsplay.modules.postgres import _setting_values as values
from opsplay.modules.postgres._connect import Connection
from opsplay.modules.postgres._psql import Psql, SqlError

PARAMS = dict(
    _server.CONNECTION,
    set=DictOf(of=Raw(), required=True, aliases=["settings"], help="Names and values: work_mem: 8MB; null resets one"),
    restart=Bool(default=False, help="Restart the server when a setting needs it; else it is pending, and said so"),
    timeout=Int(default=60, min=1, help="Seconds that a restart may take"),
)
CHECK = "exact"
LOOK = """SELECT name, setting, unit, vartype, enumvals, context, min_val, max_val, boot_val, reset_val, source,
 pending_restart, current_setting(name, true) AS shown,
 (SELECT f.setting FROM pg_file_settings f WHERE lower(f.name) = lower(s.name) ORDER BY seqno DESC LIMIT 1) AS written,
 (SELECT f.setting FROM pg_file_settings f WHERE lower(f.name) = lower(s.name)
  AND f.sourcefile LIKE '%%postgresql.auto.conf' ORDER BY seqno DESC LIMIT 1) AS altered
 FROM pg_settings s WHERE lower(name) IN (%s)"""
# Seconds until every process of a server has read its settings again.
RELOAD_SECONDS = 10.0


class Change:
    """A setting that is to have another value: its row of pg_settings, and the value (None: its default)."""

    __slots__ = ("row", "value", "in_files")

    def __init__(self, row: Dict[str, Any], value: Any, in_files: bool) -> None:
        self.row = row
        self.value = value
        # Whether the files say so already, and only the server has not taken it.
        self.in_files = in_files

    @property
    def name(self) -> str:
        return str(self.row["name"])

    @property
    def restart(self) -> bool:
        return bool(self.row["context"] == "postmaster")


def run(host: Host, params: Params) -> Dict[str, Any]:
    server = _server.find_server(host, params)
    if server is None:
        for name, value in sorted(params.set.items()):
            host.note("", "%s = %s\n" % (name, values.text_of(value)), "PostgreSQL")
        host.unknown("pending_restart", "effective")
        return host.outcome()
    with Connection(server) as conn:
        rows = look(conn, list(params.set))
        changes = wanted(host, params, rows)
        if any(not change.in_files for change in changes):
            write(host, server, conn, changes)
    pending = [change.name for change in changes if change.restart]
    if pending and params.restart:
        restart(host, server, params, changes)
    elif pending:
        host.warn("%s: only a restart brings this into force; give restart: true" % ", ".join(sorted(pending)))
    if host.check:
        return host.outcome(pending_restart=[] if params.restart else sorted(pending))
    return host.outcome(pending_restart=[] if params.restart else sorted(pending), effective=effective(server, params))


def look(conn: Psql, names: List[str]) -> Dict[str, Dict[str, Any]]:
    """Rows of pg_settings by name. Raises SqlError."""
    found = conn.rows(LOOK % (", ".join(_sql.literal(name.lower()) for name in names) or "''"))
    return {row["name"].lower(): row for row in found}


def wanted(host: Host, params: Params, rows: Dict[str, Dict[str, Any]]) -> List[Change]:
    """What differs. Fails for what no setting is, and what it cannot have."""
    changes = []
    for name, value in sorted(params.set.items()):
        row = rows.get(name.lower())
        if row is None:
            hint = "; the library that brings it must be loaded first" if "." in name else "; check its name"
            host.fail("this server has no setting %s%s" % (name, hint))
        if row["context"] == "internal":
            host.fail("%s cannot be set: it was fixed when the server was built or its cluster made" % name)
        try:
            values.meaning(row, row["boot_val"] if value is None else value)
        except values.Wrong as problem:
            if value is not None:
                host.fail("%s: %s" % (name, problem))
        if value is None:
            in_files, in_force = row["altered"] is None, not row["pending_restart"]
        else:
            in_force = values.same(row, value, row["reset_val"]) or values.same(row, value, row["shown"])
            in_files = values.same(row, value, row["written"]) if row["written"] is not None else in_force
        if not (in_files and in_force):
            changes.append(Change(row, value, in_files))
    return changes


def write(host: Host, server: _server.Server, conn: Connection, changes: List[Change]) -> None:
    """ALTER SYSTEM, one statement at a time, and a reload; all is taken back when one is refused."""
    done: List[Change] = []
    for change in changes:
        if change.in_files:
            continue
        before = change.row["written"] if change.row["written"] is not None else change.row["shown"]
        after = "default" if change.value is None else values.text_of(change.value)
        note = ("%s = %s\n" % (change.name, before), "%s = %s\n" % (change.name, after))
        host.note(note[0], note[1], "PostgreSQL %s" % server.describe())
        if host.check:
            continue
        try:
            conn.execute(statement(change.name, change.value))
        except SqlError as problem:
            take_back(server, done)
            host.fail("%s: %s; nothing was changed" % (change.name, problem))
        done.append(change)
    if not host.check:
        conn.execute("SELECT pg_reload_conf()")
        await_reload(host, server, done)


def statement(name: str, value: Any) -> str:
    if value is None:
        return "ALTER SYSTEM RESET %s" % _sql.identifier(name)
    return "ALTER SYSTEM SET %s = %s" % (_sql.identifier(name), values.assignment(name, value))


def take_back(server: _server.Server, changes: List[Change]) -> None:
    """Give postgresql.auto.conf its old values while the server runs."""
    with Connection(server) as conn:
        for change in changes:
            conn.execute(statement(change.name, change.row["altered"]))
        conn.execute("SELECT pg_reload_conf()")


def await_reload(host: Host, server: _server.Server, changes: List[Change]) -> None:
    """Read the values back, each time with a new connection; fail, and take all back, when one does not come."""
    live = [change for change in changes if not change.restart and change.value is not None]
    deadline = time.monotonic() + RELOAD_SECONDS
    while live:
        with Connection(server) as conn:
            rows = look(conn, [change.name for change in live])
        live = [one for one in live if not values.same(one.row, one.value, rows[one.name.lower()]["reset_val"])]
        if live and time.monotonic() > deadline:
            take_back(server, changes)
            row = rows[live[0].name.lower()]
            text = "%s is still %s: it is set by its %s; nothing was changed"
            host.fail(text % (live[0].name, row["shown"], row["source"]))
        if live:
            time.sleep(0.1)


def restart(host: Host, server: _server.Server, params: Params, changes: List[Change]) -> None:
    """Restart, and if it does not come up, put the old settings back and restart again."""
    if server.cluster is None:
        host.fail("a server elsewhere cannot be restarted from here; leave restart out, and restart it there")
    names = ", ".join(change.name for change in changes if change.restart)
    host.note("", "restart for %s\n" % names, "PostgreSQL %s" % server.describe())
    if host.check:
        return
    cluster = server.cluster
    logged = _service.log_size(cluster)
    with host.critical(params.timeout * 2):
        problem = _service.act(host, cluster, "restart", params.timeout)
        problem = problem or _service.await_ready(server, params.timeout, writable=False)
        if not problem:
            return
        reason = _service.complaints(cluster, logged) or problem
        put_back(host, server, changes, params.timeout)
        still = _service.await_ready(server, params.timeout, writable=False)
    state = "the old settings are back and the server runs" if not still else "the old settings are back, but: " + still
    host.fail("PostgreSQL %s did not come up with the new settings: %s; %s" % (server.describe(), reason, state))


def put_back(host: Host, server: _server.Server, changes: List[Change], seconds: int) -> None:
    """Edit postgresql.auto.conf as ALTER SYSTEM would, for a server that does not run, and start it."""
    cluster = server.cluster
    assert cluster is not None
    path = os.path.join(cluster.data, "postgresql.auto.conf")
    found = os.stat(path)
    names = {change.name: change.row["altered"] for change in changes}
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        lines = [line for line in file if line.partition("=")[0].strip() not in names]
    for name, value in sorted(names.items()):
        if value is not None:
            lines.append("%s = '%s'\n" % (name, value.replace("\\", "\\\\").replace("'", "''")))
    content = "".join(lines).encode("utf-8", "surrogateescape")
    files.replace(host.temporary, path, iter((content,)), found.st_mode & 0o777, (found.st_uid, found.st_gid))
    _service.act(host, cluster, "restart", seconds)


def effective(server: _server.Server, params: Params) -> Dict[str, str]:
    """What is in force now, as the server shows it."""
    with Connection(server) as conn:
        return {row["name"]: row["shown"] for row in look(conn, list(params.set)).values()}
