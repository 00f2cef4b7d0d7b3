"""Two names of one file system change what they stand for, so that neither is ever without anything."""

from __future__ import annotations

import errno
import os

from opsplay.agent.files import sync_directory

# linux/fs.h and fcntl.h
RENAME_EXCHANGE = 2
AT_FDCWD = -100


def exchange(one: str, other: str) -> None:
    """Let `one` be what `other` was, and the other way round, and bring that to the disk. Raises OSError.

    It is one step of the kernel (renameat2). Where the C library or the file system has no such step there are three
    renames; a power cut between them leaves what `one` was as OTHER.exchanged.
    """
    if not in_one_step(one, other):
        aside = other + ".exchanged"
        os.rename(one, aside)
        try:
            os.rename(other, one)
        except OSError:
            os.rename(aside, one)
            raise
        os.rename(aside, other)
    for folder in sorted({os.path.dirname(one), os.path.dirname(other)}):
        sync_directory(folder)


def in_one_step(one: str, other: str) -> bool:
    """Whether the kernel did it; false where it cannot. Raises OSError for every other reason."""
    try:
        import ctypes

        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (ImportError, OSError, AttributeError):
        return False
    if call(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(number, os.strerror(number), one)
