"""Documents to plays: every error of every file is collected, then raised together as Problems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from opsplay.agent.spec import to_bool
from opsplay.documents.values import place_of
from opsplay.documents.yaml import SHELF
from opsplay.errors import LanguageError, Location, OpsplayError, Problems, Severity
from opsplay.language import keywords
from opsplay.language.includes import Catalog, Reading
from opsplay.language.inherit import PLAIN, Inherited
from opsplay.language.loose import base_of, loose_problems
from opsplay.language.prompts import prompts_of
from opsplay.language.roles import role_entries
from opsplay.language.rules import entries as entry_rules
from opsplay.language.rules import plays as play_rules
from opsplay.language.tasks import TaskParser
from opsplay.model import Block, Play, Playbook, Task

IMPORT_PLAYBOOK = ("import_playbook", "ansible.builtin.import_playbook")

Render = Callable[[Any, Mapping[str, Any]], Any]
"""Renders a value with extra variables and the given, weaker ones."""


class Parser:
    """Reads playbooks against a catalog of modules; `render` knows what is known before any host (extra variables).

    What is wrong in all of them gathers in `errors`; `warnings` are what never stops a run.
    """

    def __init__(self, catalog: Catalog, render: Render) -> None:
        self._catalog = catalog
        self._render = render
        self._shared = play_rules.Shared()
        self.errors: list[OpsplayError] = []
        self.warnings: list[OpsplayError] = []
        self.files: set[str] = set()

    def playbook(self, path: str) -> Playbook:
        """One file with all that it imports. Raises Problems with every error found so far."""
        playbook = self.read(path)
        self.refuse()
        return playbook

    def read(self, path: str, is_first: bool = False) -> Playbook:
        """One file with all that it imports, faulty tasks left out. No playbook is run before one that is first."""
        self._shared.acts_here = self._shared.acts_here and not is_first
        return Playbook(path, tuple(self._plays(path, (os.path.normpath(path),))))

    def refuse(self) -> None:
        """Raise Problems when there are errors."""
        if self.errors:
            raise Problems(self.errors)

    def unused(self) -> Iterator[OpsplayError]:
        """What nothing has used of all that was read."""
        yield from self._shared.handlers.unused()

    def tell(self, problems: Iterable[OpsplayError]) -> None:
        """Keep what a rule has found."""
        for problem in problems:
            (self.errors if problem.severity is Severity.ERROR else self.warnings).append(problem)

    def reading(self, render: Callable[[Any], Any], base: str) -> Reading:
        """What one play, whose files lie in `base`, is read with."""
        return Reading(self._catalog, render, base, self.errors, warnings=self.warnings, files=self.files)

    def loose(self, path: str, role: str | None) -> None:
        """A file of tasks or handlers, perhaps of a role, that no playbook brings in: its mistakes are told."""
        if os.path.abspath(path) not in self.files:
            base = base_of(role or path)
            reading = self.reading(self._renderer({}, base), base)
            self.tell(loose_problems(path, role, reading))

    def _plays(self, path: str, chain: tuple[str, ...], by: Inherited = PLAIN) -> list[Play]:
        """The plays of a file; `chain` are the files being read, the outermost first."""
        try:
            found = SHELF.document(path)
        except OpsplayError as problem:
            self.tell([problem])
            return []
        self.tell(found.problems)
        if not isinstance(found.value, list):
            at = place_of(found.value, Location(path))
            self.tell([LanguageError("a playbook is a list of plays", at=at, rule="not-a-playbook")])
            return []
        return self.document(found.value, path, chain, by)

    def document(
        self, document: list[Any], path: str, chain: tuple[str, ...] = (), by: Inherited = PLAIN
    ) -> list[Play]:
        """The plays of a document that has been read already."""
        plays: list[Play] = []
        for number, entry in enumerate(document):
            at = document.item_at[number] if hasattr(document, "item_at") else Location(path)
            try:
                plays += self._entry(entry, at, path, chain, by)
            except OpsplayError as problem:
                self.tell([problem])
        return plays

    def _entry(self, entry: Any, at: Location, path: str, chain: tuple[str, ...], by: Inherited) -> list[Play]:
        if not isinstance(entry, Mapping):
            raise LanguageError("a play must be a mapping with hosts and tasks", at=at, rule="not-a-playbook")
        for name in IMPORT_PLAYBOOK:
            if name in entry:
                return self._imported(entry, name, at, path, chain, by)
        return [self._play(entry, at, path, by)]

    def _imported(
        self, entry: Mapping[str, Any], name: str, at: Location, path: str, chain: tuple[str, ...], by: Inherited
    ) -> list[Play]:
        """The plays of an `import_playbook`. Raises LanguageError."""
        self.errors += keywords.wrong(entry, entry, keywords.IMPORT_PLAY, "import_playbook", at)
        self.tell(entry_rules.problems(entry, at))
        file = os.path.normpath(Path(path).parent / str(self._render(entry[name], {})))
        place = place_of(entry[name], at)
        if not os.path.exists(file):
            raise LanguageError(f"there is no file {file}", at=place, rule="missing-file")
        if file in chain:
            raise LanguageError("playbooks import each other in a circle", at=place, rule="circular-import")
        return self._plays(file, (*chain, file), by.extend(entry, at, own_vars=True))

    def _play(self, entry: Mapping[str, Any], at: Location, path: str, by: Inherited) -> Play:
        self.errors += keywords.wrong(entry, entry, keywords.PLAY, "a play", at)
        places: Mapping[str, Location] = getattr(entry, "key_at", {})
        if not entry.get("hosts"):
            hint = "add hosts: all, a group, or a pattern"
            at_hosts = places.get("hosts", at)
            self.tell([LanguageError("the play names no hosts", at=at_hosts, hint=hint, rule="play-without-hosts")])
        # What an import_playbook says holds for the plays that it brings in; its variables are theirs.
        inherited = replace(by, vars=()).extend(entry, at)
        folder = str(Path(path).parent)
        reading = self.reading(self._renderer(entry, folder), folder)
        stages, of_roles = self._stages(TaskParser(reading, folder), entry, inherited, at)
        own = tuple(TaskParser(reading, folder).handlers(entry.get("handlers"), inherited, places.get("handlers", at)))
        play = Play(
            at=at,
            hosts=entry.get("hosts"),
            name=str(entry.get("name") or ""),
            vars={key: value for layer in (self._checked(_mapping, entry, "vars", at) or {}, *by.vars)
                  for key, value in layer.items()},
            vars_files=tuple(_as_list(entry.get("vars_files"))),
            stages=stages,
            # As in Ansible: the handlers of its roles, its own, those of roles that tasks bring in; the last prevail.
            handlers=(*reading.handlers[of_roles], *own,
                      *reading.handlers[: of_roles.start], *reading.handlers[of_roles.stop :]),
            roles=tuple(reading.roles),
            prompts=prompts_of(entry.get("vars_prompt"), places.get("vars_prompt", at), self.errors),
            gather_facts=entry.get("gather_facts"),
            gather_subset=_texts(entry.get("gather_subset")),
            become=inherited.become,
            serial=tuple(_as_list(entry.get("serial"))),
            strategy=self._checked(_strategy, entry, "strategy", at) or "linear",
            max_fail_percentage=self._checked(_number, entry, "max_fail_percentage", at),
            any_errors_fatal=self._checked(_flag, entry, "any_errors_fatal", at) or False,
            force_handlers=self._checked(_flag, entry, "force_handlers", at),
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
        self.tell(play_rules.problems(entry, at, play, reading, self._shared))
        return play

    @staticmethod
    def _stages(
        parser: TaskParser, entry: Mapping[str, Any], inherited: Inherited, at: Location
    ) -> tuple[tuple[tuple[Task | Block, ...], ...], slice]:
        """pre_tasks; roles and tasks; post_tasks: handlers run after each. And which handlers are of `roles`."""
        places: Mapping[str, Location] = getattr(entry, "key_at", {})

        def tasks(name: str) -> tuple[Task | Block, ...]:
            return tuple(parser.sequence(entry.get(name), inherited, places.get(name, at)))

        before = tasks("pre_tasks")
        first = len(parser.reading.handlers)
        used = tuple(role_entries(parser, entry.get("roles"), inherited, places.get("roles", at)))
        of_roles = slice(first, len(parser.reading.handlers))
        return (before, (*used, *tasks("tasks")), tasks("post_tasks")), of_roles

    def _renderer(self, entry: Mapping[str, Any], folder: str) -> Callable[[Any], Any]:
        """Renders what must be known while reading: with extra variables, the play's own, and where it lies."""
        known = {"playbook_dir": os.path.abspath(folder)}
        own = entry.get("vars") if isinstance(entry.get("vars"), Mapping) else {}
        return lambda value: self._render(value, {**known, **(own or {})})

    def _checked(self, convert: Callable[[Any], Any], entry: Mapping[str, Any], key: str, at: Location) -> Any:
        """A keyword's value, converted; a wrong one is an error and gives None."""
        value = entry.get(key)
        if value is None:
            return None
        try:
            return convert(value)
        except ValueError as problem:
            place = place_of(value, getattr(entry, "key_at", {}).get(key, at))
            self.tell([LanguageError(f"{key}: {problem}", at=place, rule="keyword-value")])
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
