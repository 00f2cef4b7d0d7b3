"""Rules of everything that has keywords: plays, blocks, tasks, roles and imports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opsplay.documents.values import place_of
from opsplay.errors import LanguageError, Location, OpsplayError
from opsplay.language.inherit import as_tuple, conditions
from opsplay.language.keywords import words
from opsplay.language.rules import expressions, names
from opsplay.templating.compiler import is_template

# Keywords whose values are no templates, or are looked at as what they are: lists of entries, conditions, parameters.
ELSEWHERE = words(
    """action args block rescue always handlers local_action loop_control post_tasks pre_tasks roles tasks
    vars_prompt"""
) | set(expressions.CONDITIONS)


@dataclass(frozen=True)
class Entry:
    """A play, block, task or import as it is written."""

    values: Mapping[str, Any]
    at: Location

    def keywords(self) -> Iterator[tuple[str, Any]]:
        """The keywords with their values."""
        yield from self.values.items()

    def place(self, key: str) -> Location:
        """Where a keyword's value stands, or the keyword itself."""
        places: Mapping[str, Location] = getattr(self.values, "key_at", {})
        return place_of(self.values.get(key), places.get(key, self.at))


def templates(entry: Entry) -> Iterator[OpsplayError]:
    """Templates in the values of keywords."""
    for key, value in entry.keywords():
        if key not in ELSEWHERE:
            yield from expressions.templates(value, entry.at)


def every_condition(entry: Entry) -> Iterator[OpsplayError]:
    """Conditions, wherever one may stand."""
    for key in expressions.CONDITIONS:
        yield from expressions.conditions(conditions(entry.values.get(key)), entry.place(key))


def constant_when(entry: Entry) -> Iterator[OpsplayError]:
    """A `when` that no variable decides."""
    for value in conditions(entry.values.get("when")):
        yield from expressions.constant_condition(value, entry.place("when"))


def variables(entry: Entry) -> Iterator[OpsplayError]:
    """The names of the variables in `vars`."""
    yield from names.variables(entry.values.get("vars"), entry.place("vars"))


def module_defaults_are_mappings(entry: Entry) -> Iterator[OpsplayError]:
    """Parameters by module: a mapping, or several in a list."""
    for layer in as_tuple(entry.values.get("module_defaults")):
        modules = layer.values() if isinstance(layer, Mapping) else [None]
        if not all(isinstance(given, Mapping) or is_template(given) for given in modules):
            message = "module_defaults: expected a mapping of modules to their parameters"
            yield LanguageError(message, at=entry.place("module_defaults"), rule="keyword-value")


def vars_are_a_mapping(entry: Entry) -> Iterator[OpsplayError]:
    """What `vars` is, where no play says so itself."""
    value = entry.values.get("vars")
    if value is not None and not isinstance(value, Mapping):
        message = "vars: expected a mapping of names to values"
        yield LanguageError(message, at=entry.place("vars"), rule="keyword-value")


RULES: tuple[Callable[[Entry], Iterator[OpsplayError]], ...] = (
    templates,
    every_condition,
    constant_when,
    variables,
    vars_are_a_mapping,
    module_defaults_are_mappings,
)


def problems(values: Mapping[str, Any], at: Location) -> Iterator[OpsplayError]:
    """All that is wrong with the keywords of a block, import or role."""
    entry = Entry(values, at)
    for rule in RULES:
        yield from rule(entry)
