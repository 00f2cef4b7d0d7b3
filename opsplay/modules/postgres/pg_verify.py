"""Prove a backup of PostgreSQL that is there: by its table of contents, by reading all of it, or by restoring it.

Nothing is dumped and `latest` does not move. A restore goes to a scratch cluster, which is gone afterwards; when it
holds what the manifest says, `proven.json` beside the manifest tells so. An encrypted backup is decrypted with a key
that comes through the channel and lies on no disk; without one its cipher text is compared with the manifest.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent import backups, metrics, signatures, sizes
from opsplay.agent.backups import Backup
from opsplay.agent.cipher import KEY, Decipher
from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.metrics import METRICS
from opsplay.agent.pipeline import Failed
from opsplay.agent.signatures import SIGNED_BY
from opsplay.agent.spec import Choice, Float, Int, Path, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.agent.spec import List as ListOf
from opsplay.modules.postgres import _freshness, _restored, _server, _verifying
from opsplay.modules.postgres._locks import lock_name
from opsplay.modules.postgres._psql import SqlError

PARAMS = dict(
    _server.CONNECTION,
    path=Path(
        required=True, aliases=["file"],
        help="A backup's folder, DIR/NAME for the one that latest leads to, or a dump's file without a manifest",
    ),
    level=Choice(
        "list", "read", "restore", default="read",
        help="list finds neither a truncated nor a damaged archive: read does; restore counts rows besides",
    ),
    expect_tables=ListOf(of=Str(), default=[], help="Tables that must be in it, as name or schema.name"),
    min_rows=DictOf(of=Int(min=0), default={}, help="A table, and the rows that it must have at least"),
    fresh=DictOf(
        of=Float(), default={},
        help="With restore: a column as table.column or schema.table.column, and the hours that its newest value may be"
             " old at most. A value without a zone counts as UTC",
    ),
    compare=Choice(
        "manifest", "previous", "none", default="manifest",
        help="manifest: a restore must hold each table with the rows that the manifest says. previous: no table of the"
             " backup before may be gone, or empty now",
    ),
    max_age=Int(min=1, help="Hours since it was made, at most"),
    size_min=Str(help="Its size must be at least this, e.g. 50M"),
    size_max=Str(help="And at most this"),
    delta_pct=Int(min=1, help="Percent by which its size may differ from that of the backup before"),
    scratch_dir=Path(help="Where a scratch cluster has room. Default: beside the cluster's data directory"),
    wait=Int(default=600, min=0, help="Seconds to wait for whoever works on the same database"),
    signed_by=SIGNED_BY,
    **KEY,
    **METRICS,
)  # fmt: skip
CHECK = "partial"
PREFIX = "opsplay_backup_verify"


def run(host: Host, params: Any) -> Dict[str, Any]:
    sizes.read_limits(host, params)
    if params.compare == "previous" and params.level != "restore" and not os.path.isdir(host.expand(params.path)):
        host.fail("compare previous needs a backup with a manifest")
    _freshness.refuse(host, params)
    server = _server.Server(host, params)
    if not server.folder and host.check and host.shadow.brings_unknown_files:
        host.unknown("verified", "size", "tables")
        return host.outcome()
    began = time.time()
    name = os.path.basename(host.expand(params.path))
    try:
        backup, dump = find(host, params)
        if backup is not None:
            signatures.refuse(host, backup, params.signed_by)
        elif params.signed_by:
            raise Failed("it has no manifest that anybody could have signed")
        name = backup.data["name"] if backup is not None else dump.name
        database = (backup.data.get("database") or {}).get("name", name) if backup is not None else name
        with host.lock(lock_name(server, database), params.wait):
            result = verify(host, server, params, backup, dump)
    except (Failed, SqlError, backups.Unreadable, signatures.Refused, OSError, ModuleFailed) as problem:
        tell(host, params, name, {"success": (0, "Whether the last verification found a good backup")})
        if isinstance(problem, ModuleFailed):
            raise
        host.fail("%s is no good backup: %s" % (params.path, problem))
    tell(host, params, name, {
        "success": (1, "Whether the last verification found a good backup"),
        "last_success_timestamp_seconds": (time.time(), "When a backup was last found good"),
        "duration_seconds": (time.time() - began, "How long that took"),
    })  # fmt: skip
    return host.outcome(seconds=round(time.time() - began, 2), **result)


def tell(host: Host, params: Any, name: str, values: Dict[str, Any]) -> None:
    metrics.report(host, params, PREFIX, {"name": name, "level": params.level}, values)


def find(host: Host, params: Any) -> Tuple[Optional[Backup], _verifying.Dump]:
    """The backup, or the lone file, that is meant. Raises Failed, Unreadable."""
    path = host.expand(params.path)
    if os.path.isdir(path) and not os.path.isfile(os.path.join(path, backups.MANIFEST)):
        current = backups.latest(path)
        if current is None:
            raise Failed("there is no %s in it, and it has no %s itself" % (backups.LATEST, backups.MANIFEST))
        return current, _verifying.dump_of(current)
    if os.path.isdir(path):
        backup = backups.load(path)
        return backup, _verifying.dump_of(backup)
    if not os.path.isfile(path):
        raise Failed("there is no such file")
    return None, _verifying.lone_file(host, os.path.realpath(path))


def verify(
    host: Host, server: _server.Server, params: Any, backup: Optional[Backup], dump: _verifying.Dump
) -> Dict[str, Any]:
    """Raises Failed, SqlError, OSError with what is wrong."""
    previous = before(backup)
    path = os.path.join(dump.folder, dump.entries[0]["name"])
    wrong = _verifying.wrong_numbers(backup, path, params, previous)
    if wrong:
        raise Failed(_restored.in_words(wrong))
    level = params.level
    if dump.method and not params.key and level == "restore":
        host.fail("%s is encrypted: a restore needs the private key (key)" % dump.folder)
    content = backup.data.get("content") if backup is not None else "all"
    if level == "restore" and content == "globals":
        level = "read"
    tables: List[Dict[str, Any]] = list(((backup.data.get("database") if backup else None) or {}).get("tables") or [])
    result = {"level": level, "folder": dump.folder, "encrypted": bool(dump.method), "proven": False}
    if host.check and level == "restore":
        host.unknown("tables", "rows", "proven")
        host.changed = backup is not None
        return result
    began = time.time()
    decipher = None
    if dump.method and params.key:
        decipher = Decipher(host, dump.method, params.key, params.key_passphrase or "")
        decipher.__enter__()
    try:
        if level == "restore":
            tables, wrong = _verifying.restored(host, server, backup, dump, decipher, params)
        else:
            _verifying.read(host, server, dump, level, decipher, None)
    finally:
        if decipher is not None:
            decipher.__exit__()
    wrong += _verifying.wrong_tables(tables, params, previous)
    if wrong:
        raise Failed(_restored.in_words(sorted(set(wrong), key=wrong.index)))
    if level == "restore" and backup is not None and params.compare != "none":
        _verifying.prove(host, backup, level, tables, time.time() - began)
        result["proven"] = True
    known = {_verifying.named(table): table.get("rows") for table in tables}
    return dict(result, tables=known, size=backup.size if backup is not None else os.stat(path).st_size)


def before(backup: Optional[Backup]) -> Optional[Backup]:
    """The backup of the same name and make that came before."""
    if backup is None:
        return None
    known = backups.backups_below(os.path.dirname(backup.folder))
    same = [b for b in known if b.stamp < backup.stamp and b.data.get("content") == backup.data.get("content")]
    return same[-1] if same else None
