"""Changing files so that a reader sees the old or the new, never a part, and a crash leaves one of the two."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any, Callable, Iterable, Iterator, List, Optional, Tuple

from opsplay.agent.temporary import Staged, Temporary, sync_directory, write_all

__all__ = ["Staged", "Temporary", "sync_directory"]

UMASK_DEFAULT = 0o022


def read_whole(path: str) -> bytes:
    """The content of a file. Raises OSError."""
    return b"".join(read_chunks(path))


def read_chunks(path: str) -> Iterator[bytes]:
    """The content of a file in pieces of at most a megabyte. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while True:
            data = os.read(fd, 1 << 20)
            if not data:
                return
            yield data
    finally:
        os.close(fd)


# A rename that cannot replace its target (a file that is mounted into a container), or a folder that one may not write.
UNREPLACEABLE = (errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS)


def replace(
    temporary: Temporary,
    path: str,
    chunks: Iterable[bytes],
    mode: int,
    owner: Tuple[int, int],
    validate: Optional[Callable[[str], None]] = None,
    sync: bool = True,
) -> None:
    """Write beside, and install as `Staged.install` does. Raises OSError and what `validate` raises."""
    with Staged(temporary, os.path.dirname(path)) as staged:
        for chunk in chunks:
            staged.write(chunk)
        staged.install(path, mode, owner, validate, sync)


def overwrite(path: str, chunks: Iterable[bytes]) -> None:
    """Write a file in place, where it cannot be replaced. A reader may see a part. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        for chunk in chunks:
            write_all(fd, chunk)
        os.fsync(fd)
    finally:
        os.close(fd)


def write_new(path: str, content: bytes, mode: int) -> None:
    """Write a file that is not there. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        write_all(fd, content)
    finally:
        os.close(fd)


def sync_tree(folder: str) -> None:
    """Bring a folder with all that it holds to the disk. Raises OSError."""
    for above, _, names in os.walk(folder, topdown=False):
        for name in names:
            if not stat.S_ISREG(os.lstat(os.path.join(above, name)).st_mode):
                # Links and the like last with the folder that names them.
                continue
            fd = os.open(os.path.join(above, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        sync_directory(above)


def place(temporary: Temporary, path: str, make: Callable[[str], None]) -> None:
    """Let `make` create something under a name beside `path`, and rename it into place. Raises OSError."""
    directory = os.path.dirname(path) or "."
    temporary.sweep(directory)
    beside = temporary.name(directory)
    temporary.paths.add(beside)
    try:
        make(beside)
        os.rename(beside, path)
    except BaseException:
        temporary.discard(beside)
        raise
    # Renaming one name of a file to another name of the same file leaves both.
    temporary.discard(beside)
    sync_directory(directory)


def set_permissions(path: str, found: Any, bits: Optional[int], uid: int, gid: int, follow: bool) -> None:
    """Change owner (-1: leave) and mode (None: leave) of the very file that `found` (a stat result) describes.

    A link that someone else puts in its place in the meantime is not followed. Raises OSError.
    """
    if stat.S_ISLNK(found.st_mode):
        os.chown(path, uid, gid, follow_symlinks=False)
        return
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        here = os.fstat(fd)
        if (here.st_ino, here.st_dev) != (found.st_ino, found.st_dev):
            raise OSError(errno.EAGAIN, "it was replaced meanwhile", path)
        through = "/proc/self/fd/%d" % fd
        if not os.path.exists(through):
            through = path
        if (uid, gid) != (-1, -1):
            os.chown(through, uid, gid)
        if bits is not None:
            # After chown, which clears the set-id bits.
            os.chmod(through, bits)
    finally:
        os.close(fd)


def remove_tree(path: str) -> None:
    """Remove a file, link or whole folder; never through a link, even one put there meanwhile. Raises OSError."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _remove_below(directory, os.path.basename(path))
    finally:
        os.close(directory)


def _remove_below(directory: int, name: str) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        for inner in os.listdir(fd):
            if stat.S_ISDIR(os.stat(inner, dir_fd=fd, follow_symlinks=False).st_mode):
                _remove_below(fd, inner)
            else:
                os.unlink(inner, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=directory)


def current_umask() -> int:
    mask = os.umask(UMASK_DEFAULT)
    os.umask(mask)
    return mask


WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}
BITS = {"r": 0o444, "w": 0o222, "x": 0o111}


def apply_mode(wanted: Any, current: int, is_directory: bool) -> int:
    """The permission bits that `wanted` (a number, or clauses as for chmod) makes of `current`."""
    if isinstance(wanted, int):
        return wanted
    bits = stat.S_IMODE(current)
    for clause in wanted.split(","):
        bits = _apply_clause(clause, bits, is_directory)
    return bits


def _apply_clause(clause: str, bits: int, is_directory: bool) -> int:
    who_length = len(clause) - len(clause.lstrip("ugoa"))
    who, rest = clause[:who_length], clause[who_length:]
    affected = 0
    for letter in who or "a":
        affected |= WHO[letter]
    # Without "who" all bits are meant, but those of the umask are not given or taken.
    mask = affected if who else ~current_umask()
    for operator, letters in _operations(rest):
        value = _bits_of(letters, bits, is_directory) & mask
        # The set-id bits of a folder change only when they are named, as with chmod.
        kept = 0o6000 & ~value if is_directory else 0
        if operator == "=":
            bits = (bits & (~affected | kept)) | value
        elif operator == "+":
            bits |= value
        else:
            bits &= ~value
    return bits


def _operations(text: str) -> List[Any]:
    found: List[Any] = []
    for char in text:
        if char in "+-=":
            found.append([char, ""])
        else:
            found[-1][1] += char
    return found


def _bits_of(letters: str, bits: int, is_directory: bool) -> int:
    value = 0
    for letter in letters:
        if letter in BITS:
            value |= BITS[letter]
        elif letter == "X":
            value |= 0o111 if is_directory or bits & 0o111 else 0
        elif letter == "s":
            value |= 0o6000
        elif letter == "t":
            value |= 0o1000
        else:  # u, g or o: copy what those have
            shift = {"u": 6, "g": 3, "o": 0}[letter]
            triple = (bits >> shift) & 0o7
            value |= triple << 6 | triple << 3 | triple
    return value


# Where CPython keeps its own hash functions: slower than OpenSSL's, but 2 ms sooner there.
BUILTIN_HASHES = {"sha1": ("_sha1",), "sha256": ("_sha256", "_sha2"), "md5": ("_md5",)}
SMALL = 1 << 20


def new_hash(algorithm: str, size: int) -> Any:
    """A hash object for content of about this size, as hashlib's. Raises ValueError for an unknown algorithm."""
    for module in BUILTIN_HASHES.get(algorithm, ()) if size <= SMALL else ():
        try:
            return getattr(__import__(module), algorithm)()
        except ImportError:
            continue
    import hashlib

    return hashlib.new(algorithm)
