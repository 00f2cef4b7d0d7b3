"""Hosts for every combination of some layers, with the groups above them: Ansible's plugin `generator`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from opsplay.documents.values import Template, place_of, trust
from opsplay.errors import InventoryError, Location
from opsplay.inventory.model import Inventory
from opsplay.templating.environment import missing
from opsplay.templating.templar import Templar


def load(settings: Mapping[str, Any], file: str, inventory: Inventory) -> None:
    """Add the hosts and groups. Raises InventoryError and TemplateError."""
    at = place_of(settings, Location(file))
    hosts, layers = settings.get("hosts"), settings.get("layers")
    if not isinstance(hosts, Mapping) or not isinstance(layers, Mapping) or "name" not in hosts:
        raise InventoryError("generator needs hosts with a name, and layers", at=at)
    for values in itertools.product(*layers.values()):
        templar = _templar(dict(zip(layers, values, strict=True)))
        host = str(templar.render(hosts["name"]))
        inventory.add_host(host, at=at)
        for parent in hosts.get("parents") or ():
            inventory.add_host(host, _parent(parent, templar, inventory, at), at)


def _templar(values: Mapping[str, Any]) -> Templar:
    return Templar(lambda name: values.get(name, missing))


def _parent(entry: Any, templar: Templar, inventory: Inventory, at: Location) -> str:
    """Add a group with those above it, and say its name."""
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise InventoryError("a parent has a name", at=place_of(entry, at))
    name = str(templar.render(entry["name"]))
    group = inventory.add_group(name, at)
    for key, value in (entry.get("vars") or {}).items():
        group.vars[str(key)] = trust(templar.render(value), value.at if isinstance(value, Template) else at)
    for parent in entry.get("parents") or ():
        inventory.add_child(_parent(parent, templar, inventory, at), name, at)
    return name
