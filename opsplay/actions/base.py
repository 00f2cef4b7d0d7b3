"""What an action sees of the run, and what it may answer with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from opsplay.errors import Location, OpsplayError
from opsplay.session.blobs import BlobStore
from opsplay.templating.templar import Templar


class ActionFailed(OpsplayError):
    """The action itself fails the task; `data` goes into its result."""

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.data = data


class Control(Protocol):
    """The control side, for one task on one host."""

    @property
    def templar(self) -> Templar: ...
    @property
    def blobs(self) -> BlobStore: ...
    @property
    def at(self) -> Location: ...
    @property
    def check(self) -> bool: ...
    @property
    def verbosity(self) -> int: ...

    def find_file(self, folder: str, name: str) -> str:
        """A file beside the playbook, in its folder `files`, `templates` …, or absolute. Raises ActionFailed."""

    def template_variables(self, extra: Mapping[str, Any]) -> Templar:
        """A templar that also knows these names."""


@dataclass(frozen=True)
class Answer:
    """The task's result, without asking the host. `facts` and `meta` are effects for the engine."""

    result: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    meta: str | None = None


@dataclass(frozen=True)
class Remote:
    """Run a shipped module (its full name) with these parameters."""

    module: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class RawCommand:
    """Run a command line with the login shell, without Python on the host."""

    command: str


Prepared = Answer | Remote | RawCommand
