"""The Jinja environments: sandboxed, strict about undefined names; native values for expressions, text for files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from opsplay.templating.filters import FILTERS
from opsplay.templating.tests import TESTS

# `missing` is how Jinja says that a name has no value: others take it from here.
__all__ = ["ExpressionEnvironment", "FileEnvironment", "Undefined", "join_native", "missing"]


class Undefined(StrictUndefined):
    """An undefined name stays undefined whatever is looked up in it, so that `a.b.c | default(x)` works."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> Any:
        return self


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
    return "" if value is None else str(value)


COLLECTION = "ansible.builtin."
ESCAPE = re.compile(r"\\(.)", re.DOTALL)


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


class _Base(SandboxedEnvironment):
    """What both environments share."""

    context_class = LazyContext
    code_generator_class: type[CodeGenerator] = _Unfolded

    def __init__(self, **options: Any) -> None:
        extensions = ["jinja2.ext.do", "jinja2.ext.loopcontrols"]
        super().__init__(undefined=Undefined, extensions=extensions, cache_size=0, optimized=False, **options)
        for known, ours in ((self.filters, FILTERS), (self.tests, TESTS)):
            known.update(ours)
            known.update({COLLECTION + name: function for name, function in known.items()})
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
        return self.from_string(self._with_backslashes(source) if "\\" in source else source)

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
        parser = Parser(self, source, state="variable")
        expression = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateSyntaxError(f"unexpected {parser.stream.current.value!r}", parser.stream.current.lineno)
        body: list[nodes.Node] = [nodes.Output([expression], lineno=1)]
        template = nodes.Template(body, lineno=1)
        template.set_environment(self)
        return self.from_string(template)


class FileEnvironment(_Base):
    """For template files: the result is text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(keep_trailing_newline=True, finalize=_finalize, **options)


def _finalize(value: Any) -> Any:
    return "" if value is None else value
