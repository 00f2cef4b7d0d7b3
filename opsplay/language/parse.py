"""Documents to plays: every error of every file is collected, then raised together as Problems."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opsplay.agent.spec import to_bool
from opsplay.documents import yaml as documents
from opsplay.documents.values import place_of
from opsplay.errors import LanguageError, Location, OpsplayError, Problems
from opsplay.language import check, keywords
from opsplay.language.inherit import Inherited
from opsplay.language.tasks import Catalog, TaskParser
from opsplay.model import Play, Playbook

SECTIONS = ("pre_tasks", "tasks", "post_tasks")
IMPORT_PLAYBOOK = ("import_playbook", "ansible.builtin.import_playbook")
DEEPEST = 20


class Parser:
    """Reads playbooks against a catalog of modules; `variables` are known before any host (extra vars)."""

    def __init__(self, catalog: Catalog, render: Callable[[Any], Any]) -> None:
        self._catalog = catalog
        self._render = render
        self.errors: list[OpsplayError] = []

    def playbook(self, path: str) -> Playbook:
        """One file with all that it imports. Raises Problems with every error found."""
        plays = tuple(self._plays(path, 0))
        if self.errors:
            raise Problems(self.errors)
        return Playbook(path, plays)

    def _plays(self, path: str, depth: int) -> list[Play]:
        if depth > DEEPEST:
            self.errors.append(LanguageError("playbooks import each other in a circle", at=Location(path)))
            return []
        try:
            document = documents.load(path)
        except OpsplayError as problem:
            self.errors.append(problem)
            return []
        if not isinstance(document, list):
            self.errors.append(LanguageError("a playbook is a list of plays", at=place_of(document, Location(path))))
            return []
        return self.document(document, path, depth)

    def document(self, document: list[Any], path: str, depth: int = 0) -> list[Play]:
        """The plays of a document that has been read already."""
        plays: list[Play] = []
        for number, entry in enumerate(document):
            at = document.item_at[number] if hasattr(document, "item_at") else Location(path)
            plays += self._entry(entry, at, path, depth)
        return plays

    def _entry(self, entry: Any, at: Location, path: str, depth: int) -> list[Play]:
        if not isinstance(entry, Mapping):
            self.errors.append(LanguageError("a play must be a mapping with hosts and tasks", at=at))
            return []
        for name in IMPORT_PLAYBOOK:
            if name in entry:
                self.errors += keywords.wrong(entry, entry, keywords.IMPORT_PLAY, "import_playbook", at)
                file = os.path.normpath(Path(path).parent / str(self._render(entry[name])))
                if not os.path.exists(file):
                    self.errors.append(LanguageError(f"there is no file {file}", at=place_of(entry[name], at)))
                    return []
                return self._plays(file, depth + 1)
        try:
            return [self._play(entry, at, path)]
        except OpsplayError as problem:
            self.errors.append(problem)
            return []

    def _play(self, entry: Mapping[str, Any], at: Location, path: str) -> Play:
        self.errors += keywords.wrong(entry, entry, keywords.PLAY, "a play", at)
        places: Mapping[str, Location] = getattr(entry, "key_at", {})
        if not entry.get("hosts"):
            hint = "add hosts: all, a group, or a pattern"
            self.errors.append(LanguageError("the play names no hosts", at=places.get("hosts", at), hint=hint))
        self.errors += check.templates([entry.get("hosts"), entry.get("vars"), entry.get("environment")], at)
        inherited = Inherited().extend(entry, at)
        tasks = TaskParser(self._catalog, str(Path(path).parent), self.errors, self._render)
        stages = tuple(tuple(tasks.sequence(entry.get(name), inherited, places.get(name, at))) for name in SECTIONS)
        handlers = tuple(tasks.handlers(entry.get("handlers"), inherited, places.get("handlers", at)))
        return Play(
            at=at,
            hosts=entry.get("hosts"),
            name=str(entry.get("name") or ""),
            vars=self._checked(_mapping, entry, "vars", at) or {},
            vars_files=tuple(_as_list(entry.get("vars_files"))),
            stages=stages,
            handlers=handlers,
            gather_facts=entry.get("gather_facts"),
            gather_subset=_texts(entry.get("gather_subset")),
            become=inherited.become,
            serial=tuple(_as_list(entry.get("serial"))),
            strategy=self._checked(_strategy, entry, "strategy", at) or "linear",
            max_fail_percentage=self._checked(_number, entry, "max_fail_percentage", at),
            any_errors_fatal=self._checked(_flag, entry, "any_errors_fatal", at) or False,
            force_handlers=self._checked(_flag, entry, "force_handlers", at) or False,
            environment=inherited.environment,
            tags=inherited.tags,
            connection=entry.get("connection"),
            remote_user=entry.get("remote_user"),
            port=entry.get("port"),
            order=self._checked(_order, entry, "order", at) or "inventory",
            ignore_unreachable=entry.get("ignore_unreachable", False),
            check_mode=entry.get("check_mode"),
            diff=entry.get("diff"),
            no_log=entry.get("no_log", False),
        )

    def _checked(self, convert: Callable[[Any], Any], entry: Mapping[str, Any], key: str, at: Location) -> Any:
        """A keyword's value, converted; a wrong one is an error and gives None."""
        value = entry.get(key)
        if value is None:
            return None
        try:
            return convert(value)
        except ValueError as problem:
            place = place_of(value, getattr(entry, "key_at", {}).get(key, at))
            self.errors.append(LanguageError(f"{key}: {problem}", at=place))
            return None


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _texts(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return tuple(str(item) for item in value)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping of names to values")
    return value


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"expected a number, not {value!r}") from None


def _flag(value: Any) -> bool:
    return to_bool(value)


def _one_of(value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{value!s} is not one of {', '.join(known)}")
    return str(value)


def _strategy(value: Any) -> str:
    return _one_of(str(value).rpartition(".")[2], ("linear", "free"))


def _order(value: Any) -> str:
    return _one_of(value, ("inventory", "reverse_inventory", "sorted", "reverse_sorted", "shuffle"))
