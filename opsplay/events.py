"""What happened, as versioned frozen values with a JSON form. Events are redacted before they are made."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

VERSION = 1


@dataclass(frozen=True)
class Event:
    """The base of every event; `at` is seconds since the epoch."""

    kind: ClassVar[str] = "event"

    def to_json(self) -> str:
        """One line of the record."""
        body = {"v": VERSION, "event": self.kind, **self.__dict__}
        return json.dumps(body, ensure_ascii=True, default=_encode, separators=(",", ":"))


def _encode(value: Any) -> Any:
    """Nested events as their fields; anything else that JSON lacks as text."""
    return value.__dict__ if isinstance(value, Event) else str(value)


@dataclass(frozen=True)
class RunStarted(Event):
    kind: ClassVar[str] = "run_started"
    run_id: str
    playbooks: tuple[str, ...]
    check: bool
    user: str
    machine: str = ""
    inventory: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    limit: str | None = None
    tags: tuple[str, ...] = ()
    revision: str | None = None
    dirty: bool = False
    """the commit of the playbooks, and whether files differed from it"""
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class PlayStarted(Event):
    kind: ClassVar[str] = "play_started"
    play: str
    hosts: tuple[str, ...]
    batch: int = 1
    batches: int = 1
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class TaskStarted(Event):
    """A task was sent to a host. `order` is the task's place in the play: equal for all hosts."""

    kind: ClassVar[str] = "task_started"
    host: str
    order: tuple[int, ...]
    task: str
    module: str
    place: str
    handler: bool = False
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class ItemFinished(Event):
    """One item of a loop ended."""

    kind: ClassVar[str] = "item_finished"
    host: str
    order: tuple[int, ...]
    task: str
    status: str
    label: str
    data: Mapping[str, Any]
    diff: tuple[Mapping[str, Any], ...] = ()
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class TaskFinished(Event):
    kind: ClassVar[str] = "task_finished"
    host: str
    order: tuple[int, ...]
    task: str
    module: str
    place: str
    status: str
    data: Mapping[str, Any]
    diff: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    duration: float = 0.0
    """seconds of work on the host"""
    observed: tuple[Mapping[str, Any], ...] = ()
    """what was there behind the change: what a later run compares with"""
    items: int = 0
    handler: bool = False
    delegated_to: str | None = None
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class TaskRetrying(Event):
    kind: ClassVar[str] = "task_retrying"
    host: str
    order: tuple[int, ...]
    task: str
    attempt: int
    retries: int
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class TaskProgress(Event):
    """Long work says how far it is: `done` and `total` in the unit that `text` names (0 when unknown)."""

    kind: ClassVar[str] = "task_progress"
    host: str
    task: str
    text: str
    done: int = 0
    total: int = 0
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class HandlersPending(Event):
    """A host stopped before its notified handlers ran."""

    kind: ClassVar[str] = "handlers_pending"
    host: str
    handlers: tuple[str, ...]
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Warned(Event):
    kind: ClassVar[str] = "warned"
    message: str
    host: str | None = None
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class HostFinished(Event):
    """A host has nothing more to do in this play."""

    kind: ClassVar[str] = "host_finished"
    host: str
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class HostTally(Event):
    """One line of the recap: how many tasks ended how, and why the host stopped, if it did."""

    kind: ClassVar[str] = "host_tally"
    host: str
    ok: int = 0
    changed: int = 0
    unreachable: int = 0
    failed: int = 0
    skipped: int = 0
    rescued: int = 0
    ignored: int = 0
    undecided: int = 0
    """of a preview: tasks that it cannot tell about, which are also skipped"""
    reason: str = ""


@dataclass(frozen=True)
class RunFinished(Event):
    kind: ClassVar[str] = "run_finished"
    exit_code: int
    tallies: tuple[HostTally, ...]
    seconds: float
    interrupted: bool = False
    statistics: Mapping[str, Any] = field(default_factory=dict)
    """what `set_stats` kept, by host, and for the run as a whole under `run`"""
    at: float = field(default_factory=time.time)
