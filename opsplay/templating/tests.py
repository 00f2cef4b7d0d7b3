"""Tests beyond Jinja's own: of registered results, of texts, of collections, of paths on the control side."""

from __future__ import annotations

import math
import operator as operators
import os.path
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Undefined
from jinja2.tests import TESTS as JINJA_TESTS

from opsplay.documents import vault
from opsplay.errors import TemplateError
from opsplay.templating.filters.text import flags_of, to_boolean
from opsplay.templating.versions import KEYS


def flag(result: Any, name: str, default: bool = False) -> bool:
    """A registered result's field; anything else is a mistake of the playbook."""
    if not isinstance(result, Mapping):
        raise TemplateError(f"the test needs a registered result, not {result!r}")
    return bool(result.get(name, default))


def changed(result: Any) -> bool:
    if flag(result, "changed"):
        return True
    return any(flag(item, "changed") for item in result.get("results", ()) if isinstance(item, Mapping))


def timed_out(result: Any) -> bool:
    period = result.get("timedout") if flag(result, "timedout") else None
    return bool(period.get("period") if isinstance(period, Mapping) else period)


def regex(
    value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False, match_type: str = "search"
) -> bool:
    if match_type not in ("search", "match", "fullmatch"):
        raise TemplateError(f"regex: unknown match_type {match_type!r}", hint="use search, match or fullmatch")
    return getattr(re.compile(pattern, flags_of(ignorecase, multiline)), match_type)(str(value)) is not None


def match(value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False) -> bool:
    return regex(value, pattern, ignorecase, multiline, "match")


def search(value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False) -> bool:
    return regex(value, pattern, ignorecase, multiline)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    name: function
    for names, function in (
        (("==", "=", "eq"), operators.eq),
        (("!=", "<>", "ne"), operators.ne),
        (("<", "lt"), operators.lt),
        (("<=", "le"), operators.le),
        ((">", "gt"), operators.gt),
        ((">=", "ge"), operators.ge),
    )
    for name in names
}


def version(
    value: Any, other: Any, operator: str = "eq", strict: bool | None = None, version_type: str | None = None
) -> bool:
    if operator not in OPERATORS:
        raise TemplateError(f"version: unknown operator {operator!r}")
    if strict is not None and version_type is not None:
        raise TemplateError("version: strict and version_type cannot both be given")
    kind = version_type or ("strict" if strict else "loose")
    if kind not in KEYS:
        raise TemplateError(f"version: unknown version_type {kind!r}", hint=f"use one of {', '.join(KEYS)}")
    if any(text is None or str(text) == "" for text in (value, other)):
        raise TemplateError("version: a version to compare is empty")
    return OPERATORS[operator](KEYS[kind](str(value)), KEYS[kind](str(other)))


def truthy(value: Any, convert_bool: bool = False) -> bool:
    if convert_bool and isinstance(value, (str, int)) and str(value).lower() in WORDS:
        return to_boolean(value)
    return bool(value)


WORDS = ("y", "yes", "on", "1", "true", "t", "n", "no", "off", "0", "false", "f")


def is_uri(value: Any, schemes: list[str] | None = None) -> bool:
    scheme = urlsplit(str(value)).scheme
    return bool(scheme) and (schemes is None or scheme in schemes)


def is_url(value: Any, schemes: list[str] | None = None) -> bool:
    return is_uri(value, schemes) and bool(urlsplit(str(value)).netloc)


def is_domain_name(value: Any, min_labels: int = 1, allow_underscores: bool = False) -> bool:
    """Whether a text is a host's full name (RFC 1123)."""
    label = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
    name = str(value).removesuffix(".")
    labels = name.split(".")
    plain = allow_underscores or "_" not in name
    return plain and len(name) <= 253 and len(labels) >= min_labels and all(map(label.fullmatch, labels))


def is_vault_file(path: Any) -> bool:
    try:
        return vault.is_vault_file(path)
    except OSError as problem:
        raise TemplateError(f"vaulted_file: cannot read {path}: {problem.strerror}") from problem


def defined_first(test: Any) -> Callable[..., bool]:
    """A test that refuses what is undefined, which Jinja's own would call not a number, not a string …"""

    def apply(value: Any, *others: Any) -> bool:
        if isinstance(value, Undefined):
            str(value)
        return bool(test(value, *others))

    return apply


# Jinja's tests that look at a value's type.
TYPES = ("none", "boolean", "true", "false", "integer", "float", "number", "string", "mapping", "sequence", "iterable",
         "callable", "sameas", "escaped")  # fmt: skip


def nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


TESTS: dict[str, Callable[..., Any]] = {
    "failed": lambda result: flag(result, "failed"),
    "succeeded": lambda result: not flag(result, "failed"),
    "skipped": lambda result: flag(result, "skipped"),
    "unreachable": lambda result: flag(result, "unreachable"),
    "reachable": lambda result: not flag(result, "unreachable"),
    # A task that is not asynchronous has started and finished when its result is there.
    "finished": lambda result: flag(result, "finished", True),
    "started": lambda result: flag(result, "started", True),
    "changed": changed,
    "timedout": timed_out,
    "match": match,
    "search": search,
    "regex": regex,
    "version": version,
    "subset": lambda value, other: all(item in other for item in value),
    "superset": lambda value, other: all(item in value for item in other),
    "contains": lambda value, item: item in value,
    "any": any,
    "all": all,
    "truthy": truthy,
    "falsy": lambda value, convert_bool=False: not truthy(value, convert_bool),
    "nan": nan,
    "uri": is_uri,
    "url": is_url,
    "urn": lambda value: is_uri(value, ["urn"]),
    "exists": os.path.exists,
    "file": os.path.isfile,
    "directory": os.path.isdir,
    "link": os.path.islink,
    "link_exists": os.path.lexists,
    "mount": os.path.ismount,
    "abs": os.path.isabs,
    "same_file": os.path.samefile,
    # Encrypted values are decrypted when they are read.
    "vault_encrypted": lambda value: False,
    "vaulted_file": is_vault_file,
    **{name: defined_first(JINJA_TESTS[name]) for name in TYPES},
}
ALIASES = {
    "change": "changed", "failure": "failed", "success": "succeeded", "successful": "succeeded", "skip": "skipped",
    "version_compare": "version", "issubset": "subset", "issuperset": "superset", "isnan": "nan",
    "is_file": "file", "is_dir": "directory", "is_link": "link", "is_mount": "mount", "is_abs": "abs",
    "is_same_file": "same_file",
}  # fmt: skip
TESTS.update({alias: TESTS[name] for alias, name in ALIASES.items()})


def of_collections() -> dict[str, dict[str, Callable[..., Any]]]:
    """The tests of each collection but ansible.builtin, which are loaded when a template names one."""
    from opsplay.templating import address_tests

    return {"ansible.utils": address_tests.TESTS, "community.general": {"fqdn_valid": is_domain_name}}
