"""Inventories in YAML: groups with hosts, vars and children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsplay.documents.values import place_of
from opsplay.errors import InventoryError, Location
from opsplay.inventory.ini import split_port
from opsplay.inventory.model import Inventory
from opsplay.inventory.ranges import expand

KEYS = ("hosts", "vars", "children")


def parse(document: Any, file: str, inventory: Inventory) -> None:
    """Add what a YAML document declares. Raises InventoryError with the place."""
    at = place_of(document, Location(file))
    if not isinstance(document, Mapping):
        raise InventoryError("a YAML inventory is a mapping of groups", at=at)
    for name, body in document.items():
        _group(str(name), body, key_place(document, name, at), inventory)


def key_place(mapping: Mapping[str, Any], key: str, default: Location) -> Location:
    places: Mapping[str, Location] = getattr(mapping, "key_at", {})
    return places.get(key, default)


def _group(name: str, body: Any, at: Location, inventory: Inventory) -> None:
    group = inventory.add_group(name, at)
    for key, value in _mapping(body, f"group '{name}'", at).items():
        place = key_place(body, key, at)
        if key not in KEYS:
            raise InventoryError(f"unknown key '{key}' in group '{name}'", at=place, hint="use hosts, vars or children")
        entries = _mapping(value, f"{key} of group '{name}'", place)
        if key == "vars":
            group.vars.update({str(variable): content for variable, content in entries.items()})
        elif key == "hosts":
            for pattern, variables in entries.items():
                _hosts(str(pattern), variables, name, key_place(entries, pattern, place), inventory)
        else:
            for child, inner in entries.items():
                spot = key_place(entries, child, place)
                inventory.add_child(name, str(child), spot)
                _group(str(child), inner, spot, inventory)


def _hosts(pattern: str, variables: Any, group: str, at: Location, inventory: Inventory) -> None:
    names, port = split_port(pattern)
    values = _mapping(variables, f"host '{pattern}'", at)
    for name in expand(names, at):
        host = inventory.add_host(name, group, at)
        if port is not None:
            host.vars["ansible_port"] = port
        host.vars.update({str(key): value for key, value in values.items()})


def _mapping(value: Any, what: str, at: Location) -> Mapping[str, Any]:
    if value is None:
        return {}
    if isinstance(value, str):
        return {value: None}
    if not isinstance(value, Mapping):
        raise InventoryError(f"{what} must be a mapping, not {type(value).__name__.lower()}", at=at)
    return value
