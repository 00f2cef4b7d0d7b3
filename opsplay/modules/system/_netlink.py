"""Addresses and routes from the kernel by rtnetlink(7): what the program ip shows, without running it."""

from __future__ import annotations

import os
import struct
from typing import Any, Dict, Iterator, List, Tuple

# Numbers of linux/netlink.h and linux/rtnetlink.h.
NETLINK_ROUTE, DUMP_REQUEST, DONE, ERROR = 0, 0x301, 3, 2
GET_ADDRESSES, GET_ROUTES = 22, 26
ADDRESS, LOCAL, LABEL, BROADCAST = 1, 2, 3, 4
DESTINATION, OUT, GATEWAY, METRIC, PREFERRED, TABLE = 1, 4, 5, 6, 7, 15
MAIN_TABLE, LOCAL_TABLE = 254, 255
HEADER = struct.Struct("=IHHII")
SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}


class Address:
    """An address of an interface. `peer_or_own` is text; `broadcast` and `label` may be empty."""

    __slots__ = ("family", "interface", "address", "prefix", "scope", "broadcast", "label", "secondary")

    def __init__(self, family: int, index: int, prefix: int, scope: int, flags: int, found: Dict[int, bytes]) -> None:
        self.family = family
        self.interface = index
        self.prefix = prefix
        self.scope = SCOPES.get(scope, str(scope))
        self.address = text_of(family, found.get(LOCAL) or found.get(ADDRESS) or b"")
        self.broadcast = text_of(family, found[BROADCAST]) if BROADCAST in found else ""
        self.label = found.get(LABEL, b"").rstrip(b"\0").decode()
        self.secondary = bool(flags & 1)


class Route:
    """A route: its destination (empty for the default) with its prefix, gateway, interface number and metric."""

    __slots__ = ("family", "table", "kind", "destination", "prefix", "gateway", "interface", "metric")

    def __init__(self, family: int, prefix: int, table: int, kind: int, found: Dict[int, bytes]) -> None:
        self.family = family
        self.prefix = prefix
        self.kind = kind
        self.table = number_of(found[TABLE]) if TABLE in found else table
        self.destination = text_of(family, found[DESTINATION]) if DESTINATION in found else ""
        self.gateway = text_of(family, found[GATEWAY]) if GATEWAY in found else ""
        self.interface = number_of(found[OUT]) if OUT in found else 0
        self.metric = number_of(found[METRIC]) if METRIC in found else 0


def text_of(family: int, packed: bytes) -> str:
    import _socket

    return _socket.inet_ntop(family, packed) if packed else ""


def number_of(packed: bytes) -> int:
    return int(struct.unpack("=I", packed)[0])


def addresses() -> List[Address]:
    """All addresses of all interfaces, IPv4 first. Raises OSError."""
    found = []
    for body in dump(GET_ADDRESSES):
        family, prefix, flags, scope, index = struct.unpack_from("=BBBBI", body)
        if family in (2, 10):
            found.append(Address(family, index, prefix, scope, flags, attributes(body, 8)))
    return sorted(found, key=lambda one: one.family)


def routes() -> List[Route]:
    """All routes of the main and local tables. Raises OSError."""
    found = []
    for body in dump(GET_ROUTES):
        family, prefix, _, _, table, _, _, kind = struct.unpack_from("=BBBBBBBB", body)
        if family in (2, 10):
            found.append(Route(family, prefix, table, kind, attributes(body, 12)))
    return [route for route in found if route.table in (MAIN_TABLE, LOCAL_TABLE)]


def dump(request: int) -> Iterator[bytes]:
    """The bodies of the kernel's answers to a request for all."""
    import _socket

    connection = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_ROUTE)
    try:
        # The body of the request is the struct of its kind; all zero asks for every family.
        connection.send(HEADER.pack(HEADER.size + 12, request, DUMP_REQUEST, 1, 0) + b"\0" * 12)
        while True:
            for kind, body in messages(connection.recv(1 << 16)):
                if kind == DONE:
                    return
                if kind == ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    raise OSError(code, os.strerror(code))
                yield body
    finally:
        connection.close()


def messages(data: bytes) -> Iterator[Tuple[int, bytes]]:
    start = 0
    while start + HEADER.size <= len(data):
        length, kind = HEADER.unpack_from(data, start)[:2]
        if length < HEADER.size:
            return
        yield kind, data[start + HEADER.size : start + length]
        start += (length + 3) & ~3


def attributes(body: bytes, start: int) -> Dict[int, bytes]:
    """The attributes behind a message's struct, by their number."""
    found = {}
    while start + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, start)
        if length < 4:
            break
        found[kind & 0x3FFF] = body[start + 4 : start + length]
        start += (length + 3) & ~3
    return found


def chosen_source(family: int, target: str) -> Any:
    """The address from which the kernel would reach `target`, None when it cannot. Nothing is sent."""
    import _socket

    try:
        probe = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    except OSError:
        return None
    try:
        probe.connect((target, 53))
        return probe.getsockname()[0]
    except OSError:
        return None
    finally:
        probe.close()
