"""Values that remember where they were written.

`Template` is the mark of trust: only strings of this type are ever evaluated as templates. They come from the
user's own files and command line. Everything derived from them, and all that hosts say, is a plain str: data.
"""

from __future__ import annotations

from typing import Any

from opsplay.errors import Location

NOWHERE = Location("")


class Template(str):
    """A string of the user's own, which may hold template expressions."""

    __slots__ = ("at",)
    at: Location

    def __new__(cls, value: str, at: Location = NOWHERE) -> Template:
        text = super().__new__(cls, value)
        text.at = at
        return text


class Mapping(dict[str, Any]):
    """A YAML mapping with its place and the place of each key."""

    __slots__ = ("at", "key_at")

    def __init__(self, at: Location = NOWHERE) -> None:
        super().__init__()
        self.at = at
        self.key_at: dict[str, Location] = {}


class Sequence(list[Any]):
    """A YAML sequence with its place and the place of each entry."""

    __slots__ = ("at", "item_at")

    def __init__(self, at: Location = NOWHERE) -> None:
        super().__init__()
        self.at = at
        self.item_at: list[Location] = []


def place_of(value: Any, default: Location) -> Location:
    """Where a value was written, if it knows."""
    found = getattr(value, "at", None)
    return found if isinstance(found, Location) and found.file else default


def trust(value: Any, at: Location = NOWHERE) -> Any:
    """The same structure with its strings trusted as templates: for what the user typed or his scripts print."""
    if isinstance(value, Template):
        return value
    if isinstance(value, str):
        return Template(value, at)
    if isinstance(value, dict):
        return {str(key): trust(item, at) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [trust(item, at) for item in value]
    return value


def plain(value: Any) -> Any:
    """The same structure in exact built-in types, without places: what can be marshalled and compared."""
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)[:]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
