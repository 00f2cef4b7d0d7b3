"""A task under way on a host, and what it leaves there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsplay.model import Included, Task
from opsplay.run.execute import Sent
from opsplay.run.judge import ItemResult
from opsplay.run.position import Order, Position
from opsplay.run.variables import HostVariables
from opsplay.run.work import Work


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
    brought: list[tuple[Included, Mapping[str, Any]]] = field(default_factory=list)
    once: bool = False
    kept: Mapping[str, Any] = field(default_factory=dict)
    """what a preview registers in the place of a result that it does not have"""

    @property
    def order(self) -> Order:
        return self.position.order


def remember(variables: HostVariables, flight: Flight, result: ItemResult) -> None:
    """What a task leaves for later tasks of a host: its registered result, facts."""
    if flight.kept:
        variables.set.update(flight.kept)
    elif flight.task.register:
        variables.set[flight.task.register] = dict(result.kept or result.data)
    if not flight.task.delegate_facts:
        for item in flight.items or [result]:
            learn(variables, flight.task, item)


def learn(variables: HostVariables, task: Task, item: ItemResult) -> None:
    facts = item.data.get("ansible_facts")
    if isinstance(facts, dict) and not item.data.get("failed"):
        if task.module == "set_fact":
            variables.set.update(facts)
        elif task.module != "include_vars":
            variables.learn(facts)
