"""Every module that a playbook can name: shipped ones, and those that act on the control side. A file is a module."""

from __future__ import annotations

import difflib
import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import opsplay
from opsplay.agent.spec import Param

ROOT = Path(opsplay.__file__).parent

# Collections whose names are also accepted in front of a module's.
COLLECTIONS = (
    "ansible.builtin.",
    "ansible.legacy.",
    "opsplay.ops.",
    "ansible.posix.",
    "community.general.",
    "community.postgresql.",
    "community.crypto.",
)


@dataclass(frozen=True)
class Entry:
    """A module by its short name: where its code is, and whether it runs on the control side (an action)."""

    name: str
    code: str
    is_action: bool

    @property
    def module(self) -> ModuleType:
        return importlib.import_module(self.code)

    @property
    def params(self) -> dict[str, Param]:
        """What it accepts."""
        found: dict[str, Param] = self.module.PARAMS
        return found

    @functools.cached_property
    def secret_params(self) -> tuple[str, ...]:
        """The parameters whose values are masked wherever they would be shown."""
        return tuple(name for name, param in self.params.items() if param.secret)

    @property
    def summary(self) -> str:
        return (self.module.__doc__ or "").strip().split("\n")[0]

    @property
    def free_form(self) -> str | None:
        """The parameter that takes the text of `command: ls -l`."""
        return getattr(self.module, "FREE_FORM", None) or ("_raw_params" if "_raw_params" in self.params else None)

    @property
    def open_ended(self) -> bool:
        """Whether any parameter name is accepted, as for set_fact."""
        return bool(getattr(self.module, "OPEN_ENDED", False))

    @property
    def exclusive(self) -> tuple[tuple[str, str], ...]:
        """Pairs of parameters of which only one can be given."""
        found: tuple[tuple[str, str], ...] = getattr(self.module, "EXCLUSIVE", ())
        return found


@functools.lru_cache(maxsize=1)
def entries() -> dict[str, Entry]:
    """All modules by their short name; an action comes before a shipped module of the same name."""
    found: dict[str, Entry] = {}
    for path in sorted((ROOT / "modules").glob("*/*.py")):
        if not path.stem.startswith("_"):
            found[path.stem] = Entry(path.stem, f"opsplay.modules.{path.parent.name}.{path.stem}", False)
    for path in sorted((ROOT / "actions").glob("*.py")):
        if not path.stem.startswith("_") and path.stem != "base":
            found[path.stem] = Entry(path.stem, f"opsplay.actions.{path.stem}", True)
    return found


@functools.lru_cache(maxsize=1)
def _aliases() -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in entries().values():
        for alias in getattr(entry.module, "ALIASES", ()):
            found[alias] = entry
    return found


def short_name(name: str) -> str:
    """A module's name without the collection."""
    for prefix in COLLECTIONS:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


@functools.cache
def find(name: str) -> Entry | None:
    """The module of this name, short or with its collection; None when there is none."""
    short = short_name(name)
    return entries().get(short) or _aliases().get(short)


def suggestion(name: str) -> str | None:
    """A hint with the known module that is nearest."""
    close = difflib.get_close_matches(short_name(name), list(entries()), n=1, cutoff=0.7)
    return f"did you mean '{close[0]}'?" if close else None
