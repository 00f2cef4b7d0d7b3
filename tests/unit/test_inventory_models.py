"""Host patterns and the merging of group variables, against models that are slow and obvious."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from opsplay.inventory.model import ALL, UNGROUPED, Inventory
from opsplay.inventory.patterns import select
from opsplay.inventory.variables import InventoryVariables

HOSTS = ("h0", "h1", "h2", "web1", "web2")
GROUPS = ("a", "b", "c", "d", "web")
NAMES = ("x", "y")


@dataclass(frozen=True)
class World:
    """Who is in which group, which group is below which (only later ones below earlier), priorities and variables."""

    members: frozenset[tuple[str, str]]
    children: frozenset[tuple[str, str]]
    priorities: dict[str, int]
    defined: frozenset[tuple[str, str]]

    def inventory(self) -> Inventory:
        found = Inventory()
        for group in GROUPS:
            found.add_group(group)
        for host in HOSTS:
            found.add_host(host)
        for group, host in sorted(self.members):
            found.add_host(host, group)
        for parent, child in sorted(self.children):
            found.add_child(parent, child)
        for group, priority in self.priorities.items():
            found.groups[group].vars["ansible_group_priority"] = priority
        for owner, name in self.defined:
            (found.groups.get(owner) or found.hosts[owner]).vars[name] = owner
        found.settle()
        return found

    def parents(self, group: str) -> set[str]:
        """The groups right above one: `all` where there is no other."""
        return {parent for parent, child in self.children if child == group} or {ALL}

    def ways(self, group: str) -> Iterator[tuple[str, ...]]:
        """Every way from `all` down to a group."""
        if group == ALL:
            yield (ALL,)
            return
        for parent in self.parents(group):
            for way in self.ways(parent):
                yield (*way, group)

    def is_in(self, host: str, group: str) -> bool:
        below = any(self.is_in(host, child) for parent, child in self.children if parent == group)
        return group == ALL or (group, host) in self.members or below

    def value(self, host: str, name: str) -> str | None:
        """What a variable is for a host: its own, else that of the deepest group, by priority, then by name."""
        if (host, name) in self.defined:
            return host
        groups = [g for g in (ALL, *GROUPS) if self.is_in(host, g) and (g, name) in self.defined]
        strength = {g: (max(map(len, self.ways(g))), self.priorities.get(g, 1), g) for g in groups}
        return max(groups, key=lambda group: strength[group], default=None)


def subset(items: list[tuple[str, str]]) -> st.SearchStrategy[frozenset[tuple[str, str]]]:
    return st.frozensets(st.sampled_from(items))


WORLDS = st.builds(
    World,
    members=subset([(group, host) for group in GROUPS for host in HOSTS]),
    children=subset([(above, below) for i, above in enumerate(GROUPS) for below in GROUPS[i + 1 :]]),
    priorities=st.dictionaries(st.sampled_from(GROUPS), st.integers(0, 3)),
    defined=subset([(owner, name) for owner in (ALL, *GROUPS, *HOSTS) for name in NAMES]),
)


@given(WORLDS)
def test_the_variables_of_groups(world: World) -> None:
    found = InventoryVariables(world.inventory(), files=False)
    for host in HOSTS:
        expected = {name: world.value(host, name) for name in NAMES if world.value(host, name) is not None}
        assert found.of(host) == expected


@given(WORLDS)
def test_the_members_of_groups(world: World) -> None:
    inventory = world.inventory()
    for group in GROUPS:
        assert set(inventory.hosts_in(group)) == {host for host in HOSTS if world.is_in(host, group)}
    alone = {host for host in HOSTS if not any(world.is_in(host, group) for group in GROUPS)}
    assert set(inventory.hosts_in(UNGROUPED)) == alone
    assert sorted(inventory.hosts_in(ALL)) == sorted(HOSTS)


def matched(world: World, atom: str) -> set[str]:
    """The hosts that one part of a pattern means."""
    if atom in HOSTS:
        return {atom}

    def is_meant(name: str) -> bool:
        return bool(re.match(atom[1:], name)) if atom.startswith("~") else fnmatch.fnmatchcase(name, atom)

    groups = [group for group in (ALL, *GROUPS) if is_meant(group)]
    return {host for host in HOSTS if is_meant(host) or any(world.is_in(host, group) for group in groups)}


ATOMS = st.sampled_from([*HOSTS, *GROUPS, ALL, "*", "h*", "web*", "?", "[ab]", "*2", "~h[01]", "~(web|d)", "nobody"])
PARTS = st.lists(st.tuples(st.sampled_from(["", "", "&", "!"]), ATOMS), min_size=1, max_size=5)


@given(WORLDS, PARTS, st.sampled_from([":", ","]))
def test_patterns(world: World, parts: list[tuple[str, str]], separator: str) -> None:
    def meant(operator: str) -> list[set[str]]:
        return [matched(world, atom) for sign, atom in parts if sign == operator]

    expected = set().union(*(meant("") or [set(HOSTS)]))
    for wanted in meant("&"):
        expected &= wanted
    for unwanted in meant("!"):
        expected -= unwanted
    found = select(separator.join(sign + atom for sign, atom in parts), world.inventory())
    assert set(found) == expected
    assert len(found) == len(set(found))
