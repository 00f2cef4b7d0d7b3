"""Where lookups look for files."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from opsplay.documents.keyring import KEYRING
from opsplay.errors import DocumentError, TemplateError

# Line ends of every kind, which reading a text turns into the one.
LINE_END = re.compile("\r\n?")


@dataclass(frozen=True)
class SearchPath:
    """Folders that relative names are looked for in, the nearest first: a role's own, then the playbook's.

    Each is searched twice: in its folder for a kind of file (`files`, `templates`, `vars`), then itself.
    """

    folders: tuple[str, ...]

    @classmethod
    def of(cls, place: SearchPath | str) -> SearchPath:
        """A search path, also from just one folder."""
        return place if isinstance(place, SearchPath) else cls((place,))

    @property
    def base(self) -> str:
        """The playbook's folder, in which programs run."""
        return self.folders[-1]

    def candidates(self, name: str, kinds: Iterable[str]) -> list[str]:
        """Every path that a name may mean, the nearest first."""
        return [os.path.join(folder, kind, name) for folder in self.folders for kind in (*kinds, "")]

    def find(self, name: str, kind: str) -> str:
        """The nearest file of a name. Raises TemplateError."""
        for path in self.candidates(name, [kind]):
            if os.path.exists(path):
                return path
        where = " or ".join(f"{os.path.join(folder, kind)} or {folder}" for folder in self.folders)
        raise TemplateError(f"there is no file '{name}' in {where}")

    def match(self, pattern: str, kind: str) -> list[str]:
        """The files that a pattern matches in the nearest folder where it matches any, by name."""
        for path in self.candidates(pattern, [kind]):
            found = sorted(name for name in glob.glob(path) if os.path.isfile(name))
            if found:
                return found
        return []


def read(path: str, encoding: str = "utf-8") -> str:
    """A file's text, decrypted where it is a vault; bytes that are no text are kept for when it is written.

    Raises TemplateError.
    """
    try:
        data = KEYRING.read_secret(path)
        return LINE_END.sub("\n", data.decode(encoding, "surrogateescape"))
    except DocumentError as problem:
        raise TemplateError(problem.message, at=problem.at, hint=problem.hint) from problem
    except (OSError, LookupError) as problem:
        raise TemplateError(f"cannot read {path}: {getattr(problem, 'strerror', None) or problem}") from problem
