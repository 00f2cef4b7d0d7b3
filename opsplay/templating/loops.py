"""The loops of older playbooks: `with_NAME` is a loop over what the lookup NAME gives."""

from __future__ import annotations

from typing import Any

from opsplay.errors import TemplateError
from opsplay.templating import lookups

NAMES = lookups.NAMES


def expand_with(name: str, value: Any, context: lookups.Context) -> list[Any]:
    """The items of `with_NAME`, whose `value` is rendered already. Raises TemplateError."""
    terms = list(value) if isinstance(value, (list, tuple)) else [value]
    try:
        return lookups.run(name, context, terms, {})
    except TemplateError as problem:
        raise TemplateError(f"with_{name}: {problem.message}", at=problem.at, hint=problem.hint) from problem
