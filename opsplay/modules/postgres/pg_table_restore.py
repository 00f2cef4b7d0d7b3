"""Bring rows of single tables back from a backup into a database in use, in one transaction, with exact counts."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from opsplay.agent import confirmation
from opsplay.agent.cipher import KEY
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed
from opsplay.agent.signatures import SIGNED_BY
from opsplay.agent.spec import Bool, Choice, List, Name, Path, Str
from opsplay.modules.postgres import _lifting, _moving, _psql, _scratch, _server, _source
from opsplay.modules.postgres._locks import lock_name

PARAMS = dict(
    _server.CONNECTION,
    src=Path(required=True, aliases=["file"], help="A backup's folder, a `latest` link, or a dump file of any format"),
    db=Name(required=True, help="The database in use"),
    tables=List(of=Str(), required=True, help="Its tables, as schema.table"),
    mode=Choice("missing_only", "replace", "upsert", default="missing_only", help="missing_only: rows whose key is not"
                " there; upsert: those, and what differs is set back; replace: the table's rows become the backup's"),
    key=List(of=Str(), default=[], help="The columns that tell rows apart; without them the primary key"),
    where=Str(default="", help="A condition in SQL on the table's columns: only such rows are restored or replaced"),
    salvage=Bool(default=True, help="Before replace and upsert keep a copy of the table in the schema opsplay_salvage"),
    identity=Str(secret=True, help="The private key of an encrypted backup, as text: an identity of age, or an armoured"
                 " secret key of gpg; it is never on the disk"),
    key_passphrase=KEY["key_passphrase"],
    signed_by=SIGNED_BY,
    scratch_dir=Path(default="/var/tmp", help="Where the backup's tables are restored for a while"),
    confirm=confirmation.parameter("MODE TABLES in DB"),
)  # fmt: skip
CHECK = "exact"


def run(host: Host, params: Any) -> Dict[str, Any]:
    if "\\" in params.where or ";" in params.where:
        host.fail("where: %r holds a backslash or a semicolon; give one condition, as after WHERE" % params.where)
    server = _server.find_server(host, params)
    if server is None:
        host.note("", "rows from %s\n" % params.src, ", ".join(params.tables))
        host.unknown("tables")
        return host.outcome(db=params.db)
    source = _source.find(host, params, "identity")
    try:
        _source.refuse_damage(source, server)
        with host.lock(lock_name(server, params.db)), _psql.Psql(server, params.db, seconds=24 * 3600) as db:
            counts = _restore(host, params, server, source, db)
    except (_psql.SqlError, Failed) as problem:
        said = getattr(problem, "details", str(problem)).replace("\n", "; ")
        host.fail("%s; the tables of %s are as they were" % (said, params.db))
    finally:
        source.close()
    return host.outcome(db=params.db, source=source.path, taken=source.taken, tables=counts)


def _restore(host: Host, params: Any, server: Any, source: Any, db: Any) -> Dict[str, Any]:
    tables = _lifting.resolved(host, db, params.tables)
    if params.mode != "missing_only":
        confirmation.require(host, params.confirm, "%s %s in %s" % (params.mode, ", ".join(params.tables), params.db))
    account = server.account or ("postgres" if os.geteuid() == 0 else "")
    encoding = str(db.value("SELECT current_setting('server_encoding') AS e"))
    with _scratch.Scratch(host, server.folder, host.expand(params.scratch_dir), account, encoding) as scratch:
        lifted = _lifting.lift(source, scratch, tables, params.where)
        moves = [_moving.Move(host, db, params, table, place) for place, table in enumerate(tables)]
        for place, table in enumerate(tables):
            moves[place].take(*lifted[table])
    foreseen = {move.label: move.counted() for move in moves}
    if not any(counts["inserted"] or counts["updated"] or counts["deleted"] for counts in foreseen.values()):
        return foreseen
    for move in moves:
        counts = foreseen[move.label]
        done = ", ".join(
            "%d rows %s" % (counts[name], name) for name in ("inserted", "updated", "deleted") if counts[name]
        )
        host.note("", "%s from %s\n" % (done or "nothing", source.describe()), "table %s" % move.label)
    return foreseen if host.check else _commit(host, params, db, moves)


def _commit(host: Host, params: Any, db: Any, moves: Any) -> Dict[str, Any]:
    """All tables in one transaction, in which nobody else writes to them, and no trigger fires."""
    stamp = time.strftime("%Y%m%d_%H%M%S")
    names = ", ".join(move.table for move in moves)
    db.execute("BEGIN; SET LOCAL lock_timeout = '%ds'; LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE;"
               " SET LOCAL session_replication_role = replica" % (_moving.LOCK_SECONDS, names))  # fmt: skip
    counts = {move.label: move.apply(stamp) for move in moves}
    broken = sorted({text for move in moves for text in move.broken_keys()})
    if broken:
        db.execute("ROLLBACK")
        text = "; ".join(broken)
        host.fail("foreign keys would not hold: %s; restore those tables, too; nothing was changed" % text)
    db.execute("COMMIT")
    for label, found in counts.items():
        if found["conflicting"]:
            text = "%s: %d rows of the backup were left out: another row has a unique value of theirs"
            host.warn(text % (label, found["conflicting"]))
        if params.mode != "missing_only" and params.salvage:
            found["salvage"] = "%s.%s_%s" % (_moving.SALVAGE, label.partition(".")[2][:40], stamp)
    return counts
