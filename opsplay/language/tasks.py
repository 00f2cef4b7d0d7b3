"""Tasks, blocks and handlers, with their module's arguments checked by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from opsplay.documents import yaml as documents
from opsplay.documents.values import NOWHERE, Template, place_of
from opsplay.errors import LanguageError, Location, OpsplayError
from opsplay.language import check, keywords
from opsplay.language.arguments import free_form, key_values
from opsplay.language.check import ModuleEntry
from opsplay.language.inherit import Inherited, as_tuple, conditions
from opsplay.language.loops import is_with, loop_of
from opsplay.model import Block, Handler, Retry, Task

IMPORT_TASKS = ("import_tasks", "ansible.builtin.import_tasks")
NOT_YET = ("include_tasks", "include_role", "import_role", "include_vars", "add_host", "group_by")
SECTIONS = ("block", "rescue", "always")
DEEPEST = 20

QUOTE = 'quote a value that holds blanks, as in msg="two words"'


class Catalog(Protocol):
    """All modules by name."""

    def find(self, name: str) -> ModuleEntry | None: ...
    def suggestion(self, name: str) -> str | None: ...


class TaskParser:
    """Parses the task lists of one play; errors are added to a list, and the faulty task left out."""

    def __init__(
        self, catalog: Catalog, folder: str, errors: list[OpsplayError], render: Callable[[Any], Any], depth: int = 0
    ) -> None:
        self._catalog = catalog
        self._folder = folder
        self._errors = errors
        self._render = render
        self._depth = depth

    def sequence(self, entries: Any, inherited: Inherited, at: Location = NOWHERE) -> Iterator[Task | Block]:
        """The tasks and blocks of a list."""
        for entry, place in self._listed(entries, "tasks", at):
            try:
                yield from self._entry(entry, inherited, place)
            except OpsplayError as problem:
                self._errors.append(problem)

    def handlers(self, entries: Any, inherited: Inherited, at: Location = NOWHERE) -> Iterator[Handler]:
        """The handlers of a list, with imports flattened."""
        for entry, place in self._listed(entries, "handlers", at):
            try:
                yield from self._handler(entry, inherited, place)
            except OpsplayError as problem:
                self._errors.append(problem)

    def _listed(self, entries: Any, what: str, at: Location) -> Iterator[tuple[Any, Location]]:
        """The entries of a list, each with its place."""
        if entries is None:
            return
        place = place_of(entries, at)
        if not isinstance(entries, list):
            self._errors.append(LanguageError(f"{what} must be a list", at=place if place.file else None))
            return
        places = getattr(entries, "item_at", None) or [place_of(entry, place) for entry in entries]
        yield from zip(entries, places, strict=True)

    def _handler(self, entry: Any, inherited: Inherited, at: Location) -> Iterator[Handler]:
        imported = self._imported(entry, inherited, at, handlers=True)
        if imported is not None:
            yield from imported
            return
        task = self._task(entry, inherited, at, keywords.HANDLER)
        yield Handler(task, tuple(str(topic) for topic in as_tuple(entry.get("listen"))))

    def _entry(self, entry: Any, inherited: Inherited, at: Location) -> Iterator[Task | Block]:
        if not isinstance(entry, Mapping):
            raise LanguageError("a task must be a mapping with a module and its parameters", at=at)
        if "block" in entry:
            yield self._block(entry, inherited, at)
            return
        imported = self._imported(entry, inherited, at)
        if imported is not None:
            yield from imported
        else:
            yield self._task(entry, inherited, at, keywords.TASK)

    def _imported(self, entry: Any, inherited: Inherited, at: Location, handlers: bool = False) -> Any:
        """The tasks of an `import_tasks`, or None when the entry is none."""
        if not isinstance(entry, Mapping):
            return None
        name = next((name for name in IMPORT_TASKS if name in entry), None)
        if name is None:
            return None
        known = keywords.IMPORT | {name}
        self._errors += keywords.wrong(entry, entry, known, "import_tasks", at)
        target = entry[name]
        file = self._render(target.get("file") if isinstance(target, Mapping) else target)
        if not file:
            raise LanguageError("import_tasks names no file", at=at)
        if self._depth >= DEEPEST:
            raise LanguageError(f"task files import each other in a circle: {file}", at=at)
        path = os.path.normpath(Path(self._folder) / str(file))
        if not os.path.exists(path):
            raise LanguageError(f"there is no file {path}", at=place_of(target, at))
        inner = TaskParser(self._catalog, str(Path(path).parent), self._errors, self._render, self._depth + 1)
        extended = inherited.extend(entry, at, own_vars=True)
        document = documents.load(path)
        whole = Location(str(path))
        return inner.handlers(document, extended, whole) if handlers else inner.sequence(document, extended, whole)

    def _block(self, entry: Mapping[str, Any], inherited: Inherited, at: Location) -> Block:
        self._errors += keywords.wrong(entry, entry, keywords.BLOCK, "a block", at)
        self._errors += check.conditions(conditions(entry.get("when")), at)
        extended = inherited.extend(entry, at, own_vars=True)
        places: Mapping[str, Location] = getattr(entry, "key_at", {})
        body, rescue, always = (
            tuple(self.sequence(entry.get(name), extended, places.get(name, at))) for name in SECTIONS
        )
        return Block(at, body, rescue, always, name=str(entry.get("name") or ""))

    def _task(self, entry: Any, inherited: Inherited, at: Location, known: frozenset[str]) -> Task:
        if not isinstance(entry, Mapping):
            raise LanguageError("a task must be a mapping with a module and its parameters", at=at)
        name, value, place = self._module_of(entry, at, known)
        module = self._catalog.find(name)
        if module is None:
            raise self._unknown(name, place, known)
        keys = [key for key in entry if key in known]
        self._errors += keywords.wrong(keys, entry, known, "a task", at)
        args, text = self._arguments(module, value, entry.get("args"), place)
        places = {**getattr(entry.get("args"), "key_at", {}), **getattr(value, "key_at", {})}
        known_place = place_of(value, place) if isinstance(value, str) else place
        self._errors += check.arguments(module, args, text, places, known_place)
        self._check_templates(entry, args, text, at)
        extended = inherited.extend({key: entry[key] for key in keys}, at, own_vars=True)
        return self._build(module.name, args, text, entry, extended, at)

    def _unknown(self, name: str, at: Location, known: frozenset[str]) -> LanguageError:
        if name.rpartition(".")[2] in NOT_YET:
            return LanguageError(f"'{name}' is not supported yet", at=at)
        hint = self._catalog.suggestion(name) or keywords.suggestion(name, known)
        return LanguageError(f"unknown module or keyword '{name}'", at=at, hint=hint)

    def _check_templates(self, entry: Mapping[str, Any], args: Mapping[str, Any], text: Any, at: Location) -> None:
        loop = [value for key, value in entry.items() if key == "loop" or is_with(key)]
        for value in (args, text, entry.get("name"), entry.get("vars"), entry.get("environment"), loop):
            self._errors += check.templates(value, at)
        for key in ("when", "changed_when", "failed_when", "until"):
            self._errors += check.conditions(conditions(entry.get(key)), at)
        self._errors += check.conditions(conditions(args.get("that")), at)

    def _module_of(self, entry: Mapping[str, Any], at: Location, known: frozenset[str]) -> tuple[str, Any, Location]:
        others = [key for key in entry if key not in known and not is_with(key)]
        places: Mapping[str, Location] = getattr(entry, "key_at", {})
        if "action" in entry or "local_action" in entry:
            return self._action_of(entry.get("action", entry.get("local_action")), at)
        if not others:
            raise LanguageError("the task names no module", at=at)
        modules = [key for key in others if self._catalog.find(str(key)) is not None]
        if len(modules) > 1:
            both = f"{modules[0]} and {modules[1]}"
            raise LanguageError(f"two modules in one task: {both}", at=places.get(modules[1], at))
        name = (modules or others)[0]
        if modules:
            wrong = [key for key in others if key != name]
            self._errors += keywords.wrong(wrong, entry, known, "a task", at)
        return str(name), entry[name], places.get(name, at)

    @staticmethod
    def _action_of(value: Any, at: Location) -> tuple[str, Any, Location]:
        if isinstance(value, Mapping):
            rest = {key: item for key, item in value.items() if key != "module"}
            return str(value.get("module", "")), rest, place_of(value, at)
        name, _, rest_text = str(value or "").partition(" ")
        return name, Template(rest_text, place_of(value, at)), place_of(value, at)

    @staticmethod
    def _arguments(
        module: ModuleEntry, value: Any, extra: Any, at: Location
    ) -> tuple[dict[str, Any], str | None]:
        if extra is not None and not isinstance(extra, Mapping):
            raise LanguageError("args must be a mapping of parameters", at=place_of(extra, at))
        args: dict[str, Any] = dict(extra or {})
        if value is None:
            return args, None
        if isinstance(value, Mapping):
            return {**args, **value}, None
        if not isinstance(value, str):
            raise LanguageError(f"the parameters of {module.name} must be a mapping", at=place_of(value, at))
        place = place_of(value, at)
        if module.free_form:
            named, rest = free_form(value, module.params, place)
            return {**args, **named}, Template(rest, place)
        named, rest = key_values(value, place)
        if rest and not named and value.strip().startswith("{{"):
            raise LanguageError(f"{module.name}: parameters cannot come from one template", at=place)
        if rest:
            raise LanguageError(f"{module.name} takes no free text: {rest!r}", at=place, hint=QUOTE)
        return {**args, **named}, None

    def _build(
        self,
        module: str,
        args: dict[str, Any],
        text: str | None,
        entry: Mapping[str, Any],
        inherited: Inherited,
        at: Location,
    ) -> Task:
        register = entry.get("register")
        return Task(
            module=module,
            at=at,
            name=entry.get("name") or "",
            args=args,
            free_form=text,
            when=inherited.when,
            loop=loop_of(entry, at),
            register=str(register) if register else None,
            notify=inherited.notify,
            become=inherited.become,
            tags=inherited.tags,
            vars=inherited.vars,
            environment=inherited.environment,
            changed_when=conditions(entry["changed_when"]) if "changed_when" in entry else None,
            failed_when=conditions(entry["failed_when"]) if "failed_when" in entry else None,
            retry=_retry(entry),
            **(inherited.nearest or {}),
        )


def _retry(entry: Mapping[str, Any]) -> Retry | None:
    if "until" not in entry and "retries" not in entry:
        return None
    return Retry(conditions(entry.get("until")), entry.get("retries", 3), entry.get("delay", 5))
