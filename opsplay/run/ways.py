"""Where a task is done: on which host, how to reach it, as whom."""

from __future__ import annotations

from dataclasses import dataclass, replace

from opsplay.inventory.patterns import LOCAL_NAMES
from opsplay.model import Task
from opsplay.run.connection import escalation_of, target_of
from opsplay.run.context import PlayContext
from opsplay.run.variables import Layers
from opsplay.session.bootstrap import Escalation
from opsplay.transport.base import Target


@dataclass(frozen=True)
class Way:
    """Where an item is done: on which host (another one when it is delegated), how to reach it, as whom."""

    host: str
    target: Target
    become: Escalation | None


def way_of(context: PlayContext, host: str, task: Task, layers: Layers) -> Way:
    """How to do a task on a host, by that host's own variables. Raises InventoryError."""
    lookup = context.connection_lookup(host, layers)
    defaults = context.run.options.connection
    context.run.learn_secrets(host, lookup)
    if host in LOCAL_NAMES and host not in context.run.inventory.hosts:
        defaults = replace(defaults, connection="local")
    return Way(
        host,
        target_of(host, lookup, task, context.play, defaults),
        escalation_of(host, lookup, task, context.templar(host, layers).render, defaults),
    )
