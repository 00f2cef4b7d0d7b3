"""What a host's way through a play needs of the play's batch, as a seam."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol

from opsplay.model import Block, Handler, Included, Task
from opsplay.run.context import PlayContext
from opsplay.run.fences import Gate
from opsplay.run.inclusions import Inclusions
from opsplay.run.once import Once
from opsplay.run.position import Order, Position
from opsplay.run.report import Reporter

OnceTasks = Once[bool]
"""Of each task that one host does for all: whether it failed."""


class Batch(Protocol):
    """One play on one batch of hosts."""

    context: PlayContext
    program: tuple[Task | Block, ...]
    end: Position
    """behind all tasks, where handlers run on hosts that failed when they are forced to"""
    handlers: list[Handler]
    gate: Gate
    reporter: Reporter
    inclusions: Inclusions
    once: OnceTasks
    hosts: list[str]
    fatal: Order | None
    """where a host failed for all"""

    @property
    def forces_handlers(self) -> bool:
        """Whether notified handlers run even where a task failed."""

    def handlers_named(self, name: str, host: str) -> list[int]:
        """The handlers that a notification reaches, by number."""

    def bring(self, task: Task, params: Mapping[str, Any], item: int) -> Included:
        """What an include brings in for these parameters, with its handlers made known. Raises OpsplayError."""

    def may_step(self, order: Order, name: str) -> bool:
        """Whether the user wants a task to run, asked once a task for `--step`."""

    def limited(self, task: Task, count: int) -> threading.Semaphore:
        """Lets so many hosts at a time through a task."""

    def host_failed(self, host: str, order: Order) -> None:
        """A host failed or is unreachable at this place."""

    def forgive(self) -> None:
        """Hosts that failed take part in the next play again."""

    def active_hosts(self) -> set[str]:
        """Those for which the play is not over."""

    def host_is_over(self, host: str) -> None:
        """A host has nothing more to do."""

    def fail_all(self, order: Order) -> Order:
        """A failure at this place is one of every host; returns the place."""

    def stop(self, order: Order, whole_play: bool) -> None:
        """No host starts another task behind this place."""

    def may_begin(self, order: Order) -> bool:
        """Whether no host has stopped the play before this place."""
