"""Templates, expressions and template files as compiled code, cached by their text; mistakes with their place."""

from __future__ import annotations

import ast
import difflib
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jinja2

from opsplay.documents.values import Template
from opsplay.errors import Location, TemplateError
from opsplay.templating.environment import ExpressionEnvironment, FileEnvironment

_MARKERS = ("{{", "{%", "{#")

# A template file's first line may set Jinja's options for that file.
HEADER = "#jinja2:"
NOT_FOUND = re.compile(r"No (filter|test) named '(.+?)'")

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
        header = source.startswith(HEADER)
        if header:
            line, _, source = source.partition("\n")
            options = {**options, **header_options(line, at)}
        key = (folders, tuple(sorted(options.items())))
        with self._lock:
            if key not in self._files:
                loader = jinja2.FileSystemLoader(list(folders)) if folders else None
                self._files[key] = FileEnvironment(loader=loader, **options)
        return self._compile(repr(key), source, at, self._files[key].from_string, shift=int(header))

    def _compile(
        self, kind: str, source: str, at: Location, compile: Callable[[str], Compiled], shift: int = 0
    ) -> Compiled:
        """Compiled code; `shift` lines of the file come before its text."""
        found = self._code.get((kind, source))
        if found is not None:
            return found
        try:
            found = compile(source)
        except jinja2.TemplateSyntaxError as problem:
            problem.lineno += shift
            raise syntax_error(problem, at) from problem
        found.shift = shift
        self._code[(kind, source)] = found
        return found


def header_options(line: str, at: Location) -> dict[str, Any]:
    """The options of a file's first line, as in `#jinja2: lstrip_blocks: True, trim_blocks: False`."""
    found = {}
    for word in line.removeprefix(HEADER).split(","):
        name, _, value = word.partition(":")
        try:
            found[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError) as problem:
            raise TemplateError(f"cannot read {word.strip()!r} in the first line", at=Location(at.file, 1)) from problem
    wrong = found.keys() - FileEnvironment.OPTIONS
    if wrong:
        raise TemplateError(f"unknown option {min(wrong)!r} in the first line", at=Location(at.file, 1))
    return found


def place_in_file(problem: BaseException, at: Location) -> Location:
    """The line of a template, or of one that it includes, at which rendering failed."""
    place = at
    trace = problem.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            file = at.file if template.filename in (None, "<template>") else template.filename
            line = template.get_corresponding_lineno(trace.tb_lineno) + getattr(template, "shift", 0)
            place = Location(str(file), line)
        trace = trace.tb_next
    return place


def syntax_error(problem: jinja2.TemplateSyntaxError, at: Location) -> TemplateError:
    """What does not parse, with its line: of the file itself, or of the text that begins at a place."""
    place = at
    if at.file and not at.line:
        place = Location(problem.filename or at.file, problem.lineno)
    elif at.file and problem.lineno > 1:
        place = Location(at.file, at.line + problem.lineno - 1)
    message, hint = str(problem.message), near_name(str(problem.message))
    message = message.rstrip(".") if hint else message
    missing = NOT_FOUND.match(message)
    rule = f"unknown-{missing.group(1)}" if missing else None
    return TemplateError(f"bad template: {message}", at=place if place.file else None, hint=hint, rule=rule)


def near_name(message: str) -> str | None:
    """What may have been meant by a filter or a test that Jinja does not find."""
    found = NOT_FOUND.match(message)
    if found is None:
        return None
    kind, name = found.groups()
    names = COMPILER.expressions.filters if kind == "filter" else COMPILER.expressions.tests
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{near[0]}'?" if near else None


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
        raise TemplateError(problem, at=at if at.file else None, hint="leave out {{ and }}", rule="condition-braces")
    return compiled


def is_template(value: Any) -> bool:
    """Whether rendering this value could change it."""
    return isinstance(value, Template) and any(marker in value for marker in _MARKERS)


def shorten(text: str, limit: int = 80) -> str:
    """A template as an error message shows it."""
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"
