"""Make a standby the primary, when it has all that the old one had and the old one can write no more."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from opsplay.agent import confirmation
from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Int, Str
from opsplay.modules.postgres import _clusters, _lag, _psql, _server, _service, _wal
from opsplay.modules.postgres._server import as_account

PARAMS = dict(
    _server.CONNECTION,
    fenced_lsn=Str(help="Where the old primary's log ended, the `lsn` of pg_replication with role: fenced"),
    max_bytes=Int(
        default=0, min=0, help="Bytes of the old primary's log that may be lost, of those known to be missing"
    ),
    wait=Int(default=60, min=1, help="Seconds that replay and promotion may take each"),
    rehearse=Bool(default=False, help="Only see whether it is a standby that may be promoted, before the old primary is"
                  " fenced; nothing is changed"),
    confirm=confirmation.parameter("promote CLUSTER"),
)  # fmt: skip
CHECK = "exact"


def run(host: Host, params: Any) -> Dict[str, Any]:
    server = _server.find_server(host, params)
    if server is None:
        host.note("standby\n", "primary\n", "the server")
        host.unknown("timeline", "lsn")
        return host.outcome()
    cluster = _service.own_cluster(host, server, "pg_promote")
    with host.lock("pg-server-%s" % cluster.name.replace("/", "-")), _psql.Psql(server) as db:
        if not db.value("SELECT pg_is_in_recovery() AS r"):
            return host.outcome(timeline=timeline(db), lost_bytes=0)
        if params.rehearse:
            confirmation.require(host, params.confirm, "promote %s" % cluster.name)
            return host.outcome(timeline=timeline(db), lost_bytes=0)
        _refuse_second_writer(host, server, cluster, db)
        lost = _wait_for_replay(host, params, server, db)
        confirmation.require(host, params.confirm, "promote %s" % cluster.name)
        host.note("standby\n", "primary\n", "cluster %s" % cluster.name)
        if host.check:
            host.unknown("timeline", "lost_bytes")
            return host.outcome()
        before = timeline(db)
        _wait_for_nobody(host, server, db)
        if not db.value("SELECT pg_promote(true, %d) AS p" % params.wait):
            host.fail("%s was not promoted within %d s; it is still a standby" % (server.describe(), params.wait))
        db.execute("CHECKPOINT")
        db.value("SELECT txid_current() AS t")
        after = timeline(db)
        if after <= before:
            host.fail("%s is on timeline %d as before; look into its log" % (server.describe(), after))
    return host.outcome(timeline=after, lost_bytes=lost)


def timeline(db: Any) -> int:
    return int(db.value("SELECT timeline_id AS t FROM pg_control_checkpoint()"))


def _refuse_second_writer(host: Host, server: Any, cluster: Any, db: Any) -> None:
    """Fail while the old primary answers as one: two would take writes."""
    conninfo = str(db.value("SELECT current_setting('primary_conninfo') AS c") or "")
    if not conninfo:
        return
    account = cluster.owner if os.geteuid() == 0 else ""
    psql = os.path.join(_clusters.bin_folder(host, cluster.version), "psql")
    words = [
        psql,
        "-X",
        "-w",
        "-A",
        "-t",
        "-c",
        "SELECT pg_is_in_recovery()",
        conninfo + " dbname=postgres connect_timeout=5",
    ]
    done = host.query(as_account(account, words), env={"PGAPPNAME": "opsplay"}, cwd="/", timeout=30)
    if done.rc == 0 and done.stdout.strip() == "f":
        host.fail("the old primary (%s) still takes writes; fence it first: pg_replication with role: fenced; nothing"
                  " was promoted" % shown(conninfo))  # fmt: skip
    answers = ("authentication failed", "no pg_hba.conf entry", "password supplied", "does not exist")
    if done.rc != 0 and any(word in done.stderr for word in answers):
        host.fail("a server still answers at the old primary's place (%s): %s; fence it first; nothing was promoted"
                  % (shown(conninfo), done.stderr.strip()))  # fmt: skip


def _wait_for_nobody(host: Host, server: Any, db: Any) -> None:
    """A new primary has no standby yet: commits that waited for one would wait for ever."""
    names = db.value("SELECT current_setting('synchronous_standby_names') AS s")
    if names:
        db.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        db.execute("SELECT pg_reload_conf()")
        host.warn("synchronous_standby_names of %s was %s and is empty now: nobody follows it yet; once a standby does,"
                  " give pg_replication synchronous again" % (server.describe(), names))  # fmt: skip
    db.execute("SET synchronous_commit = local")


def shown(conninfo: str) -> str:
    return " ".join(word for word in conninfo.split() if word.startswith(("host=", "port=")))


def _wait_for_replay(host: Host, params: Any, server: Any, db: Any) -> int:
    """Wait until all that was received is replayed; the bytes known to be lost. Fails when those are too many."""
    deadline = time.monotonic() + params.wait
    while True:
        found = _lag.measured(db)
        if not found["bytes"]:
            break
        if found["paused"]:
            host.fail(
                "the replay of %s is paused; SELECT pg_wal_replay_resume() first; nothing was promoted"
                % server.describe()
            )
        if time.monotonic() > deadline:
            host.fail(
                "%d bytes are still to be replayed after %d s; nothing was promoted" % (found["bytes"], params.wait)
            )
        host.progress("replaying %d bytes" % found["bytes"])
        time.sleep(0.2)
    place = found["replayed"] or found["received"]
    if not params.fenced_lsn:
        host.warn("where the old primary's log ended is not known: what it had not sent is lost")
        return 0
    lost = max(0, _wal.number(params.fenced_lsn) - _wal.number(str(place)))
    if lost > params.max_bytes:
        text = "%s lacks %d bytes of the old primary's log, %d may be lost; nothing was promoted"
        host.fail(text % (server.describe(), lost, params.max_bytes))
    return lost
