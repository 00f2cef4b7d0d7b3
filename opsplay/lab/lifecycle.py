"""The life of each host of a lab: made from its image, booted, awaited, removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from opsplay.errors import LabError
from opsplay.lab import network, overlay, provision
from opsplay.lab.host import LabHost
from opsplay.lab.machine import Machine, Power, standing_containers
from opsplay.lab.network import Network
from opsplay.lab.state import HostRecord, LabRecord, Progress, replace_file

# `down` takes 15 s at most: this for an orderly power-off, five seconds for what is left.
GRACE_SECONDS = 10.0
_PARALLEL = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Site:
    """A lab as it is recorded: its directory, its hosts, its network."""

    directory: Path
    record: LabRecord

    @property
    def network(self) -> Network:
        """The lab's network."""
        return Network(self.record.name, self.record.network, self.directory)

    @property
    def hosts(self) -> dict[str, LabHost]:
        """The hosts by name."""
        return {name: self.host(host) for name, host in self.record.hosts.items()}

    def machine(self, host: HostRecord) -> Machine:
        """The container of a host."""
        net = self.network
        return Machine(net.machine(host.number), self.directory / "hosts" / host.name, net.cable(host.number))

    def host(self, host: HostRecord) -> LabHost:
        """A host as users of the lab see it."""
        address = self.network.address(host.number)
        return LabHost(host.name, address, host.spec.release, host.spec.image, self.machine(host))


def for_all(action: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do something to all at once; every one is tried. Raises LabError with what went wrong for each."""
    with ThreadPoolExecutor(_PARALLEL) as pool:
        futures = [pool.submit(action, item) for item in items]
    errors = [error for future in futures if (error := future.exception())]
    unexpected = [error for error in errors if not isinstance(error, LabError)]
    if unexpected or len(errors) == 1:
        raise (unexpected or errors)[0]
    if errors:
        raise LabError("\n".join(map(str, errors)))
    return [future.result() for future in futures]


def boot_all(site: Site, hosts: Iterable[HostRecord], password: str, seconds: float, tell: Progress) -> None:
    """Make and boot those of the hosts that do not run, and wait until they have settled."""
    power = {host: site.machine(host).power() for host in hosts}
    idle = [host for host in power if power[host] not in (Power.RUNNING, Power.BOOTING)]
    for_all(lambda host: _make(site, host, password), idle)
    introduce(site)
    for_all(lambda host: _boot(site, host), idle)
    for_all(lambda host: _await(site.host(host), seconds, tell), [h for h in power if power[h] is not Power.RUNNING])


def _make(site: Site, host: HostRecord, password: str) -> None:
    machine = site.machine(host)
    # What a killed supervisor, or a crash of the host, has left of its last life.
    machine.halt(GRACE_SECONDS)
    tree = Path(host.tree)
    if not tree.is_dir():
        raise LabError(f"the image of {host.name} is gone: {tree}", hint="take the host down, and up again")
    root = overlay.mount(tree, machine.directory)
    made = machine.directory / "host_keys.pub"
    if not made.exists():
        public_key = (site.directory / "key.pub").read_text(encoding="ascii")
        replace_file(made, provision.make_identity(root, host.name, public_key, password))
    provision.connect(root, site.network, host.number)


def _boot(site: Site, host: HostRecord) -> None:
    machine = site.machine(host)
    arguments = list(host.spec.arguments)
    for volume in host.spec.volumes:
        directory = machine.directory / "volumes" / volume.strip("/").replace("/", "-")
        directory.mkdir(parents=True, exist_ok=True)
        arguments.append(f"--bind={directory}:{volume}")
    machine.boot(site.network.bridge, arguments)


def _await(host: LabHost, seconds: float, tell: Progress) -> None:
    state = host.wait_until_settled(seconds)
    failed = ""
    if state == "degraded":
        units = host.run("systemctl --failed --plain --no-legend", check=False).stdout
        failed = ", failed: " + " ".join(line.split()[0] for line in units.splitlines())
    tell(f"{host.name} is up at {host.address} ({host.release} {host.image}{failed})")


def introduce(site: Site) -> None:
    """Tell the hosts of each other, and whoever connects of their keys."""
    addresses = {name: host.address for name, host in site.hosts.items()}
    known = []
    for name, host in site.hosts.items():
        keys = host.machine.directory / "host_keys.pub"
        if keys.exists():
            known.append((name, host.address, keys.read_text(encoding="ascii")))
        if (host.root / "etc").is_dir():
            provision.introduce(host.root, addresses)
    replace_file(site.directory / "known_hosts", provision.known_hosts(known), 0o600)


def remove_hosts(site: Site, hosts: Iterable[HostRecord], tell: Progress) -> None:
    """Power hosts off and remove their file systems."""

    def remove(host: HostRecord) -> None:
        machine = site.machine(host)
        machine.halt(GRACE_SECONDS)
        overlay.remove_tree(machine.directory)
        tell(f"{host.name} is gone")

    for_all(remove, hosts)


def remove_networks(owner: Path) -> None:
    """Remove the networks of the lab with this directory, and containers on them that no record knows."""
    for net in network.standing():
        if net.owner == owner:
            for name in standing_containers(net.machine("")):
                Machine(name, owner / "hosts", f"vb-{name}").halt(0)
            net.down()


def sweep() -> None:
    """Remove what is left of labs whose directory somebody has deleted."""
    for owner in {net.owner for net in network.standing() if not net.owner.exists()}:
        remove_networks(owner)
