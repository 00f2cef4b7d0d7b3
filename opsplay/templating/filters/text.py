"""Filters of texts: booleans, regular expressions, quoting, comments, URLs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from jinja2 import Undefined

from opsplay.errors import TemplateError


def to_boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).strip().lower() in TRUE_WORDS


TRUE_WORDS = ("yes", "on", "1", "true", "1.0")


def as_text(value: Any, filter_name: str) -> str:
    """The text that a filter is for. Raises TemplateError for a value of another type."""
    if isinstance(value, Undefined):
        return str(value)
    if not isinstance(value, str):
        raise TemplateError(f"{filter_name} needs a text, not {value!r}", hint="put `string` before it")
    return value


def ternary(value: Any, true_value: Any, false_value: Any, none_value: Any = None) -> Any:
    if value is None and none_value is not None:
        return none_value
    return true_value if value else false_value


def mandatory(value: Any, msg: str | None = None) -> Any:
    if isinstance(value, Undefined):
        raise TemplateError(msg or "a mandatory variable is not defined")
    return value


def flags_of(ignorecase: bool, multiline: bool) -> int:
    """Regular expression flags by the names that the filters and tests give them."""
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


def regex_replace(
    value: Any,
    pattern: str = "",
    replacement: str = "",
    ignorecase: bool = False,
    multiline: bool = False,
    count: int = 0,
    mandatory_count: int = 0,
) -> str:
    text, times = re.compile(pattern, flags_of(ignorecase, multiline)).subn(replacement, str(value), count)
    if mandatory_count and times != mandatory_count:
        raise TemplateError(f"regex_replace: {mandatory_count} matches of {pattern!r} expected, {times} found")
    return text


def regex_search(value: Any, pattern: str, *groups: str, ignorecase: bool = False, multiline: bool = False) -> Any:
    found = re.search(pattern, str(value), flags_of(ignorecase, multiline))
    if found is None:
        return None
    wanted = [int(name[1:]) if name[1:].isdigit() else name[3:-1] for name in groups]
    return [found.group(name) for name in wanted] if wanted else found.group()


def regex_findall(value: Any, pattern: str, multiline: bool = False, ignorecase: bool = False) -> list[Any]:
    return re.findall(pattern, str(value), flags_of(ignorecase, multiline))


def regex_escape(value: Any, re_type: str = "python") -> str:
    if re_type == "python":
        return re.escape(str(value))
    if re_type == "posix_basic":
        return re.sub(r"([].[^$*\\])", r"\\\1", str(value))
    raise TemplateError(f"regex_escape: unknown type {re_type!r}", hint="use python or posix_basic")


def quote(value: Any) -> str:
    return shlex.quote("" if value is None else str(value))


# What each style of comment begins and ends with, and puts before every line.
COMMENTS = {
    "plain": ("", "# ", ""),
    "erlang": ("", "% ", ""),
    "c": ("", "// ", ""),
    "cblock": ("/*", " * ", " */"),
    "xml": ("<!--", " - ", "-->"),
}


def comment(
    value: Any,
    style: str = "plain",
    decoration: str | None = None,
    beginning: str | None = None,
    end: str | None = None,
    prefix: str | None = None,
    prefix_count: int = 1,
    postfix: str | None = None,
    postfix_count: int = 1,
    newline: str = "\n",
) -> str:
    if style not in COMMENTS:
        raise TemplateError(f"comment: unknown style {style!r}", hint=f"use one of {', '.join(COMMENTS)}")
    first, mark, last = COMMENTS[style]
    mark = mark if decoration is None else decoration
    before_mark = mark.rstrip() if prefix is None else prefix
    *before, final = as_text(value, "comment").split("\n")
    lines = [
        *([first if beginning is None else beginning] if beginning or first else []),
        # As in Ansible, an empty prefix makes no line, an empty postfix makes one.
        *([before_mark] * prefix_count if before_mark else []),
        *[mark + line if line else mark.rstrip() for line in before],
        mark + final,
        *([mark.rstrip() if postfix is None else postfix] * postfix_count),
        *([last if end is None else end] if end or last else []),
    ]
    return newline.join(lines)


def split_url(value: Any, query: str = "") -> Any:
    url = urlsplit(as_text(value, "urlsplit"))
    parts = {name: getattr(url, name) for name in URL_PARTS}
    if query and query not in parts:
        raise TemplateError(f"urlsplit: unknown part {query!r}", hint=f"use one of {', '.join(URL_PARTS)}")
    return parts[query] if query else parts


URL_PARTS = ("fragment", "hostname", "netloc", "password", "path", "port", "query", "scheme", "username")


def split(value: Any, separator: str | None = None, maxsplit: int = -1) -> list[str]:
    return as_text(value, "split").split(separator, maxsplit)


def type_name(value: Any) -> str:
    """A type as playbooks know it, whatever class stands for it here."""
    return next((kind.__name__ for kind in (str, dict, list) if isinstance(value, kind)), type(value).__name__)


FILTERS: dict[str, Callable[..., Any]] = {
    "bool": to_boolean,
    "ternary": ternary,
    "mandatory": mandatory,
    "regex_replace": regex_replace,
    "regex_search": regex_search,
    "regex_findall": regex_findall,
    "regex_escape": regex_escape,
    "quote": quote,
    "comment": comment,
    "split": split,
    "urlsplit": split_url,
    "urldecode": lambda value: unquote_plus(str(value)),
    "type_debug": type_name,
}
