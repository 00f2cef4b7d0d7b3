"""pg_restore beside the database in service: a new one, proven, that then takes its name."""

from __future__ import annotations

import time
from typing import Any, Dict, List

from opsplay.agent import words
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed
from opsplay.modules.postgres import _database, _restoring, _safety, _swap, _writers
from opsplay.modules.postgres._psql import Psql, SqlError
from opsplay.modules.postgres._server import Server, as_account
from opsplay.modules.postgres._sql import identifier, literal

STAMP = "%Y%m%dT%H%M%S"


def restore(host: Host, params: Any, server: Server, source: Any, db: Psql, old: Any) -> Dict[str, Any]:
    """Restore into a new database, prove it, and let it take the name."""
    with _writers.Writers(host, params.writers, params.start_writers) as writers:
        foretell(host, params, source, old)
        if host.check:
            writers.stop()
            host.unknown("kept", "safety", "rows", "seconds")
            return {"tables": len(source.tables), "stopped": writers.stopped}
        _database.sweep(host, server, db, params.db)
        stamp = free_stamp(params, db)
        new = _database.short(params.db, "_new_" + stamp)
        try:
            make(host, params, server, source, db, old, new)
            rows = proven(host, params, server, source, new)
            writers.stop()
            safety = safety_dump(host, params, server, old)
            kept = take_name(params, server, db, old, new, stamp)
        except (Failed, SqlError, OSError) as problem:
            host.fail("%s; %s" % (problem, still(params)))
        finally:
            discard(host, server, new)
    return {"kept": kept, "safety": safety, "rows": rows, "tables": len(source.tables), "stopped": writers.stopped}


def free_stamp(params: Any, db: Psql) -> str:
    """The time, as names tell it; a second later when there was a restore in this one."""
    while True:
        stamp = time.strftime(STAMP)
        if not any(_restoring.exists(db, _database.short(params.db, word + stamp)) for word in ("_new_", "_old_")):
            return stamp
        time.sleep(0.2)


def foretell(host: Host, params: Any, source: Any, old: Any) -> None:
    """The change in words, the same in a preview."""
    before = "database %s as it is, owner %s\n" % (params.db, old["owner"]) if old else ""
    after = "database %s from %s\n" % (params.db, source.describe())
    if old:
        after += "the old one is kept as %s, closed to connections\n" % _database.short(params.db, "_old_<time>")
    if old and params.safety_backup != "no":
        after += "a dump of it as it is goes to %s/%s\n" % (params.safety_dir, params.db)
    host.note(before, after, "database %s" % params.db)


def make(host: Host, params: Any, server: Server, source: Any, db: Psql, old: Any, new: str) -> None:
    """The new database with the dump's content."""
    like = old or dict(source.database, owner=params.owner or owner_there(db, source.database.get("owner")))
    db.execute(_database.creation(new, like))
    db.execute("COMMENT ON DATABASE %s IS %s" % (identifier(new), literal(_database.UNDER_WAY)))
    options = ["--no-owner"] * bool(params.no_owner) + ["--no-privileges"] * bool(params.no_privileges)
    _restoring.fill(source, server, new, options, params.jobs)


def owner_there(db: Psql, role: Any) -> str:
    """The role if the server knows it; empty otherwise."""
    return str(role) if role and db.value("SELECT count(*) FROM pg_roles WHERE rolname = %s" % literal(role)) else ""


def proven(host: Host, params: Any, server: Server, source: Any, new: str) -> int:
    """Compare the new database with the manifest and the admin's queries; the rows counted. Fails on a difference."""
    found: List[str] = []
    rows = 0
    if params.analyze:
        _restoring.analyze(server, new, params.jobs)
    if params.verify and source.tables:
        host.progress("counting rows")
        with Psql(server, new, seconds=24 * 3600) as db:
            found, rows = _restoring.differences(db, source.tables)
    for command in params.before_swap:
        host.progress("running %s" % command)
        argv = as_account(server.account, words.split(command))
        done = host.query(argv, env=server.environment(new))
        if done.rc != 0:
            found.append("%s failed: %s" % (command, done.stderr.strip() or done.stdout.strip() or done.error))
    found += _restoring.verify_queries(server, new, params.verify_queries)
    if found:
        host.fail("what was restored is not what it should be: %s; %s" % ("; ".join(found), still(params)))
    return rows


def safety_dump(host: Host, params: Any, server: Server, old: Any) -> str:
    """The folder of a dump of the old database as it is; empty without one."""
    if old is None or params.safety_backup == "no":
        return ""
    try:
        return _safety.dump(host, server, host.expand(params.safety_dir), params.db, old)
    except (Failed, OSError) as problem:
        if params.safety_backup == "try":
            host.warn("the database %s could not be dumped before it was replaced: %s" % (params.db, problem))
            return ""
        text = "the safety dump of %s failed: %s; safety_backup: try goes on without it; %s"
        host.fail(text % (params.db, problem, still(params)))


def take_name(params: Any, server: Server, db: Psql, old: Any, new: str, stamp: str) -> str:
    """Put the new database into service. Returns the name that the old one has now. Raises SqlError."""
    if old is None:
        db.execute("BEGIN; %s; ALTER DATABASE %s RENAME TO %s; COMMENT ON DATABASE %s IS NULL; COMMIT" % (
            _swap.LASTING, identifier(new), identifier(params.db), identifier(params.db)))  # fmt: skip
        return ""
    kept = _database.short(params.db, "_old_" + stamp)
    _swap.exchange(server, db, old, new, kept, _database.carried(db, old, params.db))
    return kept


def discard(host: Host, server: Server, new: str) -> None:
    """Remove the new database if it never went into service; a broken conversation does not keep it."""
    try:
        with Psql(server) as db:
            if _restoring.exists(db, new):
                db.execute("DROP DATABASE %s WITH (FORCE)" % identifier(new))
    except SqlError as problem:
        host.warn("the half-made database %s stays: %s; the next restore removes it" % (new, problem))


def still(params: Any) -> str:
    if params.mode == "create":
        return "there is no database %s" % params.db
    return "the old database %s is in service, untouched" % params.db
