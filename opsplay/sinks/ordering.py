"""Put results back into the order of the playbook: hosts run ahead of each other, people read task by task."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from opsplay.events import ItemFinished, TaskFinished

Order = tuple[int, ...]
END: Order = (1 << 62,)


@dataclass
class TaskBlock:
    """All that happened for one task, over all hosts."""

    order: Order
    name: str
    handler: bool = False
    finished: list[TaskFinished] = field(default_factory=list)
    items: dict[str, list[ItemFinished]] = field(default_factory=dict)


class Ordering:
    """Collects results of one play; a task's block is ready when no host can add to it any more."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._reached: dict[str, Order] = dict.fromkeys(hosts, ())
        # The same, the lowest first; entries of places that a host has left are passed over.
        self._queue: list[tuple[Order, str]] = [((), host) for host in sorted(self._reached)]
        self._rank = {host: number for number, host in enumerate(self._reached)}
        self._blocks: dict[Order, TaskBlock] = {}

    def add_item(self, event: ItemFinished) -> None:
        self._block(event.order, event.task).items.setdefault(event.host, []).append(event)

    def add(self, event: TaskFinished) -> list[TaskBlock]:
        """A host's result; returns the blocks that are complete now, in order."""
        block = self._block(event.order, event.task)
        block.handler = event.handler
        block.finished.append(event)
        return self._reach(event.host, event.order)

    def leave(self, host: str) -> list[TaskBlock]:
        """A host is through with the play."""
        return self._reach(host, END)

    def rest(self) -> list[TaskBlock]:
        """Whatever is left, at the end of a play."""
        self._reached = {}
        return self._take(END)

    def _block(self, order: Order, name: str) -> TaskBlock:
        if order not in self._blocks:
            self._blocks[order] = TaskBlock(order, name)
        return self._blocks[order]

    def _reach(self, host: str, order: Order) -> list[TaskBlock]:
        before = self._reached.get(host)
        if before is None:
            return []
        lowest = self._lowest()
        if order > before:
            self._reached[host] = order
            heapq.heappush(self._queue, (order, host))
        return self._take(self._lowest()) if before == lowest else []

    def _lowest(self) -> Order:
        """How far the last host has come."""
        while self._reached[self._queue[0][1]] != self._queue[0][0]:
            heapq.heappop(self._queue)
        return self._queue[0][0]

    def _take(self, upto: Order) -> list[TaskBlock]:
        ready = sorted(order for order in self._blocks if order <= upto)
        for order in ready:
            self._blocks[order].finished.sort(key=lambda event: self._rank.get(event.host, 0))
        return [self._blocks.pop(order) for order in ready]
