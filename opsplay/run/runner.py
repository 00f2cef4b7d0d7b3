"""One host's way through a play: fill the window with what can be sent, take the answers in order, go on.

The reducer (position.py) says what is next; the gate (fences.py) says whether it may run now.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from opsplay import catalog
from opsplay.actions.base import Answer
from opsplay.errors import BecomeFailed, OpsplayError, UnreachableError
from opsplay.events import HostFinished
from opsplay.model import Block, Status, Task
from opsplay.run import position as places
from opsplay.run.context import PlayContext
from opsplay.run.execute import Executor, Sent
from opsplay.run.fences import Gate
from opsplay.run.judge import ItemResult, combine, judge
from opsplay.run.position import Order, Position
from opsplay.run.report import Reporter
from opsplay.run.variables import Layers, NeedsResult
from opsplay.run.work import Work, prepare, returns_facts

# Calls that may be under way on one host: enough to hide the way there and back, few enough to stop soon.
WINDOW = 32


class Batch(Protocol):
    """What a host's way needs of its play's batch."""

    context: PlayContext
    program: tuple[Task | Block, ...]
    handlers: list[Task]
    gate: Gate
    reporter: Reporter
    is_stopped: bool

    @property
    def forces_handlers(self) -> bool:
        """Whether notified handlers run even where a task failed."""

    def handlers_named(self, name: str, host: str, task: Task) -> list[int]:
        """The handlers that a notification reaches, by number."""

    def layers_of(self, task: Task) -> Layers:
        """The variables that hold for a task, but for a loop's."""

    def host_failed(self, host: str) -> None:
        """A host failed or is unreachable."""

    def host_is_over(self, host: str) -> None:
        """A host has nothing more to do."""

    def stop(self, whole_play: bool) -> None:
        """No host starts another task."""


@dataclass
class Flight:
    """A task under way: sent, or answered without the host. `result` is there when nothing is waited for."""

    task: Task
    position: Position
    name: str
    work: Work | None = None
    sent: Sent | None = None
    result: ItemResult | None = None
    items: list[ItemResult] = field(default_factory=list)

    @property
    def order(self) -> Order:
        return self.position.order


class HostRunner:
    """Advances one host. Used by one thread at a time."""

    def __init__(self, play: Batch, host: str) -> None:
        self.play = play
        self.host = host
        self.variables = play.context.run.variables.of(host)
        self.position = places.start(play.program)
        self._ahead = self.position
        self._flights: deque[Flight] = deque()
        self._closed = False
        self._notified: dict[int, None] = {}
        self._executor = Executor(play.context, host)
        self.over = False

    # --- the loop ---

    def advance(self) -> None:
        """Run until the host must wait for others, or the play is over for it."""
        while not self.over:
            waits = self._fill()
            if self._flights:
                self._take_first()
            elif waits:
                return
            elif self.position.task is None:
                self._end()

    def _fill(self) -> bool:
        """Send what can be sent. Returns whether the host must wait for others."""
        while not self._closed and len(self._flights) < WINDOW and self._ahead.task is not None:
            if self.play.is_stopped:
                self._stop()
                return False
            order = self._ahead.order
            if not self.play.gate.may_run(order):
                return not self._flights and self.play.gate.wait(self.host, order)
            if not self._send_next(self._ahead.task):
                return False
        return False

    def _send_next(self, task: Task) -> bool:
        """Put the next task under way. Returns False when answers must come first."""
        entry = catalog.find(task.module)
        if self._flights and (task.module in LOCAL or task.retry is not None or entry is None):
            return False
        if task.module == "meta" and task.free_form == "flush_handlers":
            self._flush()
            return True
        try:
            work = prepare(self.play.context, self.host, task)
        except NeedsResult:
            if not self._flights:
                raise
            return False
        except OpsplayError as problem:
            self._answer(task, None, {"failed": True, "changed": False, "msg": str(problem)})
            return True
        return self._dispatch(task, work)

    def _dispatch(self, task: Task, work: Work) -> bool:
        if work.is_local or task.retry is not None or self._executor.is_blocking(work):
            if self._flights and not work.is_only_skipped:
                return False
            self._run_now(task, work)
            # What it set must be known before the next task is looked at.
            return work.is_only_skipped
        if not self._executor.can_follow(work, [flight.sent for flight in self._flights if flight.sent]):
            return False
        self._note_start(task, work)
        flight = Flight(task, self._ahead, work.name, work)
        try:
            flight.sent = self._executor.send(work)
        except UnreachableError as problem:
            self._flights.append(flight)
            self._unreachable(problem)
            return True
        except BecomeFailed as problem:
            self._answer(task, work, {"failed": True, "changed": False, "msg": str(problem)})
            return False
        self._expect(flight)
        self._flights.append(flight)
        self._ahead = places.succeed(self._ahead)
        self._closed = work.closes_window or (bool(task.notify) and flight.position.in_handlers)
        return True

    def _run_now(self, task: Task, work: Work) -> None:
        """A task that is finished before the next is looked at: answered here, retried, or without an agent."""
        self._note_start(task, work)
        flight = Flight(task, self._ahead, work.name, work)
        self._flights.append(flight)
        self._ahead = places.succeed(self._ahead)
        try:
            flight.items = self._executor.run_now(work, self._emit_item(flight), self._emit_retry(flight))
        except UnreachableError as problem:
            self._unreachable(problem)
        except BecomeFailed as problem:
            flight.result = ItemResult(Status.FAILED, {"failed": True, "changed": False, "msg": str(problem)})

    def _answer(self, task: Task, work: Work | None, data: dict[str, Any]) -> None:
        result = ItemResult(Status.FAILED, data)
        self._flights.append(Flight(task, self._ahead, task.title, work, result=result))
        self._ahead = places.succeed(self._ahead)

    # --- what is expected from tasks under way ---

    def _expect(self, flight: Flight, step: int = 1) -> None:
        pending = self.variables.pending
        if flight.task.register:
            count = pending.get(flight.task.register, 0) + step
            if count:
                pending[flight.task.register] = count
            else:
                pending.pop(flight.task.register, None)
        if returns_facts(flight.task.module):
            self.variables.facts_pending += step

    # --- answers ---

    def _take_first(self) -> None:
        flight = self._flights[0]
        if flight.sent is not None:
            try:
                self._executor.receive(flight.sent, self._emit_item(flight))
            except UnreachableError as problem:
                self._unreachable(problem)
                return
            assert flight.work is not None
            raw = self._executor.raw_results(flight.work, flight.sent)
            flight.items = [
                judge(self.play.context, flight.work, item, result)
                for item, result in zip(flight.work.items, raw, strict=True)
            ]
        result = flight.result
        if result is None:
            assert flight.work is not None
            result = combine(flight.work, tuple(flight.items))
        self._flights.popleft()
        if flight.sent is not None:
            self._expect(flight, -1)
        self._closed = False
        self._commit(flight, result)

    def _commit(self, flight: Flight, result: ItemResult) -> None:
        """Take a task's result into the host's state."""
        work = flight.work
        failed = result.status is Status.FAILED
        ignored = failed and work is not None and work.ignore_errors
        self._remember(flight, result)
        if failed and not ignored:
            self._fail(flight, result)
            return
        self._report(flight, result, Status.IGNORED if ignored else result.status)
        position = flight.position
        if result.data.get("changed"):
            self._notify(flight.task)
            position = self._joined_by_handlers(position)
        meta = self._meta_of(flight)
        if meta is None or not self._apply_meta(meta):
            self._go_to(places.succeed(position))

    def _remember(self, flight: Flight, result: ItemResult) -> None:
        if flight.task.register:
            self.variables.set[flight.task.register] = dict(result.data)
        for item in flight.items or [result]:
            facts = item.data.get("ansible_facts")
            if isinstance(facts, dict) and not item.data.get("failed"):
                if flight.task.module == "set_fact":
                    self.variables.set.update(facts)
                else:
                    self.variables.learn(facts)
        if result.undo:
            self.play.context.run.keep_undo(self.host, flight.name, result.undo)

    def _fail(self, flight: Flight, result: ItemResult) -> None:
        self._drop_rest()
        after = places.fail(flight.position)
        if after.rescued:
            self.variables.set["ansible_failed_task"] = {"name": flight.name, "action": flight.task.module}
            self.variables.set["ansible_failed_result"] = dict(result.data)
            self._report(flight, result, Status.FAILED, counted=Status.RESCUED)
        else:
            self._report(flight, result, Status.FAILED)
        if after.failed and not self.play.is_stopped:
            self.play.host_failed(self.host)
            if self.play.forces_handlers and not flight.position.in_handlers and self._notified:
                self._go_to(places.start(self._chosen_handlers()))
                return
        self._go_to(after)

    def _drop_rest(self) -> None:
        """The agent drops what was sent behind a failed task: take its word for each."""
        while self._flights:
            flight = self._flights.popleft()
            if flight.sent is not None:
                self._expect(flight, -1)
                self._executor.discard(flight.sent)
        self._executor.new_window()

    def _go_to(self, position: Position) -> None:
        self.position = position
        if not self._flights:
            self._ahead = position
        self.play.gate.move(self.host, position.order if position.task is not None else None)

    # --- handlers ---

    def _notify(self, task: Task) -> None:
        if not task.notify:
            return
        for name in self._notified_names(task):
            for number in self.play.handlers_named(name, self.host, task):
                self._notified[number] = None

    def _joined_by_handlers(self, position: Position) -> Position:
        """Handlers that a handler notified run in the same flush, if they come after it."""
        if not position.in_handlers or not self._notified:
            return position
        current = places.handler_number(position)
        joining = [number for number in self._notified if number > current]
        for number in joining:
            del self._notified[number]
        return places.add_handlers(position, [(number, self.play.handlers[number]) for number in joining])

    def _notified_names(self, task: Task) -> list[str]:
        templar = self.play.context.templar(self.host, self.play.layers_of(task))
        found = templar.render(list(task.notify))
        return [str(name) for entry in found for name in (entry if isinstance(entry, list) else [entry])]

    def _chosen_handlers(self) -> list[Task]:
        chosen = [self.play.handlers[number] for number in sorted(self._notified)]
        self._notified.clear()
        return chosen

    def _flush(self) -> None:
        numbers = sorted(self._notified)
        self._notified.clear()
        position = places.flush(self._ahead, [(number, self.play.handlers[number]) for number in numbers])
        self._go_to(position)

    # --- meta ---

    def _meta_of(self, flight: Flight) -> str | None:
        if flight.task.module != "meta" or flight.work is None or not flight.work.items:
            return None
        prepared = flight.work.items[0].prepared
        return prepared.meta if isinstance(prepared, Answer) else None

    def _apply_meta(self, name: str) -> bool:
        """Do what a meta task asks. Returns whether it has set the position."""
        if name in ("end_host", "end_play", "end_batch"):
            if name != "end_host":
                self.play.stop(whole_play=name == "end_play")
            self._go_to(places.OVER)
            return True
        if name == "clear_facts":
            self.variables.facts.clear()
        elif name == "reset_connection":
            self.play.context.run.sessions.close_host(self.host)
        elif name == "clear_host_errors":
            self.play.context.run.forgive()
        return False

    # --- ends ---

    def _stop(self) -> None:
        self._go_to(places.OVER)
        self._ahead = places.OVER

    def _end(self) -> None:
        self.over = True
        self.play.gate.move(self.host, None)
        self.play.reporter.emit(HostFinished(self.host))
        self.play.host_is_over(self.host)

    def _unreachable(self, problem: UnreachableError) -> None:
        """The connection cannot be made or was lost: what is under way may have run."""
        flight = self._flights[0]
        others = [other.name for other in list(self._flights)[1:]]
        message = str(problem)
        if others:
            message += f"; these may have run: {', '.join(others)}"
        for other in self._flights:
            if other.sent is not None:
                self._expect(other, -1)
        self._flights.clear()
        self._closed = False
        self.play.context.run.sessions.close_host(self.host)
        self._executor.new_window()
        data = {"unreachable": True, "changed": False, "msg": message}
        result = ItemResult(Status.UNREACHABLE, data)
        if flight.task.ignore_unreachable is True or self.play.context.play.ignore_unreachable is True:
            self._report(flight, result, Status.UNREACHABLE, counted=Status.SKIPPED)
            self._go_to(places.succeed(flight.position))
            return
        self._report(flight, result, Status.UNREACHABLE)
        self.play.host_failed(self.host)
        self._go_to(places.OVER)

    # --- reports ---

    def _note_start(self, task: Task, work: Work) -> None:
        self.play.reporter.started(self.host, self._ahead, task, work.name)

    def _emit_item(self, flight: Flight) -> Any:
        return self.play.reporter.item_of(self.host, flight.position, flight.name, flight.work)

    def _emit_retry(self, flight: Flight) -> Any:
        return self.play.reporter.retry_of(self.host, flight.position, flight.name)

    def _report(self, flight: Flight, result: ItemResult, status: Status, counted: Status | None = None) -> None:
        self.play.reporter.finished(self.host, flight.position, flight.task, flight.name, flight.work, result, status)
        reason = ""
        if status.is_failure and counted is None:
            reason = f"{flight.name}: {result.data.get('msg') or 'failed'}"
        if flight.task.module == "meta" and not status.is_failure:
            return
        changed = bool(result.data.get("changed"))
        self.play.context.run.tallies.count(self.host, counted or status, changed, reason)


# Tasks that are answered on the control side: they wait for what is under way, whose results they may show.
LOCAL = frozenset(("debug", "assert", "fail", "set_fact", "meta"))
