"""What every transport offers, and what it needs to know of a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Target:
    """How to reach one host. Times are seconds; `None` leaves the choice to ~/.ssh/config and the defaults."""

    name: str
    address: str
    connection: str = "ssh"
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    private_key: str | None = None
    known_hosts: tuple[str, ...] = ()
    host_key_checking: str = "yes"
    """yes (unknown keys are refused), accept-new, or no"""
    jump: tuple[str, ...] = ()
    """[user@]host[:port] of each bastion, the nearest first"""
    options: Mapping[str, str] = field(default_factory=dict)
    """further ssh options, by their lower-case name"""
    extra_arguments: tuple[str, ...] = ()
    timeout: float = field(default=10.0, compare=False)
    """how long a new connection may take; it does not tell one open connection from another"""
    retries: int = field(default=0, compare=False)
    """how often a connection that fails is tried again"""
    program: str | None = None
    """the ssh program to use, instead of our own SSH or the `ssh` in the search path"""
    interpreter: str | None = None
    key_port: int | None = None
    """the port under which the host's key is known, where the host has just moved to another one"""


class Stream(Protocol):
    """A running command's input and output, and the tail of what it said on standard error."""

    def send(self, data: bytes) -> None:
        """Write all of it. Raises ConnectionLost."""

    def receive(self, timeout: float) -> bytes:
        """What has arrived, waiting for it at most `timeout` seconds; b"" at the end. Raises TimeoutError."""

    def errors(self) -> str:
        """The tail of standard error so far."""

    def finish(self) -> int:
        """Close the command's input, and wait for its exit status; negative for a signal."""

    def close(self) -> None:
        """End the stream; the command sees the end of its input."""


class Connection(Protocol):
    """An open way to a host, over which commands run side by side."""

    def open(self, command: str) -> Stream:
        """Start a command with the login shell. Raises ConnectionLost, or ConnectionFailed."""

    def close(self) -> None:
        """End it and every stream on it."""


class Tail:
    """The last bytes of a text that may be long."""

    KEPT = 8192

    def __init__(self) -> None:
        self._data = b""

    def add(self, data: bytes) -> None:
        self._data = (self._data + data)[-self.KEPT :]

    def text(self) -> str:
        return self._data.decode("utf-8", "replace")
