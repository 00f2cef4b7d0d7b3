"""Render values against a host's variables. Only `Template` strings are evaluated; compiled code is cached."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, MappingView
from typing import Any

import jinja2

from opsplay.documents.values import NOWHERE, Template, place_of
from opsplay.errors import Location, OpsplayError, TemplateError, UndefinedVariable
from opsplay.templating.compiler import COMPILER, Compiled, check_condition, is_template, shorten, syntax_error
from opsplay.templating.environment import Undefined, join_native, missing

# Templates nest through variables; a name that needs itself would never end.
DEEPEST = 50


class Omit:
    """What `omit` stands for: a parameter with this value is as if it were not written."""

    def __repr__(self) -> str:
        return "omit"


OMIT = Omit()


class Templar:
    """Renders with the variables of one host at one task.

    `variables` finds a name's unrendered value, or gives `missing`; values that are templates are rendered when they
    are touched. `globals` are functions such as `lookup`.
    """

    def __init__(self, variables: Callable[[str], Any], globals: Mapping[str, Any] | None = None) -> None:
        self._variables = variables
        self._globals = {**(globals or {}), "omit": OMIT, "__lookup__": self._lookup, "__templar__": self}
        self._rendered: dict[str, Any] = {}
        self._depth = 0

    def render(self, value: Any) -> Any:
        """The value with every template in it evaluated, in exact built-in types. Raises TemplateError."""
        return self._finish(self._render(value), value)

    def _render(self, value: Any) -> Any:
        if isinstance(value, Template):
            return self._evaluate(value)
        if isinstance(value, dict):
            return {self._key(key): self._render(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._render(item) for item in value]
        return value

    def _key(self, key: Any) -> Any:
        return str(self._evaluate(key)) if isinstance(key, Template) else key

    def _evaluate(self, text: Template) -> Any:
        if not is_template(text):
            return str.__str__(text)
        at = text.at
        value = self._run(COMPILER.text(text, at), text, at)
        return with_line_ends(value, text) if text.endswith("\n") else value

    def _run(self, compiled: Compiled, source: str, at: Location) -> Any:
        self._depth += 1
        if self._depth > DEEPEST:
            self._depth = 0
            raise _circle(source, at)
        try:
            context = compiled.new_context(self._globals)
            return drawn(join_native(compiled.root_render_func(context)))
        except OpsplayError as problem:
            if problem.at is None and at.file and isinstance(problem, TemplateError):
                problem.at = at
            raise
        except jinja2.UndefinedError as problem:
            raise _undefined(problem, at) from problem
        except RecursionError as problem:
            raise _circle(source, at) from problem
        except Exception as problem:
            raise TemplateError(f"{shorten(source)}: {problem}", at=at if at.file else None) from problem
        finally:
            self._depth = max(0, self._depth - 1)

    def value(self, name: str) -> Any:
        """A variable's rendered value, or jinja2's `missing`."""
        found = self._lookup(name)
        return found if found is missing else self._finish(found, name)

    def _lookup(self, name: str) -> Any:
        """A name's value, rendered; undefined parts stay undefined until they are used."""
        if name in self._rendered:
            return self._rendered[name]
        value = self._variables(name)
        if value is missing:
            return missing
        rendered = self._render_lazily(value)
        self._rendered[name] = rendered
        return rendered

    def _render_lazily(self, value: Any) -> Any:
        if isinstance(value, Template):
            return self._evaluate(value)
        if type(value) in (dict, list) and not has_templates(value):
            return copied(value)
        if isinstance(value, dict):
            return {self._key(key): self._part(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._part(item) for item in value]
        return value

    def _part(self, value: Any) -> Any:
        try:
            return self._render_lazily(value)
        except UndefinedVariable as problem:
            return Undefined(hint=problem.message)

    def _finish(self, value: Any, source: Any) -> Any:
        if type(value) in (str, int, bool, float, type(None), bytes):
            return value
        if isinstance(value, jinja2.Undefined):
            at = place_of(source, NOWHERE)
            raise UndefinedVariable(undefined_message(value), at=at if at.file else None)
        if isinstance(value, str):
            return str.__str__(value)[:]
        if isinstance(value, dict):
            return {self._finish(key, source): self._finish(item, source) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._finish(item, source) for item in value]
        if value is OMIT or isinstance(value, (int, float)):
            return value
        if isinstance(value, (datetime.date, datetime.timedelta)):
            return str(value)
        if hasattr(value, "__iter__"):
            return [self._finish(item, source) for item in value]
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
            known = place if place.file else None
            raise TemplateError(f"a condition cannot come from data: {shorten(value)}", at=known)
        text = value.strip()
        if not text:
            return True
        result = self._finish(self._run(check_condition(text, place), text, place), value)
        if text.startswith("{{") and isinstance(result, list):
            return self.condition(result, at)
        return truth(result)

    def file(self, source: str, options: Mapping[str, Any], folders: tuple[str, ...], at: Location) -> str:
        """A template file rendered as text."""
        compiled = COMPILER.file(source, options, folders, at)
        try:
            context = compiled.new_context(self._globals)
            return "".join(compiled.root_render_func(context))
        except OpsplayError:
            raise
        except jinja2.UndefinedError as problem:
            raise _undefined(problem, _place_in_file(problem, at)) from problem
        except jinja2.TemplateSyntaxError as problem:
            raise syntax_error(problem, at) from problem
        except Exception as problem:
            raise TemplateError(str(problem), at=_place_in_file(problem, at)) from problem


def _place_in_file(problem: BaseException, at: Location) -> Location:
    """The line of a template, or of one that it includes, at which rendering failed."""
    place = at
    trace = problem.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            file = at.file if template.filename in (None, "<template>") else template.filename
            place = Location(str(file), template.get_corresponding_lineno(trace.tb_lineno))
        trace = trace.tb_next
    return place


def with_line_ends(value: Any, source: str) -> Any:
    """A text with as many line ends at its end as its template has, which Jinja would take one of; no other value."""
    if not isinstance(value, str):
        return value
    lost = trailing_line_ends(source) - trailing_line_ends(value)
    return value + "\n" * lost if lost > 0 else value


def trailing_line_ends(text: str) -> int:
    return len(text) - len(text.rstrip("\n"))


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


def copied(value: Any) -> Any:
    """The same structure in dictionaries and lists of its own: a template may append to what it was given."""
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if type(value) is list else value


def has_templates(value: Any) -> bool:
    """Whether anywhere in this structure there is something to evaluate."""
    if isinstance(value, str):
        return is_template(value)
    if isinstance(value, dict):
        return any(has_templates(item) or is_template(key) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return any(has_templates(item) for item in value)
    return False


def undefined_message(value: jinja2.Undefined) -> str:
    """What is undefined, in words."""
    try:
        str(value)
    except jinja2.TemplateError as problem:
        return str(problem.message or problem)
    return "an undefined value"


def _undefined(problem: jinja2.UndefinedError, at: Location) -> UndefinedVariable:
    return UndefinedVariable(str(problem.message or problem), at=at if at.file else None)


def _circle(source: str, at: Location) -> TemplateError:
    return TemplateError(f"a variable refers to itself: {shorten(source)}", at=at if at.file else None)
