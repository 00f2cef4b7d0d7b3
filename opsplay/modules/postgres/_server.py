"""Which server a module speaks to, as whom, and with which programs."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.process import Completed
from opsplay.agent.spec import Int, Name, Str
from opsplay.modules.postgres import _clusters

# The parameters that every module which speaks to a server has; the names are those that Ansible's collection uses.
CONNECTION = {
    "cluster": Str(help="The cluster, as 15/main or by its data directory; needed where there are several"),
    "login_host": Str(help="Where the server is, or the folder of its socket; without it the cluster's own socket"),
    "login_port": Int(min=1, max=65535, aliases=["port"], help="Its port; without it the cluster's, or 5432"),
    "login_user": Name(help="The role to speak as; without it the account that owns the cluster"),
    "login_password": Str(secret=True, help="The role's password; it is on no command line"),
}
# libpq gives up a connection after this many seconds.
CONNECT_SECONDS = 10


class Server:
    """A server and the way to it. `folder` holds the programs of its version, or of the newest client here."""

    def __init__(self, host: Host, params: Any) -> None:
        self.host = host
        self.cluster: Optional[_clusters.Cluster] = None
        self.address = params.login_host or ""
        self.user = params.login_user or ""
        self.password = params.login_password or ""
        self.port = params.login_port
        if not self.address or self.address.startswith("/") or params.cluster:
            self.cluster = _clusters.chosen(host, params.cluster, params.login_port)
        if self.cluster is not None:
            self.address = self.address or self.cluster.socket
            self.port = self.port or self.cluster.port
        self.port = self.port or 5432
        self.folder = _clusters.bin_folder(host, self.cluster.version) if self.cluster else ""
        self.folder = self.folder or _clusters.newest_bin_folder(host)
        self._passfile = ""

    @property
    def account(self) -> str:
        """The account to run programs as: the cluster's owner on its socket; empty for the agent's own."""
        on_socket = not self.address or self.address.startswith("/")
        if os.geteuid() != 0 or not on_socket or self.password or self.cluster is None:
            return ""
        return self.cluster.owner if self.cluster.owner != "root" else ""

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs. Fails when it is not installed."""
        path = os.path.join(self.folder, name) if self.folder else ""
        if not path or not os.access(path, os.X_OK):
            where = self.folder or "this host"
            self.host.fail("there is no %s in %s; install PostgreSQL's programs (postgresql-client)" % (name, where))
        return path

    def command(self, name: str, *arguments: str) -> List[str]:
        """A program's argv, run as the account that the server's socket knows."""
        return as_account(self.account, [self.program(name)] + list(arguments))

    def environment(self, database: str = "postgres") -> Dict[str, str]:
        """libpq's variables for a program; the password lies in a file that only its reader can open."""
        found = {
            "PGHOST": self.address,
            "PGPORT": str(self.port),
            "PGDATABASE": database,
            "PGUSER": self.user or self.account,
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
            "PGAPPNAME": "opsplay",
            "PGPASSFILE": self._password_file(),
            "PGOPTIONS": "",
            "PGSERVICE": "",
            "PSQLRC": "/dev/null",
            "HOME": "/",
        }
        return {name: value for name, value in found.items() if value or name == "PGOPTIONS"}

    def query(self, name: str, *arguments: str, database: str = "postgres", **options: Any) -> Completed:
        """Run a program that only looks."""
        options.setdefault("env", self.environment(database))
        return self.host.query(self.command(name, *arguments), cwd="/", **options)

    def run(self, name: str, *arguments: str, database: str = "postgres", **options: Any) -> Completed:
        """Run a program that changes something; a preview does not run it. Fails with its own words."""
        options.setdefault("env", self.environment(database))
        return self.host.must_run(self.command(name, *arguments), cwd="/", foreseen=True, **options)

    def forget(self) -> None:
        """Remove the password's file; the end of the task does so, too."""
        if self._passfile:
            self.host.temporary.discard(self._passfile)
            self._passfile = ""

    def describe(self) -> str:
        """The server in words, for messages."""
        return self.cluster.name if self.cluster is not None else "%s:%d" % (self.address or "localhost", self.port)

    def _password_file(self) -> str:
        if not self.password:
            return ""
        if not self._passfile:
            folder = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR") or "/tmp"
            fd, self._passfile = self.host.temporary.create(folder)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write("*:*:*:*:%s\n" % self.password.replace("\\", "\\\\").replace(":", "\\:"))
        return self._passfile


def as_account(account: str, argv: List[str], dying: str = "TERM") -> List[str]:
    """A command line that runs as another account (empty: the same), without PAM and its sessions.

    The kernel sends it the signal `dying` when the agent is no more.
    """
    own = ["--reuid=%s" % account, "--regid=%s" % primary_group(account), "--init-groups"] if account else []
    return ["setpriv"] + own + ["--pdeathsig=%s" % dying, "--"] + argv


def primary_group(account: str) -> str:
    """The number of an account's own group."""
    import pwd

    return str(pwd.getpwnam(account).pw_gid) if not account.isdigit() else account


def find_server(host: Host, params: Any) -> Optional[Server]:
    """The server that the parameters mean. None in the preview of a host where an earlier task would install it.

    Fails where there is no PostgreSQL, and warns of a version that opsplay was not tried with.
    """
    server = Server(host, params)
    if not server.folder and host.check and host.shadow.brings_unknown_files:
        return None
    server.program("psql")
    if server.cluster is None and not server.address:
        if host.check and host.shadow.brings_unknown_files:
            return None
        where = "on port %d " % params.login_port if params.login_port else ""
        host.fail("there is no PostgreSQL cluster %son this host; give login_host for a server elsewhere" % where)
    if server.cluster is not None and not _clusters.OLDEST <= server.cluster.major <= _clusters.NEWEST:
        text = "PostgreSQL %s was never tried with opsplay (%d to %d were)"
        host.warn(text % (server.cluster.version, _clusters.OLDEST, _clusters.NEWEST))
    return server
