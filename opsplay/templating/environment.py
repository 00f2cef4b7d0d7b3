"""The Jinja environments: sandboxed, strict about undefined names; native values for expressions, text for files."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, cast

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from opsplay.templating import filters, tests
from opsplay.templating.filters import FILTERS
from opsplay.templating.lazy import no_key
from opsplay.templating.tests import TESTS

# `missing` is how Jinja says that a name has no value: others take it from here.
__all__ = ["ExpressionEnvironment", "FileEnvironment", "Undefined", "join_native", "missing"]


class Undefined(StrictUndefined):
    """An undefined name stays undefined whatever is looked up in it, so that `a.b.c | default(x)` works."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        """What is undefined: an object that was looked into may say so itself, by its method `__undefined__`."""
        owner, name = self._undefined_obj, self._undefined_name
        if self._undefined_hint:
            return self._undefined_hint
        if hasattr(type(owner), "__undefined__"):
            return str(owner.__undefined__(name))
        return no_key("the dictionary", owner, name) if isinstance(owner, dict) else super()._undefined_message

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> Any:
        return self

    def __repr__(self) -> str:
        """What text is made of cannot hold what is undefined."""
        return str(self)


def join_native(values: Iterable[Any]) -> Any:
    """One expression keeps its type; several pieces become text."""
    found = list(values)
    if not found:
        return ""
    if len(found) == 1:
        return found[0]
    return "".join(as_text(value) for value in found)


def as_text(value: Any) -> str:
    """A value inside a longer text. An undefined one raises."""
    return "" if value is None else str(listed(value))


def listed(value: Any) -> Any:
    """Tuples inside a value as lists: text shows what YAML and JSON have."""
    if type(value) in (tuple, list):
        return [listed(item) for item in value]
    return {key: listed(item) for key, item in value.items()} if type(value) is dict else value


Functions = dict[str, Callable[..., Any]]

COLLECTION = "ansible.builtin."
ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Registry(Functions):
    """Filters or tests by name; those of further collections are loaded when a name is asked for that is not there."""

    def __init__(self, known: Functions, further: Callable[[], dict[str, Functions]]) -> None:
        super().__init__(known)
        self.update({COLLECTION + name: function for name, function in known.items()})
        self._further: Callable[[], dict[str, Functions]] | None = further

    def __missing__(self, name: str) -> Callable[..., Any]:
        further = self._further
        if further is None:
            raise KeyError(name)
        for collection, functions in further().items():
            for short, function in functions.items():
                self.setdefault(short, function)
                self[f"{collection}.{short}"] = function
        self._further = None  # only now, so that another thread does not look too early
        return self[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401

    def __contains__(self, name: object) -> bool:
        if not super().__contains__(name) and self._further is not None and isinstance(name, str):
            try:
                self.__missing__(name)
            except KeyError:
                return False
        return super().__contains__(name)


def _doubled(escape: re.Match[str]) -> str:
    """An escape in a string constant that shall stand for its own two characters."""
    char = escape.group(1)
    return "\\\\" + ("\\" + char if char in "'\"" else "\\\\" if char == "\\" else char)


def now(utc: bool = False, fmt: str | None = None) -> Any:
    """The time, as text when `fmt` says how."""
    moment = datetime.now(timezone.utc).replace(tzinfo=None) if utc else datetime.now()
    return moment.strftime(fmt) if fmt else moment


def undef(hint: str | None = None) -> Undefined:
    """A value that must be given by somebody else: using it is an error."""
    return Undefined(hint=hint)


class LazyContext(Context):
    """Looks names up through the run's variables, which render themselves when touched."""

    def resolve_or_missing(self, key: str) -> Any:
        if key in self.vars:
            return self.vars[key]
        if key.startswith("__"):
            return missing  # ours, not the template's
        lookup = self.parent.get("__lookup__")
        if lookup is not None:
            value = lookup(key)
            if value is not missing:
                return value
        if key in self.parent:
            return self.parent[key]
        return missing


class _Unfolded(CodeGenerator):
    """Evaluates expressions when a template is rendered, not when it is compiled: chance and time are new each time."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> Any:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)


class _Typed(_Unfolded, NativeCodeGenerator):
    """Constants keep their type too: Jinja would write them into the code as text."""


# Jinja's own filters that give their items only once. Ansible makes lists of them, which have a length and can be
# looked into again.
GENERATING = frozenset(
    {"batch", "items", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "unique"}
)


def to_list(filter_of_jinja: Callable[..., Any]) -> Callable[..., Any]:
    """The filter with a list for a generator; what Jinja has noted on the function is kept."""

    @functools.wraps(filter_of_jinja)
    def listing(*args: Any, **options: Any) -> Any:
        found = filter_of_jinja(*args, **options)
        return list(found) if isinstance(found, Iterator) else found

    return listing


class _Base(SandboxedEnvironment):
    """What both environments share."""

    context_class = LazyContext
    code_generator_class: type[CodeGenerator] = _Unfolded

    def __init__(self, **options: Any) -> None:
        extensions = ["jinja2.ext.do", "jinja2.ext.loopcontrols"]
        super().__init__(undefined=Undefined, extensions=extensions, cache_size=0, optimized=False, **options)
        known_filters, known_tests = cast(Functions, self.filters), cast(Functions, self.tests)
        of_jinja = {name: to_list(known) if name in GENERATING else known for name, known in known_filters.items()}
        self.filters = cast(Any, Registry({**of_jinja, **FILTERS}, filters.of_collections))
        self.tests = cast(Any, Registry({**known_tests, **TESTS}, tests.of_collections))
        self.globals.update(now=now, undef=undef)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not attr.startswith("_") and super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        # Dictionaries are what playbooks look into: a key comes before a method of the same name.
        if isinstance(obj, dict):
            try:
                return obj[attribute]
            except KeyError:
                pass
        return super().getattr(obj, attribute)


class ExpressionEnvironment(_Base):
    """For values in playbooks: `"{{ ports }}"` gives the list itself."""

    code_generator_class: type[CodeGenerator] = _Typed
    concat = staticmethod(join_native)

    def __init__(self) -> None:
        super().__init__(trim_blocks=True)

    def from_text(self, source: str) -> Template:
        """A playbook's value. As in Ansible, backslashes between {{ and }} are what they seem: `'\\1'` is no character.

        Raises jinja2.TemplateSyntaxError.
        """
        return self.from_string(self.text_tree(source))

    def text_tree(self, source: str) -> nodes.Template:
        """The syntax of a playbook's value. Raises jinja2.TemplateSyntaxError."""
        return self.parse(self._with_backslashes(source) if "\\" in source else source)

    def _with_backslashes(self, source: str) -> str:
        inside = False
        found: list[str] = []
        for _, kind, text in self.lex(source):
            if kind in ("variable_begin", "variable_end"):
                inside = kind == "variable_begin"
            found.append(ESCAPE.sub(_doubled, text) if inside and kind == "string" else text)
        return "".join(found)

    def from_expression(self, source: str) -> Template:
        """One bare expression, as in `when`. Raises jinja2.TemplateSyntaxError."""
        return self.from_string(self.expression_tree(source))

    def expression_tree(self, source: str) -> nodes.Template:
        """The syntax of one bare expression. Raises jinja2.TemplateSyntaxError."""
        parser = Parser(self, source, state="variable")
        expression = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateSyntaxError(f"unexpected {parser.stream.current.value!r}", parser.stream.current.lineno)
        body: list[nodes.Node] = [nodes.Output([expression], lineno=1)]
        template = nodes.Template(body, lineno=1)
        template.set_environment(self)
        return template


class FileEnvironment(_Base):
    """For template files: the result is text."""

    # What a file may choose for itself.
    OPTIONS = frozenset(
        ["trim_blocks", "lstrip_blocks", "newline_sequence", "line_statement_prefix", "line_comment_prefix"]
        + [f"{kind}_{end}_string" for kind in ("block", "variable", "comment") for end in ("start", "end")]
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(finalize=_finalize, **options)


def _finalize(value: Any) -> Any:
    return "" if value is None else listed(value)
