"""Files of variables: of groups and hosts, of roles, and those that a play names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsplay.documents import yaml as documents
from opsplay.documents.keyring import KEYRING
from opsplay.documents.values import place_of
from opsplay.errors import DocumentError, Location

SUFFIXES = ("", ".yml", ".yaml", ".json")


def variable_files(folder: Path, name: str) -> list[Path]:
    """The files that hold the variables of a group, host or role: of NAME, NAME.yml … the first that exists.

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
    """A file of variables; the values of an encrypted one are secrets. Raises DocumentError, also for no mapping."""
    document, secret = documents.read(path)
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        at = place_of(document, Location(str(path)))
        raise DocumentError("a file of variables must be a mapping of names to values", at=at)
    if secret:
        KEYRING.learn(document)
    return document
