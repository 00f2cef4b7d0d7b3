"""Hidden files that stand beside their targets until they are renamed into place."""

from __future__ import annotations

import errno
import os
from typing import Any, Set

PREFIX = ".opsplay-"


class Temporary:
    """Hidden files beside their targets. What a killed agent left in a folder goes when that folder is next written."""

    def __init__(self) -> None:
        self.paths: Set[str] = set()
        self._swept: Set[str] = set()

    def create(self, directory: str) -> Any:
        """An open descriptor (mode 0600, never a link) and its path."""
        self.sweep(directory)
        path = self.name(directory)
        self.paths.add(path)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            self.paths.discard(path)
            raise
        return fd, path

    def name(self, directory: str) -> str:
        """A name that nothing bears, by which a later run knows whose leftover it is."""
        return os.path.join(directory, "%s%d-%s" % (PREFIX, os.getpid(), os.urandom(6).hex()))

    def discard(self, path: str) -> None:
        try:
            os.unlink(path)
        except OSError:
            pass
        self.paths.discard(path)

    def clean_up(self) -> None:
        for path in list(self.paths):
            self.discard(path)

    def sweep(self, directory: str) -> None:
        if directory in self._swept:
            return
        self._swept.add(directory)
        try:
            names = os.listdir(directory or ".")
        except OSError:
            return
        for name in names:
            if name.startswith(PREFIX):
                pid = name[len(PREFIX) :].partition("-")[0]
                if pid.isdigit() and not process_lives(int(pid)):
                    self.discard(os.path.join(directory, name))


def process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as problem:
        return problem.errno == errno.EPERM
    return True
