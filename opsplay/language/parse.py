"""Documents to plays: every error of every file is collected, then raised together as Problems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from opsplay.agent.spec import to_bool
from opsplay.documents import yaml as documents
from opsplay.documents.values import place_of
from opsplay.errors import LanguageError, Location, OpsplayError, Problems
from opsplay.language import keywords
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
                target = Path(path).parent / str(entry[name])
                return self._plays(os.path.normpath(target), depth + 1)
        try:
            return [self._play(entry, at, path)]
        except OpsplayError as problem:
            self.errors.append(problem)
            return []

    def _play(self, entry: Mapping[str, Any], at: Location, path: str) -> Play:
        self._check_keywords(entry, keywords.PLAY, "play", at)
        if not entry.get("hosts"):
            raise LanguageError("the play names no hosts", at=at, hint="add hosts: all, a group, or a pattern")
        inherited = Inherited().extend(entry, at)
        tasks = TaskParser(self._catalog, str(Path(path).parent), self.errors, self._render)
        stages = tuple(tuple(tasks.sequence(entry.get(section), inherited)) for section in SECTIONS)
        variables = _mapping(entry.get("vars"), "vars", at)
        return Play(
            at=at,
            hosts=entry["hosts"],
            name=str(entry.get("name") or ""),
            vars=variables,
            vars_files=tuple(_as_list(entry.get("vars_files"))),
            stages=stages,
            handlers=tuple(tasks.handlers(entry.get("handlers"), inherited)),
            gather_facts=entry.get("gather_facts"),
            gather_subset=_texts(entry.get("gather_subset")),
            become=inherited.become,
            serial=tuple(_as_list(entry.get("serial"))),
            strategy=self._strategy(entry, at),
            max_fail_percentage=_number(entry.get("max_fail_percentage"), "max_fail_percentage", at),
            any_errors_fatal=_flag(entry.get("any_errors_fatal"), at),
            force_handlers=_flag(entry.get("force_handlers"), at),
            environment=inherited.environment,
            tags=inherited.tags,
            connection=entry.get("connection"),
            remote_user=entry.get("remote_user"),
            port=entry.get("port"),
            order=str(entry.get("order") or "inventory"),
            ignore_unreachable=entry.get("ignore_unreachable", False),
            check_mode=entry.get("check_mode"),
            diff=entry.get("diff"),
            no_log=entry.get("no_log", False),
        )

    @staticmethod
    def _strategy(entry: Mapping[str, Any], at: Location) -> str:
        name = str(entry.get("strategy") or "linear").rpartition(".")[2]
        if name not in ("linear", "free"):
            raise LanguageError(f"unknown strategy '{name}'", at=at, hint="use linear or free")
        return name

    def _check_keywords(self, entry: Mapping[str, Any], known: Iterable[str], what: str, at: Location) -> None:
        for key in entry:
            place = getattr(entry, "key_at", {}).get(key, at)
            if key not in known:
                hint = keywords.suggestion(str(key), known)
                self.errors.append(LanguageError(f"unknown keyword '{key}' of a {what}", at=place, hint=hint))
            elif key in keywords.NOT_YET and entry[key]:
                self.errors.append(LanguageError(f"'{key}': {keywords.NOT_YET[str(key)]}", at=place))


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


def _mapping(value: Any, what: str, at: Location) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise LanguageError(f"{what} must be a mapping of names to values", at=place_of(value, at))
    return value


def _flag(value: Any, at: Location) -> bool:
    try:
        return to_bool(value) if value is not None else False
    except ValueError as problem:
        raise LanguageError(str(problem), at=place_of(value, at)) from problem


def _number(value: Any, what: str, at: Location) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError) as problem:
        raise LanguageError(f"{what} must be a number", at=place_of(value, at)) from problem


