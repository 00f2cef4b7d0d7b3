"""The moment of a restore: the new database takes the old one's name in one transaction; nobody gets in between."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from opsplay.agent import process, spawn
from opsplay.modules.postgres._psql import Psql, SqlError
from opsplay.modules.postgres._server import Server
from opsplay.modules.postgres._sql import identifier, literal

# RENAME waits five seconds for sessions to leave; so long they are ended, and somewhat longer.
SECONDS = 12
# Ends the sessions of one database until it bears another name. The rename holds a lock on the database that each new
# connection has to wait for, so nobody comes back in between; they then find the new database, or are refused.
ENDING = """DO $do$
DECLARE until timestamptz := clock_timestamp() + interval '%(seconds)d seconds';
BEGIN
  WHILE clock_timestamp() < until AND EXISTS (SELECT FROM pg_database WHERE oid = %(oid)d AND datname = %(name)s) LOOP
    PERFORM pg_stat_clear_snapshot();
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = %(oid)d AND pid <> pg_backend_pid();
    PERFORM pg_sleep(0.05);
  END LOOP;
END $do$"""
# What is told as done outlasts a power cut, also where the server's other commits need not.
LASTING = """DO $do$ BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN SET LOCAL synchronous_commit = on; END IF;
END $do$"""


def exchange(server: Server, db: Psql, old: Dict[str, Any], new: str, kept: str, statements: List[str]) -> None:
    """Rename the old database to `kept`, closed to everybody, and `new` to its name, with `statements` besides.

    All of it is one transaction: whatever ends it before its end leaves the old database in service. Raises SqlError.
    """
    name = old["name"]
    ender = _start_ending(server, old)
    try:
        lines = [
            "BEGIN",
            LASTING,
            "SET LOCAL lock_timeout = '%ds'" % SECONDS,
            "ALTER DATABASE %s RENAME TO %s" % (identifier(name), identifier(kept)),
            "ALTER DATABASE %s ALLOW_CONNECTIONS false" % identifier(kept),
            "ALTER DATABASE %s RENAME TO %s" % (identifier(new), identifier(name)),
        ]
        # From here to the commit nothing may be interrupted but by the server itself.
        with server.host.critical(SECONDS * 3):
            db.execute(";\n".join(lines + statements + ["COMMIT"]))
    finally:
        process.kill_group(ender)
        server.host.children.discard(ender)


def _start_ending(server: Server, old: Dict[str, Any]) -> int:
    """Start to end the sessions of the old database, beside what this conversation does."""
    text = ENDING % {"seconds": SECONDS, "oid": old["oid"], "name": literal(old["name"])}
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        argv = server.command("psql", "-X", "-w", "-q", "-c", text)
        env = dict(os.environ, **server.environment())
        return spawn.start(argv, env, "/", [null, null, null], server.host.children)
    finally:
        os.close(null)


def reason(problem: SqlError) -> str:
    """Why the exchange was refused, in the server's words."""
    return problem.details.replace("\n", "; ") or str(problem)


def sessions(db: Psql, name: str) -> List[Dict[str, Any]]:
    """Who uses a database now."""
    query = "SELECT usename AS role, application_name AS program FROM pg_stat_activity WHERE datname = %s"
    return db.rows(query % literal(name))
