"""A host's variables from inventory sources and the group_vars and host_vars folders, in Ansible's precedence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsplay.documents.variables import load_variables, variable_files
from opsplay.inventory.model import ALL, PRIORITY, Inventory


class InventoryVariables:
    """Variables of hosts. `playbook_folder` may hold group_vars and host_vars of its own, over the inventory's;
    without `files`, none are looked for."""

    def __init__(self, inventory: Inventory, playbook_folder: str | None = None, files: bool = True) -> None:
        self._inventory = inventory
        folders = dict.fromkeys(os.path.abspath(folder) for folder in inventory.folders if files)
        self._inventory_folders = list(folders)
        playbook = os.path.abspath(playbook_folder) if playbook_folder else None
        self._playbook_folders = [playbook] if playbook else []
        self._files: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self._groups: dict[tuple[str, ...], dict[str, Any]] = {}
        self._hosts: dict[str, dict[str, Any]] = {}

    def renew(self, files: bool = False) -> None:
        """Hosts or groups were added to the inventory: merge anew; with `files`, read their files anew as well."""
        if files:
            self._files.clear()
        self._groups.clear()
        self._hosts.clear()

    def of(self, host: str) -> dict[str, Any]:
        """All of a host's inventory variables, unrendered. Raises DocumentError."""
        if host not in self._hosts:
            groups = tuple(self._inventory.groups_of(host))
            values = dict(self._of_groups(groups))
            values.update(self.own(host))
            self._hosts[host] = values
        return self._hosts[host]

    def own(self, host: str) -> dict[str, Any]:
        """What is said of the host itself, without its groups."""
        known = self._inventory.hosts.get(host)
        values = dict(known.vars if known else {})
        for folder in (*self._inventory_folders, *self._playbook_folders):
            values.update(self._from_folder(folder, "host_vars", host))
        return values

    def of_group(self, name: str) -> dict[str, Any]:
        """What is said of one group, without those that it belongs to."""
        values = dict(self._inventory.groups[name].vars)
        values.pop(PRIORITY, None)
        for folder in (*self._inventory_folders, *self._playbook_folders):
            values.update(self._from_folder(folder, "group_vars", name))
        return values

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
