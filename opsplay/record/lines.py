"""The record of a run as JSON lines: one event a line, written as they happen."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from opsplay.events import Event, RunFinished, TaskProgress


class JsonLines:
    """A sink that appends events to `events.jsonl` in a run's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.jsonl"
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
            self._file.write(line)
            if isinstance(event, RunFinished):
                self._file.close()
