"""The PostgreSQL servers of this host: Debian's clusters, and data directories elsewhere."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host

# Where Debian and the PostgreSQL project's own RPMs put a version's programs.
BIN_FOLDERS = ("/usr/lib/postgresql/%s/bin", "/usr/pgsql-%s/bin")
CONFIG = "/etc/postgresql"
# The majors that opsplay is tried on, and those between them.
OLDEST, NEWEST = 13, 18


class Cluster:
    """One server's files. `name` is `15/main` as Debian says it, or the data directory; `config` holds its settings.

    `pid` is 0 when it does not run; port and socket folder are then those of its configuration.
    """

    __slots__ = ("name", "version", "data", "config", "owner", "port", "socket", "pid")

    def __init__(self, name: str, version: str, data: str, config: str) -> None:
        self.name = name
        self.version = version
        self.data = data
        self.config = config
        self.owner = ""
        self.port = 5432
        self.socket = "/var/run/postgresql" if os.path.isdir("/var/run/postgresql") else "/tmp"
        self.pid = 0

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    @property
    def debian(self) -> bool:
        """Whether Debian's tools look after it: its unit is postgresql@15-main."""
        return not self.name.startswith("/")

    @property
    def unit(self) -> str:
        """The systemd unit of a Debian cluster; empty for another."""
        return "postgresql@%s.service" % self.name.replace("/", "-") if self.debian else ""


def find_clusters(host: Host) -> List[Cluster]:
    """Debian's clusters, by version and name."""
    found = []
    for version in listing(CONFIG):
        for name in listing(os.path.join(CONFIG, version)):
            folder = os.path.join(CONFIG, version, name)
            if os.path.isfile(os.path.join(folder, "postgresql.conf")):
                found.append(_debian_cluster(host, version, name, folder))
    return found


def cluster_of(host: Host, name: str) -> Cluster:
    """A cluster by `15/main`, or by its data directory. Fails when there is none."""
    if not name.startswith("/"):
        known = find_clusters(host)
        for cluster in known:
            if cluster.name == name:
                return cluster
        there = ", ".join(cluster.name for cluster in known) or "none"
        host.fail("there is no PostgreSQL cluster %s; there is %s" % (name, there))
    data = host.expand(name)
    for cluster in find_clusters(host):
        if os.path.realpath(cluster.data) == os.path.realpath(data):
            return cluster
    version = first_line(os.path.join(data, "PG_VERSION"))
    if not version:
        host.fail("%s is not a data directory of PostgreSQL: it has no PG_VERSION" % data)
    return _with_state(host, Cluster(data, version, data, data))


def _debian_cluster(host: Host, version: str, name: str, folder: str) -> Cluster:
    settings = read_settings(os.path.join(folder, "postgresql.conf"))
    data = settings.get("data_directory") or "/var/lib/postgresql/%s/%s" % (version, name)
    return _with_state(host, Cluster("%s/%s" % (version, name), version, data, folder))


def _with_state(host: Host, cluster: Cluster) -> Cluster:
    """What a running server says of itself in postmaster.pid; else what its configuration says."""
    settings = read_settings(os.path.join(cluster.config, "postgresql.conf"))
    settings.update(read_settings(os.path.join(cluster.data, "postgresql.auto.conf")))
    cluster.port = int(settings.get("port") or cluster.port)
    cluster.socket = (settings.get("unix_socket_directories") or cluster.socket).split(",")[0].strip()
    cluster.owner = owner_of(cluster.data)
    lines = lines_of(os.path.join(cluster.data, "postmaster.pid"))
    # The lines of postmaster.pid: pid, data directory, start, port, socket folder, addresses, shared memory, state.
    if len(lines) >= 5 and lines[0].isdigit() and is_postgres(int(lines[0])):
        cluster.pid, cluster.port = int(lines[0]), int(lines[3])
        cluster.socket = lines[4] or cluster.socket
    return cluster


def is_postgres(pid: int) -> bool:
    """Whether this process runs a program of PostgreSQL: a pid left by a crash may be another's by now."""
    try:
        return os.path.basename(os.readlink("/proc/%d/exe" % pid)).partition(" ")[0] in ("postgres", "postmaster")
    except OSError:
        return first_line("/proc/%d/comm" % pid) in ("postgres", "postmaster")


def bin_folder(host: Host, version: str) -> str:
    """The folder of a version's programs; empty where it is not installed."""
    for pattern in BIN_FOLDERS:
        folder = pattern % version
        if os.path.isfile(os.path.join(folder, "psql")):
            return folder
    return ""


def newest_bin_folder(host: Host) -> str:
    """The folder of the newest version's client programs; empty when there is none."""
    found = []
    for pattern in BIN_FOLDERS:
        above, _, below = pattern.partition("%s")
        parent, start = os.path.split(above)
        for name in listing(parent):
            version = name[len(start) :]
            if name.startswith(start) and version.replace(".", "").isdigit():
                folder = above + version + below
                if os.path.isfile(os.path.join(folder, "psql")):
                    found.append(([int(part) for part in version.split(".")], folder))
    if found:
        return max(found)[1]
    psql = host.which("psql")
    return os.path.dirname(os.path.realpath(psql)) if psql else ""


def read_settings(path: str) -> Dict[str, str]:
    """The settings that a configuration file itself makes, without those that it includes."""
    found = {}
    for line in lines_of(path):
        name, _, value = line.strip().replace("=", " ", 1).partition(" ")
        if name and not name.startswith("#"):
            found[name.lower()] = unquoted(value.strip())
    return found


def unquoted(value: str) -> str:
    """A value of postgresql.conf without quotes and the comment behind it."""
    if not value.startswith("'"):
        return value.partition("#")[0].strip()
    text, rest = "", value[1:]
    while rest:
        part, quote, rest = rest.partition("'")
        text += part
        if not quote or not rest.startswith("'"):
            break
        text, rest = text + "'", rest[1:]
    return text


def listing(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def lines_of(path: str) -> List[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().split("\n")
    except OSError:
        return []


def first_line(path: str) -> str:
    return (lines_of(path) or [""])[0].strip()


def owner_of(path: str) -> str:
    """The account that a file belongs to; empty when it is not there."""
    import pwd

    try:
        uid = os.stat(path).st_uid
    except OSError:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def chosen(host: Host, name: Optional[str], port: Optional[int]) -> Any:
    """The cluster meant by a name, else by a port, else the one that psql would take; None when there is none here."""
    if name:
        return cluster_of(host, name)
    known = find_clusters(host)
    matching = [cluster for cluster in known if cluster.port == (port or 5432)]
    if not matching and port is None:
        matching = known if len(known) == 1 else []
        if len(known) > 1:
            there = ", ".join("%s (port %d)" % (cluster.name, cluster.port) for cluster in known)
            host.fail("there are several PostgreSQL clusters: %s; name one with `cluster`" % there)
    # Of two on one port only one can run.
    return max(matching, key=lambda cluster: (cluster.pid > 0, cluster.major)) if matching else None
