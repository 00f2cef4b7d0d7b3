"""A tree of files as `opsplay check` sees it: what each file is, and every mistake in all of them.

Playbooks are read first, with all that they bring in; then roles and files of tasks that no playbook brings in, each
as if a play did; then files of variables. Nothing is run, and no program of an inventory either.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from opsplay.documents.yaml import SHELF
from opsplay.errors import DocumentError, LanguageWarning, OpsplayError
from opsplay.language import keywords
from opsplay.language.includes import Catalog
from opsplay.language.parse import IMPORT_PLAYBOOK, Parser, Render
from opsplay.language.rules import files
from opsplay.model import Playbook

YAML = (".yml", ".yaml")
VARIABLE_SUFFIXES = (*YAML, ".json", "")
INVENTORY_SUFFIXES = (*YAML, ".ini", "")
INVENTORY_NAMES = ("hosts", "inventory")

# Folders whose YAML is the users' own matter or somebody else's: what is copied to hosts, and what was installed.
PASSED_OVER = frozenset(["files", "templates", "collections", "node_modules", "venv", "__pycache__", "molecule"])
VARIABLE_FOLDERS = ("group_vars", "host_vars")
ROLE_FOLDERS = ("tasks", "handlers", "defaults", "vars", "meta")


class Kind(enum.Enum):
    """What a file is."""

    PLAYBOOK = "playbook"
    TASKS = "tasks"
    ROLE = "role"
    VARIABLES = "variables"
    INVENTORY = "inventory"
    OTHER = "other"


class TreeCheck:
    """Checks files against a catalog of modules; `render` knows the extra variables."""

    def __init__(self, catalog: Catalog, render: Render) -> None:
        self._catalog = catalog
        self._parser = Parser(catalog, render)
        self._problems: list[OpsplayError] = []
        # Each with whether it was named by itself.
        self._files: dict[str, bool] = {}
        self.playbooks: list[Playbook] = []
        self.inventories: list[str] = []

    def check(self, paths: Iterable[str]) -> None:
        """Look at files, and at everything below folders."""
        for path in map(os.path.normpath, paths):
            self._files |= dict.fromkeys(_below(path), False) if os.path.isdir(path) else {path: True}
        found: dict[Kind, list[str]] = {kind: [] for kind in Kind}
        for path, is_named in self._files.items():
            found[self._kind_of(path, is_named)].append(path)
        for path in found[Kind.PLAYBOOK]:
            self.playbooks.append(self._parser.read(path, is_first=True))
        for path in sorted(found[Kind.ROLE], key=_main_files_first) + found[Kind.TASKS]:
            self._parser.loose(path, role_of(path))
        for path in found[Kind.VARIABLES]:
            if os.path.abspath(path) not in self._parser.files:
                self._problems += files.variables_file(path)
        self.inventories = found[Kind.INVENTORY]

    @property
    def files(self) -> int:
        """How many files were looked at, those that playbooks brought in included."""
        return len({*map(os.path.abspath, self._files), *self._parser.files})

    def problems(self) -> list[OpsplayError]:
        """All that was found. What cannot be looked at without a password is no error here."""
        found = [*self._problems, *self._parser.errors, *self._parser.warnings, *self._parser.unused()]
        return [_milder(problem) if problem.rule == "encrypted-file" else problem for problem in found]

    def _kind_of(self, path: str, is_named: bool) -> Kind:
        """What a file is: by where it lies, else by what it holds. One that is named is for us, whatever it is."""
        kind = _kind_by_place(path)
        if kind is not Kind.OTHER or not (is_named or path.endswith(YAML)):
            return kind
        if path.endswith(".ini"):
            return Kind.INVENTORY
        try:
            document = SHELF.document(path)
        except DocumentError as problem:
            # Several documents and tags of one's own are nothing unusual in YAML that is not for us.
            if is_named or problem.rule not in ("several-documents", "yaml-tag"):
                self._problems.append(problem)
            return Kind.OTHER
        self._problems += document.problems
        kind = self._kind_by_content(document.value)
        if is_named and kind is Kind.OTHER:
            return Kind.VARIABLES if isinstance(document.value, Mapping) else Kind.PLAYBOOK
        return kind

    def _kind_by_content(self, value: Any) -> Kind:
        entries = [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
        if any("hosts" in entry or any(name in entry for name in IMPORT_PLAYBOOK) for entry in entries):
            return Kind.PLAYBOOK
        return Kind.TASKS if any(self._is_task(entry) for entry in entries) else Kind.OTHER

    def _is_task(self, entry: Mapping[str, Any]) -> bool:
        words = entry.keys() - (keywords.TASK - {"action", "local_action"})
        return "block" in words or any(self._catalog.find(str(word)) is not None for word in words)


def variables_beside(path: str) -> list[str]:
    """The folders of variables that belong to a playbook or an inventory."""
    base = path if os.path.isdir(path) else os.path.dirname(path)
    return [folder for kind in VARIABLE_FOLDERS if os.path.isdir(folder := os.path.join(base, kind))]


def role_of(path: str) -> str | None:
    """The folder of the role that a file belongs to by its place; None when it belongs to none."""
    parts = Path(path).parts
    for number in range(len(parts) - 2, -1, -1):
        folder = Path(*parts[:number])
        if parts[number] in ROLE_FOLDERS and (folder.parent.name == "roles" or _looks_like_a_role(folder)):
            return str(folder)
    return None


def _looks_like_a_role(folder: Path) -> bool:
    return any((folder / kind / f"main{suffix}").is_file() for kind in ("tasks", "meta") for suffix in YAML)


def _kind_by_place(path: str) -> Kind:
    parts = Path(path).parts
    folders, suffix = parts[:-1], os.path.splitext(path)[1]
    if any(kind in folders for kind in VARIABLE_FOLDERS):
        return Kind.VARIABLES if suffix in VARIABLE_SUFFIXES else Kind.OTHER
    role = role_of(path)
    if role is not None and suffix in YAML:
        area = parts[len(Path(role).parts)]
        return Kind.VARIABLES if area in ("defaults", "vars") else Kind.ROLE
    if "vars" in folders and suffix in YAML:
        return Kind.VARIABLES
    in_inventory = any(name in ("inventory", "inventories") for name in folders)
    named = os.path.basename(path).removesuffix(suffix) in INVENTORY_NAMES
    return Kind.INVENTORY if (in_inventory or named) and suffix in INVENTORY_SUFFIXES else Kind.OTHER


def _below(folder: str) -> Iterator[str]:
    """The files below a folder that may be ours."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in PASSED_OVER and not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and not name.endswith("~") and (
                name.endswith(YAML) or _kind_by_place(os.path.join(place, name)) is not Kind.OTHER
            ):
                yield os.path.normpath(os.path.join(place, name))


def _main_files_first(path: str) -> tuple[str, bool, str]:
    """A role's `main` brings most of its other files in."""
    return role_of(path) or "", os.path.splitext(os.path.basename(path))[0] != "main", path


def _milder(problem: OpsplayError) -> OpsplayError:
    return LanguageWarning(problem.message, at=problem.at, hint=problem.hint, rule=problem.rule)
