"""What is wrong before any host is asked: parameters of a wrong name or type, templates that do not parse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from opsplay.agent.spec import Param, ParameterError, canonical_names, validate
from opsplay.documents.values import Template, place_of
from opsplay.errors import LanguageError, Location, OpsplayError, TemplateError
from opsplay.language import keywords
from opsplay.templating.compiler import COMPILER, check_condition, is_template


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


def arguments(
    module: ModuleEntry, args: Mapping[str, Any], text: str | None, places: Mapping[str, Location], at: Location
) -> Iterator[OpsplayError]:
    """Every wrong parameter: unknown ones, missing ones, and constants of the wrong type."""
    if module.open_ended:
        return
    names = canonical_names(module.params)
    for key, given in args.items():
        place = places.get(key, at)
        if key not in names or key.startswith("_"):
            hint = keywords.suggestion(str(key), [name for name in names if not name.startswith("_")])
            yield LanguageError(f"unknown parameter '{key}' of {module.name}", at=place, hint=hint)
        elif given is not None and not contains_template(given):
            try:
                validate({key: module.params[names[key]]}, {key: given})
            except ParameterError as problem:
                yield LanguageError(f"{module.name}: {problem.message}", at=place_of(given, place))
    present = {names.get(key) for key, value in args.items() if value is not None}
    if text:
        present.add(module.free_form)
    for name, param in module.params.items():
        if param.required and name not in present:
            what = "has nothing to do" if name.startswith("_") else f"lacks the parameter '{name}'"
            yield LanguageError(f"{module.name} {what}", at=at)


def contains_template(value: Any) -> bool:
    """Whether the value is only known when it is rendered."""
    if isinstance(value, str):
        return is_template(value)
    if isinstance(value, Mapping):
        return any(contains_template(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(contains_template(item) for item in value)
    return False


def templates(value: Any, at: Location) -> Iterator[OpsplayError]:
    """Every template of a structure that does not parse."""
    if isinstance(value, Template):
        if is_template(value):
            yield from _problem(COMPILER.text, value, at)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from templates(item, at)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from templates(item, at)


def conditions(values: Iterable[Any], at: Location) -> Iterator[OpsplayError]:
    """Every condition that does not parse."""
    for value in values:
        if isinstance(value, Template):
            yield from _problem(check_condition, value, at)


def _problem(parse: Any, value: Template, at: Location) -> Iterator[OpsplayError]:
    try:
        parse(value, place_of(value, at))
    except TemplateError as problem:
        yield problem
