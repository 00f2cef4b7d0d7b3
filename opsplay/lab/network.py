"""A lab's network: one bridge with a /24 of its own behind this machine's address, and rules that are easy to find."""

from __future__ import annotations

import ipaddress
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opsplay.errors import LabError
from opsplay.lab import kernel
from opsplay.lab.programs import call

_INTERFACES = Path("/sys/class/net")


@dataclass(frozen=True)
class Network:
    """The network 10.213.<number>.0/24 of a lab. Its bridge carries the lab's directory as alias: its owner."""

    lab: str
    number: int
    owner: Path

    @property
    def bridge(self) -> str:
        """The bridge's interface name."""
        return f"opslab{self.number}"

    @property
    def subnet(self) -> str:
        """The address range, as CIDR."""
        return f"10.213.{self.number}.0/24"

    @property
    def gateway(self) -> str:
        """This machine's address on the bridge."""
        return f"10.213.{self.number}.1"

    @property
    def table(self) -> str:
        """The nftables table with the lab's masquerading."""
        return f"opsplay_{self.lab.replace('-', '_')}_{self.number}"

    def address(self, number: int) -> str:
        """The address of the host with this number."""
        return f"10.213.{self.number}.{number}"

    def machine(self, number: int | str) -> str:
        """The name of a host's container, unique on this machine and short enough for an interface name."""
        return f"ops{self.number}-{number}"

    def cable(self, number: int | str) -> str:
        """This machine's end of a host's network cable, as systemd-nspawn names it."""
        return f"vb-{self.machine(number)}"

    def exists(self) -> bool:
        """Whether the bridge is there and this lab's."""
        return _alias(self.bridge) == str(self.owner)

    def up(self) -> None:
        """Give the bridge its address, and the hosts a way out. May be repeated."""
        call(["ip", "address", "replace", f"{self.gateway}/24", "dev", self.bridge])
        call(["ip", "link", "set", self.bridge, "up"])
        for cable in _INTERFACES.glob(self.cable("*")):
            # Already so, unless somebody removed the bridge below running hosts.
            call(["ip", "link", "set", cable.name, "master", self.bridge], check=False)
        masquerade = f"ip saddr {self.subnet} oifname != {self.bridge} masquerade"
        chain = f"chain postrouting {{\ntype nat hook postrouting priority srcnat;\n{masquerade}\n}}"
        table = f"table ip {self.table}"
        call(["nft", "-f", "-"], stdin=f"{table}\ndelete {table}\n{table} {{\n{chain}\n}}\n")
        self._open_firewall()
        kernel.raise_settings()

    def _open_firewall(self) -> None:
        rules = call(["iptables", "-S", "FORWARD"], check=False).stdout if _has_iptables() else ""
        if "-P FORWARD DROP" not in rules or self.table in rules:
            return
        # Docker and ufw forward nothing by default, and an `accept` in a table of our own would not overrule them.
        for direction in ("-i", "-o"):
            rule = [direction, self.bridge, "-m", "comment", "--comment", self.table, "-j", "ACCEPT"]
            call(["iptables", "-I", "FORWARD", *rule])

    def down(self) -> None:
        """Remove bridge and rules; with the last lab, what was changed in the kernel's settings. May be repeated."""
        rules = call(["iptables", "-S", "FORWARD"], check=False).stdout if _has_iptables() else ""
        for rule in rules.splitlines():
            if self.table in rule.split():
                call(["iptables", "-D", *shlex.split(rule)[1:]])
        call(["nft", "delete", "table", "ip", self.table], check=False)
        if self.exists():
            call(["ip", "link", "delete", self.bridge])
        kernel.restore_settings(lambda: any(_INTERFACES.glob("opslab*")))


def claim(lab: str, owner: Path, preferred: int | None = None) -> Network:
    """Make the bridge of a lab, on a network that nothing on this machine uses; the one it had before if that is free.

    Returns the lab's network as it stands when its bridge is there. Raises LabError when all are taken.
    """
    for network in standing():
        if network.owner == owner:
            return network
    taken = list(_taken())
    for number in range(255) if preferred is None else [preferred, *range(255)]:
        network = Network(lab, number, owner)
        if number != preferred and any(_INTERFACES.glob(network.cable("*"))):
            continue
        if any(ipaddress.ip_network(network.subnet).overlaps(other) for other in taken):
            continue
        # Without an address of its own a bridge takes another one whenever a host comes or goes, and hosts that know
        # the gateway by the old one lose it. Making the interface decides between two labs that want the same number.
        add = ["ip", "link", "add", network.bridge, "address", f"02:6f:70:73:00:{number:02x}", "type", "bridge"]
        if call(add, check=False).returncode == 0:
            call(["ip", "link", "set", network.bridge, "alias", str(owner)])
            return network
    raise LabError("every network of 10.213.0.0/16 is in use", hint="`opsplay lab status` shows the labs")


def set_link(cable: str, up: bool) -> None:
    """Plug a host's network cable in, or pull it out. Raises LabError when the host does not run."""
    call(["ip", "link", "set", cable, "up" if up else "down"])


def remove_link(cable: str) -> None:
    """Remove this machine's end of a cable whose container is gone."""
    if (_INTERFACES / cable).exists():
        call(["ip", "link", "delete", cable], check=False)


def standing() -> list[Network]:
    """The networks of all labs on this machine, read from their bridges; one whose owner is gone was abandoned."""
    found = []
    for path in sorted(_INTERFACES.glob("opslab*")):
        owner = _alias(path.name)
        if owner and path.name.removeprefix("opslab").isdigit():
            found.append(Network(Path(owner).name, int(path.name.removeprefix("opslab")), Path(owner)))
    return found


def _alias(interface: str) -> str:
    try:
        return (_INTERFACES / interface / "ifalias").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _has_iptables() -> bool:
    return any((Path(directory) / "iptables").exists() for directory in ("/usr/sbin", "/sbin"))


def _taken() -> Iterator[ipaddress.IPv4Network]:
    for interface in json.loads(call(["ip", "-json", "-4", "address"]).stdout or "[]"):
        for address in interface.get("addr_info", []):
            yield ipaddress.IPv4Interface(f"{address['local']}/{address['prefixlen']}").network
    for route in json.loads(call(["ip", "-json", "-4", "route", "show", "table", "all"]).stdout or "[]"):
        # A route to all of 10.0.0.0/8, as VPNs have, leaves room for a more specific one.
        if route["dst"] != "default" and ipaddress.ip_network(route["dst"]).prefixlen >= 16:
            yield ipaddress.IPv4Network(route["dst"])
