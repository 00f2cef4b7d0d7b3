"""Variables and groups made of what earlier sources say: `compose`, `groups` and `keyed_groups` of Ansible's plugin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from opsplay.documents.values import Template, place_of
from opsplay.errors import InventoryError, Location, TemplateError
from opsplay.inventory.model import ALL, Inventory
from opsplay.inventory.variables import InventoryVariables
from opsplay.templating.environment import missing
from opsplay.templating.filters.text import to_boolean
from opsplay.templating.templar import Templar

KEYS = ("plugin", "strict", "compose", "groups", "keyed_groups", "leading_separator", "use_vars_plugins",
        "use_extra_vars", "cache")  # fmt: skip
KEYED = ("key", "prefix", "separator", "parent_group", "default_value", "trailing_separator")


def load(settings: Mapping[str, Any], file: str, inventory: Inventory) -> None:
    """Add variables and groups to the hosts that are there. Raises InventoryError, and TemplateError when strict."""
    at = place_of(settings, Location(file))
    for key in settings:
        if key not in KEYS:
            raise InventoryError(f"unknown key '{key}'", at=at, hint=f"use one of {', '.join(KEYS)}")
    maker = _Maker(settings, at, inventory)
    for host in list(inventory.hosts):
        maker.compose(host)
        maker.group(host)
        for entry in settings.get("keyed_groups") or ():
            maker.group_by_key(host, entry)


class _Maker:
    """What the settings make of each host."""

    def __init__(self, settings: Mapping[str, Any], at: Location, inventory: Inventory) -> None:
        self._settings = settings
        self._at = at
        self._inventory = inventory
        self._strict = to_boolean(settings.get("strict", False))
        self._leading_separator = to_boolean(settings.get("leading_separator", True))
        self._extra = inventory.extra if to_boolean(settings.get("use_extra_vars", False)) else {}
        self._variables = InventoryVariables(inventory, files=to_boolean(settings.get("use_vars_plugins", False)))

    def compose(self, host: str) -> None:
        """Variables by expressions; what they give is data."""
        for name, expression in (self._settings.get("compose") or {}).items():
            value = self._value(host, expression)
            if value is not missing:
                self._inventory.hosts[host].vars[str(name)] = value

    def group(self, host: str) -> None:
        """Groups of the hosts for which a condition holds."""
        for name, condition in (self._settings.get("groups") or {}).items():
            if self._holds(host, Template(str(condition), place_of(condition, self._at))):
                self._inventory.add_host(host, safe_name(str(name)))

    def group_by_key(self, host: str, entry: Any) -> None:
        """Groups named after the value of an expression. Raises InventoryError for wrong settings."""
        if not isinstance(entry, Mapping) or "key" not in entry or not set(entry) <= set(KEYED):
            raise InventoryError(f"an entry of keyed_groups has a key and may have {', '.join(KEYED[1:])}", at=self._at)
        at = place_of(entry, self._at)
        default = entry.get("default_value")
        trailing = to_boolean(entry.get("trailing_separator", True))
        if default is not None and not trailing:
            raise InventoryError("default_value and trailing_separator cannot both be given", at=at)
        key = self._value(host, entry["key"])
        if key is missing or (not key and default is None):
            if self._strict and key not in ([], {}):
                raise InventoryError(f"no key '{entry['key']}' for host {host}", at=at)
            return
        prefix, separator = str(entry.get("prefix") or ""), str(entry.get("separator", "_"))
        for name in keyed_names(key, separator, default, trailing, at):
            leading = separator if prefix or self._leading_separator else ""
            group = safe_name(f"{prefix}{leading}{name}")
            self._inventory.add_host(host, group)
            self._add_parent(host, entry.get("parent_group"), group)

    def _add_parent(self, host: str, parent: Any, group: str) -> None:
        if not parent:
            return
        name = self._tried(lambda: self._templar(host).render(parent))
        if name is not missing:
            self._inventory.add_child(safe_name(str(name)), group)

    def _holds(self, host: str, condition: Template) -> bool:
        return self._tried(lambda: self._templar(host).condition(condition)) is True

    def _value(self, host: str, expression: Any) -> Any:
        """What an expression gives for a host; `missing` where it fails and that is no error."""
        text = Template(f"{{{{ {expression} }}}}", place_of(expression, self._at))
        return self._tried(lambda: self._templar(host).render(text))

    def _tried(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except TemplateError:
            if self._strict:
                raise
            return missing

    def _templar(self, host: str) -> Templar:
        """Sees the host's variables as they are now."""
        self._variables.renew()
        groups = [group for group in self._inventory.groups_of(host) if group != ALL]
        names = {
            **self._variables.of(host), "inventory_hostname": host, "inventory_hostname_short": host.split(".")[0],
            "group_names": sorted(groups), **self._extra,
        }  # fmt: skip
        return Templar(lambda name: names.get(name, missing), names=lambda: names)


def keyed_names(key: Any, separator: str, default: Any, trailing: bool, at: Location) -> Iterator[str]:
    """The names that a key stands for: a text, each of a list, or name and value of each of a mapping."""
    if key == "" and default is not None:
        yield str(default)
    elif isinstance(key, str):
        yield key
    elif isinstance(key, list):
        for name in key:
            yield str(default) if name == "" and default is not None else str(name)
    elif isinstance(key, Mapping):
        for name, value in key.items():
            if value == "" and default is not None:
                value = default
            yield str(name) if value == "" and not trailing else f"{name}{separator}{value}"
    else:
        raise InventoryError(f"a key gives a text, a list or a mapping, not {key!r}", at=at, hint="add `| string`")


def safe_name(name: str) -> str:
    """A group's name with nothing but letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)
