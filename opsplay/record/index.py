"""The sink that writes a run into the history when it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from opsplay.events import Event, HandlersPending, PlayStarted, RunFinished, RunStarted, TaskFinished

KEPT = (RunStarted, PlayStarted, TaskFinished, HandlersPending)


class HistorySink:
    """Gathers a run's events. Thread-safe. `warn` hears when the history cannot be written, which fails no run."""

    def __init__(self, run_id: str, warn: Callable[[str], None]) -> None:
        self._run_id = run_id
        self._warn = warn
        self._events: list[Event] = []
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        if isinstance(event, KEPT):
            with self._lock:
                self._events.append(event)
        elif isinstance(event, RunFinished):
            self._write(event)

    def _write(self, end: RunFinished) -> None:
        from opsplay.record.history import History, HistoryUnusable

        try:
            History().add(self._run_id, [_plain(kept) for kept in (*self._events, end)])
        except HistoryUnusable as problem:
            # The run's own record is read into the history later.
            self._warn(f"this run could not be written into the history: {problem.message}")


def _plain(event: Event) -> dict[str, Any]:
    """The event as its line of JSON says it, without what the index does not hold."""
    found = {"event": event.kind, **event.__dict__}
    if isinstance(event, TaskFinished):
        found.update(data={"changed": event.data.get("changed")}, diff=())
        return found
    plain: dict[str, Any] = json.loads(event.to_json())
    return plain
