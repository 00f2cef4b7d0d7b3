"""Streaming replication: a primary, a standby that follows it, how far it is behind, and an old primary fenced off."""

from __future__ import annotations

import os
from typing import Any, Dict

from opsplay.agent import confirmation
from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Int, List, Name, Str
from opsplay.modules.postgres import _clusters, _lag, _primary, _psql, _server, _service, _standby

PARAMS = dict(
    _server.CONNECTION,
    role=Choice("primary", "standby", "check", "fenced", required=True, help="primary: what standbys need is there;"
                " standby: it follows primary; check: the lag is measured; fenced: stopped, and masked so that nothing"
                " starts it"),
    user=Name(default="replicator", help="The role that standbys replicate with"),
    password=Str(secret=True, help="Its password; on a standby it lies in a file that only the server can read"),
    slot=Name(help="The standby's replication slot: the primary keeps its log until that standby has it"),
    allow=List(of=Str(), default=[], help="With primary: the standbys' addresses, as 10.0.0.2/32"),
    listen=Str(help="With primary: listen_addresses"),
    synchronous=List(of=Name(), help="With primary: the slots of standbys; a commit is answered when one has it,"
                     " and waits while none does. They must be streaming. [] ends that"),
    primary=Str(help="With standby: the primary's address"),
    primary_port=Int(default=5432, min=1, max=65535, help="Its port"),
    method=Choice("auto", "rewind", "copy", default="auto", help="With standby: pg_rewind undoes what only the old"
                  " primary has; copy takes a new copy and keeps the old directory; auto tries the first"),
    max_bytes=Int(min=0, help="With check: fail when a standby is further behind"),
    max_seconds=Int(min=0, help="With check: fail when a standby is further behind; ask the standby, it"
                    " knows when it has replayed"),
    standbys=Int(default=0, min=0, help="With check on a primary: fail when fewer are streaming"),
    confirm=confirmation.parameter("make CLUSTER follow PRIMARY"),
)  # fmt: skip
CHECK = "exact"


def run(host: Host, params: Any) -> Dict[str, Any]:
    server = _server.find_server(host, params)
    if server is None:
        if params.role != "check":
            host.note("", "%s\n" % params.role, "the server")
        host.unknown("seconds", "bytes", "kept", "lsn")
        return host.outcome(role=params.role)
    if params.role == "check":
        return _check(host, params, server)
    cluster = _service.own_cluster(host, server, "pg_replication")
    with host.lock("pg-server-%s" % cluster.name.replace("/", "-")):
        if params.role == "primary":
            found = _primary.prepare(host, params, server, cluster)
        elif params.role == "fenced":
            found = _fence(host, cluster)
        else:
            found = _follow(host, params, server, cluster)
    return host.outcome(role=params.role, **found)


def _check(host: Host, params: Any, server: Any) -> Dict[str, Any]:
    with _psql.Psql(server) as db:
        found = _lag.measured(db)
    said = _lag.problems(found, params.max_bytes, params.max_seconds, params.standbys)
    limited = params.max_bytes is not None or params.max_seconds is not None or params.standbys
    if said and limited:
        host.fail("%s: %s" % (server.describe(), "; ".join(said)), **found)
    for text in said:
        host.warn("%s: %s" % (server.describe(), text))
    return host.outcome(**found)


def _fence(host: Host, cluster: Any) -> Dict[str, Any]:
    """Stop it in good order, so that standbys get all of its log, and let nothing start it again."""
    if not cluster.unit:
        host.fail("%s has no unit that could be masked; stop it and whatever starts it by other means" % cluster.name)
    link = "/etc/systemd/system/%s" % cluster.unit
    if cluster.pid:
        host.note("running\n", "stopped\n", cluster.unit)
    if os.path.realpath(link) != os.devnull:
        host.link(link, os.devnull)
        host.run(["systemctl", "daemon-reload"], foreseen=True)
    if host.check:
        host.unknown("lsn")
        return {}
    if cluster.pid:
        # By itself: systemd would end the processes of a masked unit all at once, and standbys would lack the last log.
        problem = _service.stop_by_itself(host, cluster)
        if problem:
            host.fail("%s is masked, and could not be stopped: %s" % (cluster.name, problem))
        host.must_run(["systemctl", "stop", cluster.unit], foreseen=True, timeout=_service.SECONDS)
    if _clusters.cluster_of(host, cluster.name).pid:
        host.fail("%s goes on after it was stopped" % cluster.name)
    lsn = last_checkpoint(host, cluster)
    if not lsn:
        host.fail("%s is fenced, but pg_controldata does not tell where its log ends; promote no standby before it is"
                  " known to have all of it" % cluster.name)  # fmt: skip
    return {"lsn": lsn}


def last_checkpoint(host: Host, cluster: Any) -> str:
    """Where a stopped server's log ends: the place of its shutdown checkpoint."""
    program = os.path.join(_clusters.bin_folder(host, cluster.version), "pg_controldata")
    for line in host.query([program, cluster.data], env={"LC_ALL": "C"}).stdout.split("\n"):
        if line.startswith("Latest checkpoint location:"):
            return line.partition(":")[2].strip()
    return ""


def _follow(host: Host, params: Any, server: Any, cluster: Any) -> Dict[str, Any]:
    if not params.primary:
        host.fail("role: standby needs primary: the address to follow")
    standby = _standby.Standby(host, params, server, cluster)
    if standby.follows() and cluster.pid and not standby.masked:
        standby.write_password()
        return {} if host.check else standby.await_streaming()
    confirmation.require(host, params.confirm, "make %s follow %s" % (cluster.name, params.primary))
    host.note("a server of its own\n", "follows %s\n" % params.primary, "cluster %s" % cluster.name)
    standby.write_password()
    if host.check:
        standby.unmask()
        host.unknown("kept", "method")
        return {}
    kept, method, problem = "", "rewind", "a copy was asked for"
    if params.method != "copy":
        problem = standby.rewind()
    if problem and params.method == "rewind":
        host.fail("%s; nothing of %s was replaced by a copy: method is rewind" % (problem, cluster.name))
    if problem:
        if params.method == "auto":
            host.warn("pg_rewind could not be used, the primary is copied: %s" % problem)
        kept, method = standby.copy(), "copy"
    return dict(standby.await_streaming(), kept=kept, method=method)
