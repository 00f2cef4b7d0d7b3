"""Tests beyond Jinja's own: of registered results, of texts, of collections."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping
from typing import Any

from opsplay.errors import TemplateError


def flag(result: Any, name: str) -> bool:
    """A registered result's field; anything else is a mistake of the playbook."""
    if not isinstance(result, Mapping):
        raise TemplateError(f"the test needs a registered result, not {result!r}")
    return bool(result.get(name, False))


def changed(result: Any) -> bool:
    if flag(result, "changed"):
        return True
    return any(flag(item, "changed") for item in result.get("results", ()) if isinstance(item, Mapping))


def match(value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False) -> bool:
    flags = (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)
    return re.match(pattern, str(value), flags) is not None


def search(value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False) -> bool:
    flags = (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)
    return re.search(pattern, str(value), flags) is not None


def version_key(text: str) -> list[Any]:
    """A version's parts for a loose comparison: numbers as numbers, words before them."""
    parts = re.findall(r"\d+|[a-zA-Z]+", text)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
OPERATOR_NAMES = {
    "=": "==", "eq": "==", "<>": "!=", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip


def version(value: Any, other: Any, operator: str = "eq", strict: bool | None = None, version_type: str | None = None) -> bool:
    operator = OPERATOR_NAMES.get(operator, operator)
    if operator not in OPERATORS:
        raise TemplateError(f"version: unknown operator {operator!r}")
    return OPERATORS[operator](version_key(str(value)), version_key(str(other)))


TESTS: dict[str, Callable[..., Any]] = {
    "changed": changed,
    "change": changed,
    "failed": lambda result: flag(result, "failed"),
    "failure": lambda result: flag(result, "failed"),
    "succeeded": lambda result: not flag(result, "failed"),
    "success": lambda result: not flag(result, "failed"),
    "successful": lambda result: not flag(result, "failed"),
    "skipped": lambda result: flag(result, "skipped"),
    "skip": lambda result: flag(result, "skipped"),
    "unreachable": lambda result: flag(result, "unreachable"),
    "reachable": lambda result: not flag(result, "unreachable"),
    "finished": lambda result: flag(result, "finished"),
    "started": lambda result: flag(result, "started"),
    "match": match,
    "search": search,
    "regex": search,
    "version": version,
    "version_compare": version,
    "subset": lambda value, other: all(item in other for item in value),
    "issubset": lambda value, other: all(item in other for item in value),
    "superset": lambda value, other: all(item in value for item in other),
    "issuperset": lambda value, other: all(item in value for item in other),
    "contains": lambda value, item: item in value,
    "any": lambda value: any(value),
    "all": lambda value: all(value),
    "truthy": lambda value, convert_bool=False: bool(value),
    "falsy": lambda value, convert_bool=False: not value,
    "exists": lambda path: os.path.exists(path),
    "file": lambda path: os.path.isfile(path),
    "directory": lambda path: os.path.isdir(path),
    "link": lambda path: os.path.islink(path),
    "abs": lambda path: os.path.isabs(path),
}
