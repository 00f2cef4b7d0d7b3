"""Tests of addresses and networks (ansible.utils)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

from opsplay.templating.filters.addresses import IPAddress, parse
from opsplay.templating.filters.networks import hardware_number, network_in_network


def one_address(value: Any) -> IPAddress | None:
    """An address without a prefix, else None."""
    at = parse(value)
    return at.ip if at is not None and at.alone else None


def of_version(version: int) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        ip = one_address(value)
        return ip is not None and ip.version == version

    return test


def holds(property_of: Callable[[IPAddress], Any]) -> Callable[[Any], bool]:
    """A test of addresses; networks and what is no address fail it."""

    def test(value: Any) -> bool:
        ip = one_address(value)
        return ip is not None and bool(property_of(ip))

    return test


def is_mask(value: Any, flip: int) -> bool:
    """Whether a version 4 address is ones and then zeros; `flip` is what to turn it over with before."""
    try:
        number = int(ipaddress.IPv4Address(value)) ^ flip
    except ValueError:
        return False
    return re.fullmatch("1*0*", f"{number:032b}") is not None


def in_network(value: Any, network: Any) -> bool:
    return network_in_network(network, value)


def count_of(value: Any, networks: Iterable[Any]) -> int:
    return sum(in_network(value, network) for network in networks)


TESTS: dict[str, Callable[..., bool]] = {
    "ip": holds(lambda ip: True),
    "ip_address": holds(lambda ip: True),
    "ipv4": of_version(4),
    "ipv6": of_version(6),
    "ipv4_address": of_version(4),
    "ipv6_address": of_version(6),
    "ipv4_netmask": lambda value: is_mask(value, 0),
    "ipv4_hostmask": lambda value: is_mask(value, 0xFFFFFFFF),
    "ipv6_ipv4_mapped": holds(lambda ip: getattr(ip, "ipv4_mapped", None)),
    "ipv6_sixtofour": holds(lambda ip: getattr(ip, "sixtofour", None)),
    "ipv6_teredo": holds(lambda ip: getattr(ip, "teredo", None)),
    "private": holds(lambda ip: ip.is_private),
    "public": holds(lambda ip: ip.is_global),
    "loopback": holds(lambda ip: ip.is_loopback),
    "multicast": holds(lambda ip: ip.is_multicast),
    "reserved": holds(lambda ip: ip.is_reserved),
    "unspecified": holds(lambda ip: ip.is_unspecified),
    "in_network": in_network,
    "in_any_network": lambda value, networks: count_of(value, networks) > 0,
    "in_one_network": lambda value, networks: count_of(value, networks) == 1,
    "subnet_of": in_network,
    "supernet_of": network_in_network,
    "mac": lambda value: hardware_number(value) is not None,
}
