"""The SSH connection that this agent is reached through: what a change of access must not cut."""

from __future__ import annotations

import os
from typing import Dict, Optional

# A process has few parents; this bounds the walk in a kernel that answers strangely.
GENERATIONS = 40


class Connection:
    """One login: the address and port that it comes from, the server's own, and the account that was logged in to."""

    __slots__ = ("client", "client_port", "server", "server_port", "user")

    def __init__(self, client: str, client_port: int, server: str, server_port: int, user: str) -> None:
        self.user = user
        self.client = client
        self.client_port = client_port
        self.server = server
        self.server_port = server_port

    @property
    def is_v6(self) -> bool:
        return ":" in self.client


def find() -> Optional[Connection]:
    """The connection of this login, None where there is none (a local run, or a login by other means).

    sudo, su and doas drop SSH_CONNECTION, so it is looked for in the environment of every process above this one,
    which only root may read.
    """
    pid = os.getpid()
    for _ in range(GENERATIONS):
        if pid <= 1:
            return None
        environment = _environment(pid)
        found = parse(environment.get("SSH_CONNECTION", ""), environment.get("LOGNAME", ""))
        if found is not None:
            return found
        pid = _parent(pid)
    return None


def parse(text: str, user: str) -> Optional[Connection]:
    """What sshd writes into SSH_CONNECTION: client address, its port, server address, its port."""
    words = text.split()
    if len(words) != 4 or not words[1].isdigit() or not words[3].isdigit():
        return None
    return Connection(_plain(words[0]), int(words[1]), _plain(words[2]), int(words[3]), user)


def _plain(address: str) -> str:
    """An IPv4 address that an IPv6 socket shows is IPv4; the interface of a link-local address is no part of it."""
    address = address.partition("%")[0]
    return address[7:] if address.lower().startswith("::ffff:") and "." in address else address


def _environment(pid: int) -> Dict[str, str]:
    """What a process was started with; empty where that may not be read."""
    pairs = [entry.partition("=") for entry in str(_read("/proc/%d/environ" % pid), "utf-8", "replace").split("\0")]
    return {name: value for name, _, value in pairs}


def _parent(pid: int) -> int:
    """The parent's number, 0 when the process is gone; its name may hold blanks and brackets."""
    fields = _read("/proc/%d/stat" % pid).rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
