"""Filters of times."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from opsplay.errors import TemplateError


def strftime(format: str, second: float | None = None, utc: bool = False) -> str:
    """A time as text; `second` counts from the epoch, without it the time is now."""
    try:
        moment = time.time() if second is None else float(second)
    except (TypeError, ValueError) as problem:
        raise TemplateError(f"strftime: {second!r} is not a number of seconds") from problem
    return time.strftime(format, time.gmtime(moment) if utc else time.localtime(moment))


def to_datetime(value: Any, format: str = "%Y-%m-%d %H:%M:%S") -> datetime:
    try:
        return datetime.strptime(str(value), format)
    except ValueError as problem:
        raise TemplateError(f"to_datetime: {problem}") from problem


FILTERS: dict[str, Callable[..., Any]] = {"strftime": strftime, "to_datetime": to_datetime}
