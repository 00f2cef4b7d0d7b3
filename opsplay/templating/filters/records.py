"""Filters of lists of dictionaries, and JMESPath (community.general)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opsplay.documents.values import plain
from opsplay.errors import TemplateError
from opsplay.templating.filters.collections import LIST_MERGES, as_list, merge

# How a key is compared with a target.
MATCHES: dict[str, Callable[[str, str], Any]] = {
    "equal": str.__eq__,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "regex": lambda key, target: re.match(target, key),
}


def json_query(value: Any, expression: str) -> Any:
    """What a JMESPath expression selects (jmespath.org)."""
    try:
        import jmespath
    except ImportError as problem:
        hint = "pip install 'opsplay[json_query]'"
        raise TemplateError("json_query needs the Python package jmespath", hint=hint) from problem
    try:
        return jmespath.search(expression, plain(value))
    except jmespath.exceptions.JMESPathError as problem:
        raise TemplateError(f"json_query: {expression!r}: {problem}") from problem


def lists_mergeby(*values: Any, recursive: bool = False, list_merge: str = "replace") -> list[Any]:
    """One list of all dictionaries, those with the same value of a key merged; ordered by that key."""
    *lists, key = values
    if not isinstance(key, str) or list_merge not in LIST_MERGES:
        raise TemplateError("lists_mergeby needs lists, the name of a key, and a known list_merge")
    found: dict[Any, dict[Any, Any]] = {}
    for item in _flat(lists):
        if not isinstance(item, Mapping):
            raise TemplateError(f"lists_mergeby needs dictionaries, not {item!r}")
        if key in item:
            found[item[key]] = merge(found.get(item[key], {}), item, recursive, list_merge)
    return [found[name] for name in sorted(found)]


def _flat(lists: Iterable[Any]) -> Iterable[Any]:
    for entry in lists:
        if not isinstance(entry, list):
            raise TemplateError(f"expected a list, not {entry!r}")
        yield from _flat(entry) if entry and all(isinstance(inner, list) for inner in entry) else entry


def matcher(target: Any, how: str) -> Callable[[Any], bool]:
    """Whether a key is one of the targets."""
    if how not in MATCHES:
        raise TemplateError(f"unknown matching_parameter {how!r}", hint=f"use one of {', '.join(MATCHES)}")
    targets = [target] if isinstance(target, str) else as_list(target)
    return lambda key: any(MATCHES[how](str(key), str(wanted)) for wanted in targets)


def keep_keys(value: Any, target: Any = (), matching_parameter: str = "equal") -> list[Any]:
    wanted = matcher(target, matching_parameter)
    return [{key: entry for key, entry in item.items() if wanted(key)} for item in dictionaries(value)]


def remove_keys(value: Any, target: Any = (), matching_parameter: str = "equal") -> list[Any]:
    unwanted = matcher(target, matching_parameter)
    return [{key: entry for key, entry in item.items() if not unwanted(key)} for item in dictionaries(value)]


def replace_keys(value: Any, target: Any = (), matching_parameter: str = "equal") -> list[Any]:
    try:
        names = [(matcher(entry["before"], matching_parameter), entry["after"]) for entry in as_list(target)]
    except (KeyError, TypeError) as problem:
        raise TemplateError("replace_keys: every target needs before and after") from problem

    def renamed(key: Any) -> Any:
        return next((after for matches, after in names if matches(key)), key)

    return [{renamed(key): entry for key, entry in item.items()} for item in dictionaries(value)]


def dictionaries(value: Any) -> list[Any]:
    found = as_list(value)
    if isinstance(value, (str, Mapping)) or not all(isinstance(item, Mapping) for item in found):
        raise TemplateError(f"expected a list of dictionaries, not {value!r}")
    return found


def groupby_as_dict(value: Any, attribute: str) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for item in dictionaries(value):
        if attribute not in item:
            raise TemplateError(f"groupby_as_dict: there is no {attribute!r} in {item!r}")
        if item[attribute] in found:
            raise TemplateError(f"groupby_as_dict: {item[attribute]!r} occurs twice")
        found[item[attribute]] = item
    return found


FILTERS: dict[str, Callable[..., Any]] = {
    "json_query": json_query,
    "lists_mergeby": lists_mergeby,
    "keep_keys": keep_keys,
    "remove_keys": remove_keys,
    "replace_keys": replace_keys,
    "groupby_as_dict": groupby_as_dict,
}
