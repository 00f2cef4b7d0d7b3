"""Facts about the network: interfaces, addresses and the default routes."""

from __future__ import annotations

import os
from typing import Any, Dict
from typing import List as ListOf

from opsplay.agent.facts import text_of
from opsplay.modules.system import _netlink

NET = "/sys/class/net/"
TYPES = {"1": "ether", "32": "infiniband", "512": "ppp", "772": "loopback", "65534": "tunnel"}
PROMISCUOUS = 0x100
# Addresses far away by which the default route is found; the same that Ansible asks for. Nothing is sent to them.
FAR = {2: "8.8.8.8", 10: "2404:6800:400a:800::1012"}
LOCAL_ROUTE = 2


def network(host: Any) -> Dict[str, Any]:
    """All facts of the network subset."""
    names = sorted(name for name in os.listdir(NET) if os.path.isdir(NET + name)) if os.path.isdir(NET) else []
    interfaces = {name: interface(name) for name in names}
    try:
        known, routes = _netlink.addresses(), _netlink.routes()
    except OSError as problem:
        host.warn("the kernel does not tell its addresses and routes: %s" % problem)
        known, routes = [], []
    numbers = {text_of(NET + name + "/ifindex"): name for name in names}
    for address in known:
        name = numbers.get(str(address.interface))
        if name is not None:
            add_address(interfaces, name, address)
    facts: Dict[str, Any] = {
        "interfaces": list(interfaces),
        "all_ipv4_addresses": [one.address for one in known if one.family == 2 and not one.address.startswith("127.")],
        "all_ipv6_addresses": [one.address for one in known if one.family == 10 and one.address != "::1"],
        "default_ipv4": default(2, interfaces, known, routes, numbers),
        "default_ipv6": default(10, interfaces, known, routes, numbers),
        "locally_reachable_ips": {"ipv4": reachable(2, routes), "ipv6": reachable(10, routes)},
    }
    facts.update(interfaces)
    return facts


def interface(name: str) -> Dict[str, Any]:
    """What /sys knows of an interface."""
    folder = NET + name + "/"
    facts: Dict[str, Any] = {"device": name}
    mac = text_of(folder + "address")
    if mac and mac != "00:00:00:00:00:00":
        facts["macaddress"] = mac
    mtu = text_of(folder + "mtu")
    if mtu:
        facts["mtu"] = int(mtu)
    facts["active"] = text_of(folder + "operstate") != "down"
    facts["promisc"] = bool(int(text_of(folder + "flags", "0"), 16) & PROMISCUOUS)
    facts["type"] = TYPES.get(text_of(folder + "type"), "unknown")
    speed = text_of(folder + "speed")
    if speed.lstrip("-").isdigit():
        facts["speed"] = int(speed)
    if os.path.exists(folder + "device/driver/module"):
        facts["module"] = os.path.basename(os.path.realpath(folder + "device/driver/module"))
    if os.path.exists(folder + "device"):
        facts["pciid"] = os.path.basename(os.path.realpath(folder + "device"))
    if os.path.isdir(folder + "bridge"):
        members = sorted(os.listdir(folder + "brif")) if os.path.isdir(folder + "brif") else []
        stp = text_of(folder + "bridge/stp_state") == "1"
        facts.update(type="bridge", interfaces=members, id=text_of(folder + "bridge/bridge_id"), stp=stp)
    if os.path.isdir(folder + "bonding"):
        facts.update(bond(folder + "bonding/"))
    if os.path.exists(folder + "bonding_slave/perm_hwaddr"):
        facts["perm_macaddress"] = text_of(folder + "bonding_slave/perm_hwaddr")
    return facts


def bond(folder: str) -> Dict[str, Any]:
    facts = {
        "type": "bonding",
        "slaves": text_of(folder + "slaves").split(),
        "mode": text_of(folder + "mode").split(" ")[0],
        "miimon": text_of(folder + "miimon").split(" ")[0],
        "lacp_rate": text_of(folder + "lacp_rate").split(" ")[0],
        "all_slaves_active": text_of(folder + "all_slaves_active") == "1",
    }
    primary = text_of(folder + "primary")
    return dict(facts, primary=primary) if primary else facts


def add_address(interfaces: Dict[str, Any], name: str, address: Any) -> None:
    """Put an address where Ansible puts it: the first IPv4 address apart from the further ones."""
    if address.family == 10:
        entry = {"address": address.address, "prefix": str(address.prefix), "scope": address.scope}
        interfaces[name].setdefault("ipv6", []).append(entry)
        return
    label = address.label or name
    if label != name:
        interfaces.setdefault(label, {})["ipv4"] = details(address)
    if address.secondary or "ipv4" in interfaces[name]:
        interfaces[name].setdefault("ipv4_secondaries", []).append(details(address))
    elif label == name:
        interfaces[name]["ipv4"] = details(address)


def details(address: Any) -> Dict[str, str]:
    """An IPv4 address with its network."""
    mask = (0xFFFFFFFF << (32 - address.prefix)) & 0xFFFFFFFF
    number = 0
    for part in address.address.split("."):
        number = number << 8 | int(part)
    return {
        "address": address.address,
        "broadcast": address.broadcast,
        "netmask": dotted(mask),
        "network": dotted(number & mask),
        "prefix": str(address.prefix),
    }


def dotted(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def default(
    family: int, interfaces: Dict[str, Any], known: Any, routes: Any, numbers: Dict[str, str]
) -> Dict[str, Any]:
    """The address, interface and gateway by which the rest of the world is reached; empty without such a route."""
    source = _netlink.chosen_source(family, FAR[family])
    address = next((one for one in known if one.address == source), None)
    if address is None:
        return {}
    name = numbers.get(str(address.interface), "")
    ways = [
        route for route in routes
        if route.family == family and not route.prefix and route.interface == address.interface and route.gateway
    ]
    facts: Dict[str, Any] = {"interface": name, "address": source}
    if ways:
        facts["gateway"] = min(ways, key=lambda route: route.metric).gateway
    of_interface = interfaces.get(name, {})
    facts.update({key: of_interface[key] for key in ("macaddress", "mtu", "type") if key in of_interface})
    if family == 2:
        return dict(facts, alias=address.label or name, **details(address))
    return dict(facts, prefix=str(address.prefix), scope=address.scope)


def reachable(family: int, routes: Any) -> ListOf[str]:
    """The destinations that this host itself answers for."""
    whole = 32 if family == 2 else 128
    found = []
    for route in routes:
        if route.family == family and route.table == _netlink.LOCAL_TABLE and route.kind == LOCAL_ROUTE:
            suffix = "" if route.prefix == whole else "/%d" % route.prefix
            if route.destination + suffix not in found:
                found.append(route.destination + suffix)
    return found
