"""Dictionaries whose values are rendered when they are touched: a failing or costly neighbour does no harm."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

# Renders one value of a dictionary, given with its path, such as `hosts.web`.
Render = Callable[[Any, str], Any]

ATOMS = (str, int, float, bool, type(None))


class LazyDict(dict[Any, Any]):
    """A copy of a variable's dictionary, so that a template may change it without others seeing that.

    `path` is what the dictionary is called in messages. Every way to a value leads through `__getitem__` or through
    `_settle`; that `__iter__` is defined keeps `dict()` and `**` from reading past them.
    """

    __slots__ = ("_path", "_render", "_rendered")

    def __init__(self, values: Mapping[Any, Any], path: str, render: Render) -> None:
        super().__init__(values)
        self._path = path
        self._render = render
        self._rendered: set[Any] = set()

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        if type(value) in ATOMS or key in self._rendered:
            return value
        value = self._render(value, f"{self._path}.{key}")
        self[key] = value
        self._rendered.add(key)
        return value

    def __iter__(self) -> Iterator[Any]:
        return super().__iter__()

    def get(self, key: Any, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def _settle(self) -> dict[Any, Any]:
        return {key: self[key] for key in self}

    def items(self) -> Any:
        return self._settle().items()

    def values(self) -> Any:
        return self._settle().values()

    def copy(self) -> dict[Any, Any]:
        return self._settle()

    def pop(self, key: Any, *default: Any) -> Any:
        if key in self:
            self[key]
        return super().pop(key, *default)

    def popitem(self) -> Any:
        key = next(reversed(self))
        return key, self.pop(key)

    def __eq__(self, other: object) -> bool:
        return self._settle() == (other._settle() if isinstance(other, LazyDict) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __or__(self, other: Any) -> Any:
        return {**self._settle(), **other}

    def __ror__(self, other: Any) -> Any:
        return {**other, **self._settle()}

    def __repr__(self) -> str:
        return repr(self._settle())

    def __undefined__(self, key: Any) -> str:
        return no_key(f"'{self._path}'", self, key)


def no_key(owner: str, values: Mapping[Any, Any], key: Any) -> str:
    """What to say when a template asks for a key that a dictionary does not have."""
    near = difflib.get_close_matches(str(key), map(str, values), n=1)
    return f"{owner} has no key {key!r}" + (f"; did you mean '{near[0]}'?" if near else "")


class Names(Mapping[str, Any]):
    """The variables themselves as a dictionary, which `vars` gives."""

    def __init__(self, lookup: Callable[[str], Any], names: Callable[[], Iterable[str]], absent: Any) -> None:
        self._lookup = lookup
        self._names = names
        self._absent = absent

    def __getitem__(self, name: str) -> Any:
        value = self._lookup(name)
        if value is self._absent:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names()))

    def __len__(self) -> int:
        return len(set(self._names()))
