"""The record of a run as JSON lines: one event a line, written as they happen."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from opsplay.events import Event, RunFinished, TaskProgress


class JsonLines:
    """A sink that appends events to `events.jsonl` in a run's folder. Raises OSError when there can be no such file.

    `warn` hears when it can be written no further, which fails no run.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.path = folder / "events.jsonl"
        self._warn = warn
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "w", encoding="ascii", buffering=1 << 16)
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        if isinstance(event, TaskProgress):
            return
        line = event.to_json() + "\n"
        with self._lock:
            if self._file.closed:
                return
            try:
                self._file.write(line)
                if isinstance(event, RunFinished):
                    self._file.close()
            except OSError as problem:
                self._give_up(problem)

    def _give_up(self, problem: OSError) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        self._warn(f"the record of this run ends here: {self.path}: {problem.strerror}")
