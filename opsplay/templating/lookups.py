"""Lookups: values from the control side. What they return is data, never a template."""

from __future__ import annotations

import glob
import os
import secrets
import string
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context

from opsplay.errors import Location, TemplateError, UndefinedVariable
from opsplay.templating.environment import missing
from opsplay.templating.listing import LISTINGS, as_list

Options = Mapping[str, Any]
Lookup = Callable[[str, list[Any], Options], list[Any]]

COLLECTIONS = ("ansible.builtin.", "community.general.")


def find(folder: str, name: str, kind: str) -> str:
    """A file in the playbook's folder `kind`, beside the playbook, or absolute. Raises TemplateError."""
    for path in (os.path.join(folder, kind, name), os.path.join(folder, name)):
        if os.path.exists(path):
            return path
    raise TemplateError(f"there is no file '{name}' in {folder}/{kind} or {folder}")


def read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as problem:
        raise TemplateError(f"cannot read {path}: {problem.strerror}") from problem


def read_files(folder: str, terms: list[Any], options: Options) -> list[Any]:
    texts = [read(find(folder, str(term), "files")) for term in terms]
    if options.get("lstrip"):
        texts = [text.lstrip() for text in texts]
    return [text.rstrip() for text in texts] if options.get("rstrip", True) else texts


def environment(folder: str, terms: list[Any], options: Options) -> list[Any]:
    return [os.environ.get(str(term), options.get("default", "")) for term in terms]


def pipe(folder: str, terms: list[Any], options: Options) -> list[Any]:
    found = []
    for term in terms:
        done = subprocess.run(str(term), shell=True, capture_output=True, text=True, cwd=folder)
        if done.returncode != 0:
            raise TemplateError(f"lookup pipe: '{term}' ended with {done.returncode}: {done.stderr.strip()}")
        found.append(done.stdout.rstrip("\n"))
    return found


def lines(folder: str, terms: list[Any], options: Options) -> list[Any]:
    return [line for text in pipe(folder, terms, options) for line in text.splitlines()]


def file_names(folder: str, terms: list[Any], options: Options) -> list[Any]:
    """The files that patterns match; each pattern in the folder `files`, else beside the playbook."""
    found: list[str] = []
    for term in terms:
        for base in (os.path.join(folder, "files"), folder):
            names = sorted(path for path in glob.glob(os.path.join(base, str(term))) if os.path.isfile(path))
            found += names
            if names:
                break
    return found


def first_found(folder: str, terms: list[Any], options: Options) -> list[Any]:
    """The first file that exists; a term may be a dictionary of files, paths and skip."""
    skip = bool(options.get("skip"))
    tried: list[str] = []
    entries = [entry for term in terms for entry in as_list(term)] or [dict(options)]
    for entry in entries:
        settings = {**options, **entry} if isinstance(entry, Mapping) else {**options, "files": [entry]}
        skip = skip or bool(settings.get("skip"))
        for name in _names(settings.get("files"), ","):
            for place in _names(settings.get("paths"), ":,") or ["files", "templates", "vars", "tasks", ""]:
                path = os.path.join(folder, place, name)
                if os.path.exists(path):
                    return [path]
            tried.append(name)
    if skip:
        return []
    raise TemplateError(f"first_found: none of these exists: {', '.join(tried)}", hint="skip: true allows that")


def _names(value: Any, separators: str) -> list[str]:
    if isinstance(value, str):
        for separator in separators[1:]:
            value = value.replace(separator, separators[0])
        return [part.strip() for part in value.split(separators[0]) if part.strip()]
    return [str(part) for part in value or ()]


def password(folder: str, terms: list[Any], options: Options) -> list[Any]:
    """A password that is kept in a file of the control side, made when it is not there; /dev/null keeps nothing."""
    return [_password(folder, str(term), options) for term in terms]


def _password(folder: str, term: str, options: Options) -> str:
    name, *words = term.split()
    settings = {**dict(word.partition("=")[::2] for word in words), **options}
    kinds = _names(settings.get("chars", "ascii_letters,digits,.,:,-,_"), ",")
    letters = "".join(getattr(string, kind, kind) for kind in kinds)
    fresh = "".join(secrets.choice(letters) for _ in range(int(settings.get("length", 20))))
    if name == "/dev/null":
        return fresh
    path = Path(folder, os.path.expanduser(name))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(fresh + "\n")
        os.link(beside, path)  # fails when another host's task was first: then its password holds
    except FileExistsError:
        pass
    finally:
        beside.unlink(missing_ok=True)
    return read(str(path)).split("\n")[0].partition(" salt=")[0]


LOOKUPS: dict[str, Lookup] = {
    "file": read_files,
    "unvault": lambda folder, terms, options: read_files(folder, terms, {**options, "rstrip": False}),
    "env": environment,
    "pipe": pipe,
    "lines": lines,
    "fileglob": file_names,
    "first_found": first_found,
    "password": password,
}
NAMES = frozenset(LOOKUPS) | frozenset(LISTINGS) | {"vars", "template"}


def short_name(name: str) -> str:
    """A lookup's name without its collection."""
    for prefix in COLLECTIONS:
        name = name.removeprefix(prefix)
    return name


def run(name: str, folder: str, terms: list[Any], options: Options) -> list[Any]:
    """A lookup that needs no variables. Raises TemplateError, for an unknown name too."""
    short = short_name(name)
    if short in LISTINGS:
        return LISTINGS[short](terms, options)
    if short not in LOOKUPS:
        raise TemplateError(f"unknown lookup '{name}'; known are {', '.join(sorted(NAMES))}")
    return LOOKUPS[short](folder, terms, options)


def variables(context: Context, terms: list[Any], options: Options) -> list[Any]:
    """Variables by names that are only known at run time."""
    found = []
    for term in terms:
        value = context.resolve_or_missing(str(term))
        if value is missing:
            if "default" not in options:
                raise UndefinedVariable(f"'{term}' is undefined")
            value = options["default"]
        found.append(value)
    return found


def templates(context: Context, folder: str, terms: list[Any], options: Options) -> list[Any]:
    """Template files, rendered."""
    found = []
    chosen = {name: value for name, value in options.items() if name.endswith("_string")}
    for term in terms:
        path = find(folder, str(term), "templates")
        render = context.parent["__templar__"].file
        folders = (os.path.dirname(path), folder)
        found.append(render(read(path), {"trim_blocks": True, **chosen}, folders, Location(path)))
    return found


def make_lookups(folder: str) -> dict[str, Any]:
    """The functions `lookup`, `query` and `q` for a playbook's folder."""

    def ask(context: Context, name: str, terms: list[Any], options: dict[str, Any]) -> list[Any] | None:
        """What is found; None when it failed and that shall be passed over."""
        short = short_name(str(name))
        lenient = options.pop("errors", "strict") in ("ignore", "warn")
        try:
            if short == "vars":
                return variables(context, terms, options)
            if short == "template":
                return templates(context, folder, terms, options)
            return run(str(name), folder, terms, options)
        except TemplateError:
            if lenient:
                return None
            raise

    @pass_context
    def query(context: Context, name: str, *terms: Any, **options: Any) -> list[Any]:
        return ask(context, name, list(terms), options) or []

    @pass_context
    def lookup(context: Context, name: str, *terms: Any, **options: Any) -> Any:
        wants_list = options.pop("wantlist", False)
        found = ask(context, name, list(terms), options)
        if wants_list or found is None:
            return found or [] if wants_list else None
        if len(found) == 1:
            return found[0]
        return ",".join(found) if found and all(isinstance(entry, str) for entry in found) else found

    return {"lookup": lookup, "query": query, "q": query}
