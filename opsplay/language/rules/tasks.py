"""Rules of tasks: their module, parameters, conditions, loops, and the names that they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opsplay.documents.values import Template
from opsplay.errors import LanguageError, LanguageWarning, Location, OpsplayError
from opsplay.language.inherit import Inherited, conditions
from opsplay.language.keywords import words
from opsplay.language.loops import WITH, is_with
from opsplay.language.rules import arguments, entries, expressions, names
from opsplay.language.rules.arguments import Arguments
from opsplay.language.rules.entries import Entry
from opsplay.templating.compiler import is_template

# The keywords that hold for an include itself; all others must be handed on to its tasks by `apply`.
OF_INCLUDES = words(
    """action args collections debugger ignore_errors listen local_action loop loop_control name no_log register
    run_once tags timeout vars when"""
)
INCLUDES = ("include_tasks", "include_role")

# Loops over lists, for which one word is hardly a list of one; all of a dictionary.
OVER_LISTS = words("items list flattened indexed_items nested cartesian together random_choice subelements")
OVER_DICTIONARIES = ("dict",)


@dataclass(frozen=True)
class TaskEntry(Entry):
    """A task as it is written, with the keywords (`known`) among its words, its module, and what holds for it."""

    known: frozenset[str]
    arguments: Arguments
    inherited: Inherited

    def keywords(self) -> Iterator[tuple[str, Any]]:
        for key, value in self.values.items():
            if key in self.known or is_with(key):
                yield key, value

    @property
    def module(self) -> str:
        return self.arguments.module.name


def parameters(task: TaskEntry) -> Iterator[OpsplayError]:
    """The module's parameters."""
    yield from arguments.problems(task.arguments)


def parameter_templates(task: TaskEntry) -> Iterator[OpsplayError]:
    """Templates in parameters; `that` of assert holds conditions, `var` of debug an expression."""
    given = dict(task.arguments.given)
    if task.module == "assert":
        yield from expressions.conditions(conditions(given.pop("that", None)), task.arguments.at)
    if task.module == "debug" and isinstance(given.get("var"), Template) and not is_template(given["var"]):
        yield from expressions.expression(given.pop("var"), task.arguments.at)
    yield from expressions.templates([given, task.arguments.text], task.arguments.at)


def break_condition(task: TaskEntry) -> Iterator[OpsplayError]:
    """The condition that ends a loop."""
    control = task.values.get("loop_control")
    if isinstance(control, Mapping):
        found = conditions(control.get("break_when"))
        yield from expressions.conditions(found, task.place("loop_control"))
        rest = {key: value for key, value in control.items() if key != "break_when"}
        yield from expressions.templates(rest, task.place("loop_control"))


def registered_name(task: TaskEntry) -> Iterator[OpsplayError]:
    """The variable that takes the task's result."""
    if task.values.get("register") is not None:
        yield from names.variable(task.values["register"], task.place("register"), "register-name")


def loop_names(task: TaskEntry) -> Iterator[OpsplayError]:
    """The variables of a loop."""
    control = task.values.get("loop_control")
    if isinstance(control, Mapping):
        inner = Entry(control, task.place("loop_control"))
        for key in ("loop_var", "index_var"):
            if control.get(key) is not None:
                yield from names.variable(control[key], inner.place(key))


def facts_have_names(task: TaskEntry) -> Iterator[OpsplayError]:
    """The variables that set_fact sets."""
    if task.module == "set_fact":
        for name in task.arguments.given:
            yield from names.variable(name, task.arguments.place(name))


def loop_over_a_list(task: TaskEntry) -> Iterator[OpsplayError]:
    """What is looped over: a constant must be a list, and one word is most likely a variable's name."""
    value = task.values.get("loop")
    if value is not None and not isinstance(value, (list, tuple)) and not is_template(value):
        yield LanguageError("loop needs a list", at=task.place("loop"), hint=_braces(value), rule="loop-value")
    for key, value in task.values.items():
        name = str(key).removeprefix(WITH) if is_with(key) else ""
        if name in OVER_DICTIONARIES and not isinstance(value, Mapping) and not is_template(value):
            message = f"{key} needs a dictionary"
            yield LanguageError(message, at=task.place(key), hint=_braces(value), rule="loop-value")
        elif name in OVER_LISTS and names.is_variable(value) and not is_template(value):
            message = f"{key} goes over the one text '{value}'"
            yield LanguageWarning(message, at=task.place(key), hint=_braces(value), rule="bare-variable")


def _braces(value: Any) -> str | None:
    return f'to go over a variable, write "{{{{ {value} }}}}"' if names.is_variable(value) else None


def keywords_of_includes(task: TaskEntry) -> Iterator[OpsplayError]:
    """An include does not hand its keywords on to the tasks that it brings in."""
    if task.module not in INCLUDES:
        return
    places: Mapping[str, Location] = getattr(task.values, "key_at", {})
    for key in task.values:
        if key in task.known and key not in OF_INCLUDES:
            message = f"'{key}' has no effect on {task.module}"
            hint = f"hand it on with apply: {{{key}: …}}, or put the include into a block that has it"
            yield LanguageError(message, at=places.get(key, task.at), hint=hint, rule="include-keyword")


def become_user_becomes(task: TaskEntry) -> Iterator[OpsplayError]:
    """A user to become, and nobody says that one becomes another user."""
    if task.values.get("become_user") is not None and task.inherited.become.enabled is None:
        message = "become_user has no effect without become"
        at = task.place("become_user")
        yield LanguageWarning(message, at=at, hint="add become: true", rule="become-user-alone")


def never_alone(task: TaskEntry) -> Iterator[OpsplayError]:
    """A task that no tag of its own can choose."""
    if task.inherited.tags == {"never"} and "tags" in task.values:
        hint = "give it a further tag by which it is chosen"
        message = "this task runs only with --tags never"
        yield LanguageWarning(message, at=task.place("tags"), hint=hint, rule="never-alone")


RULES: tuple[Callable[[TaskEntry], Iterator[OpsplayError]], ...] = (
    parameters,
    parameter_templates,
    *entries.RULES,
    break_condition,
    registered_name,
    loop_names,
    facts_have_names,
    loop_over_a_list,
    keywords_of_includes,
    become_user_becomes,
    never_alone,
)


def problems(task: TaskEntry) -> Iterator[OpsplayError]:
    """All that is wrong with a task."""
    for rule in RULES:
        yield from rule(task)
