"""Filters of community.general that are in common use: small conversions, sets in order, INI and CSV, durations."""

from __future__ import annotations

import functools
import itertools
import random
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from opsplay.errors import TemplateError
from opsplay.templating.filters.collections import as_list, symmetric_difference, unique
from opsplay.templating.filters.text import as_text
from opsplay.templating.versions import loose

MAC_PREFIX = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){0,4}")

# Each unit of time by its names, in milliseconds; a month and a year are as long as the filter is told.
UNITS = {
    "ms": (1, ("ms", "msec", "msecs", "millisecond", "milliseconds")),
    "s": (1000, ("s", "sec", "secs", "second", "seconds")),
    "m": (60_000, ("m", "min", "mins", "minute", "minutes")),
    "h": (3_600_000, ("h", "hour", "hours")),
    "d": (86_400_000, ("d", "day", "days")),
    "w": (604_800_000, ("w", "week", "weeks")),
    "mo": (86_400_000, ("mo", "month", "months")),
    "y": (86_400_000, ("y", "year", "years")),
}


def counter(value: Any) -> dict[Any, int]:
    """How often each item occurs."""
    if isinstance(value, Mapping):
        raise TemplateError(f"counter needs a list or a text, not {value!r}")
    return dict(Counter(as_list(value)))


def random_mac(value: Any, seed: Any = None) -> str:
    """A hardware address that begins as given; a seed repeats it."""
    prefix = as_text(value, "random_mac").lower()
    if not MAC_PREFIX.fullmatch(prefix):
        raise TemplateError(f"random_mac: {value!r} is no beginning of a hardware address", hint="write it as 52:54:00")
    chance = random.SystemRandom() if seed is None else random.Random(seed)
    digits = f"{chance.randint(0x1000000000, 0xFFFFFFFFFF):010x}"
    pairs = [digits[place : place + 2] for place in range(0, 10, 2)]
    return ":".join([prefix, *pairs[: 5 - prefix.count(":")]])


def from_ini(value: Any) -> dict[str, dict[str, str]]:
    import configparser

    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(as_text(value, "from_ini"))
    except configparser.Error as problem:
        raise TemplateError(f"from_ini: {problem}") from problem
    return {section: dict(parser.items(section)) for section in parser.sections()}


def to_ini(value: Any) -> str:
    if not isinstance(value, Mapping) or not value or not all(isinstance(part, Mapping) for part in value.values()):
        raise TemplateError("to_ini needs a dictionary of sections")
    parts = []
    for section, options in value.items():
        parts.append("".join([f"[{section}]\n", *(f"{key} = {item}\n" for key, item in options.items())]))
    return "\n".join(parts)


def from_csv(
    value: Any,
    dialect: str = "excel",
    fieldnames: list[str] | None = None,
    delimiter: str | None = None,
    skipinitialspace: bool | None = None,
    strict: bool | None = None,
) -> list[dict[str, Any]]:
    import csv

    given = {"delimiter": delimiter, "skipinitialspace": skipinitialspace, "strict": strict}
    options: dict[str, Any] = {name: chosen for name, chosen in given.items() if chosen is not None}
    try:
        lines = as_text(value, "from_csv").splitlines()
        return list(csv.DictReader(lines, fieldnames=fieldnames, dialect=dialect, **options))
    except (csv.Error, TypeError) as problem:
        raise TemplateError(f"from_csv: {problem}") from problem


def unicode_normalize(value: Any, form: Any = "NFC") -> str:
    if form not in ("NFC", "NFD", "NFKC", "NFKD"):
        raise TemplateError(f"unicode_normalize: unknown form {form!r}", hint="use NFC, NFD, NFKC or NFKD")
    return unicodedata.normalize(form, as_text(value, "unicode_normalize"))


def of_lists(combine: Callable[[list[Any], list[Any]], list[Any]]) -> Callable[..., list[Any]]:
    """A function of two lists as a filter of any number of them, which may come in one list."""

    def apply(*lists: Any, flatten: bool = False) -> list[Any]:
        given = as_list(lists[0]) if flatten and len(lists) == 1 else list(lists)
        return functools.reduce(combine, (unique(as_list(entry)) for entry in given))

    return apply


def to_time_unit(value: Any, unit: str = "ms", year: float = 365, month: float = 30) -> float:
    """A duration such as `1h 30m` in a unit; `year` and `month` are their lengths in days."""
    total = 0.0
    for word in as_text(value, "to_time_unit").split():
        part = re.fullmatch(r"(-?\d+)([a-z]+)", word)
        if part is None:
            raise TemplateError(f"cannot read the duration {value!r}", hint="write it as 1h 30m")
        total += int(part.group(1)) * _milliseconds(part.group(2), year, month)
    if not str(value).strip():
        raise TemplateError("a duration is empty")
    return round(total / _milliseconds(unit, year, month), 12)


def _milliseconds(name: str, year: float, month: float) -> float:
    for unit, (length, names) in UNITS.items():
        if name in names:
            return length * {"mo": month, "y": year}.get(unit, 1)
    raise TemplateError(f"unknown unit of time {name!r}", hint=f"use one of {', '.join(UNITS)}")


def in_unit(unit: str) -> Callable[..., float]:
    return lambda value, year=365, month=30: to_time_unit(value, unit, year, month)


FILTERS: dict[str, Callable[..., Any]] = {
    "dict": lambda value: dict(as_list(value)),
    "dict_kv": lambda value, key: {key: value},
    "counter": counter,
    "accumulate": lambda value: list(itertools.accumulate(as_list(value))),
    "version_sort": lambda value, reverse=False: sorted(value, key=lambda text: loose(str(text)), reverse=reverse),
    "crc32": lambda value: f"{zlib.crc32(as_text(value, 'crc32').encode()):x}",
    "random_mac": random_mac,
    "unicode_normalize": unicode_normalize,
    "from_ini": from_ini,
    "to_ini": to_ini,
    "from_csv": from_csv,
    "lists_union": of_lists(lambda left, right: unique(left + right)),
    "lists_intersect": of_lists(lambda left, right: [item for item in left if item in right]),
    "lists_difference": of_lists(lambda left, right: [item for item in left if item not in right]),
    "lists_symmetric_difference": of_lists(symmetric_difference),
    "to_time_unit": to_time_unit,
    "to_milliseconds": in_unit("ms"),
    "to_seconds": in_unit("s"),
    "to_minutes": in_unit("m"),
    "to_hours": in_unit("h"),
    "to_days": in_unit("d"),
    "to_weeks": in_unit("w"),
    "to_months": in_unit("mo"),
    "to_years": in_unit("y"),
}
