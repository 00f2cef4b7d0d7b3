"""TCP connections: trying a port, listening to what it says, and who is connected to it."""

from __future__ import annotations

import time
from typing import Any, Iterable, Iterator, List, Set, Tuple

# By the number in /proc/net/tcp: include/net/tcp_states.h of Linux.
STATES = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
    "LAST_ACK", "LISTEN", "CLOSING",
)  # fmt: skip
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
ANYWHERE = ("0.0.0.0", "::")
# What a port says is searched up to this many bytes.
HEARD_MOST = 16 << 20


def connect(host: str, port: int, timeout: float) -> Any:
    """An open connection, or None."""
    import socket

    try:
        return socket.create_connection((host, port), timeout)
    except OSError:
        return None


def search(connection: Any, pattern: Any, deadline: float) -> Any:
    """The match of a pattern in what a connection says until it ends or the deadline (monotonic) comes, or None."""
    heard = b""
    while len(heard) < HEARD_MOST:
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        connection.settimeout(left)
        try:
            data = connection.recv(1 << 16)
        except OSError:
            return None
        if not data:
            return None
        heard += data
        match = pattern.search(heard)
        if match:
            return match
    return None


def active(host: str, port: int, states: Iterable[str], excluded: Iterable[str]) -> List[str]:
    """The peers that are connected to a port of this machine, in one of these states."""
    numbers = {STATES.index(state) for state in states}
    local = addresses(host)
    ignored = {address for name in excluded for address in addresses(name)}
    found = []
    for address, local_port, peer, state in connections():
        here = address in local or bool(local & set(ANYWHERE))
        if here and local_port == port and state in numbers and peer not in ignored:
            found.append(peer)
    return found


def addresses(name: str) -> Set[str]:
    """The addresses of a name, as this module writes them; a name that is not known is none."""
    import socket

    try:
        return {plain(str(info[4][0])) for info in socket.getaddrinfo(name, None)}
    except OSError:
        return {name}


def connections() -> Iterator[Tuple[str, int, str, int]]:
    """Local address and port, peer, and number of the state of each connection that the kernel knows."""
    for table in TABLES:
        try:
            with open(table) as lines:
                next(lines)
                for line in lines:
                    words = line.split()
                    address, _, port = words[1].partition(":")
                    yield readable(address), int(port, 16), readable(words[2].partition(":")[0]), int(words[3], 16)
        except (OSError, StopIteration):
            continue


def readable(address: str) -> str:
    """An address of the kernel's table: hexadecimal words in the machine's byte order."""
    import socket
    import struct

    parts = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    packed = struct.pack("=%dI" % len(parts), *parts)
    return plain(socket.inet_ntop(socket.AF_INET if len(parts) == 1 else socket.AF_INET6, packed))


def plain(address: str) -> str:
    """An IPv4 address that is written as IPv6, as IPv4."""
    start = "::ffff:"
    return address[len(start) :] if address.lower().startswith(start) and "." in address else address
