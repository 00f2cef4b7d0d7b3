"""Render values against a host's variables. Only `Template` strings are evaluated; compiled code is cached."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, MappingView
from typing import Any

import jinja2

from opsplay.documents.keyring import Encrypted
from opsplay.documents.values import NOWHERE, Template, place_of
from opsplay.errors import DocumentError, Location, OpsplayError, TemplateError, UndefinedVariable
from opsplay.templating.compiler import (
    COMPILER,
    Compiled,
    check_condition,
    is_template,
    place_in_file,
    shorten,
    syntax_error,
)
from opsplay.templating.environment import Undefined, join_native, missing
from opsplay.templating.lazy import ATOMS, LazyDict, Names

UNDEFINED_NAME = re.compile(r"'(\w+)' is undefined")


class Omit:
    """What `omit` stands for: a parameter with this value is as if it were not written."""

    def __repr__(self) -> str:
        return "omit"


OMIT = Omit()


class Templar:
    """Renders with the variables of one host at one task.

    `variables` finds a name's unrendered value, or gives `missing`; values that are templates are rendered when they
    are touched. `globals` are functions such as `lookup`; `names` are the variables that are known to exist.
    """

    def __init__(
        self,
        variables: Callable[[str], Any],
        globals: Mapping[str, Any] | None = None,
        names: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._variables = variables
        self.names = names
        self.globals = {
            **(globals or {}),
            "omit": OMIT,
            "vars": Names(self.lookup, names, missing),
            "__lookup__": self.lookup,
            "__templar__": self,
        }
        self._rendered: dict[str, Any] = {}
        # What is being rendered, each by its path, from the first that was asked for to the one that it needs now.
        self._path: list[str] = []

    def render(self, value: Any) -> Any:
        """The value with every template in it evaluated, in exact built-in types. Raises TemplateError."""
        try:
            return self._finish(self._render(value), value)
        except TemplateError as problem:
            problem.at = problem.at or known(place_of(value, NOWHERE))
            raise

    def _render(self, value: Any) -> Any:
        if isinstance(value, Template):
            return self._evaluate(value)
        if isinstance(value, dict):
            return {self._key(key): self._render(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._render(item) for item in value]
        return revealed(value) if isinstance(value, Encrypted) else value

    def _key(self, key: Any) -> Any:
        return str(self._evaluate(key)) if isinstance(key, Template) else key

    def _evaluate(self, text: Template) -> Any:
        if not is_template(text):
            return str.__str__(text)
        at = text.at
        value = self._run(COMPILER.text(text, at), text, at)
        return with_line_ends(value, text) if isinstance(value, str) and text.endswith("\n") else value

    def _run(self, compiled: Compiled, source: str, at: Location) -> Any:
        try:
            context = compiled.new_context(self.globals)
            return drawn(join_native(compiled.root_render_func(context)))
        except TemplateError as problem:
            problem.at = problem.at or known(at)
            raise
        except OpsplayError:
            raise
        except jinja2.UndefinedError as problem:
            raise self._undefined(problem, at, source) from problem
        except RecursionError as problem:
            raise TemplateError(f"{shorten(source)}: templates are nested too deeply", at=known(at)) from problem
        except Exception as problem:
            raise TemplateError(f"{shorten(source)}: {problem}", at=known(at)) from problem

    def _undefined(self, problem: jinja2.TemplateError, at: Location, source: str = "") -> UndefinedVariable:
        message = str(problem.message or problem)
        name = UNDEFINED_NAME.fullmatch(message)
        near = difflib.get_close_matches(name.group(1), list(self.names()), n=1) if name else []
        where = f" in {shorten(source)}" if source and source.strip("{} ") != (name and name.group(1)) else ""
        return UndefinedVariable(message + where, at=known(at), hint=f"did you mean '{near[0]}'?" if near else None)

    def value(self, name: str) -> Any:
        """A variable's rendered value, or jinja2's `missing`."""
        found = self.lookup(name)
        return found if found is missing else self._finish(found, name)

    def lookup(self, name: str) -> Any:
        """A name's value or `missing`, rendered as far as it is needed; undefined parts hurt when they are used."""
        if name in self._rendered:
            return self._rendered[name]
        value = self._variables(name)
        if value is missing:
            return missing
        rendered = self._render_lazily(value, name)
        self._rendered[name] = rendered
        return rendered

    def _render_lazily(self, value: Any, path: str) -> Any:
        if isinstance(value, Template):
            return self._render_once(value, path)
        if isinstance(value, dict):
            return LazyDict(value, path, self._part)
        if isinstance(value, (list, tuple)):
            return [item if type(item) in ATOMS else self._part(item, f"{path}[{n}]") for n, item in enumerate(value)]
        return revealed(value) if isinstance(value, Encrypted) else value

    def _render_once(self, value: Template, path: str) -> Any:
        """A template's value. Raises TemplateError when it needs itself."""
        if path in self._path:
            circle = [*self._path[self._path.index(path) :], path]
            raise TemplateError(f"a variable refers to itself: {' -> '.join(circle)}", at=known(value.at))
        self._path.append(path)
        try:
            return self._evaluate(value)
        finally:
            self._path.pop()

    def _part(self, value: Any, path: str) -> Any:
        try:
            return self._render_lazily(value, path)
        except UndefinedVariable as problem:
            return Undefined(hint=problem.message)

    def _finish(self, value: Any, source: Any) -> Any:
        if type(value) in (str, int, bool, float, type(None), bytes):
            return value
        if isinstance(value, jinja2.Undefined):
            raise self._undefined(undefined_problem(value), place_of(source, NOWHERE), text_of(source))
        if isinstance(value, str):
            return str.__str__(value)[:]
        if isinstance(value, dict):
            return {self._finish(key, source): self._finish(item, source) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._finish(item, source) for item in value]
        if value is OMIT or isinstance(value, (int, float)):
            return value
        if isinstance(value, datetime.date):
            return value.isoformat()
        if isinstance(value, datetime.timedelta):
            return str(value)
        if hasattr(value, "__iter__"):
            return [self._finish(item, source) for item in value]
        if callable(value):
            raise TemplateError(f"{text_of(source)}: a function is no value", at=known(place_of(source, NOWHERE)))
        return value

    def condition(self, value: Any, at: Location = NOWHERE) -> bool:
        """Whether a condition such as `when` holds: only the user's own text is evaluated. Raises TemplateError."""
        if isinstance(value, bool):
            return value
        if value is None:
            return True
        if isinstance(value, (list, tuple)):
            return all(self.condition(item, at) for item in value)
        if not isinstance(value, str):
            return bool(value)
        place = place_of(value, at)
        if not isinstance(value, Template):
            raise TemplateError(f"a condition cannot come from data: {shorten(value)}", at=known(place))
        text = value.strip()
        if not text:
            return True
        result = self._finish(self._run(check_condition(text, place), text, place), value)
        if text.startswith("{{") and isinstance(result, list):
            return self.condition(result, at)
        return truth(result)

    def file(
        self,
        source: str,
        options: Mapping[str, Any],
        folders: tuple[str, ...],
        at: Location,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """A template file rendered as text; `variables` come before the host's own. Raises TemplateError."""
        compiled = COMPILER.file(source, options, folders, at)
        try:
            context = compiled.new_context(self.globals)
            context.vars.update(variables or {})
            text = "".join(compiled.root_render_func(context))
        except OpsplayError:
            raise
        except jinja2.UndefinedError as problem:
            raise self._undefined(problem, place_in_file(problem, at)) from problem
        except jinja2.TemplateSyntaxError as problem:
            raise syntax_error(problem, at) from problem
        except Exception as problem:
            raise TemplateError(str(problem), at=place_in_file(problem, at)) from problem
        return with_line_ends(text, source, options.get("newline_sequence", "\n"))


def revealed(value: Encrypted) -> str:
    """What an encrypted value holds: data. Raises TemplateError."""
    try:
        return value.reveal()
    except DocumentError as problem:
        raise TemplateError(problem.message, at=problem.at, hint=problem.hint) from problem


def with_line_ends(text: str, source: str, end: str = "\n") -> str:
    """A text with as many line ends at its end as its template has, some of which Jinja takes."""
    lost = trailing(source, "\n") - trailing(text, end)
    return text + end * lost if lost > 0 else text


def trailing(text: str, end: str) -> int:
    """How often a text ends with `end`."""
    count = 0
    while text.endswith(end, 0, len(text) - count * len(end)):
        count += 1
    return count


def truth(value: Any) -> bool:
    """A condition's result as a boolean: words such as "yes" and "false" count as what they say."""
    if isinstance(value, str):
        word = value.strip().lower()
        return word not in ("", "false", "no", "off", "0", "f", "n", "none")
    return bool(value)


def drawn(value: Any) -> Any:
    """What `map` and its kin give only once and only when asked, as a list."""
    if isinstance(value, (Iterator, MappingView, range)):
        pieces: Any = value
        return list(pieces)
    return value


def undefined_problem(value: jinja2.Undefined) -> jinja2.TemplateError:
    """What is wrong with an undefined value, or with one that the sandbox keeps."""
    try:
        str(value)
    except jinja2.TemplateError as problem:
        return problem
    return jinja2.UndefinedError("an undefined value")


def text_of(source: Any) -> str:
    """A template's own text for a message; nothing for a structure of them."""
    return shorten(source) if isinstance(source, Template) else ""


def known(at: Location) -> Location | None:
    return at if at.file else None
