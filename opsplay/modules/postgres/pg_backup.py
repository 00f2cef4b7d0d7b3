"""Dump a PostgreSQL database, prove the dump, and only then publish it: hashed, described, encrypted if wanted.

Everything is made in a hidden folder, read again there, brought to the disk and published by one rename; then `latest`
moves, then old backups go. Whatever fails on the way leaves `latest` and the old backups as they were. A run is an
event: it makes a backup, and so is changed, each time.
"""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.cipher import ENCRYPT
from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.metrics import METRICS
from opsplay.agent.retention import RETENTION
from opsplay.agent.signatures import SIGN
from opsplay.agent.spec import Bool, Choice, Int, Name, Path, Str
from opsplay.modules.postgres import _making, _server

PARAMS = dict(
    _server.CONNECTION,
    db=Str(help="The database to dump"),
    each=Bool(default=False, help="Dump each database that takes connections, and roles and tablespaces besides"),
    content=Choice(
        "all", "schema", "globals", default="all",
        help="all, the definitions without rows, or globals: roles with their password verifiers, and tablespaces",
    ),
    dir=Path(required=True, help="The folder of all backups; each lies in DIR/NAME/TIME, mode 0700"),
    name=Name(help="NAME. Default: the database, with -schema behind it for content schema; globals"),
    tag=Name(help="A word that keeps it from being pruned; with `emergency` it does not become `latest` either, and"
                  " nothing is pruned"),
    format=Choice(
        "custom", "directory", "plain", "plain.gz", "plain.zst", "zstd", default="custom",
        help="pg_dump's formats, or SQL packed by gzip or zstd (zstd is plain.zst); globals are always SQL",
    ),
    jobs=Int(default=1, min=1, help="Tables that are dumped side by side, with format directory"),
    compress=Str(help="A level, or from PostgreSQL 16 on a method with one, e.g. zstd:3. Default: the program's own"),
    verify=Choice(
        "list", "read", "restore", default="read",
        help="How it is proven before it is published: by its table of contents; by reading every byte of it; by a"
             " restore into a scratch cluster where each table must have as many rows as the dump's own snapshot had",
    ),
    scratch_dir=Path(help="Where a scratch cluster has room. Default: beside the cluster's data directory"),
    encrypt=ENCRYPT,
    sign=SIGN,
    size_min=Str(help="Refuse a backup that is smaller, e.g. 50M"),
    size_max=Str(help="Refuse one that is larger"),
    size_change=Int(min=1, help="Refuse one whose size differs by more than so many percent from the latest"),
    wait=Int(default=600, min=0, help="Seconds to wait for whoever works on the same database"),
    lock_timeout=Int(default=300, min=0, help="Seconds to wait for tables that somebody has locked; 0 for ever"),
    **RETENTION,
    **METRICS,
)  # fmt: skip
CHECK = "partial"


def run(host: Host, params: Any) -> Dict[str, Any]:
    _making.refuse(host, params)
    server = _server.find_server(host, params)
    if server is None:
        host.changed = True
        host.unknown("backups", "folder", "size")
        return host.outcome()
    jobs = _making.jobs(host, server, params)
    made: List[Dict[str, Any]] = []
    failed: List[str] = []
    for job in jobs:
        try:
            made.append(job.preview() if host.check else job.run())
        except ModuleFailed as problem:
            if len(jobs) == 1:
                raise
            failed.append("%s: %s" % (job.name, problem))
    if failed:
        good = ", ".join(done["name"] for done in made) or "none"
        host.fail("%s (made all the same: %s)" % ("; ".join(failed), good), backups=made)
    host.changed = True
    if host.check:
        host.unknown("folder", "size", "sha256", "seconds")
    return host.outcome(backups=made, **made[0] if len(made) == 1 else {})
