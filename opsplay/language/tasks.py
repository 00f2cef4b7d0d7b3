"""Tasks, blocks and handlers, with their module's arguments checked by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from opsplay.documents.values import NOWHERE, Template, place_of
from opsplay.errors import LanguageError, LanguageWarning, Location, OpsplayError
from opsplay.language import includes, keywords, roles
from opsplay.language.arguments import free_form, key_values
from opsplay.language.foreign import is_foreign
from opsplay.language.includes import IMPORT_ROLE, IMPORT_TASKS, INCLUDE_ROLE, INCLUDE_TASKS, Reading
from opsplay.language.inherit import Inherited, as_tuple, conditions
from opsplay.language.loops import is_with, loop_of
from opsplay.language.rules import entries as entry_rules
from opsplay.language.rules import tasks as task_rules
from opsplay.language.rules.arguments import Arguments, ModuleEntry
from opsplay.model import Background, Block, Handler, Retry, Task

SECTIONS = ("block", "rescue", "always")

# What Ansible itself has taken out of the language.
REMOVED = {"include": "use include_tasks or import_tasks"}

NO_TASK = "a task must be a mapping with a module and its parameters"
QUOTE = 'quote a value that holds blanks, as in msg="two words"'


class TaskParser:
    """Parses lists of tasks that lie in `folder`; errors are added to the reading's, and the faulty task left out."""

    def __init__(self, reading: Reading, folder: str) -> None:
        self.reading = reading
        self.folder = folder

    def within(self, path: str, at: Location) -> TaskParser:
        """A parser for a further file. Raises LanguageError for a circle."""
        return TaskParser(self.reading.into(path, at), includes.parent_folder(path))

    def apart(self) -> TaskParser:
        """A parser for the same place whose findings are its own: for what is read while the play runs."""
        return TaskParser(self.reading.apart(), self.folder)

    def perhaps(self) -> TaskParser:
        """A parser for the same place, of what may not be run."""
        return TaskParser(self.reading.perhaps(), self.folder)

    def included(self) -> TaskParser:
        """A parser for the same place, of what an include brings in."""
        return TaskParser(self.reading.included(), self.folder)

    def sequence(self, entries: Any, inherited: Inherited, at: Location = NOWHERE) -> Iterator[Task | Block]:
        """The tasks and blocks of a list."""
        for entry, place in self._listed(entries, "tasks", at):
            try:
                yield from self._entry(entry, inherited, place)
            except OpsplayError as problem:
                self.reading.leave_out(problem)

    def handlers(self, entries: Any, inherited: Inherited, at: Location = NOWHERE) -> Iterator[Handler]:
        """The handlers of a list, with imports flattened."""
        for entry, place in self._listed(entries, "handlers", at):
            try:
                yield from self._handler(entry, inherited, place)
            except OpsplayError as problem:
                self.reading.leave_out(problem)

    def _listed(self, entries: Any, what: str, at: Location) -> Iterator[tuple[Any, Location]]:
        """The entries of a list, each with its place."""
        if entries is None:
            return
        place = place_of(entries, at)
        if not isinstance(entries, list):
            at_place = place if place.file else None
            self.reading.leave_out(LanguageError(f"{what} must be a list", at=at_place, rule="not-a-list"))
            return
        places = getattr(entries, "item_at", None) or [place_of(entry, place) for entry in entries]
        yield from zip(entries, places, strict=True)

    def _handler(self, entry: Any, inherited: Inherited, at: Location) -> Iterator[Handler]:
        name = self._import_of(entry, IMPORT_TASKS)
        if name is not None:
            path, extended = self._imported(entry, name, inherited, at)
            yield from includes.read_handlers(self, path, extended, at)
            return
        topics = tuple(str(topic) for topic in as_tuple(entry.get("listen"))) if isinstance(entry, Mapping) else ()
        yield Handler(self._task(entry, inherited, at, keywords.HANDLER), topics)

    def _entry(self, entry: Any, inherited: Inherited, at: Location) -> Iterator[Task | Block]:
        if not isinstance(entry, Mapping):
            raise LanguageError(NO_TASK, at=at, rule="not-a-mapping")
        if "block" in entry:
            yield self._block(entry, inherited, at)
        elif name := self._import_of(entry, IMPORT_TASKS):
            path, extended = self._imported(entry, name, inherited, at)
            yield from includes.read_tasks(self, path, extended, place_of(entry[name], at))
        elif name := self._import_of(entry, IMPORT_ROLE):
            yield from self._imported_role(entry, name, inherited, at)
        else:
            yield self._task(entry, inherited, at, keywords.TASK)

    @staticmethod
    def _import_of(entry: Any, names: tuple[str, ...]) -> str | None:
        return next((name for name in names if isinstance(entry, Mapping) and name in entry), None)

    def _imported(self, entry: Any, name: str, inherited: Inherited, at: Location) -> tuple[str, Inherited]:
        """The file of an `import_tasks`, and the keywords that hold for it."""
        self.reading.errors += keywords.wrong(entry, entry, keywords.IMPORT | {name}, "import_tasks", at)
        self.reading.tell(entry_rules.problems(entry, at))
        file = self.reading.render(includes.file_of(entry[name]))
        if not file:
            raise LanguageError("import_tasks names no file", at=at, rule="missing-name")
        path = includes.find_tasks(self.reading, self.folder, str(file), inherited.role)
        return path, inherited.extend(entry, at, own_vars=True)

    def _imported_role(
        self, entry: Mapping[str, Any], name: str, inherited: Inherited, at: Location
    ) -> tuple[Task | Block, ...]:
        self.reading.errors += keywords.wrong(entry, entry, keywords.IMPORT | {name}, "import_role", at)
        self.reading.tell(entry_rules.problems(entry, at))
        value = entry[name]
        given = dict(value) if isinstance(value, Mapping) else key_values(str(value), place_of(value, at))[0]
        args = {**_further_arguments(entry.get("args"), at), **given}
        request = roles.RoleRequest.from_arguments(self.reading.render(args), place_of(value, at), inherited.role)
        extended = inherited.extend(entry, at, own_vars=True)
        found = roles.load_role(self.perhaps() if extended.when else self, request, extended)
        if found.role is not None:
            self.reading.roles.append(found.role)
        return found.entries

    def _block(self, entry: Mapping[str, Any], inherited: Inherited, at: Location) -> Block:
        self.reading.errors += keywords.wrong(entry, entry, keywords.BLOCK, "a block", at)
        self.reading.tell(entry_rules.problems(entry, at))
        extended = inherited.extend(entry, at, own_vars=True)
        places: Mapping[str, Location] = getattr(entry, "key_at", {})
        body, rescue, always = (
            tuple(self.sequence(entry.get(name), extended, places.get(name, at))) for name in SECTIONS
        )
        return Block(at, body, rescue, always, name=str(entry.get("name") or ""))

    def _task(self, entry: Any, inherited: Inherited, at: Location, known: frozenset[str]) -> Task:
        if not isinstance(entry, Mapping):
            raise LanguageError(NO_TASK, at=at, rule="not-a-mapping")
        name, value, place = self._module_of(entry, at, known)
        module = self.reading.catalog.find(name)
        if module is None:
            return self._without_module(name, entry, inherited, place, known)
        keys = [key for key in entry if key in known]
        self.reading.errors += keywords.wrong(keys, entry, known, "a task", at)
        args, text = self._arguments(module, value, entry.get("args"), place)
        defaults = inherited.extend({key: entry[key] for key in ("module_defaults",) if key in entry}, at)
        args = {**defaults.default_arguments(module.name, self.reading.catalog.short_name), **args}
        places = {**getattr(entry.get("args"), "key_at", {}), **getattr(value, "key_at", {})}
        known_place = place_of(value, place) if isinstance(value, str) else place
        extended = inherited.extend({key: entry[key] for key in keys}, at, own_vars=True)
        arguments = Arguments(module, args, text, places, known_place)
        self.reading.tell(task_rules.problems(task_rules.TaskEntry(entry, at, known, arguments, extended)))
        task = self._build(module.name, args, text, entry, extended, at)
        return self._including(task, inherited)

    def _including(self, task: Task, inherited: Inherited) -> Task:
        """An include with what is known of the tasks that it brings in."""
        if task.module == INCLUDE_TASKS:
            return replace(task, include=includes.included_tasks(self, inherited, task))
        if task.module == INCLUDE_ROLE:
            return replace(task, include=roles.included_role(self, inherited, task))
        return task

    def _without_module(
        self, name: str, entry: Mapping[str, Any], inherited: Inherited, at: Location, known: frozenset[str]
    ) -> Task:
        """A task whose module there is not: one that may never be reached fails when it is. Raises LanguageError."""
        if not is_foreign(name, self.reading.catalog.short_name(name)):
            raise self._unknown(name, at, known)
        message = f"opsplay has no module '{name}'"
        extended = inherited.extend({key: entry[key] for key in entry if key in known}, at, own_vars=True)
        if not (extended.when or self.reading.is_conditional):
            raise LanguageError(message, at=at, rule="foreign-module")
        hint = "the task fails if it is reached"
        self.reading.tell([LanguageWarning(message, at=at, hint=hint, rule="foreign-module")])
        kept = {key: entry[key] for key in ("name", "register") if key in entry}
        return self._build("fail", {"msg": message}, None, {"name": name, **kept}, extended, at)

    def _unknown(self, name: str, at: Location, known: frozenset[str]) -> LanguageError:
        short = self.reading.catalog.short_name(name)
        if short in REMOVED:
            message = f"the module '{name}' is no longer part of the language"
            return LanguageError(message, at=at, hint=REMOVED[short], rule="removed-module")
        hint = self.reading.catalog.suggestion(name) or keywords.suggestion(name, known)
        return LanguageError(f"unknown module or keyword '{name}'", at=at, hint=hint, rule="unknown-module")

    def _module_of(self, entry: Mapping[str, Any], at: Location, known: frozenset[str]) -> tuple[str, Any, Location]:
        others = [key for key in entry if key not in known and not is_with(key)]
        places: Mapping[str, Location] = getattr(entry, "key_at", {})
        if "action" in entry or "local_action" in entry:
            return self._action_of(entry.get("action", entry.get("local_action")), at)
        if not others:
            raise LanguageError("the task names no module", at=at, rule="task-without-module")
        modules = [key for key in others if self.reading.catalog.find(str(key)) is not None]
        if len(modules) > 1:
            both = f"{modules[0]} and {modules[1]}"
            at = places.get(modules[1], at)
            raise LanguageError(f"two modules in one task: {both}", at=at, rule="two-modules")
        name = (modules or others)[0]
        if modules:
            wrong = [key for key in others if key != name]
            self.reading.errors += keywords.wrong(wrong, entry, known, "a task", at)
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
        args = _further_arguments(extra, at)
        if value is None:
            return args, None
        if isinstance(value, Mapping):
            return {**args, **value}, None
        if not isinstance(value, str):
            message = f"the parameters of {module.name} must be a mapping"
            raise LanguageError(message, at=place_of(value, at), rule="module-arguments")
        place = place_of(value, at)
        if module.free_form:
            named, rest = free_form(value, module.params, place)
            return {**args, **named}, Template(rest, place)
        named, rest = key_values(value, place)
        if rest and not named and value.strip().startswith("{{"):
            message = f"{module.name}: parameters cannot come from one template"
            raise LanguageError(message, at=place, rule="module-arguments")
        if rest:
            message = f"{module.name} takes no free text: {rest!r}"
            raise LanguageError(message, at=place, hint=QUOTE, rule="module-arguments")
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
        nearest = dict(inherited.nearest or {})
        if "local_action" in entry:
            nearest["delegate_to"] = "localhost"
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
            background=_background(entry),
            role=inherited.role,
            params=inherited.params,
            **nearest,
        )


def _further_arguments(value: Any, at: Location) -> dict[str, Any]:
    """What stands under `args`. Raises LanguageError."""
    if value is not None and not isinstance(value, Mapping):
        at = place_of(value, at)
        raise LanguageError("args must be a mapping of parameters", at=at, rule="not-a-mapping")
    return dict(value or {})


def _retry(entry: Mapping[str, Any]) -> Retry | None:
    if "until" not in entry and "retries" not in entry:
        return None
    return Retry(conditions(entry.get("until")), entry.get("retries", 3), entry.get("delay", 5))


def _background(entry: Mapping[str, Any]) -> Background | None:
    return Background(entry["async"], entry.get("poll", 15)) if entry.get("async") else None
