"""The handlers that a host's tasks have notified."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from opsplay.model import Handler, Task
from opsplay.run import position as places
from opsplay.run.position import Position

Find = Callable[[str], Iterable[int]]


class Notified:
    """What was notified, by name until the flush: as in Ansible, what a role brings in until then may bear the name.

    `handlers` is the play's list, whose order is the one in which they run, and `find` gives a name's numbers in it.
    """

    def __init__(self, handlers: Sequence[Handler], find: Find) -> None:
        self._handlers = handlers
        self._find = find
        self._names: dict[str, None] = {}
        self._numbers: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._names or self._numbers)

    def add(self, name: str) -> None:
        """A task has notified this name."""
        self._names[name] = None

    def add_now(self, numbers: Iterable[int]) -> None:
        """A handler has notified others: those of the list as it is."""
        self._numbers.update(numbers)

    def take(self) -> list[tuple[int, Task]]:
        """All of them in their order, which are then no longer notified."""
        found = [(number, self._handlers[number].task) for number in self._all()]
        self._names.clear()
        self._numbers.clear()
        return found

    def _all(self) -> list[int]:
        return sorted(self._numbers.union(*(self._find(name) for name in self._names)))

    def titles(self) -> tuple[str, ...]:
        """Their names, in the order in which they would run."""
        return tuple(self._handlers[number].task.title for number in self._all())

    def join(self, position: Position) -> Position:
        """Handlers that a handler notified run in the same flush, if they come after it."""
        if not position.in_handlers or not self._numbers:
            return position
        current = places.handler_number(position)
        joining = sorted(number for number in self._numbers if number > current)
        self._numbers.difference_update(joining)
        return places.add_handlers(position, [(number, self._handlers[number].task) for number in joining])
