"""Filters of lists and dictionaries. Sets keep the order in which their members came."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import Undefined, pass_environment
from jinja2.environment import Environment
from jinja2.filters import do_unique

from opsplay.errors import TemplateError

LIST_MERGES = ("replace", "keep", "append", "prepend", "append_rp", "prepend_rp")


def as_list(value: Any) -> list[Any]:
    """The items of a list, the keys of a dictionary, the characters of a text."""
    if not isinstance(value, Iterable):
        raise TemplateError(f"expected a list, not {value!r}")
    return list(value)


def unique(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


@pass_environment
def unique_filter(
    environment: Environment, value: Any, case_sensitive: bool = False, attribute: str | None = None
) -> list[Any]:
    values = as_list(value)
    try:
        return list(do_unique(environment, values, case_sensitive, attribute))
    except TypeError:  # dictionaries and lists among them
        return unique(values)


def symmetric_difference(left: list[Any], right: list[Any]) -> list[Any]:
    return unique([item for item in left + right if (item in left) != (item in right)])


def of_sets(combined: Callable[[list[Any], list[Any]], list[Any]]) -> Callable[[Any, Any], list[Any]]:
    """A filter of two lists, each looked through once."""
    return lambda left, right: unique(combined(as_list(left), as_list(right)))


def flatten(value: Any, levels: int | None = None, skip_nulls: bool = True) -> list[Any]:
    found: list[Any] = []
    for item in as_list(value):
        if isinstance(item, (list, tuple)) and levels != 0:
            found += flatten(item, None if levels is None else levels - 1, skip_nulls)
        elif not (skip_nulls and item in (None, "None", "null")):
            found.append(item)
    return found


def combine(*values: Any, recursive: bool = False, list_merge: str = "replace") -> dict[Any, Any]:
    if list_merge not in LIST_MERGES:
        raise TemplateError(f"combine: unknown list_merge {list_merge!r}", hint=f"use one of {', '.join(LIST_MERGES)}")
    result: dict[Any, Any] = {}
    for value in flatten(list(values)):
        if isinstance(value, Undefined):
            str(value)
        if not isinstance(value, Mapping):
            raise TemplateError(f"combine needs dictionaries, not {value!r}")
        result = merge(result, value, recursive, list_merge)
    return result


def merge(left: Mapping[Any, Any], right: Mapping[Any, Any], recursive: bool, list_merge: str) -> dict[Any, Any]:
    """The right dictionary over the left, as `combine` documents its options."""
    result = dict(left)
    for key, value in right.items():
        old = result.get(key)
        if recursive and isinstance(old, Mapping) and isinstance(value, Mapping):
            result[key] = merge(old, value, recursive, list_merge)
        elif isinstance(old, list) and isinstance(value, list) and list_merge != "replace":
            result[key] = merge_lists(old, value, list_merge)
        else:
            result[key] = value
    return result


def merge_lists(old: list[Any], new: list[Any], how: str) -> list[Any]:
    if how == "keep":
        return old
    if how == "append":
        return old + new
    if how == "prepend":
        return new + old
    fresh = [item for item in old if item not in new]
    return fresh + new if how == "append_rp" else new + fresh


def dict2items(value: Any, key_name: str = "key", value_name: str = "value") -> list[dict[str, Any]]:
    if not isinstance(value, Mapping):
        raise TemplateError(f"dict2items needs a dictionary, not {value!r}")
    return [{key_name: key, value_name: item} for key, item in value.items()]


def items2dict(value: Any, key_name: str = "key", value_name: str = "value") -> dict[Any, Any]:
    try:
        return {item[key_name]: item[value_name] for item in as_list(value)}
    except (KeyError, TypeError) as problem:
        raise TemplateError(f"items2dict: every item needs {key_name!r} and {value_name!r}") from problem


@pass_environment
def extract(environment: Environment, key: Any, container: Any, morekeys: Any = None) -> Any:
    for name in [key, *([] if morekeys is None else morekeys if isinstance(morekeys, list) else [morekeys])]:
        container = environment.getitem(container, name)
    return container


def subelements(value: Any, path: Any, skip_missing: bool = False) -> list[Any]:
    elements = list(value.values()) if isinstance(value, Mapping) else as_list(value)
    parts = path if isinstance(path, list) else str(path).split(".")
    return [[element, item] for element in elements for item in _inner(element, parts, skip_missing)]


def _inner(element: Any, parts: list[str], skip_missing: bool) -> list[Any]:
    inner = element
    for part in parts:
        if not isinstance(inner, Mapping) or part not in inner:
            if skip_missing:
                return []
            raise TemplateError(f"subelements: there is no {part!r} in {element!r}")
        inner = inner[part]
    if not isinstance(inner, list):
        raise TemplateError(f"subelements: {parts[-1]!r} is no list in {element!r}")
    return inner


def rekey_on_member(value: Any, key: str, duplicates: str = "error") -> dict[Any, Any]:
    if duplicates not in ("error", "overwrite"):
        raise TemplateError(f"rekey_on_member: unknown value {duplicates!r} of duplicates")
    found: dict[Any, Any] = {}
    for item in value.values() if isinstance(value, Mapping) else as_list(value):
        if not isinstance(item, Mapping) or key not in item:
            raise TemplateError(f"rekey_on_member: there is no {key!r} in {item!r}")
        if item[key] in found and duplicates == "error":
            raise TemplateError(f"rekey_on_member: {item[key]!r} occurs twice")
        found[item[key]] = item
    return found


def lists(groups: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(group) for group in groups]


FILTERS: dict[str, Callable[..., Any]] = {
    "unique": unique_filter,
    "union": of_sets(lambda left, right: left + right),
    "intersect": of_sets(lambda left, right: [item for item in left if item in right]),
    "difference": of_sets(lambda left, right: [item for item in left if item not in right]),
    "symmetric_difference": of_sets(symmetric_difference),
    "zip": lambda first, *others: lists(zip(first, *others, strict=False)),
    "zip_longest": lambda *values, fillvalue=None: lists(itertools.zip_longest(*values, fillvalue=fillvalue)),
    "product": lambda *values, repeat=1: lists(itertools.product(*values, repeat=repeat)),
    "permutations": lambda value, size=None: lists(itertools.permutations(value, size)),
    "combinations": lambda value, size: lists(itertools.combinations(value, size)),
    "flatten": flatten,
    "combine": combine,
    "dict2items": dict2items,
    "items2dict": items2dict,
    "extract": extract,
    "subelements": subelements,
    "rekey_on_member": rekey_on_member,
}
