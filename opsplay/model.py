"""The values that cross seams between packages: all frozen, none knows how it was made."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opsplay.errors import Location

__all__ = [
    "Background",
    "Become",
    "Block",
    "Handler",
    "Include",
    "Included",
    "Location",
    "Loop",
    "Play",
    "Playbook",
    "Prompt",
    "Retry",
    "Role",
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
    UNDECIDED = "undecided"
    """a preview cannot tell what the task would do"""

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
    with_all_items: bool = True
    break_when: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Retry:
    """`until`: the conditions, how often to try again, and the seconds between the tries."""

    until: tuple[Any, ...]
    retries: Any = 3
    delay: Any = 5


@dataclass(frozen=True)
class Background:
    """`async`: for how many seconds the task may go on, and how often (s) it is asked for; 0 leaves it to itself."""

    seconds: Any
    poll: Any = 15


@dataclass(frozen=True)
class Role:
    """A role in use. Of `defaults`, `vars` and `params` the last is the strongest; they hold what comes from its
    dependencies and from the roles that brought it in as well. `exports` are those of its `vars` that the whole play
    sees: not what this very use of the role was given."""

    name: str
    path: str
    defaults: tuple[Mapping[str, Any], ...] = ()
    vars: tuple[Mapping[str, Any], ...] = ()
    exports: tuple[Mapping[str, Any], ...] = ()
    params: tuple[Mapping[str, Any], ...] = ()
    parents: tuple[Role, ...] = ()
    """the roles that brought it in, the nearest first"""

    @property
    def folders(self) -> tuple[str, ...]:
        """Where its files are looked for: its own folder, then those of the roles that brought it in."""
        return (self.path, *(parent.path for parent in self.parents))


@dataclass(frozen=True)
class Included:
    """What was read for an include: its tasks, the handlers that a role adds, that role, and those that its tasks
    import."""

    path: str
    entries: tuple[Task | Block, ...]
    handlers: tuple[Handler, ...] = ()
    role: Role | None = None
    imported: tuple[Role, ...] = ()


@dataclass(frozen=True)
class Include:
    """What `include_tasks` or `include_role` brings in. `load` reads it for rendered parameters, with the keywords in
    force where the include stands, and raises Problems; `known` is there when no variable decides what it brings."""

    load: Callable[[Mapping[str, Any]], Included]
    known: Included | None = None


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
    throttle: Any = None
    background: Background | None = None
    role: Role | None = None
    params: tuple[Mapping[str, Any], ...] = ()
    """variables of the includes that brought the task in, outermost first: stronger than what was set"""
    include: Include | None = field(default=None, compare=False, repr=False)

    @property
    def title(self) -> str:
        """What people see: the role's name and the given one, else the module's."""
        name = self.name or self.module
        return f"{self.role.name} : {name}" if self.role else name


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
class Prompt:
    """`vars_prompt`: a value that is asked for when the play begins."""

    name: str
    text: str
    default: Any = None
    private: bool = True
    confirm: bool = False
    encrypt: str | None = None
    salt: str | None = None
    salt_size: int | None = None


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
    roles: tuple[Role, ...] = ()
    """roles whose variables every task of the play sees"""
    prompts: tuple[Prompt, ...] = ()
    gather_facts: Any = None
    gather_subset: tuple[str, ...] | None = None
    become: Become = Become()
    serial: tuple[Any, ...] = ()
    strategy: str = "linear"
    max_fail_percentage: float | None = None
    any_errors_fatal: bool = False
    force_handlers: bool | None = None
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
        return self.name or (",".join(map(str, self.hosts)) if isinstance(self.hosts, list) else str(self.hosts))

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
