"""Copy a whole server as it runs (a base backup), to recover from together with its archived log."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from opsplay.agent import backups
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, flow, from_file
from opsplay.agent.sizes import existing
from opsplay.agent.spec import Bool, Choice, Int, Name, Path
from opsplay.modules.postgres import _bases, _pgbackrest, _psql, _restoring, _server, _service, _stanza

PARAMS = dict(
    _server.CONNECTION,
    **_pgbackrest.PARAMS,
    type=Choice("full", "diff", "incr", default="full", help="With pgBackRest: full, what has changed since the last"
                " full one, or since the last one"),
    verify=Bool(default=False, help="With pgBackRest: have it read all that the repository holds, too (pgbackrest"
                " verify, from 2.45 on). Without: every archive is always read"),
    dir=Path(help="Where it goes, as DIR/NAME/TIME; the server's account must get there. The server's own tools need"
             " it"),
    name=Name(help="NAME; without it the cluster's, as 15-main"),
    compress=Int(default=1, min=0, max=9, help="gzip's level; 0 for none"),
    fast=Bool(default=True, help="Begin with a checkpoint at once, instead of waiting for the next one"),
    keep=Int(default=0, min=0, help="Remove all but so many of the newest, when this one is proven; 0 keeps all. Of"
             " pgBackRest its own retention decides"),
)  # fmt: skip
CHECK = "exact"
ABOUT = """SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
  current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
  pg_size_bytes(current_setting('wal_segment_size')) AS segment_size,
  (SELECT sum(pg_tablespace_size(oid)) FROM pg_tablespace)::bigint AS size,
  (SELECT coalesce(json_object_agg(oid, pg_tablespace_location(oid)), '{}') FROM pg_tablespace
   WHERE pg_tablespace_location(oid) <> '') AS tablespaces"""


def run(host: Host, params: Any) -> Dict[str, Any]:
    server = _server.find_server(host, params)
    cluster: Any = _service.own_cluster(host, server, "pg_basebackup") if server is not None else None
    stanza = _pgbackrest.chosen(host, params, cluster) if cluster is not None else None
    if stanza is not None:
        return _by_pgbackrest(host, params, stanza)
    if not params.dir and (server is not None or not params.stanza):
        host.fail("the server's own tools make the base backup: give dir")
    name = params.name or (server.describe().strip("/").replace("/", "-") if server is not None else "server")
    parent = os.path.join(host.expand(params.dir or ""), name)
    host.note("", "a base backup of the server\n", parent)
    if server is None or host.check:
        host.unknown("folder", "base", "size", "seconds")
        return host.outcome(tool="server", name=name)
    began = time.time()
    with _psql.Psql(server) as db:
        about: Any = db.row(ABOUT)
    _restoring.refuse_full(host, server, existing(parent), int(about["size"]) // 2, "a base backup of %s" % name)
    host._quietly(host.directory, parent, 0o700, cluster.owner)
    with host.lock("pg-base-%s" % name):
        try:
            backup = _copied(host, params, server, parent, name, about, began)
        except Failed as problem:
            host.fail("%s; no base backup was made, older ones are as they were" % problem)
        try:
            _prune(host, params, parent)
        except OSError as problem:
            text = "the base backup is there, whole: %s; only the removal of older ones failed: %s"
            host.fail(text % (backup.folder, problem))
    told = {"folder": backup.folder, "base": backup.data["base"], "size": backup.size}
    return host.outcome(tool="server", name=name, seconds=round(time.time() - began, 2), **told)


def _by_pgbackrest(host: Host, params: Any, stanza: Any) -> Dict[str, Any]:
    host.note("", "a %s backup of %s\n" % (params.type, stanza.cluster.name), stanza.place)
    told = {"tool": "pgbackrest", "stanza": stanza.name, "name": stanza.name}
    if host.check:
        host.unknown("label", "base", "size", "seconds", "started", "finished")
        return host.outcome(**told)
    began = time.time()
    with host.lock("pg-base-%s" % stanza.name):
        told.update(_stanza.back_up(host, params, stanza))
    return host.outcome(seconds=round(time.time() - began, 2), **told)


def _copied(host: Host, params: Any, server: Any, parent: str, name: str, about: Any, began: float) -> Any:
    beside = host.temporary.folder(parent)
    os.chown(beside, host.uid(server.cluster.owner), -1)
    words = ["--pgdata=%s" % beside, "--format=tar", "--wal-method=stream", "--no-password", "--label=opsplay"]
    words += ["--checkpoint=%s" % ("fast" if params.fast else "spread")]
    words += ["--compress=%d" % params.compress] if params.compress else []
    argv = server.command("pg_basebackup", *words)
    env = server.environment()
    env.pop("PGDATABASE", None)
    flow(host, [Program(argv, env)], text="copying %s" % name)
    # A base is only for moments after its end: that one is never told too early.
    finished = backups.moment(time.time() + 0.999)
    try:
        backup = backups.publish(host, beside, _described(host, beside, name, about, began, finished), began)
        backups.point_latest(host, backup)
    except OSError as problem:
        raise Failed("cannot write to %s: %s" % (parent, problem.strerror)) from None
    return backup


def _described(host: Host, folder: str, name: str, about: Any, began: float, finished: str) -> Dict[str, Any]:
    """The manifest; every archive is read to its end on the way. Raises Failed."""
    import json

    with open(os.path.join(folder, "backup_manifest"), encoding="utf-8", errors="surrogateescape") as file:
        base = _bases.described(json.load(file))
    files = []
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        if ".tar" in entry:
            unpack = [Program(["gzip", "-dc"])] if entry.endswith(".gz") else []
            from_file(host, path, unpack + [Program(["tar", "-t"])], "reading %s" % entry)
        files.append({"name": entry, "size": os.stat(path).st_size, "sha256": host.digest(path, "sha256")})
    base.update(segment_size=int(about["segment_size"]), tablespaces=about["tablespaces"])
    return {
        "version": backups.VERSION,
        "kind": _bases.KIND,
        "name": name,
        "tag": "",
        "host": os.uname().nodename,
        "opsplay": backups.OPSPLAY,
        "started": backups.moment(began),
        "finished": finished,
        "server": {key: about[key] for key in ("version", "major", "system_identifier")},
        "base": base,
        "files": files,
        "encryption": None,
        "verified": {"level": "read", "at": backups.moment(), "seconds": 0},
    }


def _prune(host: Host, params: Any, parent: str) -> None:
    if params.keep:
        for base in _bases.bases_below(parent)[: -params.keep]:
            backups.withdraw(host, base)
