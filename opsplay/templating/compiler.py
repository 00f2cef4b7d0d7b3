"""Templates, expressions and template files as compiled code, cached by their text; mistakes with their place."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jinja2

from opsplay.documents.values import Template
from opsplay.errors import Location, TemplateError
from opsplay.templating.environment import ExpressionEnvironment, FileEnvironment

_MARKERS = ("{{", "{%", "{#")

Compiled = Any


class Compiler:
    """Compiled templates of one process, by their text."""

    def __init__(self) -> None:
        self.expressions = ExpressionEnvironment()
        self._code: dict[tuple[str, str], Compiled] = {}
        self._files: dict[tuple[Any, ...], FileEnvironment] = {}
        self._lock = threading.Lock()

    def text(self, source: str, at: Location) -> Compiled:
        """A string with expressions in it."""
        return self._compile("text", source, at, self.expressions.from_text)

    def expression(self, source: str, at: Location) -> Compiled:
        """A bare expression, as in `when`."""
        return self._compile("expression", source, at, self.expressions.from_expression)

    def file(self, source: str, options: Mapping[str, Any], folders: tuple[str, ...], at: Location) -> Compiled:
        """A template file's text; `folders` are where it may include from."""
        key = (folders, tuple(sorted(options.items())))
        with self._lock:
            if key not in self._files:
                loader = jinja2.FileSystemLoader(list(folders)) if folders else None
                self._files[key] = FileEnvironment(loader=loader, **options)
        return self._compile(repr(key), source, at, self._files[key].from_string)

    def _compile(self, kind: str, source: str, at: Location, compile: Callable[[str], Compiled]) -> Compiled:
        found = self._code.get((kind, source))
        if found is not None:
            return found
        try:
            found = compile(source)
        except jinja2.TemplateSyntaxError as problem:
            raise syntax_error(problem, at) from problem
        self._code[(kind, source)] = found
        return found


def syntax_error(problem: jinja2.TemplateSyntaxError, at: Location) -> TemplateError:
    """What does not parse, with its line: of the file itself, or of the text that begins at a place."""
    place = at
    if at.file and not at.line:
        place = Location(problem.filename or at.file, problem.lineno)
    elif at.file and problem.lineno > 1:
        place = Location(at.file, at.line + problem.lineno - 1)
    return TemplateError(f"bad template: {problem.message}", at=place if place.file else None)


COMPILER = Compiler()


def check_condition(text: str, at: Location) -> Compiled:
    """A condition, compiled: a bare expression; one in {{ and }}, or a text that {% begins, is taken as well.

    Raises TemplateError.
    """
    text = text.strip()
    if not text.startswith(("{{", "{%")):
        return COMPILER.expression(text, at)
    compiled = COMPILER.text(text, at)
    kinds = [kind for _, kind, _ in COMPILER.expressions.lex(text)]
    if text.startswith("{{") and (kinds.count("variable_begin") != 1 or kinds[-1] != "variable_end"):
        problem = f"a condition is an expression by itself: {shorten(text)}"
        raise TemplateError(problem, at=at if at.file else None, hint="leave out {{ and }}")
    return compiled


def is_template(value: Any) -> bool:
    """Whether rendering this value could change it."""
    return isinstance(value, Template) and any(marker in value for marker in _MARKERS)


def shorten(text: str, limit: int = 80) -> str:
    """A template as an error message shows it."""
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"
