"""Read inventory sources: files of every form, programs, folders of them, and lists of hosts on the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opsplay.documents import yaml as documents
from opsplay.documents.keyring import KEYRING
from opsplay.documents.values import NOWHERE, place_of, trust
from opsplay.errors import DocumentError, InventoryError, Location, OpsplayError, Problems
from opsplay.inventory import constructed, generator, ini, scripts, yaml
from opsplay.inventory.model import UNGROUPED, Inventory

IGNORED_SUFFIXES = (
    ".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry",
)  # fmt: skip
IGNORED_NAMES = ("group_vars", "host_vars", "vars_plugins")
YAML_SUFFIXES = (".yml", ".yaml", ".json")
# What a YAML file may name as its `plugin`.
PLUGINS = {"constructed": constructed.load, "generator": generator.load}
BUILTIN = "ansible.builtin."


def load(sources: Sequence[str], extra: Mapping[str, Any] | None = None) -> Inventory:
    """Everything that the sources declare, later ones over earlier. Raises Problems with every error found.

    `extra` are the variables of the command line, which constructed inventories may use.
    """
    inventory = Inventory()
    inventory.extra = dict(extra or {})
    errors: list[OpsplayError] = []
    for source in sources:
        try:
            _load_source(source, inventory, errors)
        except OpsplayError as problem:
            errors.append(problem)
    if errors:
        raise Problems(errors)
    inventory.source = None
    inventory.settle()
    return inventory


def _load_source(source: str, inventory: Inventory, errors: list[OpsplayError]) -> None:
    inventory.origins.append(source)
    path = Path(source)
    if "," in source and not path.exists():
        inventory.source = None
        for name in filter(None, (part.strip() for part in source.split(","))):
            host, port = ini.split_port(name)
            added = inventory.add_host(host, UNGROUPED)
            if port is not None:
                added.vars["ansible_port"] = port
        return
    if not path.exists():
        raise InventoryError(f"there is no inventory '{source}'", hint="a list of hosts needs a comma, as in -i web1,")
    inventory.folders.append(str(path if path.is_dir() else path.parent))
    for file in files_of(path):
        inventory.source = os.path.abspath(file)
        try:
            _load_file(file, inventory)
        except OpsplayError as problem:
            errors.append(problem)
        inventory.sources.append(str(file))


def files_of(path: Path) -> list[Path]:
    """The files of a source: itself, or all of a folder that may be inventories, by name."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for entry in sorted(path.iterdir()):
        if entry.name.startswith(".") or entry.name in IGNORED_NAMES or entry.name.endswith(IGNORED_SUFFIXES):
            continue
        found += files_of(entry)
    return found


def _load_file(path: Path, inventory: Inventory) -> None:
    try:
        content = KEYRING.read(path)
    except OSError as problem:
        raise InventoryError(f"cannot read the inventory: {problem.strerror}", at=Location(str(path))) from problem
    if scripts.is_script(path, content.data):
        scripts.load(path, inventory)
        return
    try:
        text = content.data.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise InventoryError("cannot read the inventory: it is not UTF-8 text", at=Location(str(path))) from problem
    _load_text(text, path, inventory)
    if content.secret:
        _keep_secret(str(path), inventory)


def _load_text(text: str, path: Path, inventory: Inventory) -> None:
    if path.suffix == ".toml":
        yaml.parse(_toml(text, path), str(path), inventory)
    elif path.suffix in YAML_SUFFIXES:
        for document in documents.parse(text, str(path)):
            _load_document(document, str(path), inventory)
    elif not path.suffix and (document := _yaml_without_suffix(text, path)) is not None:
        _load_document(document, str(path), inventory)
    else:
        ini.parse(text, str(path), inventory)


def _load_document(document: Any, file: str, inventory: Inventory) -> None:
    """An inventory, or the settings of one that is made."""
    if not isinstance(document, Mapping) or not isinstance(document.get("plugin"), str):
        yaml.parse(document, file, inventory)
        return
    name = document["plugin"].removeprefix(BUILTIN)
    if name not in PLUGINS:
        at = yaml.key_place(document, "plugin", place_of(document, Location(file)))
        hint = f"use {' or '.join(PLUGINS)}, or a program that prints JSON"
        raise InventoryError(f"there is no inventory plugin '{document['plugin']}'", at=at, hint=hint)
    PLUGINS[name](document, file, inventory)


def _yaml_without_suffix(text: str, path: Path) -> Any:
    """The mapping that a file named `hosts` and the like holds when it is YAML, else None."""
    try:
        found = documents.parse(text, str(path))
    except DocumentError:
        if text.lstrip().startswith("---"):
            raise
        return None
    document: Any = found[0] if len(found) == 1 else None
    is_mapping = isinstance(document, Mapping)
    return document if is_mapping and all(isinstance(body, Mapping | None) for body in document.values()) else None


def _toml(text: str, path: Path) -> Any:
    try:
        import tomllib
    except ImportError as problem:
        raise InventoryError("inventories in TOML need Python 3.11 or newer", at=Location(str(path))) from problem
    try:
        groups = trust(tomllib.loads(text), Location(str(path)))
    except tomllib.TOMLDecodeError as problem:
        raise InventoryError(f"not TOML: {problem}", at=Location(str(path))) from problem
    for body in groups.values():
        # TOML has no null: children are a list there.
        if isinstance(body, dict) and isinstance(body.get("children"), list):
            body["children"] = dict.fromkeys(body["children"])
    return groups


def _keep_secret(file: str, inventory: Inventory) -> None:
    """Mask the values that an encrypted inventory gave."""
    for variables in [owner.vars for owners in (inventory.hosts, inventory.groups) for owner in owners.values()]:
        KEYRING.learn({name: value for name, value in variables.items() if place_of(value, NOWHERE).file == file})
