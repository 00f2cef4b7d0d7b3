"""A server for a while: a new, empty cluster in a hidden folder, reached through its socket only, gone afterwards."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional

from opsplay.agent import process, spawn
from opsplay.agent.host import Host
from opsplay.modules.postgres import _clusters
from opsplay.modules.postgres._server import Server, as_account, primary_group

# Seconds that a new server may take until it answers, and one that is stopped until it is gone.
START_SECONDS = 60.0
STOP_SECONDS = 20.0
# The path of a socket may have 107 bytes (sun_path of unix(7)); the socket's own name takes 20 of them.
SOCKET_MOST = 85
# Nothing in a scratch cluster has to survive a power cut.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_wal_size": "4GB",
    "logging_collector": "off",
    "archive_mode": "off",
    "shared_preload_libraries": "",
}


class ScratchServer(Server):
    """The server of a scratch cluster, for Psql and the programs."""

    def __init__(self, host: Host, folder: str, socket: str, account: str) -> None:
        self.host = host
        self.cluster = None
        self.address, self.port = socket, 5432
        self.user = account or _clusters.owner_of("/proc/self")
        self.password = self._passfile = ""
        self.folder = folder
        # A folder for what is taken out of it; it goes with the server.
        self.place = ""
        self._account = account

    @property
    def account(self) -> str:
        return self._account

    def describe(self) -> str:
        return "the scratch cluster"


class Scratch:
    """`with Scratch(host, bin_folder, parent) as server:` a running server of that version, in a folder of `parent`.

    It runs as `account` (as the agent's own without one), takes no connection but that account's, and ends with the
    task, or with the agent if that is killed. `settings` are added to its configuration. Fails with the server's own
    words.
    """

    def __init__(
        self,
        host: Host,
        bin_folder: str,
        parent: str,
        account: str = "",
        encoding: str = "UTF8",
        locale: str = "C",
        settings: Optional[Dict[str, str]] = None,
    ) -> None:
        self._host = host
        self._bin = bin_folder
        self._parent = parent
        self._account = account
        self._initdb = ["--encoding=%s" % encoding, "--locale=%s" % locale]
        self._settings = dict(SETTINGS, **(settings or {}))
        self._folders: List[str] = []
        self._pid = 0
        self._log = ""

    def __enter__(self) -> ScratchServer:
        try:
            folder = self._folder(self._parent)
            data = os.path.join(folder, "data")
            self._make(data)
            socket = folder if len(folder) <= SOCKET_MOST else self._folder("/run" if os.geteuid() == 0 else "/tmp")
            server = ScratchServer(self._host, self._bin, socket, self._account)
            server.place = folder
            self._start(data, socket)
            self._await(server)
            return server
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc: Any) -> None:
        if self._pid:
            import _signal

            # An immediate end: what it would still write is thrown away.
            try:
                os.kill(self._pid, _signal.SIGQUIT)
            except OSError:
                pass
            process.end(self._pid, STOP_SECONDS)
            self._host.children.discard(self._pid)
            self._pid = 0
        for folder in self._folders:
            self._host.temporary.discard(folder)
        self._folders = []

    @property
    def folder(self) -> str:
        """Its hidden folder, which goes with it, for other files of that server; empty while it does not run."""
        return self._folders[0] if self._folders else ""

    def _folder(self, parent: str) -> str:
        folder = self._host.temporary.folder(parent)
        self._folders.append(folder)
        if self._account:
            os.chown(folder, self._host.uid(self._account), int(primary_group(self._account)))
        return folder

    def _make(self, data: str) -> None:
        own = ["--pgdata=%s" % data, "--auth-local=peer", "--auth-host=reject", "--no-sync"]
        if self._account:
            own.append("--username=%s" % self._account)
        argv = as_account(self._account, [os.path.join(self._bin, "initdb")] + own + self._initdb)
        done = self._host.query(argv, cwd="/", env={"HOME": "/"})
        if done.rc != 0:
            self._host.fail("initdb failed: %s" % (done.stderr.strip() or done.error or done.stdout.strip()))

    def _start(self, data: str, socket: str) -> None:
        options = dict(self._settings, unix_socket_directories=socket)
        words = [os.path.join(self._bin, "postgres"), "-D", data]
        for name, value in sorted(options.items()):
            words += ["-c", "%s=%s" % (name, value)]
        self._log = os.path.join(os.path.dirname(data), "log")
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            env = dict(os.environ, HOME="/")
            argv = as_account(self._account, words, "QUIT")
            self._pid = spawn.start(argv, env, "/", [null, log, log], self._host.children)
        finally:
            os.close(log)
            os.close(null)

    def _await(self, server: ScratchServer) -> None:
        deadline = time.monotonic() + START_SECONDS
        while server.query("pg_isready", "-q", "-t", "2").rc != 0:
            ended = process.poll(self._pid) is not None
            if ended:
                self._host.children.discard(self._pid)
                self._pid = 0
            if ended or time.monotonic() > deadline:
                said = "\n".join(_clusters.lines_of(self._log)[-12:]).strip()
                self._host.fail("the scratch cluster did not start: %s" % said)
            time.sleep(0.05)
