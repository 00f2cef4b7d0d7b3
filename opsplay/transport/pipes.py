"""A command's stream over the pipes of a local process: for this machine, and for the ssh program."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess

from opsplay.errors import ConnectionFailed, ConnectionLost
from opsplay.transport.base import Tail

END_WAIT = 2.0


class PipeStream:
    """A running process; its standard error is drained whenever something is received."""

    def __init__(self, argv: list[str], name: str, environment: dict[str, str] | None = None) -> None:
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env=environment,
            )
        except OSError as problem:
            raise ConnectionFailed(f"{name}: cannot start {argv[0]}: {problem.strerror}") from problem
        self._name = name
        self._errors = Tail()
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        self._err: int | None = self._process.stderr.fileno()

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._in, view) :]
        except OSError as problem:
            raise ConnectionLost(f"{self._name}: the connection was lost: {self.errors().strip()}") from problem

    def receive(self, timeout: float) -> bytes:
        while True:
            sources = [self._out] if self._err is None else [self._out, self._err]
            ready, _, _ = select.select(sources, [], [], timeout)
            if not ready:
                raise TimeoutError
            if self._err in ready:
                self._take_errors()
            if self._out in ready:
                return os.read(self._out, 1 << 18)

    def _take_errors(self) -> None:
        if self._err is not None:
            data = os.read(self._err, 1 << 16)
            self._errors.add(data)
            if not data:
                self._err = None

    def errors(self) -> str:
        while self._err is not None and select.select([self._err], [], [], 0.01)[0]:
            self._take_errors()
        return self._errors.text()

    def finish(self) -> int:
        assert self._process.stdin
        self._process.stdin.close()
        return self._process.wait()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(END_WAIT)
        except subprocess.TimeoutExpired:
            # The process leads a group of its own: what it has started ends with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
