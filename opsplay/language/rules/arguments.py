"""Rules of a module's parameters: unknown ones, wrong values, missing ones, and those that exclude each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from opsplay.agent.spec import Param, ParameterError, canonical_names, validate
from opsplay.documents.values import place_of
from opsplay.errors import LanguageError, Location, OpsplayError
from opsplay.language import keywords
from opsplay.language.rules.expressions import contains_template


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
    @property
    def exclusive(self) -> tuple[tuple[str, str], ...]: ...


@dataclass(frozen=True)
class Arguments:
    """What a task gives to its module: parameters with their places, and the text of a free form."""

    module: ModuleEntry
    given: Mapping[str, Any]
    text: str | None
    places: Mapping[str, Location]
    at: Location

    def place(self, key: str) -> Location:
        return self.places.get(key, self.at)


def names_and_values(arguments: Arguments) -> Iterator[OpsplayError]:
    """Unknown parameters, and constants of the wrong type."""
    module = arguments.module
    names = canonical_names(module.params)
    for key, value in arguments.given.items():
        if key not in names or str(key).startswith("_"):
            hint = keywords.suggestion(str(key), [name for name in names if not name.startswith("_")])
            message = f"unknown parameter '{key}' of {module.name}"
            yield LanguageError(message, at=arguments.place(key), hint=hint, rule="unknown-parameter")
        elif value is not None and not contains_template(value):
            try:
                validate({key: module.params[names[key]]}, {key: value})
            except ParameterError as problem:
                place = place_of(value, arguments.place(key))
                yield LanguageError(f"{module.name}: {problem.message}", at=place, rule="parameter-value")


def missing(arguments: Arguments) -> Iterator[OpsplayError]:
    """Parameters that the module needs."""
    module = arguments.module
    present = _present(arguments)
    for name, param in module.params.items():
        if param.required and name not in present:
            what = "has nothing to do" if name.startswith("_") else f"lacks the parameter '{name}'"
            yield LanguageError(f"{module.name} {what}", at=arguments.at, rule="missing-parameter")


def exclusive(arguments: Arguments) -> Iterator[OpsplayError]:
    """Parameters of which only one can be given. A template may give `omit`, and so nothing."""
    present = _present(arguments)
    for one, other in arguments.module.exclusive:
        keys = [key for key in (present.get(one), present.get(other)) if key is not None]
        if len(keys) == 2 and not any("omit" in str(arguments.given.get(key)) for key in keys):
            message = f"{arguments.module.name}: '{keys[0]}' and '{keys[1]}' exclude each other"
            at = max(map(arguments.place, keys))
            yield LanguageError(message, at=at, rule="exclusive-parameters")


def _present(arguments: Arguments) -> dict[str | None, str]:
    """The parameters that are given, by their own name, each with the name that the task calls it by."""
    names = canonical_names(arguments.module.params)
    present = {names.get(key): key for key, value in arguments.given.items() if value is not None}
    if arguments.text and arguments.module.free_form:
        present[arguments.module.free_form] = arguments.module.free_form
    return present


RULES = (names_and_values, missing, exclusive)


def problems(arguments: Arguments) -> Iterator[OpsplayError]:
    """All that is wrong with a module's parameters, as far as it is known before the run."""
    if not arguments.module.open_ended:
        for rule in RULES:
            yield from rule(arguments)
