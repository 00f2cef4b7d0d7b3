"""What tasks take over from their blocks and play."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from opsplay.errors import LanguageError, Location
from opsplay.model import Become

BECOME = {"become": "enabled", "become_user": "user", "become_method": "method", "become_flags": "flags"}

# Keywords whose nearest value holds.
NEAREST = ("ignore_errors", "ignore_unreachable", "check_mode", "diff", "no_log", "timeout", "connection",
           "remote_user", "port", "any_errors_fatal")  # fmt: skip


@dataclass(frozen=True)
class Inherited:
    """The keywords in force at one place of a playbook. Variables of the play itself are not among `vars`."""

    become: Become = Become()
    when: tuple[Any, ...] = ()
    tags: frozenset[str] = frozenset()
    vars: tuple[Mapping[str, Any], ...] = ()
    environment: tuple[Any, ...] = ()
    notify: tuple[Any, ...] = ()
    nearest: Mapping[str, Any] | None = None

    def extend(self, entry: Mapping[str, Any], at: Location, own_vars: bool = False) -> Inherited:
        """These, with what an entry (play, block, task) adds or replaces."""
        fields = {field: entry[key] for key, field in BECOME.items() if key in entry}
        nearest = {**(self.nearest or {}), **{key: entry[key] for key in NEAREST if entry.get(key) is not None}}
        environment = entry.get("environment")
        variables = entry.get("vars") if own_vars else None
        return replace(
            self,
            become=replace(self.become, **fields),
            when=(*self.when, *conditions(entry.get("when"))),
            tags=self.tags | tag_names(entry.get("tags"), at),
            vars=(*self.vars, variables) if variables else self.vars,
            environment=(*self.environment, environment) if environment else self.environment,
            notify=(*self.notify, *as_tuple(entry.get("notify"))),
            nearest=nearest,
        )


def conditions(value: Any) -> tuple[Any, ...]:
    """A `when` (or another list of conditions) as single ones."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def as_tuple(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def tag_names(value: Any, at: Location) -> frozenset[str]:
    """Tags as written: a list, or words separated by commas. Raises LanguageError."""
    names: set[str] = set()
    for item in as_tuple(value):
        if isinstance(item, Mapping):
            raise LanguageError("a tag must be a word", at=at)
        names.update(part.strip() for part in str(item).split(",") if part.strip())
    return frozenset(names)
