"""The values that cross seams between packages: all frozen, none knows how it was made."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opsplay.errors import Location

__all__ = [
    "Block",
    "Become",
    "Handler",
    "Location",
    "Loop",
    "Play",
    "Playbook",
    "Retry",
    "Status",
    "Task",
]


class Status(enum.Enum):
    """How a task ended on one host."""

    OK = "ok"
    CHANGED = "changed"
    SKIPPED = "skipped"
    FAILED = "failed"
    IGNORED = "ignored"
    RESCUED = "rescued"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"

    @property
    def is_failure(self) -> bool:
        return self in (Status.FAILED, Status.UNREACHABLE, Status.UNKNOWN)


@dataclass(frozen=True)
class Become:
    """Privilege escalation as the playbook states it; `None` leaves the choice to variables and the command line."""

    enabled: Any = None
    user: Any = None
    method: Any = None
    flags: Any = None


@dataclass(frozen=True)
class Loop:
    """A task's loop: `source` is the template or list, `lookup` the name after `with_` (None for `loop:`)."""

    source: Any
    lookup: str | None = None
    variable: str = "item"
    index_variable: str | None = None
    label: Any = None
    pause: float = 0.0
    extended: bool = False


@dataclass(frozen=True)
class Retry:
    """`until`: the conditions, how often to try again, and the seconds between the tries."""

    until: tuple[Any, ...]
    retries: Any = 3
    delay: Any = 5


@dataclass(frozen=True)
class Task:
    """One task with the keywords of its blocks and play already folded in.

    `args` maps parameter names to unrendered values; `free_form` is the text of `command: ls -l`.
    `blocks_vars` are the variables of the enclosing blocks, outermost first, then the task's own.
    """

    module: str
    at: Location
    name: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    args_at: Mapping[str, Location] = field(default_factory=dict)
    free_form: str | None = None
    when: tuple[Any, ...] = ()
    loop: Loop | None = None
    register: str | None = None
    notify: tuple[Any, ...] = ()
    become: Become = Become()
    tags: frozenset[str] = frozenset()
    vars: tuple[Mapping[str, Any], ...] = ()
    environment: tuple[Any, ...] = ()
    ignore_errors: Any = False
    ignore_unreachable: Any = False
    changed_when: tuple[Any, ...] | None = None
    failed_when: tuple[Any, ...] | None = None
    retry: Retry | None = None
    check_mode: Any = None
    diff: Any = None
    no_log: Any = False
    timeout: Any = 0
    delegate_to: Any = None
    delegate_facts: Any = False
    run_once: Any = False
    any_errors_fatal: bool = False
    connection: Any = None
    remote_user: Any = None
    port: Any = None

    @property
    def title(self) -> str:
        """What people see: the given name, else the module's."""
        return self.name or self.module


@dataclass(frozen=True)
class Handler:
    """A task that runs when it was notified by its name or by a topic that it listens to."""

    task: Task
    listen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """Tasks that succeed or fail together."""

    at: Location
    body: tuple[Task | Block, ...]
    rescue: tuple[Task | Block, ...] = ()
    always: tuple[Task | Block, ...] = ()
    name: str = ""

    def tasks(self) -> Iterator[Task]:
        """Every task below this block, in the order of the document."""
        for entry in (*self.body, *self.rescue, *self.always):
            if isinstance(entry, Block):
                yield from entry.tasks()
            else:
                yield entry


@dataclass(frozen=True)
class Play:
    """A play: which hosts, in which batches, and the stages of its tasks (pre_tasks, roles, tasks, post_tasks)."""

    at: Location
    hosts: Any
    name: str = ""
    vars: Mapping[str, Any] = field(default_factory=dict)
    vars_files: tuple[Any, ...] = ()
    stages: tuple[tuple[Task | Block, ...], ...] = ()
    handlers: tuple[Handler, ...] = ()
    gather_facts: Any = None
    gather_subset: tuple[str, ...] | None = None
    become: Become = Become()
    serial: tuple[Any, ...] = ()
    strategy: str = "linear"
    max_fail_percentage: float | None = None
    any_errors_fatal: bool = False
    force_handlers: bool = False
    environment: tuple[Any, ...] = ()
    tags: frozenset[str] = frozenset()
    connection: Any = None
    remote_user: Any = None
    port: Any = None
    order: str = "inventory"
    ignore_unreachable: Any = False
    check_mode: Any = None
    diff: Any = None
    no_log: Any = False

    @property
    def title(self) -> str:
        return self.name or str(self.hosts)

    def tasks(self) -> Iterator[Task]:
        """Every task of the play but its handlers, in the order of the document."""
        for stage in self.stages:
            for entry in stage:
                if isinstance(entry, Block):
                    yield from entry.tasks()
                else:
                    yield entry


@dataclass(frozen=True)
class Playbook:
    """What one file says, with all that it imports."""

    path: str
    plays: tuple[Play, ...]
