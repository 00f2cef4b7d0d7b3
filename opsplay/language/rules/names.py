"""Rules of the names that a playbook gives to variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from opsplay.documents.values import place_of
from opsplay.errors import LanguageError, LanguageWarning, Location, OpsplayError
from opsplay.language import keywords
from opsplay.language.keywords import words

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SPELLING = "letters, digits and _, and no digit first; no word of expressions, such as not"
# Jinja's own words, which an expression never takes for a variable.
OF_EXPRESSIONS = words("and else false if in is none not or true False None True")

# What the run itself gives a value to.
OWN = words(
    """group_names groups hostvars inventory_dir inventory_file inventory_hostname inventory_hostname_short omit
    play_hosts playbook_dir role_name role_names role_path"""
)
RESERVED = (keywords.PLAY | keywords.BLOCK | keywords.TASK | keywords.ROLE | OWN) - {"vars"}


def is_variable(name: Any) -> bool:
    return isinstance(name, str) and VARIABLE.fullmatch(name) is not None and name not in OF_EXPRESSIONS


def variable(name: Any, at: Location, rule: str = "variable-name") -> Iterator[OpsplayError]:
    """A name that a play or a task gives to a variable; one that a template makes is seen while the play runs."""
    if "{{" in str(name):
        return
    if not is_variable(name):
        hint = "quote it: YAML reads this word as true or false" if isinstance(name, bool) else SPELLING
        yield LanguageError(f"'{name}' cannot be the name of a variable", at=at, hint=hint, rule=rule)
    elif name in RESERVED:
        what = "one of Ansible's own variables" if name in OWN else "a keyword"
        yield LanguageWarning(f"the variable '{name}' is called like {what}", at=at, rule="reserved-name")


def variables(values: Any, at: Location, besides: frozenset[str] = frozenset()) -> Iterator[OpsplayError]:
    """The names of a mapping of variables, which may hold other words besides."""
    if isinstance(values, Mapping):
        places: Mapping[str, Location] = getattr(values, "key_at", {})
        for name in values.keys() - besides if besides else values:
            yield from variable(name, places.get(name, place_of(values, at)))


def of_file(values: Mapping[str, Any], at: Location) -> Iterator[OpsplayError]:
    """The names in a file of variables, where Ansible lets others pass that no template can reach."""
    places: Mapping[str, Location] = getattr(values, "key_at", {})
    for name in values:
        if not is_variable(name):
            message = f"no template can name the variable '{name}'"
            yield LanguageWarning(message, at=places.get(name, at), hint=SPELLING, rule="variable-name")
