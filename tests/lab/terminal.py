"""A program at a terminal, whose questions a test answers."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import TracebackType


class Terminal:
    """Runs a program on a pseudo-terminal. `text` is all that it has shown."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env={**env, "TERM": "xterm", "COLUMNS": "120"}, cwd=cwd,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.text = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Read until this is shown, behind what was waited for before."""
        limit = time.monotonic() + seconds
        start = len(self.text)
        while text not in self.text[start:]:
            assert time.monotonic() < limit and self._read(), f"{text!r} was not shown:\n{self.text}"

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._master, f"{text}\n".encode())

    def _read(self) -> bool:
        """Take what is shown; False when the program has ended."""
        if not select.select([self._master], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)

    def end(self, seconds: float = 60) -> int:
        """Read to the end, and give the exit code."""
        limit = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < limit, f"the program did not end:\n{self.text}"
        return self._process.wait(timeout=10)
