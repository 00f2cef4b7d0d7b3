"""Hosts, groups and their variables as the sources declare them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from opsplay.errors import InventoryError, Location

ALL = "all"
UNGROUPED = "ungrouped"
# A group's own variable that says which of several groups of the same depth comes last and so prevails.
PRIORITY = "ansible_group_priority"


@dataclass
class Group:
    """A group: its own hosts and child groups by name, in the order in which they were first named."""

    name: str
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    vars: dict[str, Any] = field(default_factory=dict)

    @property
    def priority(self) -> int:
        return int(self.vars.get(PRIORITY, 1))


@dataclass
class InventoryHost:
    """A host: the variables of its own lines, and the groups it is directly in."""

    name: str
    file: str | None = None
    """where it was named first, if in a file"""
    is_implicit: bool = False
    """nobody named it: it is in no group, and no pattern but its own name finds it"""
    vars: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)


class Inventory:
    """All hosts and groups. `origins` are what it was read from as the user named them, `sources` the files among
    that; `folders` may hold group_vars and host_vars, `extra` are the variables of the command line."""

    def __init__(self) -> None:
        self.hosts: dict[str, InventoryHost] = {}
        self.groups: dict[str, Group] = {ALL: Group(ALL), UNGROUPED: Group(UNGROUPED)}
        self.origins: list[str] = []
        self.sources: list[str] = []
        self.source: str | None = None
        """the file that is being read"""
        self.extra: dict[str, Any] = {}
        self.folders: list[str] = []
        self._depths: dict[str, int] = {}
        self.add_child(ALL, UNGROUPED)

    # --- building ---

    def add_group(self, name: str, at: Location | None = None) -> Group:
        """The group of this name, made if needed. Raises InventoryError for a name that cannot be."""
        if name not in self.groups:
            check_name(name, "group", at)
            self.groups[name] = Group(name)
        return self.groups[name]

    def add_host(self, name: str, group: str | None = None, at: Location | None = None) -> InventoryHost:
        """The host of this name, made if needed, as a member of a group."""
        if name not in self.hosts:
            check_name(name, "host", at)
            self.hosts[name] = InventoryHost(name, self.source)
        host = self.hosts[name]
        host.is_implicit = False
        if group is not None:
            self.add_group(group, at).hosts[name] = None
            host.groups[group] = None
        return host

    def add_implicit_host(self, name: str) -> InventoryHost:
        """This machine, which need not be in the inventory."""
        return self.hosts.setdefault(name, InventoryHost(name, is_implicit=True))

    def add_child(self, parent: str, child: str, at: Location | None = None) -> None:
        """Make a group a child of another. Raises InventoryError for a circle."""
        if parent == child or (child in self.groups and parent in self.descendants(child)):
            raise InventoryError(f"group '{child}' cannot be below itself, through '{parent}'", at=at)
        self._depths.clear()
        self.add_group(parent, at).children[child] = None
        self.add_group(child, at).parents[parent] = None

    def settle(self) -> None:
        """Once all is read: hosts in no group become `ungrouped`, groups without a parent belong to `all`."""
        for host in self.hosts.values():
            if host.groups.keys() - {ALL, UNGROUPED}:
                self.groups[UNGROUPED].hosts.pop(host.name, None)
                host.groups.pop(UNGROUPED, None)
            elif not host.is_implicit:
                self.groups[UNGROUPED].hosts[host.name] = None
                host.groups[UNGROUPED] = None
        for group in self.groups.values():
            if group.name != ALL and not group.parents:
                self.add_child(ALL, group.name)

    def replace(self, other: Inventory) -> None:
        """Become what another inventory is; this machine stays known."""
        for host in self.hosts.values():
            if host.is_implicit:
                other.hosts.setdefault(host.name, host)
        self.__dict__.update(other.__dict__)

    # --- asking ---

    def descendants(self, name: str) -> dict[str, None]:
        """A group's name and those of all groups below it."""
        found: dict[str, None] = {}
        pending = [name]
        while pending:
            current = pending.pop(0)
            if current not in found and current in self.groups:
                found[current] = None
                pending += list(self.groups[current].children)
        return found

    def hosts_in(self, name: str) -> list[str]:
        """The hosts of a group and of all groups below it, each once."""
        found: dict[str, None] = {}
        for group in self.descendants(name):
            found.update(self.groups[group].hosts)
        return list(found)

    def groups_of(self, host: str) -> list[str]:
        """Every group a host is in but `all`, the weakest first: by depth, priority and name, as vars are merged."""
        found: set[str] = set()
        pending = list(self.hosts[host].groups) if host in self.hosts else []
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending += list(self.groups[name].parents)
        found.discard(ALL)
        return sorted(found, key=lambda name: (self.depth(name), self.groups[name].priority, name))

    def depth(self, name: str) -> int:
        """The longest way from `all` to a group."""
        if name not in self._depths:
            parents = self.groups[name].parents
            self._depths[name] = 1 + max(map(self.depth, parents)) if parents and name != ALL else 0
        return self._depths[name]

    def group_map(self) -> dict[str, list[str]]:
        """What `groups` gives to templates."""
        return {name: self.hosts_in(name) for name in self.groups}

    def __iter__(self) -> Iterator[str]:
        return iter(self.hosts)


def check_name(name: str, what: str, at: Location | None = None) -> None:
    """Refuse names that could be mistaken for options or hide in a terminal. Raises InventoryError."""
    if not name or name.startswith("-") or re.search(r"[\x00-\x20\x7f]", name):
        raise InventoryError(f"{name!r} cannot be the name of a {what}", at=at)


