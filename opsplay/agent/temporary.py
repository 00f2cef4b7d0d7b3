"""Hidden files that stand beside their targets until they are renamed into place."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any, Callable, Dict, Optional, Set, Tuple

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

    def folder(self, directory: str) -> str:
        """A new hidden folder in `directory`, which goes with all it holds when it is discarded or the task ends."""
        self.sweep(directory)
        path = self.name(directory)
        self.paths.add(path)
        os.mkdir(path, 0o700)
        return path

    def discard(self, path: str) -> None:
        try:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                from opsplay.agent.files import remove_tree

                remove_tree(path)
            else:
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


class Staged:
    """Content on its way: written in pieces to a hidden file, hashed meanwhile, and renamed into place at the end.

    A context: what was not installed goes. Without a directory (in a preview) it is only hashed and counted.
    `hashers` are hash objects by their algorithm.
    """

    __slots__ = ("path", "fd", "size", "hashers", "_temporary")

    def __init__(
        self, temporary: Temporary, directory: Optional[str], hashers: Optional[Dict[str, Any]] = None
    ) -> None:
        self.size = 0
        self.hashers = hashers or {}
        self.fd, self.path = -1, ""
        if directory is not None:
            self.fd, self.path = temporary.create(directory or ".")
        self._temporary = temporary

    def __enter__(self) -> "Staged":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()
        if self.path:
            self._temporary.discard(self.path)

    def write(self, data: bytes) -> int:
        """Add a piece; a file object's method, so that what packs archives can write here. Raises OSError."""
        for hasher in self.hashers.values():
            hasher.update(data)
        if self.fd >= 0:
            write_all(self.fd, data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back: file objects have this."""

    def digest(self, algorithm: str) -> str:
        """The hash, in hexadecimal, of what was written. Raises KeyError for an algorithm that was not asked for."""
        return str(self.hashers[algorithm].hexdigest())

    @property
    def sha256(self) -> str:
        return self.digest("sha256")

    def install(
        self,
        path: str,
        mode: int,
        owner: Tuple[int, int],
        validate: Optional[Callable[[str], None]] = None,
        sync: bool = True,
    ) -> None:
        """Fsync, check, rename onto `path` in the same folder, fsync the folder.

        `owner` is (uid, gid), -1 for what the folder gives. An existing target's extended attributes (ACLs, labels) are
        carried over. Without `sync` the caller sees to it that many files last. Raises OSError, what `validate` raises.
        """
        copy_attributes(path, self.fd)
        give(self.fd, owner)
        os.fchmod(self.fd, mode)
        if sync:
            os.fsync(self.fd)
        # A file that is open for writing cannot be executed by what validates it.
        self.close()
        if validate is not None:
            validate(self.path)
        os.rename(self.path, path)
        self._temporary.paths.discard(self.path)
        self.path = ""
        if sync:
            sync_directory(os.path.dirname(path))

    def close(self) -> None:
        """Write no more: for a program that reads or runs the hidden file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def give(fd: int, owner: Tuple[int, int]) -> None:
    """Change the owner of an open file where it is another than wanted. Raises OSError."""
    found = os.fstat(fd)
    uid = owner[0] if owner[0] != found.st_uid else -1
    gid = owner[1] if owner[1] != found.st_gid else -1
    if (uid, gid) != (-1, -1):
        os.fchown(fd, uid, gid)


def copy_attributes(source: str, fd: int) -> None:
    try:
        names = os.listxattr(source, follow_symlinks=False)
    except OSError:
        return
    for name in names:
        try:
            os.setxattr(fd, name, os.getxattr(source, name, follow_symlinks=False))
        except OSError:
            pass


def sync_directory(directory: str) -> None:
    """Make a rename or removal in this folder last through a power cut."""
    fd = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError:
        pass
    finally:
        os.close(fd)


def process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as problem:
        return problem.errno == errno.EPERM
    return True
