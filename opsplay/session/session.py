"""A running agent: calls go out, replies come back by lane, content is served when the host asks for it."""

from __future__ import annotations

import contextlib
import json
import marshal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opsplay.agent import protocol
from opsplay.errors import ConnectionLost, ProtocolError
from opsplay.session import bundle
from opsplay.session.blobs import BlobStore
from opsplay.session.bootstrap import Escalation, Greeting, Hello, build_command
from opsplay.transport.base import Connection, Stream

TICK = 1.0
# How long an agent that was sent away is waited for, in seconds.
LEAVING = 5.0


@dataclass(frozen=True)
class Heartbeat:
    """Seconds between two signs of life, and after how long a silence the other side counts as gone."""

    every: float = protocol.BEAT_EVERY
    dead: float = protocol.BEAT_DEAD


@dataclass(frozen=True)
class Call:
    """One task's work on a host: the shipped module, each item's parameters, and how the agent shall run it.

    `also` are further modules that it needs there without importing them.
    """

    module: str
    items: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any] = field(default_factory=dict)
    also: Sequence[str] = ()


@dataclass(frozen=True)
class Reply:
    """What came back for a call: results by item, or that it was dropped; `done` ends the call."""

    number: int
    results: tuple[tuple[int, dict[str, Any]], ...] = ()
    done: bool = True
    dropped: bool = False
    progress: Mapping[str, Any] | None = None
    data: bytes | None = None


class Session:
    """One agent process. Several threads may use it, each with a lane of its own."""

    def __init__(self, host: str, stream: Stream, mark: bytes, hello: Hello, blobs: BlobStore, beat: Heartbeat) -> None:
        self.host = host
        self.hello = hello
        self._stream = stream
        self._blobs = blobs
        self._beat = beat
        self._decoder = protocol.Decoder(mark)
        self._shipped: set[str] = set(bundle.agent_modules(hello.magic))
        self._number = 0
        self._send_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._lanes: dict[str, int] = {}
        self._outbox = bytearray()
        self._read_lock = threading.Lock()
        self._inbox: dict[int, deque[Reply]] = {}
        self._heard = time.monotonic()
        self.broken: ConnectionLost | None = None

    @classmethod
    def start(
        cls,
        host: str,
        connection: Connection,
        *,
        blobs: BlobStore,
        interpreter: str | None = None,
        become: Escalation | None = None,
        beat: Heartbeat = Heartbeat(),
    ) -> Session:
        """Start an agent on an open connection. Raises UnreachableError's kinds."""
        command = build_command(interpreter, become)
        stream = connection.open(command.line)
        try:
            hello = Greeting(host, stream, command, become).wait(interpreter)
        except BaseException:
            stream.close()
            raise
        session = cls(host, stream, command.mark, hello, blobs, beat)
        settings = {"lane": 0, "beat_every": beat.every, "beat_dead": beat.dead}
        # The agent's code goes out with its first call.
        session._outbox += bundle.boot_payload(hello.magic, settings)
        return session

    def lane_of(self, user: str) -> int:
        """The lane of an inventory host that has its tasks done here; the agent's own host has the first."""
        with self._send_lock:
            return 0 if user == self.host else self._lanes.setdefault(user, len(self._lanes) + 1)

    def call(self, call: Call, lane: int = 0) -> int:
        """Prepare a call, with the modules it needs that this agent lacks; returns its number.

        Calls are sent together: by `flush`, by `receive`, or when many bytes wait. Raises ConnectionLost.
        """
        with self._send_lock:
            self._number += 1
            number = self._number
            value = {"module": call.module, "items": [dict(item) for item in call.items], "options": dict(call.options)}
            for module in (call.module, *call.also):
                self._outbox += self._missing_modules(module)
            self._outbox += protocol.pack_call(protocol.CALL, lane, number, value)
        if len(self._outbox) > protocol.CHUNK:
            self.flush()
        return number

    def flush(self) -> None:
        """Send the calls that wait. Raises ConnectionLost."""
        self._write(b"")

    def _missing_modules(self, module: str) -> bytes:
        missing = bundle.missing(module, self.hello.magic, self._shipped)
        if not missing:
            return b""
        self._shipped |= missing
        return protocol.pack(protocol.MODULE, 0, 0, bundle.payload(missing, self.hello.magic))

    def receive(self, lane: int = 0, on_wait: Callable[[], None] | None = None) -> Reply:
        """The next reply for a lane. Raises ConnectionLost when the agent is gone or silent for too long.

        `on_wait` is called about once a second while nothing comes, and may raise.
        """
        inbox = self._inbox.setdefault(lane, deque())
        if self._outbox:
            self.flush()
        while not inbox:
            if self.broken is not None:
                raise self.broken
            if self._read_lock.acquire(timeout=TICK):
                try:
                    if not inbox:
                        self._read_some()
                finally:
                    self._read_lock.release()
            if not inbox and on_wait is not None:
                on_wait()
        return inbox.popleft()

    def _read_some(self) -> None:
        try:
            data = self._stream.receive(TICK)
        except TimeoutError:
            if time.monotonic() - self._heard > self._beat.dead:
                silent = f"{self.host}: the connection was lost: nothing was heard for {self._beat.dead:g} s"
                raise self._break(ConnectionLost(silent)) from None
            return
        if not data:
            said = self._stream.errors().strip()
            raise self._break(ConnectionLost(f"{self.host}: the agent ended{': ' + said if said else ''}"))
        self._heard = time.monotonic()
        try:
            for kind, lane, number, payload in self._decoder.feed(data):
                self._dispatch(kind, lane, number, payload)
        except (protocol.FrameError, ValueError, KeyError, TypeError) as problem:
            raise self._break(ProtocolError(f"{self.host}: the host sent what is not a frame: {problem}")) from problem

    def _break(self, problem: ConnectionLost) -> ConnectionLost:
        self.broken = problem
        return problem

    def _dispatch(self, kind: int, lane: int, number: int, payload: bytes) -> None:
        inbox = self._inbox.setdefault(lane, deque())
        if kind == protocol.RESULT:
            message = json.loads(payload)
            results = tuple((int(index), dict(result)) for index, result in message["results"])
            inbox.append(Reply(number, results, done=bool(message["done"])))
        elif kind == protocol.DROPPED:
            inbox.append(Reply(number, dropped=True))
        elif kind == protocol.PROGRESS:
            inbox.append(Reply(number, done=False, progress=json.loads(payload)))
        elif kind == protocol.DATA:
            inbox.append(Reply(number, done=False, data=payload))
        elif kind == protocol.NEED:
            self._serve_blob(lane, number, json.loads(payload))

    def _serve_blob(self, lane: int, number: int, need: Mapping[str, Any]) -> None:
        for chunk in self._blobs.read(str(need["sha256"]), int(need["offset"]), int(need["length"])):
            self._write(protocol.pack(protocol.BLOB, lane, number, chunk))

    def beat(self) -> None:
        """Say that the control side lives. A connection that is gone is found by whoever receives."""
        with contextlib.suppress(ConnectionLost):
            self._write(protocol.pack(protocol.BEAT, 0, 0, b""))

    def cancel(self, number: int, lane: int = 0) -> None:
        """Ask the agent to end a call."""
        with contextlib.suppress(ConnectionLost):
            self._write(protocol.pack(protocol.CANCEL, lane, number, b""))

    def _write(self, data: bytes) -> None:
        """Send `data` behind what waits: first of all the agent's own code, without which nothing is understood."""
        with self._write_lock:
            with self._send_lock:
                waiting = bytes(self._outbox)
                self._outbox.clear()
            self._write_all(waiting + data)

    def _write_all(self, data: bytes) -> None:
        if not data:
            return
        try:
            self._stream.send(data)
        except ConnectionLost as problem:
            raise self._break(self._with_last_words(problem)) from problem

    def _with_last_words(self, problem: ConnectionLost) -> ConnectionLost:
        said = self._stream.errors().strip()
        return ConnectionLost(f"{problem.message}: {said}") if said else problem

    def close(self) -> None:
        """End the agent: it finishes nothing more, and leaves."""
        self._say_end()
        self._stream.close()

    def leave(self) -> None:
        """Close, and wait until the agent is gone from the host."""
        self._say_end()
        deadline = time.monotonic() + LEAVING
        with self._read_lock, contextlib.suppress(ConnectionLost):
            while time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    if not self._stream.receive(TICK):
                        break
        self._stream.close()

    def _say_end(self) -> None:
        with contextlib.suppress(ConnectionLost):
            self._stream.send(protocol.pack(protocol.END, 0, 0, marshal.dumps(None, 2)))
