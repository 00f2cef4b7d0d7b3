"""The exchange of a Redis server's files for a backup's, and the way back."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List

from opsplay.agent import files
from opsplay.agent.host import Host, ModuleFailed
from opsplay.modules.redis import _dump, _resp

DEFAULTS = {
    "dir": "/var/lib/redis",
    "dbfilename": "dump.rdb",
    "appendonly": "no",
    "appendfilename": "appendonly.aof",
    "appenddirname": "appendonlydir",
}
MARK = "# opsplay is restoring: the append-only file comes back when the data is loaded"
STOP_SECONDS = 120.0


class Exchange:
    """One restore. `kept` is the folder with the old files."""

    def __init__(self, host: Host, params: Any, server: Dict[str, Any], source: str) -> None:
        self.host = host
        self.params = params
        self.settings = dict(DEFAULTS, **server["settings"])
        self.config = host.real(server["config"])
        self.source = source
        self.target = _dump.place_of(self.settings)
        self.kept = "%s/before-restore-%s" % (self.settings["dir"], time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
        self.aof = self.settings["appendonly"] == "yes"
        self._beside = ""
        self._before = files.read_whole(self.config)
        self._swapped = False

    def prepare(self) -> None:
        """Lay the backup beside the data, on its file system, while the server still serves."""
        import shutil

        folder = self.settings["dir"]
        owner = os.stat(folder)
        fd, self._beside = self.host.temporary.create(folder)
        with os.fdopen(fd, "wb") as new, open(self.source, "rb") as old:
            shutil.copyfileobj(old, new, 1 << 20)
            os.fchown(new.fileno(), owner.st_uid, owner.st_gid)
            os.fchmod(new.fileno(), 0o660)
            new.flush()
            os.fsync(new.fileno())

    def swap(self) -> None:
        """Stop the server, put its files aside and the backup into their place. Raises OSError."""
        self._service("stop")
        owner = os.stat(self.settings["dir"])
        os.mkdir(self.kept, 0o700)
        os.chown(self.kept, owner.st_uid, owner.st_gid)
        self._swapped = True
        for path in self._own_files():
            os.rename(path, os.path.join(self.kept, os.path.basename(path)))
        os.rename(self._beside, self.target)
        self.host.temporary.paths.discard(self._beside)
        files.sync_directory(self.settings["dir"])

    def prove(self, found: Dict[str, Any]) -> int:
        """Start it without an append-only file, and compare its keys with the backup's. Raises RedisError."""
        if self.aof:
            # The last line counts, whatever stands above it or in files that are included.
            self._write(self._before.rstrip(b"\n") + b"\n" + MARK.encode() + b"\nappendonly no\n")
        self._service("start")
        problem = _resp.await_ready(self.host, self.params, self.params.timeout)
        if problem:
            raise _resp.RedisError(problem)
        with _resp.Client(self.params) as redis:
            keys = sum(_resp.keys_of(redis.info("keyspace")).values())
        wanted, expires = found["keys"], found["expires"] or 0
        # Keys whose time is over are not loaded.
        if wanted is not None and not wanted - expires <= keys <= wanted:
            raise _resp.RedisError("the server has loaded %d keys, the backup holds %d" % (keys, wanted))
        return keys

    def append_only(self) -> None:
        """Have the append-only file made anew from the data, and the configuration as it was. Raises RedisError."""
        if not self.aof:
            return
        with _resp.Client(self.params) as redis:
            redis.call("CONFIG", "SET", "appendonly", "yes")
            deadline = time.monotonic() + self.params.timeout
            while True:
                info = redis.info("persistence")
                busy = "1" in (info.get("aof_rewrite_in_progress"), info.get("aof_rewrite_scheduled"))
                if not busy and info.get("aof_enabled") == "1" and info.get("aof_last_bgrewrite_status") == "ok":
                    break
                if time.monotonic() > deadline or (not busy and info.get("aof_last_bgrewrite_status") == "err"):
                    raise _resp.RedisError("the append-only file could not be made; the server's log says why")
                time.sleep(0.1)
        self._write(self._before)

    def go_back(self) -> str:
        """The old files and the old configuration again; in words, what is now."""
        try:
            if files.read_whole(self.config) != self._before:
                self._write(self._before)
            if self._swapped:
                self._service("stop")
                self._put_back()
        except (OSError, ModuleFailed) as problem:
            return "the old files are in %s and could not be put back: %s" % (self.kept, words_of(problem))
        try:
            self._service("start")
            now = _resp.await_ready(self.host, self.params, self.params.timeout)
        except ModuleFailed as failed:
            now = words_of(failed)
        return "the old data is back" + (", but: " + now if now else " and in service")

    def _put_back(self) -> None:
        for path in self._own_files():
            files.remove_tree(path)
        for name in os.listdir(self.kept):
            os.rename(os.path.join(self.kept, name), os.path.join(self.settings["dir"], name))
        os.rmdir(self.kept)
        files.sync_directory(self.settings["dir"])

    def _own_files(self) -> List[str]:
        """What the server would load: its RDB file, the folder of its append-only file, or that file (before 7)."""
        names = (self.settings["dbfilename"], self.settings["appenddirname"], self.settings["appendfilename"])
        paths = [os.path.join(self.settings["dir"], name) for name in names if name]
        return [path for path in paths if os.path.lexists(path)]

    def _write(self, content: bytes) -> None:
        found = os.stat(self.config)
        owner = (found.st_uid, found.st_gid)
        files.replace(self.host.temporary, self.config, iter((content,)), found.st_mode & 0o7777, owner)

    def _service(self, verb: str) -> None:
        unit = self.params.service
        if verb == "start":
            # A server that failed a few times in a row would be refused its start.
            self.host.query(["systemctl", "reset-failed", unit])
        done = self.host.query(["systemctl", verb, unit], timeout=STOP_SECONDS)
        if done.rc != 0:
            self.host.fail("systemctl %s %s failed: %s" % (verb, unit, done.stderr.strip() or done.error))


def read_config(path: str) -> Dict[str, str]:
    """The settings of a configuration file that a restore needs, the last of each; without those that it includes."""
    found = dict(DEFAULTS)
    for line in files.read_whole(path).decode("utf-8", "surrogateescape").split("\n"):
        name, _, value = line.strip().partition(" ")
        if name.lower() in found:
            found[name.lower()] = value.strip().strip("\"'")
    return found


def words_of(problem: Exception) -> str:
    return str(problem.result["msg"]) if isinstance(problem, ModuleFailed) else str(problem)


def numbers(version: str) -> List[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
