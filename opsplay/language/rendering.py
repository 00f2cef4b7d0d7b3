"""Values that must be known while files are read: before any host, with what is known by then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opsplay.templating.environment import missing
from opsplay.templating.templar import Templar

Render = Callable[[Any, Mapping[str, Any]], Any]
"""Renders a value with extra variables and the given, weaker ones."""


def renderer(extra: Mapping[str, Any]) -> Render:
    """Renders with extra variables, and weaker ones that the place knows."""

    def render(value: Any, known: Mapping[str, Any]) -> Any:
        return Templar(lambda name: extra.get(name, known.get(name, missing))).render(value)

    return render
