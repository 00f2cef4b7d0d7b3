"""What a name means for one host at one task: Ansible's precedence, and values that are not known yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
    """Variables that hold for a while, in each tuple the last the strongest but in `params` and `item`.

    `defaults` of roles are weaker than all else; then come facts and the inventory, the play (its vars, prompts, files
    and its roles' vars), the task's own role, blocks and task, what was loaded, set and registered, the `params` of
    roles and includes, and the loop's item.
    """

    defaults: tuple[Mapping[str, Any], ...] = ()
    play: tuple[Mapping[str, Any], ...] = ()
    role: tuple[Mapping[str, Any], ...] = ()
    task: tuple[Mapping[str, Any], ...] = ()
    params: tuple[Mapping[str, Any], ...] = ()
    machine: str | None = None
    """the host that the task is delegated to"""
    made: Mapping[str, Any] = field(default_factory=dict)
    """what the loop's earlier items have set"""
    item: tuple[Mapping[str, Any], ...] = ()
    folders: tuple[str, ...] = ()
    """where lookups look for files, the nearest first"""

    def names(self) -> set[str]:
        """Every name that has a value in one of these layers."""
        layers = (*self.defaults, *self.play, *self.role, *self.task, *self.params, self.made, *self.item)
        return {name for layer in layers for name in layer}


class HostVariables:
    """One host's own layers, kept for the whole run: facts, what was loaded, then what was set or registered."""

    def __init__(self, host: str, inventory: InventoryVariables) -> None:
        self.host = host
        self._inventory = inventory
        self.facts: dict[str, Any] = {}
        self.named_facts: dict[str, Any] = {}
        self.loaded: dict[str, Any] = {}
        self.set: dict[str, Any] = {}
        self.pending: dict[str, int] = {}
        self.facts_pending = 0

    def use(self, inventory: InventoryVariables) -> None:
        self._inventory = inventory

    @property
    def inventory(self) -> Mapping[str, Any]:
        return self._inventory.of(self.host)

    def learn(self, facts: Mapping[str, Any]) -> None:
        """Facts a module returned: in `ansible_facts` without the prefix, and by themselves as they are named."""
        self.named_facts.update(facts)
        for name, value in facts.items():
            self.facts[name[8:] if name.startswith("ansible_") else name] = value

    def forget_facts(self) -> None:
        self.facts.clear()
        self.named_facts.clear()


class RunVariables:
    """Every host's variables, and what holds for the run: extra variables and the special names."""

    def __init__(self, inventory: Inventory, layers: InventoryVariables, extra: Mapping[str, Any]) -> None:
        self.inventory = inventory
        self.extra = extra
        self._layers = layers
        self._hosts: dict[str, HostVariables] = {}
        self._groups: dict[str, list[str]] | None = None
        self.special: dict[str, Any] = {}
        self.assumed: dict[str, Any] = {}
        """what Ansible says of the connection where no variable does"""

    def renew(self, files: bool = False) -> None:
        """Hosts or groups were added: what was derived from them is derived anew, with `files` from files read anew."""
        self._groups = None
        self._layers.renew(files)

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
            known = self.inventory.hosts.get(host)
            file = known.file if known else None
            return file if name == "inventory_file" or file is None else os.path.dirname(file)
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
        strongest = (self.extra, *layers.item, *layers.params)
        own_layers = (layers.made, own.set, own.loaded)
        middle = (*own_layers, *reversed(layers.task), *reversed(layers.role), *reversed(layers.play))
        weakest = layers.defaults[::-1]

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
            if facts and name in own.named_facts:
                return own.named_facts[name]
            if facts and own.facts_pending and name.startswith("ansible_") and name not in inventory:
                raise NeedsResult(name)
            if name in inventory:
                return inventory[name]
            for layer in weakest:
                if name in layer:
                    return layer[name]
            if name in ("ansible_host", "ansible_ssh_host") and facts:
                return layers.machine or host
            found = self.assumed.get(name, missing) if facts else missing
            if found is missing and facts and own.facts_pending:
                raise NeedsResult(name)
            return found

        return find

    def names(self, host: str) -> set[str]:
        """The names that are certainly known for a host, for iterating over its variables."""
        own = self.of(host)
        return {*own.inventory, *own.loaded, *own.set, *self.extra, *own.named_facts}


class HostVarsView(Mapping[str, Any]):
    """What `hostvars` gives: each host's variables, rendered when they are touched."""

    def __init__(self, inventory: Inventory, view_of: Callable[[str], OneHostView]) -> None:
        self._inventory = inventory
        self._view_of = view_of

    def __getitem__(self, host: str) -> Any:
        if host not in self._inventory.hosts:
            raise KeyError(host)
        return self._view_of(host)

    def __undefined__(self, host: Any) -> str:
        """What to say when a template asks for a host that there is not."""
        return f"there is no host '{host}' in the inventory"

    def __iter__(self) -> Iterator[str]:
        return iter(self._inventory.hosts)

    def __len__(self) -> int:
        return len(self._inventory.hosts)


class OneHostView(Mapping[str, Any]):
    """One entry of `hostvars`."""

    def __init__(self, host: str, templar: Any, names: Iterable[str]) -> None:
        self._host = host
        self._templar = templar
        self._names = names

    def __getitem__(self, name: str) -> Any:
        value = self._templar.lookup(name)
        if value is missing:
            raise KeyError(name)
        return value

    def __undefined__(self, name: Any) -> str:
        """What to say when a template asks for a name that the host does not have."""
        return f"'{name}' is not defined for host {self._host}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(list(self._names))
