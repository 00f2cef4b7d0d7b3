"""The Jinja environments: sandboxed, strict about undefined names; native values for expressions, text for files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jinja2 import StrictUndefined
from jinja2.compiler import CodeGenerator
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from opsplay.templating.filters import FILTERS
from opsplay.templating.tests import TESTS

# `missing` is how Jinja says that a name has no value: others take it from here.
__all__ = ["ExpressionEnvironment", "FileEnvironment", "Undefined", "join_native", "missing", "references"]


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


class _Base(SandboxedEnvironment):
    """What both environments share."""

    context_class = LazyContext

    def __init__(self, **options: Any) -> None:
        super().__init__(
            undefined=Undefined, extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"], cache_size=0, **options
        )
        self.filters.update(FILTERS)
        self.tests.update(TESTS)

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

    code_generator_class: type[CodeGenerator] = NativeCodeGenerator
    concat = staticmethod(join_native)


class FileEnvironment(_Base):
    """For template files: the result is text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(keep_trailing_newline=True, finalize=_finalize, **options)


def _finalize(value: Any) -> Any:
    return "" if value is None else value


def references(environment: SandboxedEnvironment, source: str) -> frozenset[str]:
    """The variable names that a template reads. Raises jinja2.TemplateSyntaxError."""
    from jinja2 import meta

    return frozenset(meta.find_undeclared_variables(environment.parse(source)))


