"""Who may connect from where: rules of pg_hba.conf, proven by a server before the real one reads them.

A throwaway server of the same version reads the file first and names the line that is wrong. After the reload the
module connects anew, the way it came; when that is refused, the old file is put back. Either the rules are a block in
the file (`name`, `place`), or they are the whole file (`exclusive`).
"""

from __future__ import annotations

import os
from typing import Any, Dict, List

from opsplay.agent import files
from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Name, Params, Raw
from opsplay.agent.spec import List as ListOf
from opsplay.modules.postgres import _hba, _server, _sql
from opsplay.modules.postgres._connect import Connection
from opsplay.modules.postgres._psql import Psql, SqlError
from opsplay.modules.postgres._scratch import Scratch

PARAMS = dict(
    _server.CONNECTION,
    rules=ListOf(
        of=Raw(),
        split=False,
        default=[],
        help="In their order; each has type (host), databases (all), users (all), address, method, options and comment",
    ),
    name=Name(default="rules", help="The block of the file that holds them; no rules remove it"),
    place=Choice("first", "last", default="first", help="Whether the block stands before or behind the others' rules"),
    exclusive=Bool(default=False, help="The rules are the whole file"),
)
CHECK = "exact"
ERRORS = "SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL ORDER BY 1"
# What a server without a certificate says of rules that are well otherwise.
NO_SSL = "SSL is disabled"


def run(host: Host, params: Params) -> Dict[str, Any]:
    lines: List[str] = []
    for number, rule in enumerate(params.rules, 1):
        try:
            lines.append(_hba.line(rule))
        except _hba.Malformed as problem:
            host.fail("rules: number %d: %s" % (number, problem))
    if params.exclusive and not lines:
        host.fail("rules: a file without rules lets nobody in")
    server = _server.find_server(host, params)
    if server is None:
        host.note("", "".join(line + "\n" for line in lines), "pg_hba.conf")
        return host.outcome(rules=lines)
    if server.cluster is None:
        host.fail("pg_hba.conf can only be kept on the host of the server; %s is elsewhere" % server.describe())
    with Connection(server) as conn:
        path = str(conn.value("SELECT current_setting('hba_file') AS path"))
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            before = file.read()
        after = _hba.whole(lines) if params.exclusive else _hba.edited(before, params.name, lines, params.place)
        if after != before:
            validate(host, server, after)
            install(host, server, conn, path, before, after)
    return host.outcome(path=path, rules=lines)


def validate(host: Host, server: _server.Server, text: str) -> None:
    """Have a throwaway server of the same version read the file; fail with the lines that it refuses."""
    cluster = server.cluster
    assert cluster is not None
    account = cluster.owner if os.geteuid() == 0 else ""
    with Scratch(host, server.folder, os.path.dirname(cluster.data), account) as scratch, Psql(scratch) as conn:
        candidate = str(conn.value("SELECT current_setting('hba_file') AS path"))
        with open(candidate, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        errors = [row for row in conn.rows(ERRORS) if NO_SSL not in row["error"]]
    if errors:
        host.fail("pg_hba.conf would be refused: %s; the file is untouched" % _hba.describe(errors, text))


def install(host: Host, server: _server.Server, conn: Connection, path: str, before: str, after: str) -> None:
    """Write it, have the server itself look at it, reload, and connect anew; put the old one back otherwise."""
    host.write(host.real(path), after)
    if host.check:
        return
    with host.critical(30):
        errors = [row for row in conn.rows(ERRORS) if NO_SSL not in row["error"]]
        if errors:
            put_back(host, path, before)
            host.fail("the server refuses %s: %s; the old one is back" % (path, _hba.describe(errors, after)))
        loaded = reload(conn)
        try:
            with Psql(server, seconds=20) as again:
                again.value("SELECT 1")
        except SqlError as problem:
            put_back(host, path, before)
            reload(conn)
            hint = "the old file is back and in force; add a rule that lets this connection in"
            host.fail("with these rules opsplay itself could not connect any more: %s; %s" % (problem, hint))
        if not loaded:
            host.warn("the server has not said within 10 s that it has read %s" % path)


def reload(conn: Connection) -> bool:
    """Have the files read again, and wait until that was done. Raises SqlError."""
    import time

    before = conn.value("SELECT pg_conf_load_time() AS at")
    conn.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        # A backend learns of a reload between two statements.
        if conn.value("SELECT pg_conf_load_time() > %s::timestamptz AS done" % _sql.literal(before)):
            return True
        time.sleep(0.05)
    return False


def put_back(host: Host, path: str, text: str) -> None:
    path = host.real(path)
    found = os.stat(path)
    content = text.encode("utf-8", "surrogateescape")
    files.replace(host.temporary, path, iter((content,)), found.st_mode & 0o7777, (found.st_uid, found.st_gid))
