"""Read inventory sources: files in INI or YAML, scripts, folders of them, and lists of hosts on the command line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opsplay.documents import yaml as documents
from opsplay.documents.values import trust
from opsplay.errors import InventoryError, Location, OpsplayError, Problems
from opsplay.inventory import ini, yaml
from opsplay.inventory.model import ALL, Inventory

IGNORED_SUFFIXES = ("~", ".orig", ".cfg", ".retry", ".bak", ".pyc", ".pyo", ".md", ".txt", ".j2", ".swp")
VARIABLE_FOLDERS = ("group_vars", "host_vars")
SCRIPT_SECONDS = 120


def load(sources: Sequence[str]) -> Inventory:
    """Everything that the sources declare, later ones over earlier. Raises Problems with every error found."""
    inventory = Inventory()
    errors: list[OpsplayError] = []
    for source in sources:
        try:
            _load_source(source, inventory, errors)
        except OpsplayError as problem:
            errors.append(problem)
    if errors:
        raise Problems(errors)
    inventory.settle()
    return inventory


def _load_source(source: str, inventory: Inventory, errors: list[OpsplayError]) -> None:
    if "," in source:
        for name in filter(None, (part.strip() for part in source.split(","))):
            host, port = ini.split_port(name)
            added = inventory.add_host(host)
            if port is not None:
                added.vars["ansible_port"] = port
        inventory.folders.append(os.getcwd())
        return
    path = Path(source)
    if not path.exists():
        raise InventoryError(f"there is no inventory '{source}'", hint="a list of hosts needs a comma, as in -i web1,")
    inventory.folders.append(str(path if path.is_dir() else path.parent))
    for file in _files(path):
        try:
            _load_file(file, inventory)
        except OpsplayError as problem:
            errors.append(problem)
        inventory.sources.append(str(file))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for entry in sorted(path.iterdir()):
        if entry.name.startswith(".") or entry.name in VARIABLE_FOLDERS or entry.name.endswith(IGNORED_SUFFIXES):
            continue
        found += _files(entry)
    return found


def _load_file(path: Path, inventory: Inventory) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InventoryError(f"cannot read the inventory: {problem}", at=Location(str(path))) from problem
    if os.access(path, os.X_OK) and text.startswith("#!"):
        _load_script(path, inventory)
    elif path.suffix in (".yml", ".yaml", ".json"):
        for document in documents.parse(text, str(path)):
            yaml.parse(document, str(path), inventory)
    else:
        ini.parse(text, str(path), inventory)


def _load_script(path: Path, inventory: Inventory) -> None:
    """A script's own JSON: groups with hosts, vars and children, and `_meta.hostvars`."""
    at = Location(str(path))
    document = _run_script([str(path.absolute()), "--list"], at)
    meta = document.pop("_meta", None)
    for name, body in document.items():
        group = inventory.add_group(name, at)
        members = body if isinstance(body, list) else body.get("hosts", [])
        for host in members:
            inventory.add_host(str(host), name, at)
        if isinstance(body, dict):
            group.vars.update(trust(body.get("vars", {}), at))
            for child in body.get("children", []):
                if (name, child) != (ALL, "ungrouped"):
                    inventory.add_child(name, str(child), at)
    hostvars = meta.get("hostvars", {}) if isinstance(meta, dict) else None
    for name in list(inventory.hosts) if hostvars is None else hostvars:
        values = hostvars[name] if hostvars is not None else _run_script([str(path.absolute()), "--host", name], at)
        inventory.add_host(str(name), at=at).vars.update(trust(values, at))


def _run_script(argv: list[str], at: Location) -> dict[str, Any]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SCRIPT_SECONDS)
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
