"""Bring a database's schema to where the application needs it: once, by one run at a time, after a proven backup.

Pending migrations are looked up first, so that a preview shows them and a second run does nothing. Meanwhile an
advisory lock in the database itself keeps every other host from doing the same.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional

from opsplay.agent import backups
from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Int, Name, Params, Path, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.agent.spec import List as ListOf
from opsplay.modules.postgres import _durations, _server
from opsplay.modules.postgres._connect import Connection, pretended

PARAMS = dict(
    _server.CONNECTION,
    db=Str(required=True, aliases=["login_db"], help="The database that is migrated; its backup and lock go by it"),
    tool=Choice("command", "alembic", default="command", help="What knows the migrations"),
    argv=ListOf(of=Str(), split=False, help="The command that migrates; for alembic the program, if it is not in PATH"),
    pending=ListOf(
        of=Str(), split=False, help="The command that prints a line for each pending migration, nothing without one"
    ),
    target=Str(default="head", help="Where alembic shall go"),
    chdir=Path(help="The folder to run it in, that of alembic.ini"),
    env=DictOf(of=Str(), default={}, secret=True, help="Environment variables for it, e.g. DATABASE_URL"),
    user=Name(help="The account to run it as; without it the task's own"),
    backup_gate=Str(help="A verified backup must be younger than this, e.g. 1h; without it none is asked for"),
    backup_dir=Path(help="The folder of all backups, for backup_gate"),
    backup_name=Name(help="The name of its backups there; without it the database's"),
    backup_level=Choice(*backups.LEVELS + ("proven",), default="read", help="How that backup must have been verified"),
    timeout=Int(default=3600, min=1, help="Seconds that the migration may take"),
    lock_wait=Int(default=0, min=0, help="Seconds to wait for another run of migrations to end"),
)  # fmt: skip
CHECK = "partial"
# The advisory lock's key: "opsplay" and "migr" in ASCII; databases have locks of their own.
LOCK = "SELECT pg_try_advisory_lock(%d) AS taken" % int.from_bytes(b"opsmigr", "big")
# The server shall not end the connection that holds the lock while nothing is said on it.
PATIENT = """SELECT set_config(name, '0', false) FROM pg_settings
 WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout')"""


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.tool == "command" and not params.argv:
        host.fail("tool: command needs argv, the command that migrates")
    if params.backup_gate and not params.backup_dir:
        host.fail("backup_gate needs backup_dir, the folder of the backups")
    server = _server.find_server(host, params)
    away = host.check and params.chdir and not os.path.isdir(host.expand(params.chdir))
    if server is None or away or pretended(server, "database", params.db):
        host.changed = True
        host.unknown("pending", "revision", "output")
        return host.outcome()
    before = pending(host, params)
    if before == []:
        return host.outcome(pending=[], output="")
    host.note("", "".join("%s\n" % line for line in before or ["migrations"]), "migrations of database %s" % params.db)
    gate(host, params)
    if host.check:
        host.unknown("output", *(["pending"] if before is None else []))
        return host.outcome(**({"pending": before} if before is not None else {}))
    with Connection(server, params.db, seconds=30) as conn:
        conn.execute(PATIENT)
        take_lock(host, conn, params)
        now = pending(host, params)
        if now == []:
            # Whoever held the lock has done it.
            host.changed = False
            host.diffs.clear()
            return host.outcome(pending=[], output="")
        output = migrate(host, params)
        left = pending(host, params)
        if left:
            host.fail("the migration ended well, but these are still pending: %s" % ", ".join(left), output=output)
    return host.outcome(pending=before or [], output=output)


def take_lock(host: Host, conn: Connection, params: Params) -> None:
    """Hold the advisory lock as long as the connection is open."""
    deadline = time.monotonic() + params.lock_wait
    while not conn.value(LOCK):
        if time.monotonic() >= deadline:
            host.fail("another run is migrating database %s; nothing was done" % params.db)
        host.progress("waiting for another run that is migrating %s" % params.db)
        time.sleep(0.5)


def tool(host: Host, params: Params, argv: List[str]) -> Any:
    """Run the tool to its end."""
    words = _server.as_account(params.user or "", argv) if params.user else argv
    options: Dict[str, Any] = {"env": params.env, "timeout": params.timeout}
    if params.chdir:
        options["cwd"] = host.expand(params.chdir)
    done = host.query(words, **options)
    if done.timed_out:
        host.fail("%s took more than %d s and was ended; look at the schema" % (" ".join(argv), params.timeout))
    if done.rc != 0:
        said = (done.stderr.strip() or done.stdout.strip() or done.error or "rc %d" % done.rc)[-2000:]
        host.fail("%s failed: %s" % (" ".join(argv), said), rc=done.rc, stdout=done.stdout, stderr=done.stderr)
    return done


def alembic(params: Params) -> List[str]:
    return list(params.argv or ["alembic"])


def pending(host: Host, params: Params) -> Optional[List[str]]:
    """The migrations that are to be done; None when the tool cannot tell."""
    if params.tool == "command":
        if not params.pending:
            return None
        lines = tool(host, params, params.pending).stdout.split("\n")
        return [line.strip() for line in lines if line.strip()]
    current = revisions(tool(host, params, alembic(params) + ["current"]).stdout)
    if params.target in ("head", "heads"):
        wanted = revisions(tool(host, params, alembic(params) + ["heads"]).stdout)
    else:
        wanted = revisions(tool(host, params, alembic(params) + ["show", params.target]).stdout.replace("Rev: ", ""))
    if set(wanted[:1] if params.target not in ("head", "heads") else wanted) <= set(current):
        return []
    span = "%s:%s" % (current[0] if len(current) == 1 else "base", params.target)
    listed = tool(host, params, alembic(params) + ["history", "-r", span]).stdout.split("\n")
    # The newest stands first; each line is `from -> to (head), message`, the first is where we are.
    found = [line.strip() for line in listed if " -> " in line and not any(step(line) == one for one in current)]
    return found[::-1] or wanted


def step(line: str) -> str:
    """The revision that a line of alembic's history leads to."""
    return line.partition(" -> ")[2].split(",")[0].split(" ")[0].strip()


def revisions(text: str) -> List[str]:
    """The revisions that alembic prints, one at the beginning of a line; its log goes elsewhere."""
    words = [
        line.split()[0] for line in text.split("\n") if line.strip() and not line.startswith((" ", "Parent", "Path"))
    ]
    return [
        word for word in words if not word.strip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    ]


def migrate(host: Host, params: Params) -> str:
    host.progress("migrating database %s" % params.db)
    argv = list(params.argv) if params.tool == "command" else alembic(params) + ["upgrade", params.target]
    done = tool(host, params, argv)
    return str(done.stdout + done.stderr)


def gate(host: Host, params: Params) -> None:
    """Fail unless a backup of the database is young enough and was verified well enough."""
    if not params.backup_gate:
        return
    limit = _durations.parameter(host, "backup_gate", params.backup_gate)
    folder = os.path.join(host.expand(params.backup_dir), backups.folder_name(params.backup_name or params.db))
    order = backups.LEVELS + ("proven",)
    good = [one for one in backups.backups_below(folder)
            if one.level in order[order.index(params.backup_level) :]
            and params.db == (one.data.get("database") or {}).get("name", params.db)]  # fmt: skip
    if not good:
        host.fail("there is no backup of %s in %s that was verified (%s); make one with pg_backup first"
                  % (params.db, folder, params.backup_level))  # fmt: skip
    age = time.time() - good[-1].finished
    if age > limit:
        text = "the newest verified backup of %s is %d min old, the limit is %s; make one with pg_backup first"
        host.fail(text % (params.db, age / 60, params.backup_gate))
