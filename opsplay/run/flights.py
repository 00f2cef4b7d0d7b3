"""The tasks under way on one host, in the order in which they were sent, and what is expected from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from opsplay.run.context import PlayContext
from opsplay.run.execute import Executor, Sent
from opsplay.run.flight import Flight
from opsplay.run.judge import ItemResult, combine, judge
from opsplay.run.variables import HostVariables
from opsplay.run.work import returns_facts

OnItem = Callable[[int, dict[str, Any]], None]


class Flights:
    """Used by one thread at a time."""

    def __init__(self, context: PlayContext, executor: Executor, variables: HostVariables) -> None:
        self._context = context
        self._executor = executor
        self._variables = variables
        self._waiting: deque[Flight] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def first(self) -> Flight:
        return self._waiting[0]

    @property
    def sent(self) -> list[Sent]:
        """The calls that the agent works on."""
        return [flight.sent for flight in self._waiting if flight.sent is not None]

    def add(self, flight: Flight) -> None:
        """A task is under way: nobody may read what it will register before it is there."""
        if flight.sent is not None:
            self._expect(flight, 1)
        self._waiting.append(flight)

    def take_first(self, on_item: OnItem) -> tuple[Flight, ItemResult]:
        """The first task with its result, waited for. Raises UnreachableError's kinds."""
        flight = self.first
        if flight.sent is not None:
            self._executor.receive(flight.sent, on_item)
            assert flight.work is not None
            raw = self._executor.raw_results(flight.work, flight.sent)
            flight.items = [
                judge(self._context, flight.work, item, result)
                for item, result in zip(flight.work.items, raw, strict=True)
            ]
        self._forget(self._waiting.popleft())
        if flight.result is not None:
            return flight, flight.result
        assert flight.work is not None
        return flight, combine(flight.work, tuple(flight.items))

    def drop_rest(self) -> None:
        """The agent drops what was sent behind a failed task: take its word for each."""
        while self._waiting:
            flight = self._waiting.popleft()
            self._forget(flight)
            if flight.sent is not None:
                self._executor.discard(flight.sent)
        self._executor.new_window()

    def abandon(self) -> tuple[Flight, list[str]]:
        """The connection is lost: the first task, and the names of those behind it, which may have run."""
        first, *others = self._waiting
        for flight in self._waiting:
            self._forget(flight)
        self._waiting.clear()
        self._executor.new_window()
        return first, [flight.name for flight in others]

    def _forget(self, flight: Flight) -> None:
        if flight.sent is not None:
            self._expect(flight, -1)

    def _expect(self, flight: Flight, step: int) -> None:
        pending = self._variables.pending
        if flight.task.register:
            count = pending.get(flight.task.register, 0) + step
            if count:
                pending[flight.task.register] = count
            else:
                pending.pop(flight.task.register, None)
        if returns_facts(flight.task.module):
            self._variables.facts_pending += step
