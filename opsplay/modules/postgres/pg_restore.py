"""Restore a database from a backup, beside the one in service, which is only replaced by what was proven whole."""

from __future__ import annotations

import time
from typing import Any, Dict

from opsplay.agent import confirmation
from opsplay.agent.cipher import KEY
from opsplay.agent.host import Host
from opsplay.agent.signatures import SIGNED_BY
from opsplay.agent.spec import Bool, Choice, Int, List, Name, Path, Raw, Str
from opsplay.modules.postgres import _beside, _database, _in_place, _psql, _restoring, _server, _source
from opsplay.modules.postgres._locks import lock_name

PARAMS = dict(
    _server.CONNECTION,
    src=Path(required=True, aliases=["file"], help="A backup's folder, a `latest` link, or a dump file of any format"),
    db=Name(required=True, aliases=["name"], help="The database to restore"),
    mode=Choice("swap", "clean", "create", default="swap", help="swap: restore beside, prove, exchange the names, keep"
                " the old one; clean: replace the objects in the database; create: a database that is not there"),
    jobs=Int(default=1, min=1, max=64, help="Parallel jobs, for custom and directory dumps that are not encrypted"),
    owner=Name(help="With create: the new database's owner; without it the one of the manifest, if that role is there"),
    no_owner=Bool(default=False, help="Let all objects belong to the role that restores"),
    no_privileges=Bool(default=False, help="Restore no privileges of objects"),
    key=Str(secret=True, aliases=["identity"], help="The private key of an encrypted backup, as text: an identity of"
            " age, or an armoured secret key of gpg; it is never on the disk"),
    key_passphrase=KEY["key_passphrase"],
    signed_by=SIGNED_BY,
    verify=Bool(default=True, help="Compare each table's rows with the manifest"),
    verify_queries=List(of=Raw(), split=False, default=[], help="Queries that must give true, or {query, equals}"),
    analyze=Bool(default=True, help="Gather the planner's statistics before the database goes into service"),
    before_swap=List(of=Str(), split=False, default=[], help="Commands to run with PGHOST, PGPORT and PGDATABASE of the"
                     " restored database before it goes into service, e.g. migrations; no shell"),
    writers=List(of=Name(), default=[], help="systemd units that write: stopped before, started after, on failure too"),
    start_writers=Bool(default=True, help="Start the writers after success; after a failure they always are"),
    safety_backup=Choice("yes", "no", "try", default="yes", help="Dump the database as it is before it is replaced; try"
                         " warns where a damaged one cannot be dumped"),
    safety_dir=Path(default="/var/backups/postgresql", help="Where that dump goes, as NAME/TIME, tagged emergency"),
    confirm=confirmation.parameter("restore DB"),
)  # fmt: skip
CHECK = "exact"


def run(host: Host, params: Any) -> Dict[str, Any]:
    refuse(host, params)
    server = _server.find_server(host, params)
    if server is None:
        host.note("", "restored from %s\n" % params.src, "database %s" % params.db)
        host.unknown("kept", "safety", "rows", "tables", "source")
        return host.outcome(db=params.db)
    began = time.monotonic()
    source = _source.find(host, params)
    try:
        with _psql.Psql(server) as db:
            done = restore(host, params, server, source, db)
    except _psql.SqlError as problem:
        host.fail("PostgreSQL %s refuses: %s; %s" % (server.describe(), problem, untouched(params)))
    finally:
        source.close()
    return host.outcome(db=params.db, mode=params.mode, source=source.path, taken=source.taken,
                        seconds=round(time.monotonic() - began, 2), **done)  # fmt: skip


def restore(host: Host, params: Any, server: Any, source: Any, db: Any) -> Dict[str, Any]:
    """Look at everything first; then restore under the database's lock."""
    old = _database.properties(db, params.db)
    _refuse_state(host, params, db, old)
    _source.refuse_damage(source, server)
    safety_dir = host.expand(params.safety_dir) if params.safety_backup != "no" else ""
    _restoring.refuse_full_disks(host, server, source, old, safety_dir)
    if params.mode != "create":
        confirmation.require(host, params.confirm, "restore %s" % params.db)
    with host.lock(lock_name(server, params.db)):
        if params.mode == "clean":
            return _in_place.restore(host, params, server, source, old)
        return _beside.restore(host, params, server, source, db, old)


def refuse(host: Host, params: Any) -> None:
    """Fail on parameters that cannot be."""
    if params.db in ("postgres", "template0", "template1"):
        host.fail("%s is a database of the server itself; it is not restored" % params.db)
    _restoring.refuse_queries(host, params.verify_queries)


def _refuse_state(host: Host, params: Any, db: Any, old: Any) -> None:
    if params.mode == "create" and old is not None:
        host.fail("the database %s exists; replace it with mode: swap" % params.db)
    if params.mode != "create" and old is None:
        host.fail("there is no database %s to replace; make it with mode: create" % params.db)
    trouble = _database.obstacle(db, params.db)
    if trouble:
        host.fail("the database %s %s; nothing was touched" % (params.db, trouble))
    if old is not None and not old["open"]:
        host.fail("the database %s takes no connections; ALTER DATABASE ... ALLOW_CONNECTIONS true first" % params.db)


def untouched(params: Any) -> str:
    return "nothing was made" if params.mode == "create" else "the old database %s is untouched" % params.db
