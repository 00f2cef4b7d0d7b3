"""The loops of older playbooks: `with_NAME` is a loop over what the lookup NAME gives."""

from __future__ import annotations

from typing import Any

from opsplay.errors import TemplateError
from opsplay.templating import lookups

# Lookups that say nothing without variables or an inventory are no loops.
NAMES = lookups.NAMES - {"vars", "template"}


def expand_with(name: str, value: Any, folder: str) -> list[Any]:
    """The items of `with_NAME`. `value` is rendered; `folder` is the playbook's, for files. Raises TemplateError."""
    terms = list(value) if isinstance(value, (list, tuple)) else [value]
    try:
        return lookups.run(name, folder, terms, {})
    except TemplateError as problem:
        raise TemplateError(f"with_{name}: {problem.message}", at=problem.at, hint=problem.hint) from problem
