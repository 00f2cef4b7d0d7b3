"""Which members of an archive are unpacked, and the refusal of those that would leave the directory."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Params

STRIP = "--strip-components="


class Selection:
    """The members that the task wants: `listed` under the archive's names, `entries` under those they get."""

    def __init__(self, host: Host, params: Params, dest: str, entries: List[Any]) -> None:
        self.host = host
        self.dest = dest
        self.listed = [entry for entry in entries if wanted(params, plain(entry.name))]
        for name in params.include:
            if not any(is_included(plain(entry.name), name) for entry in self.listed):
                host.fail("include: the archive holds no %s" % name)
        strip = strip_components(host, params.extra_opts)
        self.entries = [entry for entry in self.listed if self._rename(entry, strip)]
        self._refuse_escapes()

    def _rename(self, entry: Any, strip: int) -> bool:
        """Give an entry its name below the directory. Returns whether any is left."""
        name = stripped(plain(entry.name), strip)
        if not name:
            return False
        entry.name = name
        if entry.kind == "hard":
            entry.target = stripped(plain(entry.target), strip)
        return True

    def _refuse_escapes(self) -> None:
        """Fail before anything is written when a member would come to lie outside."""
        links = {entry.name: entry.target for entry in self.entries if entry.kind == "link"}
        for entry in self.entries:
            for name in (entry.name, entry.target) if entry.kind == "hard" else (entry.name,):
                if ".." in name.split("/") or leads_out(name, links):
                    self.host.fail("%s would lie outside of %s: nothing was unpacked" % (name, self.dest))


def plain(name: str) -> str:
    """A member's name without a slash at its ends and without dots that mean nothing."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def stripped(name: str, count: int) -> str:
    return "/".join(name.split("/")[count:])


def strip_components(host: Host, options: List[str]) -> int:
    for option in options:
        if option.startswith(STRIP):
            if not option[len(STRIP) :].isdigit():
                host.fail("extra_opts: %s needs a number" % option)
            # Where a program unpacks, it has done so already.
            return int(option[len(STRIP) :]) if all(other.startswith(STRIP) for other in options) else 0
    return 0


def above(name: str) -> Iterator[str]:
    """The directories on the way to a name."""
    parts = name.split("/")
    for count in range(1, len(parts)):
        yield "/".join(parts[:count])


def leads_out(name: str, links: Dict[str, str]) -> bool:
    """Whether a name goes through a link of the archive that leads out of the directory."""
    for folder in above(name):
        target: Optional[str] = links.get(folder)
        if target is not None:
            end = os.path.normpath(os.path.join(os.path.dirname(folder), target))
            if end.startswith(("/", "../")) or end == "..":
                return True
    return False


def inside(path: str, folder: str) -> bool:
    return (path + "/").startswith(folder.rstrip("/") + "/")


def wanted(params: Params, name: str) -> bool:
    if params.include:
        return any(is_included(name, pattern) for pattern in params.include)
    return not any(is_excluded(name, pattern) for pattern in params.exclude)


def is_included(name: str, pattern: str) -> bool:
    """A member is meant by its name, by a pattern, or by a directory above it."""
    from fnmatch import fnmatchcase

    pattern = plain(pattern)
    return name == pattern or name.startswith(pattern + "/") or fnmatchcase(name, pattern)


def is_excluded(name: str, pattern: str) -> bool:
    """As tar does: the pattern may match from any part of the path on, and a directory takes along what it holds."""
    from fnmatch import fnmatchcase

    pattern = plain(pattern)
    for path in [*above(name), name]:
        parts = path.split("/")
        if any(fnmatchcase("/".join(parts[start:]), pattern) for start in range(len(parts))):
            return True
    return False
