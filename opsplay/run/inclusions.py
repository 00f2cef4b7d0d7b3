"""What the hosts of a batch bring in at an include whose file or items differ from host to host.

Every host says what it brings in and waits; then each different piece gets a number, in the order of the hosts and of
their items, so that all hosts that share a piece go through it at the same place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opsplay.model import Included
from opsplay.run import position as places
from opsplay.run.position import Inclusion, Order, Position

Brought = Sequence[tuple[Included, Mapping[str, Any]]]
Key = tuple[str, str, int]


class Inclusions:
    """The pieces of one batch. `opened` is told of each numbered piece and its place before a host enters one."""

    def __init__(self, hosts: Iterable[str], opened: Callable[[Order, Inclusion], None]) -> None:
        self._hosts = list(hosts)
        self._opened = opened
        self._offers: dict[Order, dict[str, Brought]] = {}
        self._numbers: dict[Order, dict[Key, int]] = {}
        self._lock = threading.Lock()

    def offer(self, order: Order, host: str, brought: Brought) -> None:
        """Say what a host brings in at the include of this place."""
        with self._lock:
            self._offers.setdefault(order, {})[host] = brought

    def enter(self, position: Position, host: str) -> Position:
        """The way through a host's pieces, once all hosts have said what they bring in."""
        order = position.order[:-1]
        with self._lock:
            numbers = self._numbered(order)
            brought = self._offers[order][host]
            pieces = zip(_keys(brought), brought, strict=True)
            chosen = [Inclusion(numbers[key], included.entries, params) for key, (included, params) in pieces]
        return places.include(position, chosen)

    def _numbered(self, order: Order) -> dict[Key, int]:
        """The numbers of all pieces offered at a place; those that were offered late (strategy free) come behind."""
        numbers = self._numbers.setdefault(order, {})
        offers = self._offers[order]
        for host in self._hosts:
            brought = offers.get(host, ())
            for key, (included, params) in zip(_keys(brought), brought, strict=True):
                if key not in numbers:
                    numbers[key] = len(numbers)
                    self._opened(order, Inclusion(numbers[key], included.entries, params))
        return numbers


def _keys(brought: Brought) -> list[Key]:
    """What tells pieces apart: the file, the item's variables, and for one that comes again the how manieth it is."""
    found: list[Key] = []
    for included, params in brought:
        same = sum(1 for key in found if key[:2] == (included.path, repr(params)))
        found.append((included.path, repr(params), same))
    return found
