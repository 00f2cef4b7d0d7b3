"""A base backup brought beside the data directory in use, and recovered there by a server that nobody can reach."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List

from opsplay.agent import process, spawn
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Program, flow, from_file
from opsplay.modules.postgres import _bases, _clusters, _leftovers, _pgbackrest, _psql, _scratch
from opsplay.modules.postgres._server import as_account

SETTINGS = ("restore_command", "recovery_target_time", "recovery_target_inclusive", "recovery_target_action",
            "recovery_target_timeline")  # fmt: skip
# How the server of the recovery differs from the one in use: nobody reaches it, and it archives nothing yet.
APART = {
    "listen_addresses": "",
    "archive_command": "",
    "external_pid_file": "",
    "shared_buffers": "128MB",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "log",
    "lc_messages": "C",
    "hot_standby": "off",
    "cluster_name": "opsplay-recovery",
    "ssl": "off",
}


class Recovery:
    """The new data directory of a cluster, `with Recovery(…) as new: new.unpack(); new.recover()`.

    It goes, with all that it holds, unless it was `kept`.
    """

    def __init__(self, host: Host, cluster: Any, base: Any, archive: Any, stamp: str) -> None:
        self.host = host
        self.cluster = cluster
        self.base = base
        self.archive = archive
        self.stamp = stamp
        self.folder = "%s_new_%s" % (cluster.data.rstrip("/"), stamp)
        self.spaces: Dict[str, str] = {}
        self.kept = False
        self.log = ""
        self._pid = 0
        self._run = ""

    def __enter__(self) -> "Recovery":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.stop("QUIT")
        if self._run:
            self.host.temporary.discard(self._run)
        if not self.kept:
            for path in [self.folder] + list(self.spaces.values()) + [_leftovers.mark_beside(self.folder)]:
                self.host.temporary.discard(path)

    def unpack(self) -> None:
        """The base's files, proven by PostgreSQL's own manifest or by pgBackRest. Raises Failed, OSError."""
        stanza = isinstance(self.archive, _pgbackrest.Stanza)
        spaces = self.archive.spaces(self.base) if stanza else self.base.data["base"]["tablespaces"]
        for oid, place in sorted(spaces.items()):
            self.spaces[oid] = "%s_%s" % (place.rstrip("/"), self.stamp)
        for path in [self.folder] + list(self.spaces.values()):
            os.mkdir(path, 0o700)
            self.host.temporary.paths.add(path)
            self._give(path)
        _leftovers.begin(self.folder, list(self.spaces.values()), beside=stanza)
        if stanza:
            mark = _leftovers.mark_beside(self.folder)
            self.host.temporary.paths.add(mark)
            self.archive.restore(self.base, self.folder, self.spaces)
            _leftovers.enter(self.folder)
            self.host.temporary.paths.discard(mark)
        else:
            self._untar()
        if self.spaces:
            lines = ["%s %s\n" % (oid, place) for oid, place in sorted(self.spaces.items())]
            self._write("tablespace_map", "".join(lines))

    def _untar(self) -> None:
        names = {entry["name"]: entry["name"].partition(".")[0] for entry in self.base.files if ".tar" in entry["name"]}
        for name, part in sorted(names.items()):
            target = {"base": self.folder, "pg_wal": os.path.join(self.folder, "pg_wal")}.get(part) or self.spaces[part]
            unpack = [Program(["gzip", "-dc"])] if name.endswith(".gz") else []
            tar = Program(["tar", "-x", "-p", "-C", target])
            from_file(self.host, self.base.path(name), unpack + [tar], "unpacking %s" % name)
        for oid, place in self.spaces.items():
            link = os.path.join(self.folder, "pg_tblspc", oid)
            if os.path.islink(link):
                os.unlink(link)
            os.symlink(place, link)
        _copy(self.base.path("backup_manifest"), os.path.join(self.folder, "backup_manifest"))
        self._own()
        verify = os.path.join(_clusters.bin_folder(self.host, self.cluster.version), "pg_verifybackup")
        words = [verify, "--no-parse-wal", "--quiet", "--ignore=%s" % _leftovers.MARK, self.folder]
        flow(self.host, [Program(self._as_owner(words))], text="verifying the base backup")

    def configure(self, params: Any, target: float) -> None:
        """Settings as they are in use, and those of the recovery."""
        for name in _clusters.listing(self.cluster.data):
            own = name.endswith(".conf") and os.path.isfile(os.path.join(self.cluster.data, name))
            if own and not name.startswith("recovery"):
                _copy(os.path.join(self.cluster.data, name), os.path.join(self.folder, name))
        path = os.path.join(self.folder, "postgresql.auto.conf")
        lines = [line for line in _clusters.lines_of(path) if line and line.split(" ")[0] not in SETTINGS]
        values = (self.archive.restore_command(self.folder), _bases.text_of(target),
                  "on" if params.inclusive else "off", "promote", params.timeline)  # fmt: skip
        lines += ["%s = '%s'" % (name, values[place]) for place, name in enumerate(SETTINGS)]
        self._write("postgresql.auto.conf", "\n".join(lines) + "\n")
        self._write("recovery.signal", "")
        self._own()

    def recover(self, seconds: float) -> Any:
        """Start the server apart and wait until it is promoted. Returns it, for Psql. Fails with its own words."""
        server = self._started()
        deadline = time.monotonic() + seconds
        while True:
            if process.poll(self._pid) is not None:
                self.host.children.discard(self._pid)
                self._pid = 0
                self.host.fail("the recovery has ended early: %s; the server in use is untouched" % self._reason())
            try:
                with _psql.Psql(server, seconds=60) as db:
                    if not db.value("SELECT pg_is_in_recovery() AS r"):
                        return server
            except _psql.SqlError:
                pass
            if time.monotonic() > deadline:
                self.host.fail("the recovery was given up after %d s; the server in use is untouched" % seconds)
            self.host.progress("recovering: %s" % (self.said()[-1:] or ["started"])[0][-120:])
            time.sleep(0.3)

    def forget_target(self, server: Any) -> None:
        """The settings of the recovery go: the next start is an ordinary one."""
        with _psql.Psql(server) as db:
            for name in SETTINGS:
                db.execute("ALTER SYSTEM RESET %s" % name)
            db.execute("CHECKPOINT")

    def stop(self, how: str = "INT") -> None:
        """Stop the server apart: INT in good order, QUIT at once."""
        if self._pid:
            import _signal

            try:
                os.kill(self._pid, _signal.SIGINT if how == "INT" else _signal.SIGQUIT)
            except OSError:
                pass
            process.end(self._pid, 120)
            self.host.children.discard(self._pid)
            self._pid = 0

    def keep(self) -> None:
        """It is in service, under the name of the cluster's data directory. Raises OSError."""
        self.kept = True
        for path in [self.folder] + list(self.spaces.values()):
            self.host.temporary.paths.discard(path)
        _leftovers.end(self.cluster.data)

    def said(self) -> List[str]:
        return [line for line in _clusters.lines_of(self.log) if line]

    def stopped_at(self) -> str:
        """Where the recovery has stopped, in the server's words."""
        found = [line.partition("LOG:")[2].strip() for line in self.said() if "recovery stopping" in line]
        return found[-1] if found else ""

    def _started(self) -> Any:
        self._run = self.host.temporary.folder("/run" if os.geteuid() == 0 else "/tmp")
        self._give(self._run)
        hba = os.path.join(self._run, "hba")
        with open(hba, "w", encoding="ascii") as file:
            file.write("local all all peer\n")
        self._give(hba)
        options = dict(APART, unix_socket_directories=self._run, port="5432", data_directory=self.folder, hba_file=hba)
        if self.cluster.major >= 15:
            options["archive_library"] = ""
        words = [os.path.join(_clusters.bin_folder(self.host, self.cluster.version), "postgres"), "-D", self.folder]
        config = self.cluster.config if self.cluster.debian else self.folder
        words += ["-c", "config_file=%s" % os.path.join(config, "postgresql.conf")]
        for name, value in sorted(options.items()):
            words += ["-c", "%s=%s" % (name, value)]
        self.log = os.path.join(self._run, "log")
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            argv = as_account(self._account(), words, "QUIT")
            env = dict(os.environ, HOME="/")
            self._pid = spawn.start(argv, env, "/", [null, log, log], self.host.children)
        finally:
            os.close(log)
            os.close(null)
        folder = _clusters.bin_folder(self.host, self.cluster.version)
        return _scratch.ScratchServer(self.host, folder, self._run, self._account())

    def _reason(self) -> str:
        fatal = [line for line in self.said() if "FATAL:" in line or "PANIC:" in line]
        return "; ".join(line.strip() for line in (fatal or self.said())[-2:])

    def _account(self) -> str:
        return str(self.cluster.owner) if os.geteuid() == 0 else ""

    def _as_owner(self, words: List[str]) -> List[str]:
        return as_account(self._account(), words)

    def _write(self, name: str, text: str) -> None:
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(path, 0o600)
        self._give(path)

    def _give(self, path: str) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.host.uid(self.cluster.owner), os.stat(self.cluster.data).st_gid, follow_symlinks=False)

    def _own(self) -> None:
        for top in [self.folder] + list(self.spaces.values()):
            self._give(top)
            for where, folders, names in os.walk(top):
                for name in folders + names:
                    self._give(os.path.join(where, name))


def _copy(source: str, target: str) -> None:
    with open(source, "rb") as file, open(target, "wb") as copy:
        while True:
            data = file.read(1 << 20)
            if not data:
                break
            copy.write(data)
