"""What a name means for one host at one task: Ansible's precedence, and values that are not known yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opsplay.errors import OpsplayError
from opsplay.inventory.model import ALL, Inventory
from opsplay.inventory.variables import InventoryVariables
from opsplay.templating.environment import missing


class NeedsResult(OpsplayError):
    """A value depends on a task that has been sent and has not answered yet."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not known yet")


@dataclass(frozen=True)
class Layers:
    """Variables that hold for a while: of the play, of the task with its blocks (the last is the strongest), and of
    the loop's item (the first is the strongest)."""

    play: tuple[Mapping[str, Any], ...] = ()
    task: tuple[Mapping[str, Any], ...] = ()
    item: tuple[Mapping[str, Any], ...] = ()


class HostVariables:
    """One host's own layers, kept for the whole run: facts, then what was set or registered."""

    def __init__(self, host: str, inventory: InventoryVariables) -> None:
        self.host = host
        self._inventory = inventory
        self.facts: dict[str, Any] = {}
        self.set: dict[str, Any] = {}
        self.pending: dict[str, int] = {}
        self.facts_pending = 0

    def use(self, inventory: InventoryVariables) -> None:
        self._inventory = inventory

    @property
    def inventory(self) -> Mapping[str, Any]:
        return self._inventory.of(self.host)

    def learn(self, facts: Mapping[str, Any]) -> None:
        """Facts a module returned: in `ansible_facts` without the prefix, and by themselves with it."""
        for name, value in facts.items():
            self.facts[name[8:] if name.startswith("ansible_") else name] = value

    def fact(self, name: str) -> Any:
        if name.startswith("ansible_") and name[8:] in self.facts:
            return self.facts[name[8:]]
        return missing


class RunVariables:
    """Every host's variables, and what holds for the run: extra variables and the special names."""

    def __init__(self, inventory: Inventory, layers: InventoryVariables, extra: Mapping[str, Any]) -> None:
        self.inventory = inventory
        self.extra = extra
        self._layers = layers
        self._hosts: dict[str, HostVariables] = {}
        self._groups: dict[str, list[str]] | None = None
        self.special: dict[str, Any] = {}

    def use(self, layers: InventoryVariables) -> None:
        """Another playbook begins: its own group_vars and host_vars hold from now on."""
        self._layers = layers
        for variables in self._hosts.values():
            variables.use(layers)

    def files(self) -> Iterator[Mapping[str, Any]]:
        """The variables of every host, group files included."""
        for host in self.inventory.hosts:
            yield self._layers.of(host)

    def of(self, host: str) -> HostVariables:
        if host not in self._hosts:
            self._hosts[host] = HostVariables(host, self._layers)
        return self._hosts[host]

    @property
    def groups(self) -> dict[str, list[str]]:
        if self._groups is None:
            self._groups = self.inventory.group_map()
        return self._groups

    def magic(self, host: str, name: str) -> Any:
        """The names that Ansible defines itself."""
        found = self.special.get(name, missing)
        if found is not missing:
            return found
        if name == "inventory_hostname":
            return host
        if name == "inventory_hostname_short":
            return host.split(".")[0]
        if name == "groups":
            return self.groups
        if name == "group_names":
            return sorted(group for group in self.inventory.groups_of(host) if group != ALL)
        if name == "ansible_facts":
            return self._facts(host)
        if name in ("inventory_file", "inventory_dir"):
            source = self.inventory.sources[-1] if self.inventory.sources else None
            return source if name == "inventory_file" or source is None else os.path.dirname(os.path.abspath(source))
        return missing

    def _facts(self, host: str) -> Any:
        variables = self.of(host)
        if variables.facts_pending:
            raise NeedsResult("ansible_facts")
        return variables.facts

    def lookup(self, host: str, layers: Layers, facts: bool = True) -> Callable[[str], Any]:
        """How a name is found, the strongest layer first; without `facts`, nothing that the host sent counts."""
        own = self.of(host)
        inventory = own.inventory
        strongest = (self.extra, *layers.item)
        middle = (own.set, *reversed(layers.task), *reversed(layers.play))

        def find(name: str) -> Any:
            found = self.magic(host, name)
            if found is not missing:
                return found
            for layer in strongest:
                if name in layer:
                    return layer[name]
            if name in own.pending:
                raise NeedsResult(name)
            for layer in middle:
                if name in layer:
                    return layer[name]
            found = own.fact(name) if facts else missing
            if found is not missing:
                return found
            if facts and own.facts_pending and name.startswith("ansible_") and name not in inventory:
                raise NeedsResult(name)
            return inventory.get(name, missing)

        return find

    def names(self, host: str) -> set[str]:
        """The names that are certainly known for a host, for iterating over its variables."""
        own = self.of(host)
        return {*own.inventory, *own.set, *self.extra, *(f"ansible_{name}" for name in own.facts)}


class HostVarsView(Mapping[str, Any]):
    """What `hostvars` gives: each host's variables, rendered when they are touched."""

    def __init__(self, hosts: Mapping[str, Any], view_of: Callable[[str], OneHostView]) -> None:
        self._hosts = hosts
        self._view_of = view_of

    def __getitem__(self, host: str) -> Any:
        if host not in self._hosts:
            raise KeyError(host)
        return self._view_of(host)

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)


class OneHostView(Mapping[str, Any]):
    """One entry of `hostvars`."""

    def __init__(self, templar: Any, names: Iterable[str]) -> None:
        self._templar = templar
        self._names = names

    def __getitem__(self, name: str) -> Any:
        value = self._templar.value(name)
        if value is missing:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(list(self._names))
