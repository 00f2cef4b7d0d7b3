"""ipaddr and its kin: what an address or a network is, in the words of Ansible's ansible.utils collection.

A value that is no address gives False, in a list it is left out; one that the query does not apply to gives None.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opsplay.errors import TemplateError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

SIX_TO_FOUR = "2002:%02x%02x:%02x%02x::1/48"


@dataclass(frozen=True)
class Address:
    """An address with the network that it is in; `alone` when no prefix was written."""

    ip: IPAddress
    network: IPNetwork
    alone: bool

    def __str__(self) -> str:
        return str(self.ip) if self.alone else self.with_prefix

    @property
    def with_prefix(self) -> str:
        return f"{self.ip}/{self.network.prefixlen}"

    @property
    def size(self) -> int:
        return self.network.num_addresses

    @property
    def is_network(self) -> bool:
        """Whether this names the network itself and not an address in it."""
        return self.size > 1 and self.ip == self.network.network_address

    @property
    def usable(self) -> tuple[IPAddress, IPAddress]:
        """The first and the last address that a host may have: of two addresses both, else all but the outermost."""
        edge = 0 if self.size <= 2 else 1
        return self.network[edge], self.network[-1 - edge]


def parse(value: Any) -> Address | None:
    """An address, a network, or the number of one, with a prefix or a netmask or without. None when it is neither."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    number, slash, prefix = str(value).partition("/")
    try:
        ip = ipaddress.ip_address(int(number) if re.fullmatch(r"\d+", number) else number)
        network = ipaddress.ip_network(f"{ip}{slash}{prefix}", strict=False)
    except ValueError:
        return None
    return None if getattr(ip, "scope_id", None) else Address(ip, network, not slash)


def only(holds: Callable[[IPAddress], bool]) -> Callable[[Address], str | None]:
    """A query that gives those addresses of which something holds."""
    return lambda at: str(at) if holds(at.ip) else None


def host(at: Address) -> str | None:
    return at.with_prefix if not at.is_network or at.size == 2 else None


def address(at: Address) -> str | None:
    return str(at.ip) if host(at) else None


def network(at: Address) -> str | None:
    return str(at.network) if at.is_network else None


def usable(at: Address, number: int) -> str | None:
    return str(at.usable[number]) if at.size > 1 else None


def usable_range(at: Address) -> str | None:
    return "-".join(map(str, at.usable)) if at.size > 1 else None


def neighbour(at: Address, distance: int) -> str | None:
    """A usable address of the same network before or behind this one."""
    if at.size == 1:
        return None
    first, last = at.usable
    number = int(at.ip) + distance
    return str(at.network[number - int(at.network[0])]) if int(first) <= number <= int(last) else None


def peer(at: Address) -> str:
    """The other end of a link between two."""
    offset = int(at.ip) - int(at.network[0])
    if at.size == 2:
        return str(at.network[1 - offset])
    if at.size == 4 and offset in (1, 2):
        return str(at.network[3 - offset])
    raise TemplateError(f"ipaddr: {at} is no end of a link between two")


def as_ipv4(at: Address) -> str | bool:
    if at.ip.version == 4:
        return str(at)
    mapped = int(at.ip) & 0xFFFFFFFF
    if int(at.ip) >> 32 not in (0, 0xFFFF):
        return False
    return f"{ipaddress.IPv4Address(mapped)}/{at.network.prefixlen - 96}"


def as_ipv6(at: Address) -> str:
    return str(at) if at.ip.version == 6 else f"::ffff:{at.ip}/{at.network.prefixlen + 96}"


def six_to_four(at: Address) -> str | bool:
    if at.ip.version == 6:
        return str(at) if str(at.ip).startswith("2002:") else False
    return SIX_TO_FOUR % tuple(at.ip.packed) if not at.is_network else False


def wrap(at: Address) -> str:
    """With brackets, as URLs want version 6."""
    text = str(at)
    return text if at.ip.version == 4 else "[" + text.replace("/", "]/") + ("]" if at.alone else "")


QUERIES: dict[str, Callable[[Address], Any]] = {
    "": str,
    "address": address,
    "ip": address,
    "host": host,
    "host/prefix": lambda at: host(at) or False,
    "address/prefix": host,
    "ip/prefix": host,
    "gateway": host,
    "gw": host,
    "cidr": lambda at: at.with_prefix,
    "net": network,
    "subnet": lambda at: str(at.network),
    "network": lambda at: str(at.network[0]),
    "network_id": lambda at: str(at.network[0]),
    "network/prefix": lambda at: str(at.network),
    "network_netmask": lambda at: f"{at.network[0]} {at.network.netmask}",
    "network_wildcard": lambda at: f"{at.network[0]} {at.network.hostmask}",
    "ip_netmask": lambda at: f"{at.ip} {at.network.netmask}",
    "netmask": lambda at: str(at.network.netmask),
    "hostmask": lambda at: str(at.network.hostmask),
    "wildcard": lambda at: str(at.network.hostmask),
    "prefix": lambda at: at.network.prefixlen,
    "size": lambda at: at.size,
    "broadcast": lambda at: str(at.network[-1]) if at.size > 2 else None,
    "first_usable": lambda at: usable(at, 0),
    "last_usable": lambda at: usable(at, 1),
    "next_usable": lambda at: neighbour(at, 1),
    "previous_usable": lambda at: neighbour(at, -1),
    "range_usable": usable_range,
    "peer": peer,
    "revdns": lambda at: at.ip.reverse_pointer + ".",
    "int": lambda at: int(at.ip) if at.alone else f"{int(at.ip)}/{at.network.prefixlen}",
    "bool": lambda at: True,
    "version": lambda at: at.ip.version,
    "type": lambda at: "network" if at.is_network else "address",
    "private": only(lambda ip: not ip.is_global and not ip.is_multicast),
    "public": only(lambda ip: ip.is_global and not ip.is_multicast),
    "loopback": only(lambda ip: ip.is_loopback),
    "lo": only(lambda ip: ip.is_loopback),
    "multicast": only(lambda ip: ip.is_multicast),
    "unicast": only(lambda ip: not ip.is_multicast),
    "link-local": only(lambda ip: ip.is_link_local),
    "ipv4": as_ipv4,
    "ipv6": as_ipv6,
    "6to4": six_to_four,
    "wrap": wrap,
}


def query_of(query: Any) -> Callable[[Address], Any]:
    """What a query asks: by its name, which address of a network by a number, whether it lies in a network."""
    text = str(query)
    if text in QUERIES:
        return QUERIES[text]
    if re.fullmatch(r"-?\d+", text):
        return lambda at: nth(at, int(text))
    within = parse(text)
    if within is None:
        raise TemplateError(f"ipaddr: unknown query {text!r}", hint=f"use one of {', '.join(QUERIES)[2:]}")
    return lambda at: str(at) if contains(within.network, at.network) else None


def nth(at: Address, number: int) -> str | bool:
    if at.size == 1:
        return str(at)
    return f"{at.network[number]}/{at.network.prefixlen}" if -at.size <= number < at.size else False


def contains(outer: IPNetwork, inner: IPNetwork) -> bool:
    return outer.version == inner.version and outer[0] <= inner[0] and inner[-1] <= outer[-1]  # type: ignore[operator]


def ipaddr(value: Any, query: Any = "", version: int | bool = False, alias: str = "ipaddr") -> Any:
    """The answer to a query about an address, or about each address of a list."""
    ask = query_of(query)
    if isinstance(value, (list, tuple)):
        found = [parse(item) for item in value]
        answers = [ask(at) for at in found if at is not None and version in (False, at.ip.version)]
        return [answer for answer in answers if answer not in (None, False)]
    if value is None or isinstance(value, dict):
        raise TemplateError(f"{alias}: {value!r} is no address")
    at = parse(value)
    return ask(at) if at is not None and version in (False, at.ip.version) else False


def ipwrap(value: Any) -> Any:
    """Version 6 in brackets; everything else as it is."""
    if isinstance(value, (list, tuple)):
        return [ipwrap(item) for item in value]
    at = parse(value)
    return value if at is None else wrap(at)


FILTERS: dict[str, Callable[..., Any]] = {
    "ipaddr": ipaddr,
    "ipv4": lambda value, query="": ipaddr(value, query, 4, "ipv4"),
    "ipv6": lambda value, query="": ipaddr(value, query, 6, "ipv6"),
    "ipwrap": ipwrap,
}
