"""Filters beyond Jinja's own, with the names and results of Ansible's documentation. A file is a family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opsplay.templating.filters import collections, formats, numbers, passwords, paths, text, times

FILTERS: dict[str, Callable[..., Any]] = {
    name: function
    for family in (text, paths, formats, collections, numbers, passwords, times)
    for name, function in family.FILTERS.items()
}
