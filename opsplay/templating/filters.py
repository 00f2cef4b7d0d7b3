"""Filters beyond Jinja's own, with the names and results that Ansible's documentation gives them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import json
import os.path
import re
import shlex
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import Undefined, pass_environment
from jinja2.environment import Environment
from jinja2.filters import do_unique

from opsplay.errors import TemplateError

Filter = Callable[..., Any]
FILTERS: dict[str, Filter] = {}

# Version 5 UUIDs of to_uuid are in this namespace, as Ansible's documentation of the filter says.
UUID_NAMESPACE = uuid.UUID("361E6D51-FAEC-444A-9079-341386DA8E2E")


def register(*names: str) -> Callable[[Filter], Filter]:
    """Give a function to templates as a filter."""

    def keep(function: Filter) -> Filter:
        for name in names:
            FILTERS[name] = function
        return function

    return keep


@register("bool")
def to_boolean(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    return str(value).strip().lower() in ("y", "yes", "on", "1", "true", "t", "1.0")


@register("ternary")
def ternary(value: Any, true_value: Any, false_value: Any, none_value: Any = None) -> Any:
    if value is None and none_value is not None:
        return none_value
    return true_value if value else false_value


@register("mandatory")
def mandatory(value: Any, msg: str | None = None) -> Any:
    if isinstance(value, Undefined):
        raise TemplateError(msg or "a mandatory variable is not defined")
    return value


# --- text ---


def regex_flags(ignorecase: bool, multiline: bool) -> int:
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


@register("regex_replace")
def regex_replace(
    value: Any, pattern: str = "", replacement: str = "", ignorecase: bool = False, multiline: bool = False, count: int = 0
) -> str:
    return re.sub(pattern, replacement, str(value), count=count, flags=regex_flags(ignorecase, multiline))


@register("regex_search")
def regex_search(value: Any, pattern: str, *groups: str, ignorecase: bool = False, multiline: bool = False) -> Any:
    found = re.search(pattern, str(value), regex_flags(ignorecase, multiline))
    if found is None:
        return None
    wanted = [int(name[1:]) if name[1:].isdigit() else name[3:-1] for name in groups]
    return [found.group(name) for name in wanted] if wanted else found.group()


@register("regex_findall")
def regex_findall(value: Any, pattern: str, ignorecase: bool = False, multiline: bool = False) -> list[Any]:
    return re.findall(pattern, str(value), regex_flags(ignorecase, multiline))


@register("regex_escape")
def regex_escape(value: Any) -> str:
    return re.escape(str(value))


@register("quote")
def quote(value: Any) -> str:
    return shlex.quote("" if value is None else str(value))


@register("comment")
def comment(value: Any, style: str = "plain", decoration: str | None = None) -> str:
    marks = {"plain": "# ", "erlang": "% ", "c": "// ", "cblock": " * ", "xml": " - "}
    mark = decoration if decoration is not None else marks[style]
    lines = [f"{mark}{line}".rstrip() for line in str(value).splitlines()]
    border = [mark.rstrip()]
    ends = {"cblock": (["/*"], [" */"]), "xml": (["<!--"], ["-->"])}.get(style, ([], []))
    return "\n".join([*ends[0], *border, *lines, *border, *ends[1]])


# --- paths ---

FILTERS.update(
    basename=lambda value: os.path.basename(str(value)),
    dirname=lambda value: os.path.dirname(str(value)),
    expanduser=lambda value: os.path.expanduser(str(value)),
    realpath=lambda value: os.path.realpath(str(value)),
    relpath=lambda value, start=".": os.path.relpath(str(value), start),
    splitext=lambda value: list(os.path.splitext(str(value))),
    path_join=lambda value: os.path.join(*([value] if isinstance(value, str) else value)),
)


# --- formats ---


def default_json(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


@register("to_json")
def to_json(value: Any, indent: int | None = None, sort_keys: bool = False, **options: Any) -> str:
    return json.dumps(value, indent=indent, sort_keys=sort_keys, default=default_json, **options)


@register("to_nice_json")
def to_nice_json(value: Any, indent: int = 4, sort_keys: bool = True, **options: Any) -> str:
    return json.dumps(value, indent=indent, sort_keys=sort_keys, separators=(",", ": "), default=default_json, **options)


@register("from_json")
def from_json(value: Any) -> Any:
    return json.loads(value)


@register("to_yaml")
def to_yaml(value: Any, default_flow_style: bool | None = None, **options: Any) -> str:
    import yaml

    from opsplay.documents.values import plain

    text: str = yaml.safe_dump(plain(value), default_flow_style=default_flow_style, allow_unicode=True, **options)
    return text


@register("to_nice_yaml")
def to_nice_yaml(value: Any, indent: int = 4, **options: Any) -> str:
    return to_yaml(value, default_flow_style=False, indent=indent, **options)


@register("from_yaml")
def from_yaml(value: Any) -> Any:
    import yaml

    return yaml.safe_load(str(value))


@register("b64encode")
def b64encode(value: Any, encoding: str = "utf-8") -> str:
    return base64.b64encode(str(value).encode(encoding, "surrogateescape")).decode("ascii")


@register("b64decode")
def b64decode(value: Any, encoding: str = "utf-8") -> str:
    try:
        return base64.b64decode(str(value)).decode(encoding, "surrogateescape")
    except binascii.Error as problem:
        raise TemplateError(f"not base64: {problem}") from problem


@register("hash")
def hash_of(value: Any, algorithm: str = "sha1") -> str:
    return hashlib.new(algorithm, str(value).encode()).hexdigest()


FILTERS.update(
    md5=lambda value: hash_of(value, "md5"),
    sha1=lambda value: hash_of(value, "sha1"),
    checksum=lambda value: hash_of(value, "sha1"),
)


@register("to_uuid")
def to_uuid(value: Any, namespace: uuid.UUID = UUID_NAMESPACE) -> str:
    return str(uuid.uuid5(namespace, str(value)))


# --- lists and dictionaries ---


def as_list(value: Any) -> list[Any]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TemplateError(f"expected a list, not {value!r}")
    return list(value)


def unique(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


@register("unique")
@pass_environment
def unique_filter(
    environment: Environment, value: Any, case_sensitive: bool | None = None, attribute: str | None = None
) -> list[Any]:
    if case_sensitive is not None or attribute is not None:
        return list(do_unique(environment, value, bool(case_sensitive), attribute))
    return unique(as_list(value))


FILTERS.update(
    union=lambda left, right: unique([*as_list(left), *as_list(right)]),
    intersect=lambda left, right: unique([item for item in as_list(left) if item in as_list(right)]),
    difference=lambda left, right: unique([item for item in as_list(left) if item not in as_list(right)]),
    zip=lambda first, *others: [list(group) for group in zip(first, *others)],
    zip_longest=lambda first, *others, fillvalue=None: [
        list(group) for group in itertools.zip_longest(first, *others, fillvalue=fillvalue)
    ],
    product=lambda first, *others, repeat=1: [list(group) for group in itertools.product(first, *others, repeat=repeat)],
    permutations=lambda value, size=None: [list(group) for group in itertools.permutations(value, size)],
    combinations=lambda value, size: [list(group) for group in itertools.combinations(value, size)],
)


@register("symmetric_difference")
def symmetric_difference(left: Any, right: Any) -> list[Any]:
    first, second = as_list(left), as_list(right)
    return unique([item for item in first + second if (item in first) != (item in second)])


@register("flatten")
def flatten(value: Any, levels: int | None = None, skip_nulls: bool = True) -> list[Any]:
    found: list[Any] = []
    for item in as_list(value):
        if isinstance(item, (list, tuple)):
            deeper = None if levels is None else levels - 1
            found += list(item) if deeper is not None and deeper < 0 else flatten(item, deeper, skip_nulls)
        elif not (skip_nulls and item in (None, "None", "null")):
            found.append(item)
    return found


@register("combine")
def combine(*values: Any, recursive: bool = False, list_merge: str = "replace") -> dict[Any, Any]:
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


@register("dict2items")
def dict2items(value: Any, key_name: str = "key", value_name: str = "value") -> list[dict[str, Any]]:
    if not isinstance(value, Mapping):
        raise TemplateError(f"dict2items needs a dictionary, not {value!r}")
    return [{key_name: key, value_name: item} for key, item in value.items()]


@register("items2dict")
def items2dict(value: Any, key_name: str = "key", value_name: str = "value") -> dict[Any, Any]:
    return {item[key_name]: item[value_name] for item in as_list(value)}


@register("extract")
@pass_environment
def extract(environment: Environment, key: Any, container: Any, morekeys: Any = None) -> Any:
    keys = [key, *([] if morekeys is None else morekeys if isinstance(morekeys, list) else [morekeys])]
    for name in keys:
        container = environment.getitem(container, name)
    return container


@register("subelements")
def subelements(value: Any, path: Any, skip_missing: bool = False) -> list[Any]:
    elements = list(value.values()) if isinstance(value, Mapping) else as_list(value)
    parts = path if isinstance(path, list) else str(path).split(".")
    found = []
    for element in elements:
        inner = element
        for part in parts:
            if not isinstance(inner, Mapping) or part not in inner:
                if skip_missing:
                    inner = []
                    break
                raise TemplateError(f"subelements: there is no {part!r} in {element!r}")
            inner = inner[part]
        found += [[element, item] for item in inner]
    return found


@register("split")
def split(value: Any, separator: str | None = None, maxsplit: int = -1) -> list[str]:
    return str(value).split(separator, maxsplit)


@register("log")
def logarithm(value: float, base: float = 2.718281828459045) -> float:
    import math

    return math.log10(value) if base == 10 else math.log(value, base)


FILTERS["pow"] = lambda value, power: value**power
FILTERS["root"] = lambda value, base=2: value ** (1.0 / base)
