"""What one run was asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opsplay.run.connection import ConnectionDefaults
from opsplay.session.session import Heartbeat


@dataclass(frozen=True)
class RunOptions:
    """The choices of the command line or the library's caller. `forks` is how many hosts are worked on at a time."""

    check: bool = False
    diff: bool = False
    forks: int = 50
    verbosity: int = 0
    lockstep: bool = False
    step: bool = False
    force_handlers: bool = False
    limit: str | None = None
    tags: frozenset[str] = frozenset()
    skip_tags: frozenset[str] = frozenset()
    start_at: str | None = None
    gather_facts: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    connection: ConnectionDefaults = ConnectionDefaults()
    beat: Heartbeat = Heartbeat()
    keep_undo: bool = True
    arguments: tuple[str, ...] = ()
    revision: str | None = None
    dirty: bool = False
    """what the record says of the run: its command line, the commit of the playbooks, whether files differ from it"""
