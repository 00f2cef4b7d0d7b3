"""What an action sees of the run, and what it may answer with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from opsplay.errors import Location, OpsplayError
from opsplay.session.blobs import BlobStore
from opsplay.templating.templar import Templar


class ActionFailed(OpsplayError):
    """The action itself fails the task; `data` goes into its result."""

    def __init__(self, message: str, /, **data: Any) -> None:
        super().__init__(message)
        self.data = data


class Control(Protocol):
    """The control side, for one task on one host."""

    @property
    def host(self) -> str:
        """The task's own host, by its name in the inventory."""

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
class Meta:
    """Steer the run: what a `meta` task names."""

    name: str


@dataclass(frozen=True)
class Bring:
    """Bring in the tasks of a file or role: the rendered parameters of an include."""

    params: Mapping[str, Any]


@dataclass(frozen=True)
class AddHost:
    """Add a host to the inventory, or to further groups of it."""

    name: str
    groups: tuple[str, ...]
    vars: Mapping[str, Any]


@dataclass(frozen=True)
class AddToGroup:
    """Put the task's host into a group below others."""

    name: str
    parents: tuple[str, ...]


@dataclass(frozen=True)
class SetVariables:
    """Variables of the task's host: loaded from files (`include_vars`), so that facts that were set prevail."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class KeepFacts:
    """Values that were set and shall count as facts too."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class SetStatistics:
    """Numbers and texts for the end of the run; `aggregate` adds to what is there."""

    data: Mapping[str, Any]
    aggregate: bool
    per_host: bool


Effect = Meta | Bring | AddHost | AddToGroup | SetVariables | KeepFacts | SetStatistics


@dataclass(frozen=True)
class Answer:
    """The task's result, without asking the host, and what the run is to do about it."""

    result: Mapping[str, Any]
    effect: Effect | None = None


@dataclass(frozen=True)
class Remote:
    """Run a shipped module (its full name) with these parameters."""

    module: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class RawCommand:
    """Run a command line with the login shell, without Python on the host."""

    command: str


class Live(Protocol):
    """A host on which an action acts step by step, while nothing else is under way there."""

    @property
    def host(self) -> str: ...
    @property
    def address(self) -> str:
        """Where it is reached: a name or an IP address."""

    @property
    def is_local(self) -> bool:
        """Whether it is this machine, reached without a connection."""

    @property
    def is_delegated(self) -> bool:
        """Whether the task says by `delegate_to` that it is done here."""

    @property
    def check(self) -> bool: ...
    @property
    def diff(self) -> bool: ...

    def call(
        self, module: str, params: Mapping[str, Any], receive: Callable[[bytes], None] | None = None
    ) -> dict[str, Any]:
        """Run a shipped module and wait for its result; `receive` takes the content that it sends back.
        Raises UnreachableError's kinds."""

    def sleep(self, seconds: float) -> None:
        """Wait; Ctrl-C ends it."""

    def ask(self, text: str, hidden: bool, seconds: float | None) -> str | None:
        """What a person types, at most so many seconds long; None when nobody is there to answer."""

    def progress(self, text: str) -> None:
        """Tell the user what is being waited for."""

    def disconnect(self) -> None:
        """Give the connection up; the next call makes a new one."""

    def connect_anew(self, port: int | None, seconds: float) -> None:
        """Connect once more beside what is open, within so many seconds, become the task's user there, and leave again:
        proof that the host can be reached. Raises UnreachableError's kinds and BecomeFailed."""

    def use_port(self, port: int) -> None:
        """Reach the host at this port from the next new connection on, for the rest of the run."""

    def patience(self, seconds: float) -> None:
        """From now on, wait only so long for a connection."""

    def own(self) -> Live:
        """The task's own host, which is another one when the task is delegated."""

    def command_to(self) -> Sequence[str]:
        """The program and options that log in to this host as opsplay does, but for the host's name."""

    def as_user(self, command: Sequence[str]) -> Sequence[str]:
        """A command line for the login account that runs `command` as the task's user. Raises BecomeFailed."""


@dataclass(frozen=True)
class Steps:
    """Work that goes back and forth: a function of the live host that gives the task's result. It may raise
    ActionFailed and UnreachableError's kinds."""

    run: Callable[[Live], Mapping[str, Any]]


Prepared = Answer | Remote | RawCommand | Steps
