"""What tasks take over from their blocks and play."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opsplay.errors import LanguageError, Location
from opsplay.model import Become, Role

BECOME = {"become": "enabled", "become_user": "user", "become_method": "method", "become_flags": "flags"}

# Keywords whose nearest value holds.
NEAREST = ("ignore_errors", "ignore_unreachable", "check_mode", "diff", "no_log", "timeout", "connection",
           "remote_user", "port", "any_errors_fatal", "run_once", "delegate_to", "delegate_facts",
           "throttle")  # fmt: skip


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
    role: Role | None = None
    params: tuple[Mapping[str, Any], ...] = ()
    defaults: tuple[Mapping[str, Any], ...] = ()
    """`module_defaults`, outermost first"""

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
            defaults=(*self.defaults, *as_tuple(entry.get("module_defaults"))),
        )

    def default_arguments(self, module: str, short_name: Callable[[str], str]) -> dict[str, Any]:
        """What `module_defaults` say of a module's parameters."""
        found: dict[str, Any] = {}
        for layer in self.defaults:
            for name, values in layer.items() if isinstance(layer, Mapping) else ():
                if short_name(str(name)) == module and isinstance(values, Mapping):
                    found.update(values)
        return found


PLAIN = Inherited()


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
            raise LanguageError("a tag must be a word", at=at, rule="keyword-value")
        names.update(part.strip() for part in str(item).split(",") if part.strip())
    return frozenset(names)
