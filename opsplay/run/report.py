"""Turns what the engine does into events; secrets are masked here, so that no sink ever sees one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from opsplay import events
from opsplay.model import Status, Task
from opsplay.run.flight import Flight
from opsplay.run.judge import ItemResult
from opsplay.run.position import Position
from opsplay.run.tally import Tallies
from opsplay.run.work import Work
from opsplay.secrets import Redactor, censor


class Sink(Protocol):
    """Whoever wants to know: the terminal, the record."""

    def emit(self, event: events.Event) -> None: ...


class Reporter:
    """Makes redacted events. Thread-safe when its sinks are."""

    def __init__(self, sinks: tuple[Sink, ...], redactor: Redactor) -> None:
        self._sinks = sinks
        self._redactor = redactor

    def emit(self, event: events.Event) -> None:
        for sink in self._sinks:
            sink.emit(event)

    def warn(self, message: str, host: str | None = None) -> None:
        self.emit(events.Warned(self._redactor.text(message), host))

    def text(self, value: str) -> str:
        return self._redactor.text(value)

    def started(self, host: str, position: Position, task: Task, name: str) -> None:
        place = str(task.at)
        self.emit(
            events.TaskStarted(host, position.order, self.text(name), task.module, place, handler=position.in_handlers)
        )

    def item_of(
        self, host: str, position: Position, name: str, work: Work | None
    ) -> Callable[[int, dict[str, Any]], None]:
        """A function that reports the items of a loop as they come in."""

        def report(index: int, raw: Mapping[str, Any]) -> None:
            if work is None or not work.is_loop:
                return
            item = work.items[index]
            status = "failed" if raw.get("failed") else "changed" if raw.get("changed") else "ok"
            if raw.get("skipped"):
                status = "skipped"
            label = "" if work.no_log else self.text(item.label)
            data = self._visible(
                {key: value for key, value in raw.items() if key not in ("diff", "_undo")}, work.no_log
            )
            diff = () if work.no_log else tuple(self._redactor.clean(list(raw.get("diff") or ())))
            self.emit(events.ItemFinished(host, position.order, self.text(name), status, label, data, diff))

        return report

    def retry_of(self, host: str, position: Position, name: str) -> Callable[[int, int], None]:
        def report(attempt: int, retries: int) -> None:
            self.emit(events.TaskRetrying(host, position.order, self.text(name), attempt, retries))

        return report

    def _visible(self, data: Mapping[str, Any], no_log: bool) -> dict[str, Any]:
        shown: dict[str, Any] = self._redactor.clean(censor(data) if no_log else dict(data))
        return shown

    def finished(
        self,
        host: str,
        position: Position,
        task: Task,
        name: str,
        work: Work | None,
        result: ItemResult,
        status: Status,
    ) -> None:
        no_log = is_hidden(task, work)
        self.emit(
            events.TaskFinished(
                host=host,
                order=position.order,
                task=self.text(name),
                module=task.module,
                place=str(task.at),
                status=status.value,
                data=self._visible(result.data, no_log),
                diff=() if no_log or (work and work.is_loop) else tuple(self._redactor.clean(list(result.diff))),
                warnings=tuple(self._redactor.clean(list(result.warnings))),
                duration=round(result.seconds, 4),
                observed=() if no_log else tuple(self._redactor.clean(list(result.observed))),
                items=len(work.items) if work is not None and work.is_loop else 0,
                handler=position.in_handlers,
                delegated_to=work.delegated_to if work is not None else None,
            )
        )


def is_hidden(task: Task, work: Work | None) -> bool:
    """Whether `no_log` hides what a task says; where it could not be made ready, a template of `no_log` does."""
    return work.no_log if work is not None else task.no_log not in (None, False)


class HostReports:
    """What is told of one host's tasks, and counted."""

    def __init__(self, reporter: Reporter, tallies: Tallies, host: str) -> None:
        self._reporter = reporter
        self._tallies = tallies
        self._host = host

    def started(self, position: Position, task: Task, work: Work) -> None:
        self._reporter.started(self._host, position, task, work.name)

    def item_of(self, flight: Flight) -> Callable[[int, dict[str, Any]], None]:
        """A function that reports a task's items as they come in."""
        return self._reporter.item_of(self._host, flight.position, flight.name, flight.work)

    def retry_of(self, flight: Flight) -> Callable[[int, int], None]:
        """A function that reports the retries of a task."""
        return self._reporter.retry_of(self._host, flight.position, flight.name)

    def finished(self, flight: Flight, result: ItemResult, status: Status, counted: Status | None = None) -> None:
        """A task's end, counted as `counted` where that is not what it is shown as."""
        self._reporter.finished(self._host, flight.position, flight.task, flight.name, flight.work, result, status)
        reason = ""
        if status.is_failure and counted is None:
            hidden = is_hidden(flight.task, flight.work)
            reason = f"{flight.name}: {'failed' if hidden else result.data.get('msg') or 'failed'}"
        if flight.task.module == "meta" and not status.is_failure:
            return
        changed = bool(result.data.get("changed"))
        # As Ansible counts: each thing that a loop of an include brings in is ok once.
        for _ in range(max(1, len(flight.brought))):
            self._tallies.count(self._host, counted or status, changed, reason)
