"""Lookups: values from the control side. What they return is data, never a template."""

from __future__ import annotations

import glob
import os
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from opsplay.errors import TemplateError

Lookup = Callable[[str, list[Any], dict[str, Any]], list[Any]]


def find(folder: str, name: str, kind: str) -> str:
    """A file in the playbook's folder `kind`, beside the playbook, or absolute. Raises TemplateError."""
    for path in (os.path.join(folder, kind, name), os.path.join(folder, name)):
        if os.path.exists(path):
            return path
    raise TemplateError(f"there is no file '{name}' in {folder}/{kind} or {folder}")


def read_files(folder: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    found = []
    for term in terms:
        with open(find(folder, str(term), "files"), encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        found.append(text.rstrip() if options.get("rstrip", True) else text)
    return found


def environment(folder: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [os.environ.get(str(term), options.get("default", "")) for term in terms]


def pipe(folder: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    found = []
    for term in terms:
        done = subprocess.run(str(term), shell=True, capture_output=True, text=True, cwd=folder)
        if done.returncode != 0:
            raise TemplateError(f"lookup pipe: '{term}' ended with {done.returncode}: {done.stderr.strip()}")
        found.append(done.stdout.rstrip("\n"))
    return found


def file_names(folder: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    found = []
    for term in terms:
        for base in (os.path.join(folder, "files"), folder):
            found += sorted(path for path in glob.glob(os.path.join(base, str(term))) if os.path.isfile(path))
            if found:
                break
    return found


def first_found(folder: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    names = [name for term in terms for name in (term if isinstance(term, list) else [term])]
    for name in names:
        for kind in ("files", "templates", "vars", ""):
            path = os.path.join(folder, kind, str(name))
            if os.path.exists(path):
                return [path]
    raise TemplateError(f"first_found: none of these exists: {', '.join(map(str, names))}")


def items(folder: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [item for term in terms for item in (term if isinstance(term, list) else [term])]


def pairs(folder: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [{"key": key, "value": value} for term in terms if isinstance(term, Mapping) for key, value in term.items()]


def lines(folder: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [line for text in pipe(folder, terms, options) for line in text.splitlines()]


LOOKUPS: dict[str, Lookup] = {
    "file": read_files,
    "env": environment,
    "pipe": pipe,
    "fileglob": file_names,
    "first_found": first_found,
    "items": items,
    "list": lambda folder, terms, options: list(terms),
    "dict": pairs,
    "lines": lines,
}


def make_lookups(folder: str) -> dict[str, Any]:
    """The functions `lookup`, `query` and `q` for a playbook's folder."""

    def query(name: str, *terms: Any, **options: Any) -> list[Any]:
        short = str(name).removeprefix("ansible.builtin.")
        if short not in LOOKUPS:
            raise TemplateError(f"unknown lookup '{name}'; known are {', '.join(sorted(LOOKUPS))}")
        return LOOKUPS[short](folder, list(terms), options)

    def lookup(name: str, *terms: Any, **options: Any) -> Any:
        wants_list = options.pop("wantlist", False)
        found = query(name, *terms, **options)
        if wants_list:
            return found
        return found[0] if len(found) == 1 else ",".join(map(str, found))

    return {"lookup": lookup, "query": query, "q": query}
