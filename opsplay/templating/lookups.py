"""Lookups: values from the control side. What they return is data, never a template."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from jinja2 import pass_context
from jinja2.runtime import Context as JinjaContext

from opsplay.errors import Location, TemplateError, UndefinedVariable
from opsplay.templating.environment import missing
from opsplay.templating.filters.text import as_text
from opsplay.templating.keeping import passwords
from opsplay.templating.listing import LISTINGS
from opsplay.templating.reading import READINGS, Reading
from opsplay.templating.search import SearchPath, read

COLLECTIONS = ("ansible.builtin.", "community.general.")

# What a failed lookup does, by its option `errors`.
ERRORS = ("strict", "warn", "ignore")


class Variables(Protocol):
    """What lookups may ask of a host's variables; a Templar answers."""

    names: Callable[[], Iterable[str]]

    def lookup(self, name: str) -> Any:
        """A variable's value, or `missing`."""

    def file(
        self,
        source: str,
        options: Mapping[str, Any],
        folders: tuple[str, ...],
        at: Location,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """A template's text."""


@dataclass(frozen=True)
class Context:
    """What a lookup sees of the run: where files lie, the host's variables, and the inventory's hosts by pattern."""

    search: SearchPath
    variables: Variables | None = None
    hosts: Callable[[Any], list[str]] | None = None


def context_of(templar: Any) -> Context:
    """What a lookup sees in the templates of one templar."""
    place: Context = templar.globals["__lookups__"]
    return replace(place, variables=templar)


Lookup = Callable[[Context, list[Any], Mapping[str, Any]], list[Any]]


def variables_of(context: Context) -> Variables:
    if context.variables is None:
        raise TemplateError("this lookup needs the variables of a host")
    return context.variables


def variables(context: Context, terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """Variables by names that are only known at run time."""
    found = []
    for term in terms:
        value = variables_of(context).lookup(as_text(term, "vars"))
        if value is missing:
            value = options.get("default")
            if value is None:
                raise UndefinedVariable(f"'{term}' is undefined")
        found.append(value)
    return found


def variable_names(context: Context, terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """The names of variables in which a regular expression is found."""
    known = sorted(variables_of(context).names())
    found = []
    for term in terms:
        try:
            pattern = re.compile(as_text(term, "varnames"))
        except re.error as problem:
            raise TemplateError(f"varnames: {term!r} is no regular expression: {problem}") from problem
        found += [name for name in known if pattern.search(name)]
    return found


def templates(context: Context, terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """Template files, rendered."""
    chosen = {"trim_blocks": True, "lstrip_blocks": False}
    chosen |= {name: value for name, value in options.items() if name in chosen or name.endswith("_string")}
    found = []
    for term in terms:
        path = context.search.find(str(term), "templates")
        folders = (os.path.dirname(path), *context.search.folders)
        render = variables_of(context).file
        found.append(render(read(path), chosen, folders, Location(path), options.get("template_vars")))
    return found


def host_names(context: Context, terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """The inventory's hosts that patterns match."""
    if context.hosts is None:
        raise TemplateError("inventory_hostnames needs an inventory")
    return context.hosts(terms)


def config(context: Context, terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """Ansible's own settings, of which opsplay has none."""
    if options.get("on_missing", "error") == "error":
        raise TemplateError(f"config: opsplay has no setting {terms[0]!r}" if terms else "config needs a name")
    return []


def reading(function: Reading) -> Lookup:
    return lambda context, terms, options: function(context.search, terms, options)


def listing(function: Callable[[list[Any], Mapping[str, Any]], list[Any]]) -> Lookup:
    return lambda context, terms, options: function(terms, options)


LOOKUPS: dict[str, Lookup] = {
    **{name: listing(function) for name, function in LISTINGS.items()},
    **{name: reading(function) for name, function in READINGS.items()},
    "password": reading(passwords),
    "vars": variables,
    "varnames": variable_names,
    "template": templates,
    "inventory_hostnames": host_names,
    "config": config,
}
NAMES = frozenset(LOOKUPS)


def short_name(name: str) -> str:
    """A lookup's name without its collection."""
    for prefix in COLLECTIONS:
        name = name.removeprefix(prefix)
    return name


def run(name: str, context: Context, terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """What a lookup finds. Raises TemplateError, for an unknown name too."""
    short = short_name(name)
    if short not in LOOKUPS:
        near = difflib.get_close_matches(short, NAMES, n=1)
        raise TemplateError(f"unknown lookup '{name}'", hint=f"did you mean '{near[0]}'?" if near else None)
    return LOOKUPS[short](context, terms, options)


def make_lookups(
    search: SearchPath | str,
    hosts: Callable[[Any], list[str]] | None = None,
    warn: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """The functions `lookup`, `query` and `q` of templates.

    `search` is where files are looked for, `hosts` gives the hosts of patterns, `warn` hears of failures that a
    playbook passes over with `errors='warn'`.
    """
    def ask(jinja: JinjaContext, name: Any, terms: list[Any], options: dict[str, Any]) -> list[Any] | None:
        """What is found; None when it failed and that shall be passed over."""
        errors = options.pop("errors", "strict")
        if errors not in ERRORS:
            raise TemplateError(f"lookup: unknown value {errors!r} of errors", hint=f"use one of {', '.join(ERRORS)}")
        try:
            return run(str(name), context_of(jinja.parent["__templar__"]), terms, options)
        except TemplateError as problem:
            if errors == "strict":
                raise
            if errors == "warn":
                warn(f"lookup {name}: {problem}")
            return None

    @pass_context
    def query(jinja: JinjaContext, name: str, *terms: Any, **options: Any) -> list[Any]:
        return ask(jinja, name, list(terms), options) or []

    @pass_context
    def lookup(jinja: JinjaContext, name: str, *terms: Any, **options: Any) -> Any:
        wants_list = options.pop("wantlist", False)
        found = ask(jinja, name, list(terms), options)
        if wants_list or found is None:
            return found or [] if wants_list else None
        if len(found) == 1:
            return found[0]
        return ",".join(found) if found and all(isinstance(entry, str) for entry in found) else found

    place = Context(SearchPath.of(search), hosts=hosts)
    return {"lookup": lookup, "query": query, "q": query, "__lookups__": place}
