"""Filters that walk into nested lists and dictionaries (ansible.utils)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jinja2 import Undefined, pass_environment
from jinja2.environment import Environment

from opsplay.errors import TemplateError

STEP = re.compile(r"""\.?([^.\[\]]+)|\[(-?\d+)\]|\[(["'])(.*?)\3\]""")
PLAIN_KEY = re.compile(r"[A-Za-z_]\w*")


def steps(path: str) -> list[Any]:
    """The keys and indices of a path such as `a.b[0]['c.d']`."""
    found: list[Any] = []
    place = 0
    while place < len(path):
        step = STEP.match(path, place)
        if step is None:
            raise TemplateError(f"get_path: cannot read {path!r}", hint="write it as a.b[0]")
        name, index, _, quoted = step.groups()
        found.append(int(index) if index is not None else name if name is not None else quoted)
        place = step.end()
    return found


@pass_environment
def get_path(environment: Environment, value: Any, path: str, wantlist: bool = False) -> Any:
    for step in steps(path):
        key = int(step) if isinstance(value, list) and str(step).lstrip("-").isdigit() else step
        value = environment.getitem(value, key)
        if isinstance(value, Undefined):
            str(value)
    return value if isinstance(value, list) or not wantlist else [value]


def to_paths(value: Any, prepend: str | None = None, wantlist: bool = False) -> Any:
    """Every leaf by its path."""
    found = dict(_leaves(value, prepend or ""))
    return [found] if wantlist else found


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            dotted = f"{path}.{key}" if path else str(key)
            yield from _leaves(item, dotted if PLAIN_KEY.fullmatch(str(key)) else f"{path}[{key!r}]")
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}[{number}]")
    else:
        yield path, value


@pass_environment
def index_of(
    environment: Environment,
    value: list[Any],
    test: str,
    other: Any = None,
    key: str | None = None,
    fail_on_missing: bool = False,
    wantlist: bool = False,
) -> Any:
    """Where a test holds of an item, or of what the item has at `key`: a number, or a list of none or several."""
    arguments = [] if other is None else [other]
    found = []
    for number, item in enumerate(value):
        if key is not None and key not in item:
            if fail_on_missing:
                raise TemplateError(f"index_of: there is no {key!r} in {item!r}")
            continue
        if environment.call_test(test, item if key is None else item[key], arguments):
            found.append(number)
    return found[0] if len(found) == 1 and not wantlist else found


FILTERS: dict[str, Callable[..., Any]] = {"get_path": get_path, "to_paths": to_paths, "index_of": index_of}
