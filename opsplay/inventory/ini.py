"""Inventories in INI form: [group], [group:vars], [group:children], ranges, variables on host lines."""

from __future__ import annotations

import ast
import difflib
import re
import shlex
from typing import Any

from opsplay.documents.values import Template, trust
from opsplay.errors import InventoryError, Location
from opsplay.inventory.model import ALL, UNGROUPED, Inventory
from opsplay.inventory.ranges import expand

SECTION = re.compile(r"^\[([^\[\]:]+)(?::(\w+))?\]\s*(?:[#;].*)?$")
KINDS = ("hosts", "vars", "children")
# A host that is an IPv6 address with a port, which begins as a section does.
ADDRESS = re.compile(r"\[[0-9a-fA-F:.]+\]:\d")


def parse(text: str, file: str, inventory: Inventory) -> None:
    """Add what an INI text declares. Raises InventoryError with the place."""
    section, kind = UNGROUPED, "hosts"
    declared, named = set(inventory.groups), dict[str, Location]()
    # Groups that are named as children before they are declared: they become children when they are.
    awaited: dict[str, list[str]] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        at = Location(file, number, len(raw) - len(raw.lstrip()) + 1)
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and not ADDRESS.match(line):
            section, kind = _section(line, at, inventory)
            if kind == "vars":
                named.setdefault(section, at)
            else:
                declared.add(section)
                for parent in awaited.pop(section, ()):
                    inventory.add_child(parent, section, at)
        elif kind == "vars":
            name, _, text = line.partition("=")
            name, value = _assignment(f"{name}={text.strip()}" if "=" in line else line, at)
            inventory.groups[section].vars[name] = value
        elif kind == "children":
            child = re.split(r"\s[#;]", line)[0].strip()
            named.setdefault(child, at)
            if child in inventory.groups:
                inventory.add_child(section, child, at)
            else:
                awaited.setdefault(child, []).append(section)
        else:
            _host_line(line, section, at, inventory)
    for name, at in named.items():
        if name not in declared:
            close = difflib.get_close_matches(name, sorted(declared - {ALL, UNGROUPED}), n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"add a section [{name}]"
            raise InventoryError(f"there is no group '{name}'", at=at, hint=hint)


def _section(line: str, at: Location, inventory: Inventory) -> tuple[str, str]:
    found = SECTION.match(line)
    if not found:
        raise InventoryError(f"not a section: {line}", at=at, hint="write [group], [group:vars] or [group:children]")
    name, kind = found.group(1).strip(), found.group(2) or "hosts"
    if kind not in KINDS:
        raise InventoryError(f"unknown section kind ':{kind}'", at=at, hint="use :vars or :children")
    inventory.add_group(name, at)
    return name, kind


def _host_line(line: str, group: str, at: Location, inventory: Inventory) -> None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError as problem:
        raise InventoryError(f"cannot read the line: {problem}", at=at) from problem
    pattern, port = split_port(words[0])
    values = dict(_assignment(word, at) for word in words[1:])
    for name in expand(pattern, at):
        host = inventory.add_host(name, group, at)
        if port is not None:
            host.vars["ansible_port"] = port
        host.vars.update(values)


def split_port(pattern: str) -> tuple[str, int | None]:
    """A host pattern and its `:port`, if it has one; IPv6 addresses and ranges keep their colons."""
    address = re.fullmatch(r"\[([0-9a-fA-F.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)\](?::(\d+))?", pattern)
    found = address or re.fullmatch(r"([^:\[\]]*(?:\[[^\]]*\][^:\[\]]*)*):(\d+)", pattern)
    if not found or not found.group(1):
        return pattern, None
    return found.group(1), int(found.group(2)) if found.group(2) else None


def _assignment(text: str, at: Location) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InventoryError(f"expected name=value, not {text!r}", at=at)
    return name.strip(), literal(value, at)


def literal(text: str, at: Location) -> Any:
    """A value of an INI inventory: a Python literal where it is one, else text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    if isinstance(value, str):
        return Template(value, at)
    if isinstance(value, (bytes, complex)) or value is Ellipsis:
        return Template(text, at)
    return trust(list(value) if isinstance(value, (tuple, set)) else value, at)
