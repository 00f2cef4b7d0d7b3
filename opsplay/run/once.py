"""`run_once`: the first host of a batch that is at the task runs it, the others wait and take its outcome over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from opsplay.run.position import Order

T = TypeVar("T")


class Once(Generic[T]):
    """Outcomes of one batch by the task's place. `hosts_at` gives those at a place, `resume` wakes one that waits."""

    def __init__(
        self, hosts: Sequence[str], hosts_at: Callable[[Order], set[str]], resume: Callable[[str], None]
    ) -> None:
        self._hosts = hosts
        self._hosts_at = hosts_at
        self._resume = resume
        self._leaders: dict[Order, str] = {}
        self._outcomes: dict[Order, T] = {}
        self._waiting: dict[Order, list[str]] = {}
        self._lock = threading.Lock()

    def is_for(self, host: str, order: Order, wants: Callable[[str], bool]) -> bool:
        """Whether this host is the one that runs the task; `wants` tells the hosts for which it runs once."""
        with self._lock:
            if order not in self._leaders:
                there = self._hosts_at(order)
                self._leaders[order] = next((name for name in self._hosts if name in there and wants(name)), host)
            return self._leaders[order] == host

    def outcome(self, host: str, order: Order) -> T | None:
        """What came of the task; None while it runs, and `host` is resumed when it is done."""
        with self._lock:
            found = self._outcomes.get(order)
            if found is None:
                self._waiting.setdefault(order, []).append(host)
            return found

    def finish(self, order: Order, outcome: T) -> None:
        """The task is done: the hosts that wait go on."""
        with self._lock:
            self._outcomes[order] = outcome
            waiting = self._waiting.pop(order, [])
        for host in waiting:
            self._resume(host)
