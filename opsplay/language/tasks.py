"""Tasks, blocks and handlers, with their module's arguments checked by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from opsplay.agent.spec import Param, ParameterError, canonical_names, validate
from opsplay.documents import yaml as documents
from opsplay.documents.values import NOWHERE, Template, place_of
from opsplay.errors import LanguageError, Location, OpsplayError
from opsplay.language import keywords
from opsplay.language.arguments import free_form, key_values
from opsplay.language.inherit import Inherited, as_tuple, conditions
from opsplay.model import Block, Handler, Loop, Retry, Task

IMPORT_TASKS = ("import_tasks", "ansible.builtin.import_tasks")
NOT_YET = ("include_tasks", "include_role", "import_role", "include_vars", "add_host", "group_by")
DEEPEST = 20


class ModuleEntry(Protocol):
    """What the language needs to know of a module."""

    @property
    def name(self) -> str: ...
    @property
    def params(self) -> dict[str, Param]: ...
    @property
    def free_form(self) -> str | None: ...
    @property
    def open_ended(self) -> bool: ...


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

    def sequence(self, entries: Any, inherited: Inherited) -> Iterator[Task | Block]:
        """The tasks and blocks of a list."""
        if entries is None:
            return
        if not isinstance(entries, list):
            at = place_of(entries, NOWHERE)
            self._errors.append(LanguageError("tasks must be a list", at=at if at.file else None))
            return
        for number, entry in enumerate(entries):
            at = entries.item_at[number] if hasattr(entries, "item_at") else place_of(entry, NOWHERE)
            try:
                yield from self._entry(entry, inherited, at)
            except OpsplayError as problem:
                self._errors.append(problem)

    def handlers(self, entries: Any, inherited: Inherited) -> Iterator[Handler]:
        """The handlers of a list, blocks and imports flattened."""
        for number, entry in enumerate(entries or ()):
            at = entries.item_at[number] if hasattr(entries, "item_at") else place_of(entry, NOWHERE)
            try:
                imported = self._imported(entry, inherited, at, handlers=True)
                if imported is not None:
                    yield from imported
                    continue
                listen = tuple(str(topic) for topic in as_tuple(entry.get("listen")))
                yield Handler(self._task(entry, inherited, at, keywords.HANDLER), listen)
            except OpsplayError as problem:
                self._errors.append(problem)

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
        target = entry[name]
        file = self._render(target["file"] if isinstance(target, Mapping) else target)
        if self._depth >= DEEPEST:
            raise LanguageError(f"task files import each other in a circle: {file}", at=at)
        path = os.path.normpath(Path(self._folder) / str(file))
        inner = TaskParser(self._catalog, str(Path(path).parent), self._errors, self._render, self._depth + 1)
        extended = inherited.extend(entry, at, own_vars=True)
        document = documents.load(path)
        return inner.handlers(document, extended) if handlers else inner.sequence(document, extended)

    def _block(self, entry: Mapping[str, Any], inherited: Inherited, at: Location) -> Block:
        self._check_keywords(entry, keywords.BLOCK, "block", at)
        extended = inherited.extend(entry, at, own_vars=True)
        body, rescue, always = (tuple(self.sequence(entry.get(name), extended)) for name in ("block", "rescue", "always"))
        return Block(at, body, rescue, always, name=str(entry.get("name") or ""))

    def _check_keywords(self, entry: Mapping[str, Any], known: frozenset[str], what: str, at: Location) -> None:
        for key in entry:
            place = getattr(entry, "key_at", {}).get(key, at)
            if key not in known:
                hint = keywords.suggestion(str(key), known)
                self._errors.append(LanguageError(f"unknown keyword '{key}' of a {what}", at=place, hint=hint))
            elif key in keywords.NOT_YET and entry[key]:
                self._errors.append(LanguageError(f"'{key}': {keywords.NOT_YET[str(key)]}", at=place))

    def _task(self, entry: Any, inherited: Inherited, at: Location, known: frozenset[str]) -> Task:
        if not isinstance(entry, Mapping):
            raise LanguageError("a task must be a mapping with a module and its parameters", at=at)
        name, value, place = self._module_of(entry, at, known)
        module = self._catalog.find(name)
        if module is None:
            if name.rpartition(".")[2] in NOT_YET:
                raise LanguageError(f"'{name}' is not supported yet", at=place)
            hint = self._catalog.suggestion(name) or keywords.suggestion(name, known)
            raise LanguageError(f"unknown module or keyword '{name}'", at=place, hint=hint)
        plain = {key: item for key, item in entry.items() if key in known}
        self._check_keywords(_Placed(plain, entry), known, "task", at)
        args, text = self._arguments(module, value, entry.get("args"), place)
        self._check_arguments(module, args, value, place)
        extended = inherited.extend(plain, at, own_vars=True)
        return self._build(module.name, args, text, plain, extended, at)

    def _module_of(self, entry: Mapping[str, Any], at: Location, known: frozenset[str]) -> tuple[str, Any, Location]:
        others = [key for key in entry if key not in known and not str(key).startswith("with_")]
        places: Mapping[str, Location] = getattr(entry, "key_at", {})
        if "action" in entry or "local_action" in entry:
            return self._action_of(entry.get("action", entry.get("local_action")), at)
        if not others:
            raise LanguageError("the task names no module", at=at)
        modules = [key for key in others if self._catalog.find(str(key)) is not None]
        if len(modules) > 1:
            raise LanguageError(f"two modules in one task: {modules[0]} and {modules[1]}", at=places.get(modules[1], at))
        if modules and len(others) > 1:
            wrong = next(key for key in others if key != modules[0])
            hint = keywords.suggestion(str(wrong), known)
            raise LanguageError(f"unknown keyword '{wrong}' of a task", at=places.get(wrong, at), hint=hint)
        name = (modules or others)[0]
        return str(name), entry[name], places.get(name, at)

    @staticmethod
    def _action_of(value: Any, at: Location) -> tuple[str, Any, Location]:
        if isinstance(value, Mapping):
            rest = {key: item for key, item in value.items() if key != "module"}
            return str(value.get("module", "")), rest, place_of(value, at)
        name, _, rest_text = str(value or "").partition(" ")
        return name, Template(rest_text, place_of(value, at)), place_of(value, at)

    def _arguments(self, module: ModuleEntry, value: Any, extra: Any, at: Location) -> tuple[dict[str, Any], str | None]:
        args: dict[str, Any] = dict(extra) if isinstance(extra, Mapping) else {}
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
            raise LanguageError(f"{module.name} takes no free text: {rest!r}", at=place)
        return {**args, **named}, None

    def _check_arguments(self, module: ModuleEntry, args: Mapping[str, Any], value: Any, at: Location) -> None:
        """Every wrong parameter at once: unknown ones, and constants of the wrong type."""
        if module.open_ended:
            return
        names = canonical_names(module.params)
        places: Mapping[str, Location] = getattr(value, "key_at", {})
        for key, given in args.items():
            place = places.get(key, at)
            if key not in names or key.startswith("_"):
                hint = keywords.suggestion(str(key), [name for name in names if not name.startswith("_")])
                message = f"unknown parameter '{key}' of {module.name}"
                self._errors.append(LanguageError(message, at=place, hint=hint))
            elif not contains_template(given):
                try:
                    validate({names[key]: module.params[names[key]]}, {names[key]: given})
                except ParameterError as problem:
                    self._errors.append(LanguageError(f"{module.name}: {problem.message}", at=place_of(given, place)))

    def _build(
        self, module: str, args: dict[str, Any], text: str | None, entry: Mapping[str, Any], inherited: Inherited, at: Location
    ) -> Task:
        register = entry.get("register")
        return Task(
            module=module,
            at=at,
            name=entry.get("name") or "",
            args=args,
            free_form=text,
            when=inherited.when,
            loop=_loop(entry, at),
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


class _Placed(dict[str, Any]):
    """Some keys of an entry, with the places of all."""

    def __init__(self, values: Mapping[str, Any], origin: Any) -> None:
        super().__init__(values)
        self.key_at = getattr(origin, "key_at", {})


def contains_template(value: Any) -> bool:
    """Whether the value is only known when it is rendered."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(contains_template(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(contains_template(item) for item in value)
    return False


def _loop(entry: Mapping[str, Any], at: Location) -> Loop | None:
    control = entry.get("loop_control") or {}
    if not isinstance(control, Mapping):
        raise LanguageError("loop_control must be a mapping", at=place_of(control, at))
    for key in control:
        if key not in keywords.LOOP_CONTROL:
            hint = keywords.suggestion(str(key), keywords.LOOP_CONTROL)
            raise LanguageError(f"unknown keyword '{key}' of loop_control", at=place_of(control, at), hint=hint)
    if "loop" not in entry:
        return None
    return Loop(
        entry["loop"],
        variable=str(control.get("loop_var", "item")),
        index_variable=str(control["index_var"]) if "index_var" in control else None,
        label=control.get("label"),
        pause=float(control.get("pause", 0)),
        extended=bool(control.get("extended", False)),
    )


def _retry(entry: Mapping[str, Any]) -> Retry | None:
    if "until" not in entry and "retries" not in entry:
        return None
    return Retry(conditions(entry.get("until")), entry.get("retries", 3), entry.get("delay", 5))
