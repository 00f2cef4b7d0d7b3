"""A whole server started, stopped and started again: through its unit where Debian looks after it, else by pg_ctl."""

from __future__ import annotations

import os
import time
from typing import Any, Callable

from opsplay.agent import exchange
from opsplay.agent.files import sync_directory
from opsplay.agent.host import Host
from opsplay.modules.postgres import _clusters, _psql
from opsplay.modules.postgres._server import Server, as_account

SECONDS = 300
LOG = "/var/log/postgresql/postgresql-%s.log"


def unit_of(cluster: _clusters.Cluster) -> str:
    """The systemd unit of a cluster: Debian's, or that which its process belongs to; empty where there is none."""
    if not os.path.isdir("/run/systemd/system"):
        return ""
    if cluster.debian:
        return cluster.unit
    for line in _clusters.lines_of("/proc/%d/cgroup" % cluster.pid) if cluster.pid else []:
        name = line.rpartition("/")[2]
        if name.endswith(".service") and "user@" not in line:
            return name
    return ""


def act(host: Host, cluster: Any, verb: str, seconds: int = SECONDS) -> str:
    """start, stop or restart a cluster within so many seconds; why it failed, empty when it did not."""
    unit = unit_of(cluster)
    if unit:
        if verb != "stop":
            # Else systemd refuses a start that follows a few others, such as the one with the old settings.
            host.query(["systemctl", "reset-failed", unit])
        done = host.query(["systemctl", verb, unit], timeout=seconds)
    else:
        done = _pg_ctl(host, cluster, verb, seconds)
    return _words(done)


def stop_by_itself(host: Host, cluster: Any, seconds: int = SECONDS) -> str:
    """Stop a cluster in good order whatever its unit is; why it failed, empty when it did not."""
    return _words(_pg_ctl(host, cluster, "stop", seconds))


def _pg_ctl(host: Host, cluster: Any, verb: str, seconds: int) -> Any:
    words = [os.path.join(_clusters.bin_folder(host, cluster.version), "pg_ctl"), verb, "--pgdata=%s" % cluster.data]
    words += ["--wait", "--silent", "--timeout=%d" % seconds] + (["--mode=fast"] if verb != "start" else [])
    words += [] if verb == "stop" else ["--log=%s" % os.path.join(cluster.data, "opsplay-start.log")]
    return host.query(as_account(cluster.owner if os.geteuid() == 0 else "", words), cwd="/", timeout=seconds + 30)


def _words(done: Any) -> str:
    """How a program failed, in its own words if it had any; empty when it did not."""
    if done.rc == 0:
        return ""
    return str(done.stderr.strip() or done.stdout.strip() or done.error or "exit code %d" % done.rc)


def await_ready(server: Server, seconds: float = 60, writable: bool = True) -> str:
    """Wait until it answers; what it says instead when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with _psql.Psql(server, seconds=30) as db:
                standby = db.value("SELECT pg_is_in_recovery() AS r")
                if not (standby and writable):
                    return ""
                problem = "it is in recovery"
        except _psql.SqlError as refused:
            problem = str(refused)
        if time.monotonic() > deadline:
            return problem
        time.sleep(0.2)


def last_words(host: Host, cluster: Any) -> str:
    """The end of what the server wrote to its log, for messages."""
    lines = _clusters.lines_of(log_of(cluster))[-2000:]
    found = [line.strip() for line in lines if "FATAL:" in line or "PANIC:" in line]
    return found[-1] if found else ""


def own_cluster(host: Host, server: Any, what: str) -> Any:
    """The server's cluster on this host. Fails for a server elsewhere."""
    if server.cluster is None:
        host.fail("%s works on the server's own host; %s is elsewhere" % (what, server.describe()))
    return server.cluster


def log_size(cluster: _clusters.Cluster) -> int:
    try:
        return os.stat(log_of(cluster)).st_size
    except OSError:
        return 0


def log_of(cluster: _clusters.Cluster) -> str:
    return LOG % cluster.name.replace("/", "-") if cluster.debian else os.path.join(cluster.data, "opsplay-start.log")


def complaints(cluster: _clusters.Cluster, since: int) -> str:
    """What the server has logged as the reason, from a size of its log on; empty when there is nothing."""
    try:
        with open(log_of(cluster), "rb") as file:
            file.seek(since)
            text = file.read(1 << 20).decode("utf-8", "replace")
    except OSError:
        return ""
    found = []
    for line in text.split("\n"):
        for word in ("FATAL:", "PANIC:", "HINT:", "DETAIL:"):
            said = line.partition(word)[2].strip()
            if said and said not in found and "starting up" not in said and "shutting down" not in said:
                found.append(said)
    return " ".join(found[:6])


def restart_with(host: Host, server: Server, cluster: Any, kept: bytes) -> None:
    """Restart with new settings; with the old ones (the text of postgresql.auto.conf) when it does not come up."""
    host.progress("restarting %s" % cluster.name)
    problem = act(host, cluster, "restart") or await_ready(server, writable=False)
    if problem:
        said = last_words(host, cluster) or problem
        path = os.path.join(cluster.data, "postgresql.auto.conf")
        host.write(path, kept, shown=("", ""))
        back = act(host, cluster, "restart") or await_ready(server, writable=False)
        state = "it runs with its old settings again" if not back else "nor with its old settings: %s" % back
        host.fail("%s did not come up with the new settings: %s; %s" % (cluster.name, said, state))


def take_place(
    host: Host, cluster: Any, server: Any, folder: str, kept: str, writable: bool = True,
    allow: Callable[[], None] = lambda: None, forbid: Callable[[], None] = lambda: None,
) -> str:
    """The new folder takes the name of the data directory, which is `kept`; then the start.

    Returns why it failed, with everything in its place again. `allow` is called when the new one is in its place,
    before the start, and `forbid` before the old one is again: of a cluster that nothing may start as it was.
    """
    try:
        # The new one bears the name that the old one will have; then one step puts both where they belong.
        os.rename(folder, kept)
    except OSError as problem:
        return "%s cannot be renamed: %s" % (folder, problem.strerror)
    try:
        exchange.exchange(kept, cluster.data)
    except OSError as problem:
        os.rename(kept, folder)
        return "%s cannot be renamed: %s" % (cluster.data, problem.strerror)
    allow()
    found = act(host, cluster, "start") or await_ready(server, 120, writable)
    if found:
        found = last_words(host, cluster) or found
        act(host, cluster, "stop")
        forbid()
        exchange.exchange(kept, cluster.data)
        os.rename(kept, folder)
        sync_directory(os.path.dirname(folder))
    return found
