"""A store over SSH: requests and contents through the ssh program, with the far end's key pinned."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

from opsplay.agent import files, process, spawn
from opsplay.agent.host import Host
from opsplay.modules.backup._store import Store, StoreError

# A line of the far end has at most this many bytes: the manifests of some hundred sets.
LINE_MOST = 64 << 20
CONNECT_SECONDS = 15


class SshStore(Store):
    """A host that `backup_store` has made one.

    `dest` holds host, port, user, host_key, and private_key (a path) or key (the private key itself, which lives in an
    ssh-agent's memory meanwhile and is never written to a disk). Fails where some of that lacks.
    """

    def __init__(self, host: Host, dest: Any) -> None:
        if not dest.host_key:
            host.fail("give host_key, the key of the store's host: another one is refused")
        if not dest.key and not dest.private_key:
            host.fail("give private_key (a file on this host) or key (the private key itself)")
        self.place = str(dest.host)
        self._host = host
        self._dest = dest
        self._pid = self._agent_pid = 0
        self._in = self._out = self._err = -1
        self._buffer = bytearray()
        self._folder = ""

    def __enter__(self) -> "SshStore":
        try:
            self._folder = self._host.temporary.folder("/run" if os.geteuid() == 0 else "/tmp")
            argv, env = self._command()
            pipes = [os.pipe() for _ in range(3)]
            (stdin, self._in), (self._out, stdout), (self._err, stderr) = pipes
            try:
                env = dict(os.environ, **env)
                self._pid = spawn.start(argv, env, "/", [stdin, stdout, stderr], self._host.children)
            finally:
                for fd in (stdin, stdout, stderr):
                    os.close(fd)
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc: Any) -> None:
        for fd in (self._in, self._out, self._err):
            if fd >= 0:
                os.close(fd)
        self._in = self._out = self._err = -1
        for pid in (self._pid, self._agent_pid):
            if pid:
                if process.wait_until(pid, time.monotonic() + process.TERMINATION) is None:
                    process.kill_group(pid)
                self._host.children.discard(pid)
        self._pid = self._agent_pid = 0
        if self._folder:
            self._host.temporary.discard(self._folder)
            self._folder = ""

    # --- requests ---

    def sets(self, name: str) -> List[Dict[str, Any]]:
        return list(self._ask({"do": "sets", "name": name})["sets"])

    def digest(self, path: str) -> Optional[str]:
        try:
            return str(self._ask({"do": "hash", "path": path})["sha256"])
        except StoreError as problem:
            if str(problem).endswith("%s is not there" % path):
                return None
            raise

    def put(self, path: str, source: str, sha256: str, size: int, told: Callable[[int], None]) -> bool:
        self._say({"do": "put", "path": path, "size": size, "sha256": sha256})
        sent = 0
        for piece in files.read_chunks(source):
            self._write(piece)
            sent += len(piece)
            told(sent)
        if sent != size:
            raise StoreError("%s changed while it was sent" % source)
        return bool(self._answer()["new"])

    def prove(self, path: str, source: str, sha256: str, size: int) -> None:
        there = self._ask({"do": "hash", "path": path})
        if (there["sha256"], there["size"]) != (sha256, size):
            raise StoreError("%s differs over there: its disk holds %s" % (path, there["sha256"]))

    def get(self, path: str) -> Iterator[bytes]:
        size = int(self._ask({"do": "get", "path": path})["size"])
        while size:
            piece = bytes(self._buffer[:size]) or os.read(self._out, min(size, 1 << 18))
            del self._buffer[: len(piece)]
            if not piece:
                raise StoreError("the far end stopped in the middle of %s: %s" % (path, self._last_words()))
            size -= len(piece)
            yield piece

    def _ask(self, question: Dict[str, Any]) -> Dict[str, Any]:
        self._say(question)
        return self._answer()

    def _say(self, question: Dict[str, Any]) -> None:
        import json

        self._write(json.dumps(question).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._in, view) :]
            except OSError:
                # It has closed its ear: it says why, or ssh does.
                self._answer()
                raise StoreError("the far end takes nothing more") from None

    def _answer(self) -> Dict[str, Any]:
        import json

        while b"\n" not in self._buffer:
            data = os.read(self._out, 1 << 18)
            if not data or len(self._buffer) > LINE_MOST:
                raise StoreError("%s: %s" % (self._dest.host, self._last_words()))
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        try:
            found = dict(json.loads(line.decode()))
        except ValueError:
            raise StoreError("%s is no backup store; it says %r" % (self._dest.host, line[:80])) from None
        if "error" in found:
            raise StoreError("the store on %s: %s" % (self._dest.host, found["error"]))
        return found

    def _last_words(self) -> str:
        """What ssh has said; its own lines come before those of the far end."""
        said = b""
        while len(said) < 1 << 16:
            data = os.read(self._err, 1 << 14)
            if not data:
                break
            said += data
        lines = [line.strip() for line in said.decode("utf-8", "replace").split("\n") if line.strip()]
        return lines[-1] if lines else "the connection ended without a word"

    # --- the way there ---

    def _command(self) -> Any:
        dest = self._dest
        known = os.path.join(self._folder, "known_hosts")
        name = dest.host if dest.port == 22 else "[%s]:%d" % (dest.host, dest.port)
        write_private(known, "%s %s\n" % (name, " ".join(dest.host_key.split()[:2])))
        options = {"BatchMode": "yes", "UserKnownHostsFile": known, "GlobalKnownHostsFile": "/dev/null",
                   "StrictHostKeyChecking": "yes", "ConnectTimeout": str(CONNECT_SECONDS), "ServerAliveInterval": "15",
                   "ServerAliveCountMax": "4", "LogLevel": "ERROR", "ControlPath": "none"}  # fmt: skip
        argv = ["ssh", "-F", "/dev/null", "-T", "-p", str(dest.port)]
        env = {}  # type: Dict[str, str]
        if dest.key:
            env["SSH_AUTH_SOCK"] = self._agent(dest.key)
        else:
            argv += ["-i", dest.private_key]
            options.update(IdentitiesOnly="yes", IdentityAgent="none")
        for option, value in sorted(options.items()):
            argv += ["-o", "%s=%s" % (option, value)]
        return argv + ["--", "%s@%s" % (dest.user, dest.host), "store"], env

    def _agent(self, key: str) -> str:
        """The socket of an ssh-agent that holds the key, for as long as this way is open."""
        socket = os.path.join(self._folder, "agent")
        null = os.open(os.devnull, os.O_RDWR)
        try:
            argv = ["ssh-agent", "-D", "-a", socket]
            self._agent_pid = spawn.start(argv, dict(os.environ), "/", [null, null, null], self._host.children)
        finally:
            os.close(null)
        deadline = time.monotonic() + CONNECT_SECONDS
        while not os.path.exists(socket) and time.monotonic() < deadline:
            time.sleep(0.01)
        content = (key.strip() + "\n").encode()
        done = self._host.query(["ssh-add", "-q", "-"], stdin=content, env={"SSH_AUTH_SOCK": socket})
        if done.rc != 0:
            raise StoreError("the private key is not accepted: %s" % (done.stderr.strip() or done.error))
        return socket


def write_private(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
