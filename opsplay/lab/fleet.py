"""A lab: throwaway hosts that boot a real systemd, side by side on a network of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from opsplay.errors import LabError
from opsplay.lab import images, inventory, lifecycle, network, overlay, provision
from opsplay.lab.host import LabHost
from opsplay.lab.lifecycle import Site
from opsplay.lab.programs import check_machine
from opsplay.lab.state import HostRecord, HostSpec, LabRecord, Progress, locked, silent, state_home

BOOT_SECONDS = 60.0
_LOCK_SECONDS = 300.0
# .1 is this machine; the rest below is for whatever a test wants to add.
_NUMBERS = range(11, 255)
_LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_HOST_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


class Lab:
    """A fleet of hosts under a name. `with Lab("x") as lab:` takes it down at the end.

    `state_dir` holds the directories of all labs (default `$XDG_STATE_HOME/opsplay/lab`), `cache_dir` the images
    (default `$XDG_CACHE_HOME/opsplay/images`). Labs with different names, or different state directories, do not
    touch each other.
    """

    def __init__(self, name: str = "lab", state_dir: Path | None = None, cache_dir: Path | None = None) -> None:
        if not _LAB_NAME.fullmatch(name):
            raise LabError(f"{name!r} cannot name a lab", hint="use lower-case letters, digits and '-', at most 31")
        self.name = name
        self.cache_dir = cache_dir
        self.directory = (state_dir or state_home()).resolve() / name

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def private_key(self) -> Path:
        """The private key (ed25519, no passphrase) that opens root, admin, ops and plain on each host."""
        return self.directory / "key"

    @property
    def known_hosts(self) -> Path:
        """The hosts' keys, so that strict checking works."""
        return self.directory / "known_hosts"

    @property
    def password(self) -> str:
        """The password of `ops`, for login and for sudo. Raises LabError when the lab is not up."""
        try:
            return (self.directory / "password").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise self._not_up() from None

    @property
    def hosts(self) -> dict[str, LabHost]:
        """The hosts by name, whether they run or not."""
        site = self._site()
        return site.hosts if site else {}

    def up(
        self,
        specs: Mapping[str, HostSpec] | None = None,
        progress: Progress | None = None,
        seconds: float = BOOT_SECONDS,
    ) -> dict[str, LabHost]:
        """Make and boot hosts, and wait until each has settled; without specs, boot again all that the lab has.

        Hosts that run are left alone. Building an image takes 15 to 75 s the first time, booting about a second;
        `seconds` bounds the boot. Raises LabError; hosts that did start then stay, to be looked at.
        """
        check_machine()
        specs, tell = specs or {}, progress or silent
        with self._locked(tell):
            lifecycle.sweep()
            record = self._plan(specs, tell)
            site = Site(self.directory, record)
            site.network.up()
            hosts = [record.hosts[name] for name in specs or record.hosts]
            lifecycle.boot_all(site, hosts, self.password, seconds, tell)
            self._write_inventories(record)
        return site.hosts

    def down(self, names: Iterable[str] = (), progress: Progress | None = None) -> None:
        """Power hosts off and remove all there is of them; without names, the whole lab. May be repeated.

        Takes about 15 s at most. Raises LabError for an unknown host, or when something resists removal.
        """
        check_machine()
        chosen, tell = set(names), progress or silent
        with self._locked(tell):
            try:
                site = self._site()
            except LabError as error:
                if chosen:
                    raise
                tell(f"removing what is left: {error}")
                site = None
            known = set(site.record.hosts) if site else set()
            if chosen - known:
                raise LabError(f"the lab {self.name} has no host {', '.join(sorted(chosen - known))}")
            if site and chosen and chosen != known:
                self._remove_some(site, chosen, tell)
            else:
                self._remove_all(site, tell)

    def write_inventory(self, path: Path) -> Path:
        """Write the hosts as an inventory file. A later `up` keeps it current, and `down` removes it.

        Raises LabError when the lab is not up, or the path holds a file that no lab has written.
        """
        with self._locked(silent):
            site = self._site()
            if site is None:
                raise self._not_up()
            self._write_inventories(site.record, path.absolute())
        return path

    def _locked(self, tell: Progress) -> AbstractContextManager[int]:
        lock = self.directory.parent / f".{self.name}.lock"
        return locked(lock, f"the lab {self.name}", seconds=_LOCK_SECONDS, progress=tell)

    def _site(self) -> Site | None:
        record = LabRecord.load(self.directory / "lab.json")
        return Site(self.directory, record) if record else None

    def _not_up(self) -> LabError:
        return LabError(f"the lab {self.name} is not up", hint=f"opsplay lab up HOST... --name {self.name}")

    def _plan(self, specs: Mapping[str, HostSpec], tell: Progress) -> LabRecord:
        """The record with the new hosts in it, saved before anything of them exists, so that `down` finds it all."""
        site = self._site()
        hosts = dict(site.record.hosts) if site else {}
        new = [name for name, spec in specs.items() if not self._stands(name, spec, hosts)]
        if not (hosts or new):
            raise self._not_up()
        trees = {spec: self._image(spec, tell) for spec in (specs[name] for name in new)}
        for name, number in zip(new, self._free_numbers(hosts.values(), len(new)), strict=True):
            spec = specs[name]
            hosts[name] = HostRecord(name, spec, str(trees[spec]), number)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        provision.make_credentials(self.directory, self.name)
        net = network.claim(self.name, self.directory, site.record.network if site else None)
        record = LabRecord(self.name, net.number, hosts, site.record.inventories if site else ())
        record.save(self.directory / "lab.json")
        return record

    def _stands(self, name: str, spec: HostSpec, hosts: Mapping[str, HostRecord]) -> bool:
        """Whether the host is there already. Raises LabError for an impossible name, or when it is there otherwise."""
        if not _HOST_NAME.fullmatch(name):
            raise LabError(f"{name!r} cannot name a host", hint="use lower-case letters, digits and '-'")
        if name not in hosts:
            return False
        if hosts[name].spec != spec:
            raise LabError(
                f"{name} is there already, as {hosts[name].spec.release} {hosts[name].spec.image}",
                hint=f"opsplay lab down {name} --name {self.name}",
            )
        return True

    def _free_numbers(self, hosts: Iterable[HostRecord], count: int) -> list[int]:
        used = {host.number for host in hosts}
        free = [number for number in _NUMBERS if number not in used][:count]
        if len(free) < count:
            raise LabError(f"the lab {self.name} would exceed {len(_NUMBERS)} hosts", hint="start another with --name")
        return free

    def _image(self, spec: HostSpec, tell: Progress) -> Path:
        return images.ensure(images.Image(spec.release, spec.image), self.cache_dir, tell)

    def _write_inventories(self, record: LabRecord, new: Path | None = None) -> None:
        """Bring the inventories up to date, and add one; those that somebody has deleted are forgotten."""
        hosts = Site(self.directory, record).hosts.values()
        text = inventory.render(hosts, self.private_key, self.known_hosts)
        paths = [path for path in record.inventories if Path(path).exists()]
        if new and str(new) not in paths:
            paths.append(str(new))
        for path in paths:
            inventory.write(Path(path), text)
        replace(record, inventories=tuple(paths)).save(self.directory / "lab.json")

    def _remove_some(self, site: Site, names: set[str], tell: Progress) -> None:
        lifecycle.remove_hosts(site, [site.record.hosts[name] for name in names], tell)
        left = {name: host for name, host in site.record.hosts.items() if name not in names}
        site = replace(site, record=replace(site.record, hosts=left))
        lifecycle.introduce(site)
        self._write_inventories(site.record)

    def _remove_all(self, site: Site | None, tell: Progress) -> None:
        if site:
            lifecycle.remove_hosts(site, site.record.hosts.values(), tell)
            site.network.down()
            for path in inventory.remove(map(Path, site.record.inventories)):
                tell(f"{path} was changed since the lab wrote it, and stays")
        lifecycle.remove_networks(self.directory)
        overlay.unmount_below(self.directory)
        overlay.remove_tree(self.directory)


def labs(state_dir: Path | None = None) -> list[Lab]:
    """All labs of which anything is left in a state directory."""
    home = state_dir or state_home()
    names = sorted(path.name for path in home.glob("*") if path.is_dir() and _LAB_NAME.fullmatch(path.name))
    return [Lab(name, state_dir) for name in names]
