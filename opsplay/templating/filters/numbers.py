"""Filters of numbers: powers, sizes for people, and chance that a seed can repeat."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from typing import Any

from opsplay.errors import TemplateError

# The letters of human-readable sizes, each 1024 times the one before.
UNITS = ("", "K", "M", "G", "T", "P", "E", "Z", "Y")
UNIT_NAMES = ("kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "yotta")
SIZE = re.compile(r"\s*(\d*\.?\d*)\s*([A-Za-z]*)\s*")


def number_filter(name: str, function: Callable[..., float]) -> Callable[..., float]:
    """A function of numbers whose refusals name the filter."""

    def apply(*values: Any, **options: Any) -> float:
        try:
            return function(*values, **options)
        except (TypeError, ValueError, OverflowError) as problem:
            raise TemplateError(f"{name}: {problem}") from problem

    return apply


def logarithm(value: float, base: float = math.e) -> float:
    return math.log10(value) if base == 10 else math.log(value, base)


def root(value: float, base: float = 2) -> float:
    return math.sqrt(value) if base == 2 else math.pow(value, 1.0 / float(base))


def human_readable(value: Any, isbits: bool = False, unit: str | None = None) -> str:
    number = float(value)
    if unit is not None:
        power = UNITS.index(unit[:1].upper()) if unit[:1].upper() in UNITS else 0
    else:
        power = max((step for step in range(len(UNITS)) if number >= 1024**step), default=0)
    word = "b" if isbits else "B"
    suffix = UNITS[power] + word if power else "bits" if isbits else "Bytes"
    return f"{number / 1024**power:.2f} {suffix}"


def human_to_bytes(value: Any, default_unit: str | None = None, isbits: bool = False) -> int:
    found = SIZE.fullmatch(str(value))
    if not found or not found.group(1):
        raise TemplateError(f"human_to_bytes: {value!r} is not a size", hint="write it as 10M or 1.5 GB")
    unit = found.group(2) or default_unit or ""
    short, long = ("b", "bit") if isbits else ("B", "byte")
    words = ("", long, *(f"{name}{long}" for name in UNIT_NAMES))
    if unit.lower() in words:
        power = max(0, words.index(unit.lower()) - 1)
    elif unit.removesuffix(short).upper() in UNITS:
        power = UNITS.index(unit.removesuffix(short).upper())
    else:
        raise TemplateError(f"human_to_bytes: unknown unit {unit!r} of {value!r}")
    return int(round(float(found.group(1)) * 1024**power))


def chance(seed: Any) -> random.Random:
    """The generator of a seed; without one it cannot be foreseen."""
    return random.SystemRandom() if seed is None else random.Random(seed)


def pick(value: Any, start: int | None = None, step: int | None = None, seed: Any = None) -> Any:
    if isinstance(value, int):
        return chance(seed).randrange(start or 0, value, 1 if step is None else step)
    if start is not None or step is not None:
        raise TemplateError("random: start and step are for numbers, not for lists")
    return chance(seed).choice(list(value))


def shuffle(value: Any, seed: Any = None) -> list[Any]:
    found = list(value)
    chance(seed).shuffle(found)
    return found


FILTERS: dict[str, Callable[..., Any]] = {
    "log": number_filter("log", logarithm),
    "pow": number_filter("pow", math.pow),
    "root": number_filter("root", root),
    "human_readable": human_readable,
    "human_to_bytes": human_to_bytes,
    "random": pick,
    "shuffle": shuffle,
}
