"""Filters that reckon with networks and addresses, and those of hardware addresses (ansible.utils)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

from opsplay.errors import TemplateError
from opsplay.templating.filters.addresses import Address, contains, neighbour, parse

HARDWARE = re.compile(r"[0-9a-fA-F]{1,2}([:-][0-9a-fA-F]{1,2}){5}|[0-9a-fA-F]{4}(\.[0-9a-fA-F]{4}){2}|[0-9a-fA-F]{12}")


def known(value: Any, filter_name: str) -> Address:
    """The address that a value must be. Raises TemplateError."""
    at = parse(value)
    if at is None:
        raise TemplateError(f"{filter_name}: {value!r} is no address")
    return at


def ipsubnet(value: Any, query: Any = "", index: int | None = None) -> Any:
    """The network of a value; how many subnets of a size it has, or one of them; for an address those around it.

    With a network as the query: which of that network's subnets of this size it is, from 1.
    """
    at = parse(value)
    if at is None:
        return False
    if str(query) == "":
        return str(at.network)
    if re.fullmatch(r"\d+", str(query)):
        return _subnet(at, int(query), index)
    outer = known(query, "ipsubnet").network
    if not contains(outer, at.network):
        raise TemplateError(f"ipsubnet: {at} is not in {outer}")
    return str((int(at.network[0]) - int(outer[0])) // at.size + 1)


def _subnet(at: Address, prefix: int, index: int | None) -> Any:
    own = at.network.prefixlen
    if at.size == 1:
        around = [at.network.supernet(new_prefix=length) for length in range(prefix, own)]
        place = 0 if index is None else int(index)
        return str(around[place]) if -len(around) <= place < len(around) else False
    if index is None:
        if prefix < own:
            raise TemplateError(f"ipsubnet: {at.network} has no subnet of /{prefix}")
        return str(2 ** (prefix - own))
    if prefix < own:
        return str(at.network.supernet(new_prefix=prefix)) if index == 0 else False
    count = 2 ** (prefix - own)
    place = int(index) + count if int(index) < 0 else int(index)
    if not 0 <= place < count:
        return False
    size = at.size // count
    return f"{at.network[place * size]}/{prefix}"


def nthhost(value: Any, number: Any = "") -> Any:
    at = parse(value)
    place = int(number or 0)
    return str(at.network[place]) if at is not None and -at.size <= place < at.size else False


def neighbour_of(value: Any, distance: int) -> Any:
    at = parse(value)
    return False if at is None else neighbour(at, distance)


def network_in_network(value: Any, test: Any) -> bool:
    outer, inner = parse(value), parse(test)
    return outer is not None and inner is not None and contains(outer.network, inner.network)


def network_in_usable(value: Any, test: Any) -> bool:
    outer, inner = parse(value), parse(test)
    if outer is None or inner is None or not contains(outer.network, inner.network):
        return False
    first, last = (int(ip) for ip in outer.usable)
    return first <= int(inner.network[0]) and int(inner.network[-1]) <= last


def cidr_merge(value: Any, action: str = "merge") -> Any:
    """As few networks as cover just the same addresses, or (span) the one smallest that covers them all."""
    networks: Any = [known(item, "cidr_merge").network for item in value]
    if action == "merge":
        return [str(network) for network in ipaddress.collapse_addresses(networks)]
    if action != "span":
        raise TemplateError(f"cidr_merge: unknown action {action!r}", hint="use merge or span")
    if not networks:
        return None
    span = networks[0]
    while not all(contains(span, network) for network in networks):
        span = span.supernet()
    return str(span)


def ipmath(value: Any, amount: Any) -> str:
    return str(known(value, "ipmath").ip + int(amount))


def ip4_hex(value: Any, delimiter: str = "") -> str:
    return delimiter.join(f"{byte:02x}" for byte in ipaddress.IPv4Address(str(value)).packed)


def usable_range(value: Any) -> dict[str, Any]:
    found = [str(ip) for ip in known(value, "usable_range").network]
    return {"usable_ips": found, "number_of_ips": len(found)}


def ipv6form(value: Any, action: str) -> str:
    ip = known(value, "ipv6form").ip
    if action == "x509":
        return ":".join(f"{int(group, 16):x}" for group in ip.exploded.split(":"))
    forms = {"expand": ip.exploded, "compress": ip.compressed}
    if action not in forms:
        raise TemplateError(f"ipv6form: unknown form {action!r}", hint="use expand, compress or x509")
    return forms[action]


def ipcut(value: Any, amount: int) -> str:
    """So many groups of a version 6 address from its beginning; from its end when the amount is negative."""
    groups = ipv6form(value, "x509").split(":")
    return ":".join(groups[amount:] if amount < 0 else groups[:amount])


def slaac(value: Any, hardware: Any) -> Any:
    """The address that a host with this hardware address gives itself in a version 6 network (RFC 4291)."""
    at, number = parse(value), hardware_number(hardware)
    if at is None or number is None or at.ip.version != 6:
        return False
    interface = ((number >> 24) << 40 | 0xFFFE << 24 | number & 0xFFFFFF) ^ 1 << 57
    return str(at.network[0] + interface)


def hardware_number(value: Any) -> int | None:
    """The number of a hardware address, None when it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < 1 << 48 else None
    if not isinstance(value, str) or not HARDWARE.fullmatch(value):
        return None
    return int("".join(group.zfill(2) for group in re.split("[.:-]", value)), 16)


def grouped(number: int, length: int, separator: str) -> str:
    digits = f"{number:012x}"
    return separator.join(digits[place : place + length] for place in range(0, 12, length))


HARDWARE_FORMS: dict[str, Callable[[int], Any]] = {
    "linux": lambda number: grouped(number, 2, ":"),
    "eui48": lambda number: grouped(number, 2, "-").upper(),
    "win": lambda number: grouped(number, 2, "-").upper(),
    "cisco": lambda number: grouped(number, 4, "."),
    "pgsql": lambda number: grouped(number, 6, ":"),
    "postgresql": lambda number: grouped(number, 6, ":"),
    "psql": lambda number: grouped(number, 6, ":"),
    "bare": lambda number: grouped(number, 12, "").upper(),
    "unix": lambda number: ":".join(f"{int(pair, 16):x}" for pair in grouped(number, 2, ":").split(":")),
    "int": lambda number: number,
    "bool": lambda number: True,
}


def hwaddr(value: Any, query: str = "") -> Any:
    number = hardware_number(value)
    if query not in ("", *HARDWARE_FORMS):
        raise TemplateError(f"hwaddr: unknown query {query!r}", hint=f"use one of {', '.join(HARDWARE_FORMS)}")
    if number is None:
        if query in ("", "bool"):
            return None
        raise TemplateError(f"hwaddr: {value!r} is no hardware address")
    return value if query == "" else HARDWARE_FORMS[query](number)


def reduce_on_network(value: Iterable[Any], network: Any) -> list[Any]:
    return [item for item in value if network_in_network(network, item)]


FILTERS: dict[str, Callable[..., Any]] = {
    "ipsubnet": ipsubnet,
    "nthhost": nthhost,
    "next_nth_usable": lambda value, offset: neighbour_of(value, int(offset)),
    "previous_nth_usable": lambda value, offset: neighbour_of(value, -int(offset)),
    "network_in_network": network_in_network,
    "network_in_usable": network_in_usable,
    "reduce_on_network": reduce_on_network,
    "cidr_merge": cidr_merge,
    "ipmath": ipmath,
    "ip4_hex": ip4_hex,
    "usable_range": usable_range,
    "ipv6form": ipv6form,
    "ipcut": ipcut,
    "slaac": slaac,
    "hwaddr": hwaddr,
    "macaddr": hwaddr,
}
