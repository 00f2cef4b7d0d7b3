"""Inventories that programs print: groups with hosts, vars and children as JSON, and `_meta.hostvars`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsplay.documents.keyring import KEYRING
from opsplay.documents.values import trust
from opsplay.errors import InventoryError, Location
from opsplay.inventory.model import ALL, UNGROUPED, Inventory

SECONDS = 120
KEYS = ("hosts", "vars", "children")
# How a vault and a text that is no template look in JSON.
VAULT, UNSAFE = "__ansible_vault", "__ansible_unsafe"


def is_script(path: Path, data: bytes) -> bool:
    """Whether this is a program: it may be run, and it is no text without a #! line."""
    return os.access(path, os.X_OK) and (data.startswith(b"#!") or b"\0" in data)


def load(path: Path, inventory: Inventory) -> None:
    """Add what a program says. Raises InventoryError."""
    at = Location(str(path))
    program = str(path.absolute())
    document = _run([program, "--list"], at)
    meta = document.pop("_meta", None)
    hosts: dict[str, None] = {}
    for name, body in document.items():
        hosts.update(_group(name, body, inventory, at))
    known = _mapping(meta.get("hostvars"), "_meta.hostvars", at) if isinstance(meta, dict) else None
    for host in hosts:
        values = _run([program, "--host", host], at) if known is None else _mapping(known.get(host), host, at)
        inventory.hosts[host].vars.update(_trusted(values, at))


def _group(name: str, body: Any, inventory: Inventory, at: Location) -> dict[str, None]:
    """Add a group, and say which hosts are in it."""
    group = inventory.add_group(name, at)
    if isinstance(body, list):
        body = {"hosts": body}
    body = _mapping(body, f"group '{name}'", at)
    if body and not set(KEYS) & body.keys():
        # The oldest form: a host by itself, with its variables, whose texts are data.
        group.vars.update(body)
        body = {"hosts": [name]}
    members = [str(host) for host in _list(body.get("hosts"), f"hosts of group '{name}'", at)]
    for host in members:
        inventory.add_host(host, name, at)
    group.vars.update(_trusted(_mapping(body.get("vars"), f"vars of group '{name}'", at), at))
    for child in _list(body.get("children"), f"children of group '{name}'", at):
        if (name, child) != (ALL, UNGROUPED):
            inventory.add_child(name, str(child), at)
    return dict.fromkeys(members)


def _trusted(value: Any, at: Location) -> Any:
    """Values of the user's own program: its texts are templates, but for those that it marks."""
    if isinstance(value, dict):
        if value.keys() == {VAULT}:
            return KEYRING.value(str(value[VAULT]), at)
        if value.keys() == {UNSAFE}:
            return value[UNSAFE]
        return {name: _trusted(item, at) for name, item in value.items()}
    if isinstance(value, list):
        return [_trusted(item, at) for item in value]
    return trust(value, at)


def _mapping(value: Any, what: str, at: Location) -> dict[str, Any]:
    if not isinstance(value or {}, Mapping):
        raise InventoryError(f"{what} must be an object", at=at)
    return dict(value or {})


def _list(value: Any, what: str, at: Location) -> list[Any]:
    if not isinstance(value or [], list):
        raise InventoryError(f"{what} must be a list", at=at)
    return list(value or [])


def _run(argv: list[str], at: Location) -> dict[str, Any]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise InventoryError(f"the inventory script did not run: {problem}", at=at) from problem
    if done.returncode != 0:
        said = done.stderr.strip()
        raise InventoryError(f"the inventory script ended with {done.returncode}: {said}", at=at)
    try:
        document = json.loads(done.stdout)
    except ValueError as problem:
        raise InventoryError(f"the inventory script did not print JSON: {problem}", at=at) from problem
    if not isinstance(document, dict):
        raise InventoryError("the inventory script must print a JSON object", at=at)
    return document
