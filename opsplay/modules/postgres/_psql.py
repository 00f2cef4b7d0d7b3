"""A conversation with a server through its own psql, which stays open for several statements and transactions."""

from __future__ import annotations

import os
import select
import time
from typing import Any, Dict, List, Optional

from opsplay.agent import process, spawn
from opsplay.modules.postgres._server import Server

# psql says this behind each answer; a random word keeps data from looking like it.
MARK = "opsplay-%s"
# Seconds without an answer after which a statement is given up, unless the caller says otherwise.
PATIENCE = 600.0
# An answer that is read into memory may have this many bytes.
ANSWER_MOST = 64 << 20


class SqlError(Exception):
    """The server refused a statement: `str()` is its message without position lines, `details` all that it said."""

    def __init__(self, said: str) -> None:
        lines = [line for line in said.strip().split("\n") if line]
        marked = [line for line in lines if "ERROR:" in line or "FATAL:" in line]
        first = (marked or lines or ["psql ended without a word"])[0]
        for word in ("ERROR:", "FATAL:"):
            first = first.partition(word)[2].strip() or first
        Exception.__init__(self, first)
        self.details = "\n".join(lines)


class Psql:
    """One open connection. Use it as a context: `with Psql(server, "app") as db: db.rows("SELECT …")`."""

    def __init__(self, server: Server, database: str = "postgres", seconds: float = PATIENCE) -> None:
        self._server = server
        self._database = database
        self._seconds = seconds
        self._mark = (MARK % os.urandom(8).hex()).encode()
        self._pid = 0
        self._fds: List[int] = []

    def __enter__(self) -> "Psql":
        argv = self._server.command("psql", "-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1")
        env = dict(os.environ, **self._server.environment(self._database))
        pipes = [os.pipe() for _ in range(3)]
        (stdin, self._in), (self._out, stdout), (self._err, stderr) = pipes
        try:
            self._pid = spawn.start(argv, env, "/", [stdin, stdout, stderr], self._server.host.children)
        finally:
            for fd in (stdin, stdout, stderr):
                os.close(fd)
        self._fds = [self._in, self._out, self._err]
        return self

    def __exit__(self, *exc: Any) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds = []
        if self._pid:
            process.end(self._pid, process.TERMINATION)
            self._server.host.children.discard(self._pid)
            self._pid = 0

    def execute(self, sql: str) -> str:
        """Run statements; what they print. Raises SqlError, after which the connection is closed."""
        text = "%s\n;\n\\echo %s\n" % (sql.rstrip().rstrip(";"), self._mark.decode())
        return self._ask(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def rows(self, query: str) -> List[Dict[str, Any]]:
        """A query's rows with JSON's types: numbers, texts, booleans, None; other types as texts. Raises SqlError."""
        import json

        wrapped = "SELECT coalesce(json_agg(row_to_json(q)), '[]') FROM (%s\n) q" % query.rstrip().rstrip(";")
        found = json.loads(self.execute(wrapped))
        return list(found)

    def row(self, query: str) -> Optional[Dict[str, Any]]:
        """The first row, None without one. Raises SqlError."""
        found = self.rows(query)
        return found[0] if found else None

    def value(self, query: str) -> Any:
        """The first value of the first row, None without one. Raises SqlError."""
        found = self.row(query)
        return next(iter(found.values())) if found else None

    def _ask(self, text: bytes) -> bytes:
        """Send statements and read up to the mark."""
        if not self._fds:
            raise SqlError("the connection is closed: an earlier statement failed")
        feed = memoryview(text)
        said, errors = bytearray(), bytearray()
        os.set_blocking(self._in, False)
        deadline = time.monotonic() + self._seconds
        end = self._mark + b"\n"
        while not said.endswith(end):
            ready, writable, _ = select.select([self._out, self._err], [self._in] if feed else [], [], 1.0)
            if self._err in ready:
                errors += os.read(self._err, 1 << 16)
            if writable:
                feed = self._push(feed)
            if self._out in ready:
                data = os.read(self._out, 1 << 16)
                if not data:
                    raise self._ended(errors)
                said += data
            if time.monotonic() > deadline or len(said) > ANSWER_MOST:
                self.__exit__()
                limit = "%g s" % self._seconds if len(said) <= ANSWER_MOST else "%d bytes" % ANSWER_MOST
                raise SqlError("the answer was given up after %s" % limit)
        return bytes(said[: -len(end)])

    def _push(self, feed: memoryview) -> memoryview:
        try:
            return feed[os.write(self._in, feed[:65536]) :]
        except BlockingIOError:
            return feed
        except OSError:
            # psql has ended; what it said comes on its outputs.
            return feed[:0]

    def _ended(self, errors: bytearray) -> SqlError:
        """What psql said before it ended."""
        while True:
            data = os.read(self._err, 1 << 16)
            if not data:
                break
            errors += data
        self.__exit__()
        return SqlError(errors.decode("utf-8", "replace"))
