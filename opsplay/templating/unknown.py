"""Values that a preview cannot have: whatever looks at one learns that it is not known.

A task that check mode does not run registers its result with these in the place of what only a real run would find
out. They may be passed on and asked whether they are defined; using one in any other way raises UnknownInPreview.
"""

from __future__ import annotations

from typing import Any, NoReturn

from opsplay.errors import OpsplayError


class UnknownInPreview(OpsplayError):
    """A template needs what only a real run finds out."""


class Unknown:
    """A value that is not known yet; `about` says what it would be."""

    __slots__ = ("about",)

    def __init__(self, about: str) -> None:
        self.about = about

    def __getattr__(self, name: str) -> Unknown:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unknown(self.about)

    def __getitem__(self, key: Any) -> Unknown:
        return Unknown(self.about)

    def use(self, *ignored: Any) -> NoReturn:
        """Raises UnknownInPreview always."""
        raise UnknownInPreview(f"depends on {self.about}, which only a real run gives")

    __str__ = __repr__ = __bool__ = __iter__ = __len__ = __contains__ = __call__ = __int__ = __float__ = use
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = use
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __rmod__ = use
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __neg__ = __format__ = __index__ = use

    def __hash__(self) -> int:
        return id(self)
