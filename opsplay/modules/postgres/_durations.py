"""Spans of time as people write them."""

from __future__ import annotations

from typing import Any

SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(given: Any) -> float:
    """5m, 1h, 90s, 2d or plain seconds, as seconds. Raises ValueError."""
    text = str(given).strip().lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(digits) :].strip()
    try:
        number = float(digits)
    except ValueError:
        number = -1.0
    if unit not in SECONDS or not 0 <= number < 1e12:
        raise ValueError("%r is no span of time; write it as 90s, 5m, 1h or 2d" % given)
    return number * SECONDS[unit]


def parameter(host: Any, name: str, given: Any) -> float:
    """The seconds of a parameter. Fails when it is no span of time."""
    try:
        return seconds(given)
    except ValueError as problem:
        host.fail("%s: %s" % (name, problem))
        raise
