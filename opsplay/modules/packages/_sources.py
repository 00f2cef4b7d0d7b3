"""apt's one-line sources (sources.list(5)): the files, and the lines in them."""

from __future__ import annotations

import os
from typing import Dict, List, Optional

from opsplay.agent.host import Host

MAIN, FOLDER = "/etc/apt/sources.list", "/etc/apt/sources.list.d"
TYPES = ("deb", "deb-src")


class Source:
    """A line that names a repository: its words with single blanks, whether it counts, and its comment."""

    __slots__ = ("text", "is_enabled", "comment")

    def __init__(self, text: str, is_enabled: bool, comment: str) -> None:
        self.text = text
        self.is_enabled = is_enabled
        self.comment = comment

    @classmethod
    def parse(cls, line: str) -> "Optional[Source]":
        """The source that a line holds, be it commented out; None for other lines."""
        line = line.strip()
        is_enabled = not line.startswith("#")
        text, _, comment = line.lstrip("# \t").partition("#")
        source = cls(" ".join(text.split()), is_enabled, comment.strip())
        return source if source.is_valid else None

    @property
    def is_valid(self) -> bool:
        """Whether it has a type, perhaps options, an address, a suite, and components unless the suite is a path."""
        words = self.places()
        if len(words) < 2 or self.text.partition(" ")[0] not in TYPES:
            return False
        return ":" in words[0] and (len(words) > 2) != words[1].endswith("/")

    def places(self) -> List[str]:
        """The address, the suite and the components."""
        rest = self.text.partition(" ")[2]
        if rest.startswith("["):
            rest = rest.partition("]")[2]
        return rest.split()

    def __str__(self) -> str:
        return "%s # %s" % (self.text, self.comment) if self.comment else self.text


class Lists:
    """All the files of one-line sources, by path; what is not edited stays as it is."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.files: Dict[str, List[str]] = {}
        paths = [MAIN] if host.exists(MAIN) else []
        if host.is_directory(FOLDER):
            paths += [os.path.join(FOLDER, name) for name in host.names(FOLDER) if name.endswith(".list")]
        for path in paths:
            text = host.read(path).decode("utf-8", "surrogateescape")
            self.files[path] = text.split("\n")[:-1] if text.endswith("\n") else text.split("\n")
        self.before = {path: list(lines) for path, lines in self.files.items()}

    def add(self, wanted: Source, path: str) -> None:
        """See that the source counts: where it stands, commented out perhaps, else at the end of this file."""
        for lines in self.files.values():
            for number, line in enumerate(lines):
                source = Source.parse(line)
                if source is not None and source.text == wanted.text:
                    if not source.is_enabled:
                        lines[number] = str(wanted if wanted.comment else Source(source.text, True, source.comment))
                    return
        self.files.setdefault(path, []).append(str(wanted))

    def remove(self, wanted: Source) -> None:
        """Take the source out of every file; a file of its own that is then empty goes."""
        for path, lines in list(self.files.items()):
            kept = [line for line in lines if not is_for(line, wanted)]
            self.files[path] = kept
            if len(kept) != len(lines) and path != MAIN and not any(line.strip() for line in kept):
                del self.files[path]

    def added(self) -> List[str]:
        return sorted(self.files.keys() - self.before.keys())

    def removed(self) -> List[str]:
        return sorted(self.before.keys() - self.files.keys())

    def save(self, mode: int) -> None:
        """Write what differs; `mode` is for files that are new."""
        self._write(self.files, self.before, mode)

    def restore(self) -> None:
        """Put everything back as it was found."""
        self._write(self.before, self.files, None)

    def _write(self, wanted: Dict[str, List[str]], there: Dict[str, List[str]], mode: Optional[int]) -> None:
        for path in there.keys() - wanted.keys():
            self.host.remove(path)
        for path, lines in sorted(wanted.items()):
            if lines != there.get(path):
                text = "".join(line + "\n" for line in lines)
                self.host.directory(os.path.dirname(path))
                self.host.write(path, text, mode=mode if path not in there else None)


def is_for(line: str, wanted: Source) -> bool:
    source = Source.parse(line)
    return source is not None and source.is_enabled and source.text == wanted.text


def file_for(source: Source, name: Optional[str]) -> str:
    """The file for a new source: of the name given, else of one made from the address, as Ansible makes it."""
    if name and "/" in name:
        return name + ".list"
    if not name:
        address = source.places()[0].rpartition("://")[2].rpartition("@")[2]
        name = "_".join("".join(char if char.isalnum() and char < "\x7f" else " " for char in address).split())
    return "%s/%s.list" % (FOLDER, name)
