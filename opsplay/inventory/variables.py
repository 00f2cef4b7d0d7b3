"""A host's variables from inventory sources and the group_vars and host_vars folders, in Ansible's precedence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsplay.documents import yaml as documents
from opsplay.documents.values import place_of
from opsplay.errors import InventoryError, Location
from opsplay.inventory.model import ALL, PRIORITY, Inventory

SUFFIXES = ("", ".yml", ".yaml", ".json")


class InventoryVariables:
    """Variables of hosts. `playbook_folder` may hold group_vars and host_vars of its own, over the inventory's."""

    def __init__(self, inventory: Inventory, playbook_folder: str | None = None) -> None:
        self._inventory = inventory
        folders = dict.fromkeys(os.path.abspath(folder) for folder in inventory.folders)
        self._inventory_folders = list(folders)
        playbook = os.path.abspath(playbook_folder) if playbook_folder else None
        self._playbook_folders = [playbook] if playbook and playbook not in folders else []
        self._files: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self._groups: dict[tuple[str, ...], dict[str, Any]] = {}
        self._hosts: dict[str, dict[str, Any]] = {}

    def of(self, host: str) -> dict[str, Any]:
        """All of a host's inventory variables, unrendered. Raises DocumentError or InventoryError."""
        if host not in self._hosts:
            groups = tuple(self._inventory.groups_of(host))
            values = dict(self._of_groups(groups))
            own = self._inventory.hosts.get(host)
            values.update(own.vars if own else {})
            for folder in (*self._inventory_folders, *self._playbook_folders):
                values.update(self._from_folder(folder, "host_vars", host))
            self._hosts[host] = values
        return self._hosts[host]

    def _of_groups(self, groups: tuple[str, ...]) -> dict[str, Any]:
        if groups not in self._groups:
            self._groups[groups] = self._merge_groups(groups)
        return self._groups[groups]

    def _merge_groups(self, groups: tuple[str, ...]) -> dict[str, Any]:
        values = dict(self._inventory.groups[ALL].vars)
        for group in groups:
            values.update(self._inventory.groups[group].vars)
        values.pop(PRIORITY, None)
        for folders in (self._inventory_folders, self._playbook_folders):
            for folder in folders:
                values.update(self._from_folder(folder, "group_vars", ALL))
        for folders in (self._inventory_folders, self._playbook_folders):
            for group in groups:
                for folder in folders:
                    values.update(self._from_folder(folder, "group_vars", group))
        return values

    def _from_folder(self, folder: str, kind: str, name: str) -> Mapping[str, Any]:
        key = (folder, kind, name)
        if key not in self._files:
            values: dict[str, Any] = {}
            for path in variable_files(Path(folder) / kind, name):
                values.update(load_variables(path))
            self._files[key] = values
        return self._files[key]


def variable_files(folder: Path, name: str) -> list[Path]:
    """The files that hold the variables of a group or host: of NAME, NAME.yml … the first that exists.

    A folder of that name stands for all files below it, in the order of their paths.
    """
    for suffix in SUFFIXES:
        path = folder / (name + suffix)
        if path.is_dir():
            return _below(path)
        if path.is_file():
            return [path]
    return []


def _below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.endswith("~"):
            continue
        if path.is_dir():
            found += _below(path)
        elif path.suffix in SUFFIXES:
            found.append(path)
    return found


def load_variables(path: Path) -> Mapping[str, Any]:
    """A file of variables. Raises DocumentError, or InventoryError when it is no mapping."""
    document = documents.load(path)
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        at = place_of(document, Location(str(path)))
        raise InventoryError("a file of variables must be a mapping of names to values", at=at)
    return document
