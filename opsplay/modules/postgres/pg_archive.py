"""Archive a server's write-ahead log as it is written, so that it can be recovered to any second (pg_pitr)."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Path
from opsplay.modules.postgres import _bases, _clusters, _pgbackrest, _psql, _server, _service, _stanza, _wal
from opsplay.modules.postgres._sql import literal

PARAMS = dict(
    _server.CONNECTION,
    **_pgbackrest.PARAMS,
    dir=Path(help="The folder of the archive, best on another disk; it belongs to the server's account. The server's"
             " own tools need it"),
    repo=Path(help="With pgBackRest: the folder of a repository on this host; the stanza is written into"
              " /etc/pgbackrest/conf.d. Without it pgBackRest's configuration is yours"),
    retention=Int(min=1, help="With repo: so many full backups stay, and the log since the oldest; without it all"),
    wal_level=Choice("replica", "logical", default="replica", help="The least that the log holds"),
    timeout=Int(default=60, min=0, help="Seconds after which a segment is archived though it is not full; 0 for never"),
    restart=Bool(default=True, help="Restart the server where a setting asks for it; without it such a run fails"),
    wait=Int(default=60, min=1, help="Seconds to wait for the segment that proves it"),
    lag=Int(default=300, min=1, help="Fail when a segment has waited longer than so many seconds to be archived"),
    bases=Path(help="The folder of base backups (DIR/NAME): what none of them needs is removed from the archive; of"
               " pgBackRest its own retention decides"),
)  # fmt: skip
CHECK = "exact"
# An existing file is only right when it is the same; a new one is written beside, brought to the disk, and then bears
# its name: ln(1) never replaces a file.
COMMAND = (
    "if [ -e '%(dir)s/%%f' ]; then cmp -s '%%p' '%(dir)s/%%f'; else cp '%%p' '%(dir)s/.%%f.new' &&"
    " sync '%(dir)s/.%%f.new' && ln '%(dir)s/.%%f.new' '%(dir)s/%%f' && rm '%(dir)s/.%%f.new' && sync '%(dir)s'; fi"
)
# Segments that wait longer than so many seconds to be archived.
WAITING = """SELECT count(*) AS n, min(name) AS wal FROM pg_ls_archive_statusdir()
  WHERE name ~ '[.]ready$' AND modification < now() - interval '%d s'"""
LEVELS = ("minimal", "replica", "logical")


def command(folder: str) -> str:
    """archive_command for this folder."""
    return COMMAND % {"dir": folder.replace("%", "%%")}


def run(host: Host, params: Any) -> Dict[str, Any]:
    folder = host.expand(params.dir) if params.dir else ""
    if "'" in folder or "\\" in folder:
        host.fail("dir: %s holds a quote or a backslash, which archive_command cannot" % folder)
    server = _server.find_server(host, params)
    if server is None:
        host.note("", "archived to %s\n" % (params.stanza or params.repo or folder), "write-ahead log")
        host.unknown("segment")
        return host.outcome(dir=folder)
    cluster = _service.own_cluster(host, server, "pg_archive")
    stanza = _pgbackrest.chosen(host, params, cluster, params.repo or "")
    if stanza is None:
        if not folder:
            host.fail("the server's own tools archive the log of %s: give dir" % cluster.name)
        host.directory(folder, mode=0o700, owner=cluster.owner)
        wanted, told = command(folder), {"tool": "server", "dir": folder}
    else:
        wanted, told = _pgbackrest.archive_command(stanza.name), {"tool": "pgbackrest", "stanza": stanza.name}
        _stanza.ready(host, params, server, stanza, wanted)
    restarts = _configure(host, params, server, cluster, wanted)
    segment = ""
    if host.check:
        host.unknown("segment")
    elif host.changed:
        segment = _stanza.prove(host, params, stanza) if stanza else _prove(host, params, server, folder)
    else:
        _refuse_failing(host, params, server)
    removed = _prune(host, params, folder, server) if params.bases and stanza is None else []
    return host.outcome(command=wanted, segment=segment, restarted=restarts, removed=removed, **told)


def _configure(host: Host, params: Any, server: Any, cluster: Any, command_: str) -> bool:
    """Bring the settings; whether the server was, or would be, restarted."""
    with _psql.Psql(server) as db:
        now = {row["name"]: row for row in db.rows(
            "SELECT name, setting, context, pending_restart FROM pg_settings WHERE name IN"
            " ('wal_level', 'archive_mode', 'archive_command', 'archive_timeout')")}  # fmt: skip
        wanted = {"archive_mode": "on", "archive_command": command_, "archive_timeout": str(params.timeout)}
        if LEVELS.index(now["wal_level"]["setting"]) < LEVELS.index(params.wal_level):
            wanted["wal_level"] = params.wal_level
        if now["archive_mode"]["setting"] == "always":
            del wanted["archive_mode"]
        changes = {name: value for name, value in wanted.items() if now[name]["setting"] != value}
        needs = any(now[name]["context"] == "postmaster" for name in changes)
        if needs and not params.restart:
            host.fail("%s needs a restart of %s; allow it with restart: true" % (", ".join(changes), server.describe()))
        for name in sorted(changes):
            host.note("%s = %s\n" % (name, now[name]["setting"]), "%s = %s\n" % (name, changes[name]), name)
        if host.check or not changes:
            return needs
        kept = host.read(os.path.join(cluster.data, "postgresql.auto.conf"))
        for name, value in sorted(changes.items()):
            db.execute("ALTER SYSTEM SET %s = %s" % (name, literal(value)))
        db.execute("SELECT pg_reload_conf()")
    if needs:
        _service.restart_with(host, server, cluster, kept)
    return needs


def _prove(host: Host, params: Any, server: Any, folder: str) -> str:
    """End a segment and wait for it in the archive. Returns its name."""
    with _psql.Psql(server) as db:
        if db.value("SELECT pg_is_in_recovery() AS r"):
            return ""
        before = int(db.value("SELECT failed_count AS n FROM pg_stat_archiver"))
        name = _wal.end_segment(db)
        deadline = time.monotonic() + params.wait
        while not os.path.exists(os.path.join(folder, name)):
            row = db.row("SELECT failed_count - %d AS n, last_failed_wal AS wal FROM pg_stat_archiver" % before) or {}
            if time.monotonic() > deadline:
                failed = "; the server failed %s times, last with %s" % (row["n"], row["wal"]) if row["n"] else ""
                host.fail("%s was not archived to %s within %d s%s" % (name, folder, params.wait, failed))
            host.progress("waiting for %s in %s" % (name, folder))
            time.sleep(0.1)
    return name


def _refuse_failing(host: Host, params: Any, server: Any) -> None:
    """Fail when the last attempt to archive has failed, or none ends: from then on nothing can be recovered."""
    with _psql.Psql(server) as db:
        waiting = db.row(WAITING % params.lag)
        row = db.row("SELECT last_failed_wal AS wal, last_failed_time::text AS at, last_failed_time > "
                     "coalesce(last_archived_time, '-infinity') AS failing FROM pg_stat_archiver")  # fmt: skip
    if row and row["failing"]:
        text = "%s cannot archive its log: %s failed at %s; look into its log"
        host.fail(text % (server.describe(), row["wal"], row["at"]))
    if waiting and waiting["n"]:
        text = "%s archives its log too late: %d segments have waited longer than %d s, first %s"
        host.fail(text % (server.describe(), waiting["n"], params.lag, waiting["wal"].partition(".")[0]))


def _prune(host: Host, params: Any, folder: str, server: Any) -> Any:
    """Remove segments before the oldest base's first one."""
    bases = _bases.bases_below(host.expand(params.bases))
    if not bases:
        return []
    size, oldest = int(bases[0].data["base"]["segment_size"]), min(
        _wal.number(base.data["base"]["start_lsn"]) for base in bases)  # fmt: skip
    first = oldest // size
    found = [name for name in _clusters.listing(folder) if _wal.is_segment(name)]
    old = [name for name in found if _wal.index_of(name, size) < first]
    if old:
        host.note("%d segments up to %s\n" % (len(old), old[-1]), "", "what no base in %s needs" % params.bases)
    for name in old if not host.check else []:
        os.unlink(os.path.join(folder, name))
    return old
