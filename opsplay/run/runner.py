"""One host's way through a play: fill the window with what can be sent, take the answers in order, go on.

The reducer (position.py) says what is next; the gate (fences.py) says whether it may run now.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from opsplay import catalog
from opsplay.actions.base import Answer
from opsplay.errors import BecomeFailed, OpsplayError, UnreachableError
from opsplay.events import HandlersPending, HostFinished
from opsplay.model import Status, Task
from opsplay.run import position as places
from opsplay.run.batch import Batch
from opsplay.run.bringing import bring
from opsplay.run.effects import apply_effects
from opsplay.run.execute import Executor
from opsplay.run.fences import known_inclusion
from opsplay.run.flight import Flight, learn, remember
from opsplay.run.flights import Flights
from opsplay.run.judge import ItemResult, failure_of, judge, not_foreseen
from opsplay.run.notified import Notified
from opsplay.run.position import Inclusion, Order, Position
from opsplay.run.report import HostReports
from opsplay.run.variables import NeedsResult
from opsplay.run.work import Work, ignores_errors, number, prepare, runs_once
from opsplay.templating.unknown import Unknown, UnknownInPreview

# Calls that may be under way on one host: enough to hide the way there and back, few enough to stop soon.
WINDOW = 32


class Step(enum.Enum):
    """What came of looking at the next task."""

    SENT = enum.auto()
    ANSWERS_FIRST = enum.auto()
    WAIT = enum.auto()


class HostRunner:
    """Advances one host. Used by one thread at a time."""

    def __init__(self, play: Batch, host: str) -> None:
        self.play = play
        self.host = host
        self.variables = play.context.run.variables.of(host)
        self.position = places.start(play.program)
        self._ahead = self.position
        self._closed = False
        self._done: Position | None = None
        self._fatal_seen: Order | None = None
        self._notified = Notified(play.handlers, lambda name: play.handlers_named(name, host))
        self._executor = Executor(play.context, host)
        self._flights = Flights(play.context, self._executor, self.variables)
        self.reports = HostReports(play.reporter, play.context.run.tallies, host)
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
            order = self._ahead.order
            if not self.play.may_begin(order):
                if not self._flights:
                    self._stop()
                return False
            if not self._flights and self._share_fatal():
                continue
            if not self.play.gate.may_run(order):
                return not self._flights and self.play.gate.wait(self.host, order)
            step = self._next(self._ahead.task)
            if step is not Step.SENT:
                return step is Step.WAIT
        return False

    def _next(self, task: Task) -> Step:
        """Put the next task under way, or say what must come first."""
        entry = catalog.find(task.module)
        assert entry is not None, task.module
        if self._flights and (task.module in LOCAL or task.retry is not None or task.run_once):
            return Step.ANSWERS_FIRST
        if self._ahead.joining:
            return self._join() if not self._flights else Step.ANSWERS_FIRST
        if task.module == "meta" and task.free_form == "flush_handlers":
            self._flush()
            return Step.SENT
        once = False
        try:
            if not self.play.may_step(self._ahead.order, task.title):
                return self._pass_over()
            once = runs_once(self.play.context, self.host, task, entry, self._ahead)
            if once and not self.play.once.is_for(self.host, self._ahead.order, self._wants(task, entry)):
                return self._follow()
            work = prepare(self.play.context, self.host, task, self._ahead)
        except NeedsResult:
            if not self._flights:
                raise
            return Step.ANSWERS_FIRST
        except UnknownInPreview as problem:
            self._leave_undecided(task, problem, once)
            return Step.SENT
        except OpsplayError as problem:
            self._answer(task, None, problem, once)
            return Step.SENT
        return Step.SENT if self._dispatch(task, work, once) else Step.ANSWERS_FIRST

    def _wants(self, task: Task, entry: catalog.Entry) -> Callable[[str], bool]:
        """Tells for which hosts the task at this place runs once."""

        def wants(host: str) -> bool:
            try:
                return runs_once(self.play.context, host, task, entry, self._ahead)
            except OpsplayError:
                return False

        return wants

    def _pass_over(self) -> Step:
        if self._flights:
            return Step.ANSWERS_FIRST
        self._go_to(places.succeed(self._ahead))
        return Step.SENT

    def _go_into(self, task: Task, work: Work) -> None:
        """An include that brings in the same for every host: its tasks may follow those that are under way."""
        flight = Flight(task, self._ahead, work.name, work)
        flight.items = [judge(self.play.context, work, item, item.prepared.result) for item in work.items
                        if isinstance(item.prepared, Answer)]  # fmt: skip
        bring(self.play, flight, work)
        self._flights.add(flight)
        self._ahead = self._with_inclusions(flight, self._ahead)

    def _dispatch(self, task: Task, work: Work, once: bool) -> bool:
        if work.brings_known and not once:
            self._go_into(task, work)
            return True
        if work.is_local or task.retry is not None or once or self._executor.is_blocking(work):
            if self._flights and not work.is_only_skipped:
                return False
            self._run_now(task, work, once)
            # What it set must be known before the next task is looked at.
            return work.is_only_skipped
        if not self._executor.can_follow(work, self._flights.sent):
            return False
        self.reports.started(self._ahead, task, work)
        flight = Flight(task, self._ahead, work.name, work)
        try:
            flight.sent = self._executor.send(work)
        except UnreachableError as problem:
            self._flights.add(flight)
            self._unreachable(problem)
            return True
        except BecomeFailed as problem:
            self._answer(task, work, problem)
            return False
        self._flights.add(flight)
        self._ahead = places.succeed(self._ahead)
        self._closed = work.closes_window or (bool(task.notify) and flight.position.in_handlers)
        return True

    def _run_now(self, task: Task, work: Work, once: bool = False) -> None:
        """A task that is finished before the next is looked at: answered here, retried, or without an agent."""
        self.reports.started(self._ahead, task, work)
        flight = Flight(task, self._ahead, work.name, work, once=once)
        self._flights.add(flight)
        self._ahead = places.succeed(self._ahead)
        try:
            with self._throttled(task, work):
                report = self.reports.item_of(flight), self.reports.retry_of(flight)
                flight.items = self._executor.run_now(work, *report)
                bring(self.play, flight, work)
        except UnreachableError as problem:
            self._unreachable(problem)
        except UnknownInPreview as problem:
            flight.result = not_foreseen(problem)
        except OpsplayError as problem:
            flight.result = failure_of(problem)

    def _throttled(self, task: Task, work: Work) -> contextlib.AbstractContextManager[Any]:
        if not task.throttle:
            return contextlib.nullcontext()
        count = int(number(self.play.context.templar(self.host, work.layers), task.throttle, "throttle", task))
        return self.play.limited(task, count) if count > 0 else contextlib.nullcontext()

    def _answer(self, task: Task, work: Work | None, problem: OpsplayError, once: bool = False) -> None:
        """A task that fails without having been sent."""
        result = failure_of(problem)
        self._flights.add(Flight(task, self._ahead, task.title, work, result=result, once=once))
        self._ahead = places.succeed(self._ahead)

    # --- answers ---

    def _take_first(self) -> None:
        try:
            flight, result = self._flights.take_first(self.reports.item_of(self._flights.first))
        except UnreachableError as problem:
            self._unreachable(problem)
            return
        self._closed = False
        self._done = flight.position
        self._commit(flight, result)

    def _commit(self, flight: Flight, result: ItemResult) -> None:
        """Take a task's result into the host's state."""
        work = flight.work
        failed = result.status is Status.FAILED
        if work is not None:
            ignored = failed and work.ignore_errors
        else:
            ignored = failed and ignores_errors(self.play.context, self.host, flight.task)
        if failed and result.is_uncertain and not ignored:
            self._doubt(flight, result)
            return
        self._remember(flight, result)
        if failed and not ignored:
            self._fail(flight, result)
            return
        self.reports.finished(flight, result, Status.IGNORED if ignored else result.status)
        position = flight.position
        # What failed notifies nobody, even where the failure is ignored.
        if result.data.get("changed") and not failed:
            self._notify(flight)
            position = self._notified.join(position)
        self._finish_once(flight, result)
        if flight.brought:
            self._go_to(self._with_inclusions(flight, position))
        else:
            moved = apply_effects(self.play, self.host, flight)
            self._go_to(places.succeed(position) if moved is None else moved)

    def _remember(self, flight: Flight, result: ItemResult) -> None:
        remember(self.variables, flight, result)
        if flight.task.delegate_facts and flight.work is not None:
            for item, done in zip(flight.work.items, flight.items, strict=False):
                learn(self.play.context.run.variables.of(item.way.host), flight.task, done)
        if result.undo:
            self.play.context.run.keep_undo(self.host, flight.name, result.undo)

    # --- what a preview cannot tell ---

    def _leave_undecided(self, task: Task, problem: UnknownInPreview, once: bool) -> None:
        """A task that depends on what only a real run gives: whoever uses its result is told the same."""
        about = Unknown(f"the result of '{task.title}'")
        if task.module == "set_fact":
            self.variables.set.update(dict.fromkeys(task.args, about))
        kept = {task.register: about} if task.register else {}
        result = not_foreseen(problem)
        self._flights.add(Flight(task, self._ahead, task.title, result=result, kept=kept, once=once))
        self._ahead = places.succeed(self._ahead)

    def _doubt(self, flight: Flight, result: ItemResult) -> None:
        """A preview's failure that may be for want of what an earlier program would have done."""
        self._flights.drop_rest()
        if flight.task.register:
            flight.kept = {flight.task.register: Unknown(f"the result of '{flight.name}'")}
            remember(self.variables, flight, result)
        said = f"not foreseen, for programs that a preview does not run come before it: {result.data.get('msg')}"
        doubtful = replace(result, data={**result.data, "failed": False, "msg": said})
        self.reports.finished(flight, doubtful, Status.UNDECIDED)
        self._finish_once(flight, doubtful)
        self._go_to(places.succeed(flight.position))

    def _fail(self, flight: Flight, result: ItemResult) -> None:
        self._flights.drop_rest()
        self._finish_once(flight, result, failed=True)
        after = places.fail(flight.position)
        self.variables.set["ansible_failed_task"] = {"name": flight.name, "action": flight.task.module}
        self.variables.set["ansible_failed_result"] = dict(result.data)
        if after.rescued:
            self.reports.finished(flight, result, Status.FAILED, counted=Status.RESCUED)
        else:
            self.reports.finished(flight, result, Status.FAILED)
        self._be_fatal(flight)
        self._go_to(after)

    def _be_fatal(self, flight: Flight) -> None:
        """Under any_errors_fatal, a failure of one host is one of all; so is that of a task that one does for all."""
        if flight.once or flight.task.any_errors_fatal or self.play.context.play.any_errors_fatal:
            self._fatal_seen = self.play.fail_all(flight.order)

    def _share_fatal(self) -> bool:
        """Fail, or go to the rescue, with a host that failed fatally, once the same is done here. Returns whether it
        was so."""
        fatal = self.play.fatal
        if fatal in (None, self._fatal_seen, self._ahead.order):
            return False
        self._fatal_seen = fatal
        did = self._done if self._done is not None and self._done.order == fatal else None
        there = places.outside(self._ahead) if did is None else did
        self._go_to(places.fail(there))
        return True

    def _go_to(self, position: Position) -> None:
        if position.failed:
            position = self._failed(position)
        self.position = position
        if not self._flights:
            self._ahead = position
        self.play.gate.move(self.host, position.order if position.task is not None else None)

    def _failed(self, position: Position) -> Position:
        """The end of a host that failed: at once, or behind its handlers where they are forced to run."""
        self.play.host_failed(self.host, self.position.order)
        if self.play.forces_handlers and not self.position.in_handlers and self._notified:
            return places.flush(self.play.end, self._notified.take())
        return position

    # --- handlers ---

    def _notify(self, flight: Flight) -> None:
        items = flight.work.items if flight.work is not None else ()
        for name in dict.fromkeys(name for item in items for name in item.notify):
            found = self.play.handlers_named(name, self.host)
            if not found:
                warning = f"{flight.task.at}: no handler is named, or listens to, '{name}'"
                self.play.reporter.warn(warning, self.host)
            elif flight.position.in_handlers:
                self._notified.add_now(found)
            else:
                self._notified.add(name)

    def _flush(self) -> None:
        self._go_to(places.flush(self._ahead, self._notified.take()))

    # --- includes ---

    def _with_inclusions(self, flight: Flight, position: Position) -> Position:
        """The way through what was brought in: at once when it is the same for all, else when all hosts know."""
        known = known_inclusion(flight.task)
        if known is not None:
            return places.include(position, [Inclusion(0, flight.brought[0][0].entries)])
        self.play.inclusions.offer(position.order, self.host, flight.brought)
        return places.join(position)

    def _join(self) -> Step:
        self._go_to(self.play.inclusions.enter(self._ahead, self.host))
        return Step.SENT

    # --- tasks for one host that hold for all ---

    def _follow(self) -> Step:
        """Go on as the host does that runs the task, once it has."""
        if self._flights:
            return Step.ANSWERS_FIRST
        failed = self.play.once.outcome(self.host, self._ahead.order)
        if failed is None:
            return Step.WAIT
        if not failed:
            self._go_to(places.succeed(self._ahead))
            return Step.SENT
        self._fatal_seen = self._ahead.order
        self._go_to(places.fail(self._ahead))
        return Step.SENT

    def _finish_once(self, flight: Flight, result: ItemResult, failed: bool = False) -> None:
        """What the task gave is every host's: also of those that never come to it. None of them is at work now."""
        if flight.once:
            for host in self.play.active_hosts() - {self.host}:
                remember(self.play.context.run.variables.of(host), flight, result)
            self.play.once.finish(flight.order, failed)

    # --- ends ---

    def _stop(self) -> None:
        self._go_to(places.leave(self._ahead))
        self._ahead = self.position

    def _end(self) -> None:
        self.over = True
        self.play.gate.move(self.host, None)
        if self._notified:
            self.play.reporter.emit(HandlersPending(self.host, self._notified.titles()))
        self.play.reporter.emit(HostFinished(self.host))
        self.play.host_is_over(self.host)

    def _unreachable(self, problem: UnreachableError) -> None:
        """The connection cannot be made or was lost: what is under way may have run."""
        flight, others = self._flights.abandon()
        message = f"{problem}; these may have run: {', '.join(others)}" if others else str(problem)
        self._closed = False
        elsewhere = flight.work.delegated_to if flight.work is not None else None
        self.play.context.run.sessions.close_host(elsewhere or self.host)
        data = {"unreachable": True, "changed": False, "msg": message}
        result = ItemResult(Status.UNREACHABLE, data)
        ignored = flight.task.ignore_unreachable is True or self.play.context.play.ignore_unreachable is True
        if flight.once:
            self.play.once.finish(flight.order, not ignored)
        if ignored:
            remember(self.variables, flight, result)
            self.reports.finished(flight, result, Status.UNREACHABLE, counted=Status.IGNORED)
            self._go_to(places.succeed(flight.position))
            return
        self.reports.finished(flight, result, Status.UNREACHABLE)
        self._be_fatal(flight)
        self.play.host_failed(self.host, flight.order)
        self._go_to(places.OVER)


# Tasks that are answered on the control side: they wait for what is under way, whose results they may show.
LOCAL = frozenset(("debug", "assert", "fail", "set_fact", "meta", "include_vars", "add_host", "group_by", "set_stats"))
