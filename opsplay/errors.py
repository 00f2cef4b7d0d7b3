"""One tree of exceptions. An error knows where it is, what to do about it, and how the process shall exit."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.Enum):
    """Whether a problem of the files stops a run before its first connection, or is only told."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, order=True)
class Location:
    """A place in a file that the user wrote: line and column count from 1, 0 means "the whole file"."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


class OpsplayError(Exception):
    """The base of every error that opsplay raises on purpose: what, where, and the remedy.

    `exit_code` follows ansible-playbook: 1 error, 2 a host failed, 4 a host was unreachable. `rule` is the stable name
    of what was found wrong in the files, one of `opsplay.language.rules.RULES`.
    """

    exit_code = 1
    severity = Severity.ERROR
    rule: str | None = None

    def __init__(
        self, message: str, *, at: Location | None = None, hint: str | None = None, rule: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.hint = hint
        self.rule = rule or self.rule

    def __str__(self) -> str:
        text = f"{self.at}: {self.message}" if self.at else self.message
        return f"{text}; {self.hint}" if self.hint else text


class UsageError(OpsplayError):
    """The command line asks for something that cannot be."""


class DocumentError(OpsplayError):
    """A file cannot be read as what it should be: YAML, INI, or a vault file."""

    rule = "unreadable-file"


class LanguageError(OpsplayError):
    """A playbook says something that means nothing: an unknown keyword, module or parameter."""


class LanguageWarning(LanguageError):
    """A playbook says something that will hardly do what was meant. It is told, never raised."""

    severity = Severity.WARNING


class InventoryError(OpsplayError):
    """An inventory source or a host pattern is wrong."""

    rule = "inventory"


class TemplateError(OpsplayError):
    """A template cannot be parsed or evaluated."""

    rule = "bad-template"


class UndefinedVariable(TemplateError):
    """A template names a variable that has no value."""

    rule = "undefined-variable"


class Problems(OpsplayError):
    """Several errors found in one pass over the files, so that all can be mended at once."""

    def __init__(self, errors: list[OpsplayError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


class UnreachableError(OpsplayError):
    """A host cannot be worked on: no connection, no authentication, no interpreter, or the connection was lost."""

    exit_code = 4


class ConnectionFailed(UnreachableError):
    """No SSH connection came about: name, route, port, or time-out."""


class AuthenticationFailed(UnreachableError):
    """The host refused every key and password that was offered."""


class HostKeyError(UnreachableError):
    """The host's key is unknown, or not the one that is on record."""


class InterpreterMissing(UnreachableError):
    """The host has no Python that the agent can run on."""


class BecomeFailed(OpsplayError):
    """The login account could not become the wanted user: the task fails, the host stays reachable, as in Ansible."""

    exit_code = 2


class ConnectionLost(UnreachableError):
    """An open connection ended, or stayed silent beyond its deadline. What was under way may have run."""


class ProtocolError(ConnectionLost):
    """The other side sent what is not a frame of this protocol."""


class LabError(OpsplayError):
    """The lab's hosts cannot be built, started or cleaned up."""
