"""A cluster made a standby: by pg_rewind where it has only parted from the primary, else by a copy of it."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, flow
from opsplay.modules.postgres import _clusters, _psql, _recovery, _service
from opsplay.modules.postgres._server import as_account

STREAMING_SECONDS = 120


class Standby:
    """The cluster on this host, and the primary that it is to follow."""

    def __init__(self, host: Host, params: Any, server: Any, cluster: Any) -> None:
        self.host = host
        self.params = params
        self.server = server
        self.cluster = cluster
        folder = cluster.config if cluster.debian else os.path.dirname(cluster.data)
        self.passfile = os.path.join(folder, "replication.pgpass")
        self.account = cluster.owner if os.geteuid() == 0 else ""
        self.bin = _clusters.bin_folder(host, cluster.version)
        # A fenced old primary: until it is a standby nothing may start it, not even a boot.
        self._link = "/etc/systemd/system/%s" % cluster.unit
        self.masked = bool(cluster.unit) and os.path.islink(self._link) and os.readlink(self._link) == os.devnull

    def conninfo(self) -> str:
        params = self.params
        words = {"host": params.primary, "port": params.primary_port, "user": params.user, "connect_timeout": 10,
                 "application_name": params.slot or "standby"}  # fmt: skip
        if params.password:
            words["passfile"] = self.passfile
        return " ".join("%s=%s" % (key, value) for key, value in words.items())

    def follows(self) -> bool:
        """Whether it is a standby of that primary already."""
        settings = _clusters.read_settings(os.path.join(self.cluster.data, "postgresql.auto.conf"))
        same = settings.get("primary_conninfo") == self.conninfo()
        return same and os.path.exists(os.path.join(self.cluster.data, "standby.signal"))

    def write_password(self) -> None:
        if self.params.password:
            text = self.params.password.replace("\\", "\\\\").replace(":", "\\:")
            line = "*:*:*:%s:%s\n" % (self.params.user, text)
            self.host.write(self.passfile, line, mode=0o600, owner=self.cluster.owner, shown=("", "password\n"))

    def unmask(self) -> None:
        """Let it be started: it is a standby now. A preview only says so."""
        if self.masked:
            self.host.remove(self._link)
            self.host.run(["systemctl", "daemon-reload"], foreseen=True)

    def mask_again(self) -> None:
        """It is none after all."""
        if self.masked:
            self.host.link(self._link, os.devnull)
            self.host.run(["systemctl", "daemon-reload"], foreseen=True)

    def rewind(self) -> str:
        """Undo what the primary does not have; why it cannot be done, empty when it was."""
        problem = _service.act(self.host, self.cluster, "stop") if self._runs() else ""
        if problem:
            return problem
        words = [os.path.join(self.bin, "pg_rewind"), "--target-pgdata=%s" % self.cluster.data]
        words.append("--source-server=%s dbname=postgres" % self.conninfo())
        if self.cluster.major >= 15 and self.cluster.debian:
            words.append("--config-file=%s" % os.path.join(self.cluster.config, "postgresql.conf"))
        try:
            flow(self.host, [Program(as_account(self.account, words))], text="pg_rewind")
        except Failed as refused:
            return str(refused)
        self.configure(self.cluster.data)
        self.unmask()
        return _service.act(self.host, self.cluster, "start")

    def copy(self) -> str:
        """Copy the primary beside and let that take the place; the name under which the old directory is kept."""
        stamp = time.strftime("%Y%m%dT%H%M%S")
        folder, kept = ("%s_%s_%s" % (self.cluster.data.rstrip("/"), word, stamp) for word in ("new", "old"))
        self.host.temporary.paths.add(folder)
        words = [os.path.join(self.bin, "pg_basebackup"), "--dbname=%s" % self.conninfo(), "--pgdata=%s" % folder]
        words += ["--wal-method=stream", "--checkpoint=fast", "--no-password"]
        words += ["--slot=%s" % self.params.slot] if self.params.slot else []
        try:
            flow(self.host, [Program(as_account(self.account, words))], text="copying the primary")
        except Failed as refused:
            self._as_before()
            self.host.fail("%s; %s is as it was" % (refused, self.cluster.name))
        self.configure(folder)
        with self.host.critical(600):
            problem = _service.act(self.host, self.cluster, "stop") if self._runs() else ""
            said = problem or _service.take_place(self.host, self.cluster, self.server, folder, kept, False,
                                                  self.unmask, self.mask_again)  # fmt: skip
            if said:
                self._as_before()
                self.host.fail("the copy does not come into service: %s; the old directory is in its place" % said)
        self.host.temporary.paths.discard(folder)
        return kept

    def configure(self, folder: str) -> None:
        """Let it follow the primary at its next start."""
        path = os.path.join(folder, "postgresql.auto.conf")
        names = ("primary_conninfo", "primary_slot_name", "recovery_target_timeline") + _recovery.SETTINGS
        lines = [line for line in _clusters.lines_of(path) if line and line.split(" ")[0] not in names]
        lines.append("primary_conninfo = '%s'" % self.conninfo())
        lines += ["primary_slot_name = '%s'" % self.params.slot] if self.params.slot else []
        for name, text in (("postgresql.auto.conf", "\n".join(lines) + "\n"), ("standby.signal", "")):
            target = os.path.join(folder, name)
            with open(target, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(target, 0o600)
            if self.account:
                os.chown(target, self.host.uid(self.account), os.stat(self.cluster.data).st_gid)

    def await_streaming(self) -> Dict[str, Any]:
        """Wait until it receives the primary's log. Fails with what it says instead."""
        deadline = time.monotonic() + STREAMING_SECONDS
        status = ""
        while True:
            try:
                with _psql.Psql(self.server, seconds=30) as db:
                    status = str(db.value("SELECT coalesce((SELECT status FROM pg_stat_wal_receiver), 'none') AS s"))
                    if status == "streaming" and db.value("SELECT pg_is_in_recovery() AS r"):
                        return {"receiver": status}
            except _psql.SqlError as problem:
                status = str(problem)
            if time.monotonic() > deadline:
                words = (self.cluster.name, self.params.primary, status, _service.last_words(self.host, self.cluster))
                self.host.fail("%s does not stream from %s: %s %s" % words)
            time.sleep(0.3)

    def _as_before(self) -> None:
        """Start what ran. One that was stopped stays so: a fenced old primary would take writes again."""
        if self.cluster.pid:
            _service.act(self.host, self.cluster, "start")

    def _runs(self) -> bool:
        return os.path.exists(os.path.join(self.cluster.data, "postmaster.pid"))
