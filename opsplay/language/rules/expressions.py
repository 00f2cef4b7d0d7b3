"""Rules of templates and conditions: what does not parse, filters, tests and lookups that nobody knows."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

from opsplay.documents.values import Template, place_of
from opsplay.errors import LanguageError, LanguageWarning, Location, OpsplayError, TemplateError
from opsplay.templating.compiler import (
    COMPILER,
    HEADER,
    check_condition,
    header_options,
    is_template,
    shorten,
    syntax_error,
)
from opsplay.templating.environment import FileEnvironment
from opsplay.templating.lookups import NAMES as LOOKUPS
from opsplay.templating.lookups import short_name

CONDITIONS = ("when", "changed_when", "failed_when", "until", "break_when")

LOOKUP_FUNCTIONS = ("lookup", "query", "q")
# Filters that take the name of a further filter or of a test, and which of their arguments that is.
TAKES_FILTER = {"map": 0}
TAKES_TEST = {"select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}


class UnknownLookup(TemplateSyntaxError):
    """A lookup that nobody knows."""


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
    """Every mistake in every template of a structure."""
    if isinstance(value, Template):
        if is_template(value):
            yield from _problems(text_mistakes(value), place_of(value, at))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from templates(item, at)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from templates(item, at)


def template_file(source: str, options: Mapping[str, Any], at: Location) -> Iterator[OpsplayError]:
    """Every mistake of a template file, rendered with these options of Jinja."""
    shift = 0
    if source.startswith(HEADER):
        line, _, source = source.partition("\n")
        shift = 1
        try:
            options = {**options, **header_options(line, at)}
        except TemplateError as problem:
            yield problem
            return
    for mistake in _mistakes(FileEnvironment(**options).parse, source):
        mistake.lineno += shift
        yield from _problems([mistake], at)


def expression(value: Template, at: Location) -> Iterator[OpsplayError]:
    """Every mistake of a bare expression."""
    yield from _problems(expression_mistakes(value), place_of(value, at))


def conditions(values: Iterable[Any], at: Location) -> Iterator[OpsplayError]:
    """Every mistake of conditions."""
    for value in values:
        if isinstance(value, Template):
            yield from _condition(value.strip(), place_of(value, at))
        elif isinstance(value, (Mapping, list, tuple)):
            yield LanguageError("a condition must be an expression", at=place_of(value, at), rule="keyword-value")


def constant_condition(value: Any, at: Location) -> Iterator[OpsplayError]:
    """A condition of `when` that no variable decides."""
    if isinstance(value, Template):
        root = _root(value.strip())
        if not isinstance(root, nodes.Const) or isinstance(root.value, (str, float)):
            return
        value, at = root.value, place_of(value, at)
    if isinstance(value, (bool, int)):
        always = "always" if value else "never"
        yield LanguageWarning(f"this condition {always} holds", at=at, rule="constant-condition")


def _condition(text: str, at: Location) -> Iterator[OpsplayError]:
    if not text:
        return
    is_text = text.startswith(("{{", "{%"))
    mistakes = text_mistakes(text) if is_text else expression_mistakes(text)
    if not is_text and "{{" in text and (mistakes or _has_text_with_braces(text)):
        message = f"a condition is an expression by itself: {shorten(text)}"
        yield TemplateError(message, at=at, hint="leave out {{ and }}", rule="condition-braces")
    elif mistakes:
        yield from _problems(mistakes, at)
    elif is_text:
        try:
            check_condition(text, at)
        except TemplateError as problem:
            yield problem
    else:
        yield from _operands(_root(text), at)


def _has_text_with_braces(text: str) -> bool:
    """Whether an expression compares with a text that looks like a template, but is none there."""
    root = _root(text)
    constants = root.find_all(nodes.Const) if root is not None else ()
    return any("{{" in str(node.value) and "}}" in str(node.value) for node in constants)


def _operands(node: nodes.Node | None, at: Location) -> Iterator[OpsplayError]:
    """Texts and numbers among what `and`, `or` and `not` join."""
    if isinstance(node, (nodes.And, nodes.Or)):
        yield from _operands(node.left, at)
        yield from _operands(node.right, at)
    elif isinstance(node, nodes.Not):
        yield from _operands(node.node, at)
    elif isinstance(node, nodes.Const) and isinstance(node.value, (str, float)):
        message = f"{node.value!r} stands by itself in this condition, and always counts as true"
        hint = "compare it with something, as in: name == 'a' or name == 'b'"
        yield LanguageError(message, at=at, hint=hint, rule="condition-operand")


@functools.lru_cache(maxsize=4096)
def _root(text: str) -> nodes.Node | None:
    """The outermost operation of an expression; None when it does not parse."""
    try:
        output = COMPILER.expressions.expression_tree(text).body[0]
    except TemplateSyntaxError:
        return None
    assert isinstance(output, nodes.Output)
    return output.nodes[0]


@functools.lru_cache(maxsize=4096)
def text_mistakes(text: str) -> tuple[TemplateSyntaxError, ...]:
    """What is wrong in a text with expressions in it."""
    return tuple(_mistakes(COMPILER.expressions.text_tree, text))


@functools.lru_cache(maxsize=4096)
def expression_mistakes(text: str) -> tuple[TemplateSyntaxError, ...]:
    """What is wrong in a bare expression."""
    return tuple(_mistakes(COMPILER.expressions.expression_tree, text))


def _mistakes(parse: Callable[[str], nodes.Template], text: str) -> Iterator[TemplateSyntaxError]:
    try:
        tree = parse(text)
    except TemplateSyntaxError as problem:
        yield problem
        return
    except RecursionError:
        yield TemplateSyntaxError("it is nested too deeply", 1)
        return
    for node in tree.find_all((nodes.Filter, nodes.Test, nodes.Call)):
        yield from _unknown_names(node)


def _unknown_names(node: nodes.Expr) -> Iterator[TemplateSyntaxError]:
    """The names of filters, tests and lookups in one call, as far as they are constants, that nobody knows."""
    filters, tests = COMPILER.expressions.filters, COMPILER.expressions.tests
    if isinstance(node, nodes.Filter):
        named = (node.name, _constant(node, TAKES_FILTER.get(node.name)))
        for name in filter(None, named):
            if name not in filters:
                yield TemplateSyntaxError(f"No filter named {name!r}.", node.lineno)
        test = _constant(node, TAKES_TEST.get(node.name))
        if test and test not in tests:
            yield TemplateSyntaxError(f"No test named {test!r}.", node.lineno)
    elif isinstance(node, nodes.Test):
        if node.name not in tests:
            yield TemplateSyntaxError(f"No test named {node.name!r}.", node.lineno)
    elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in LOOKUP_FUNCTIONS:
        lookup = _constant(node, 0)
        if lookup and short_name(lookup) not in LOOKUPS:
            yield UnknownLookup(f"No lookup named {lookup!r}", node.lineno)


def _constant(call: Any, position: int | None) -> str | None:
    """The text that a filter or function is given at a position."""
    if position is None or len(call.args) <= position:
        return None
    argument = call.args[position]
    return argument.value if isinstance(argument, nodes.Const) and isinstance(argument.value, str) else None


def _problems(mistakes: Iterable[TemplateSyntaxError], at: Location) -> Iterator[OpsplayError]:
    for mistake in mistakes:
        problem = syntax_error(mistake, at)
        if isinstance(mistake, UnknownLookup):
            name = short_name(str(mistake.message).split("'")[1])
            near = difflib.get_close_matches(name, LOOKUPS, n=1)
            problem.rule, problem.hint = "unknown-lookup", f"did you mean '{near[0]}'?" if near else None
        yield problem
