"""An archive that is sent as it is made: nothing of it is ever on the host's disk; times and owners are kept."""

from __future__ import annotations

import os
import stat
from typing import Any, Callable, Dict, List, Tuple

PIECE = 256 << 10
# What the system's own record of reading a file would change is its time of access.
READ_ONLY = os.O_RDONLY | getattr(os, "O_NOATIME", 0) | os.O_NONBLOCK | os.O_NOFOLLOW


class Sender:
    """What tarfile writes to."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send = send
        self.parts: List[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self.parts.append(data)
        self.size += len(data)
        if self.size >= PIECE:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self.parts:
            self.send(b"".join(self.parts))
        self.parts, self.size = [], 0


class Steady:
    """A file of which just as much is read as it had when it was looked at: logs grow, and are cut."""

    def __init__(self, file: Any, size: int) -> None:
        self.file = file
        self.rest = size
        self.short = 0

    def read(self, size: int) -> bytes:
        wanted = min(size, self.rest)
        data: bytes = self.file.read(wanted)
        if len(data) < wanted:
            self.short += wanted - len(data)
            data += b"\0" * (wanted - len(data))
        self.rest -= len(data)
        return data


def send(
    paths: List[str], most: int, deliver: Callable[[bytes], None], progress: Callable[[str], None]
) -> Dict[str, Any]:
    """Send what lies at and below these paths. Returns how many files there are, and what is not whole and why."""
    import tarfile

    sender = Sender(deliver)
    told: Dict[str, Any] = {"files": 0, "bytes": 0, "left_out": []}
    with tarfile.open(fileobj=sender, mode="w|gz", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for path in paths:
            for member, found in below(path):
                if told["bytes"] + (found.st_size if stat.S_ISREG(found.st_mode) else 0) > most:
                    told["left_out"].append([member, "the archive would be larger than %d MiB" % (most >> 20)])
                    continue
                add(tar, member, found, told)
                progress(member)
    sender.flush()
    return told


def below(path: str) -> List[Tuple[str, Any]]:
    """A path and all below it, folders first; links are not followed."""
    try:
        found = os.lstat(path)
    except OSError:
        return []
    members = [(path, found)]
    if stat.S_ISDIR(found.st_mode):
        try:
            names = sorted(os.listdir(path))
        except OSError:
            return members
        for name in names:
            members += below(os.path.join(path, name))
    return members


def add(tar: Any, path: str, found: Any, told: Dict[str, Any]) -> None:
    """Put one file, folder, link or pipe into the archive."""
    if stat.S_ISSOCK(found.st_mode):
        return
    try:
        info = tar.gettarinfo(path, path.lstrip("/"))
        if not info.isreg():
            tar.addfile(info)
        else:
            add_file(tar, info, path, told)
    except OSError as problem:
        told["left_out"].append([path, problem.strerror or str(problem)])
        return
    told["files"] += 1


def add_file(tar: Any, info: Any, path: str, told: Dict[str, Any]) -> None:
    with os.fdopen(opened(path), "rb") as file:
        found = os.fstat(file.fileno())
        info.size, info.mtime = found.st_size, found.st_mtime
        steady = Steady(file, info.size)
        tar.addfile(info, steady)
        told["bytes"] += info.size
        if steady.short:
            told["left_out"].append([path, "%d bytes were cut off while it was read" % steady.short])


def opened(path: str) -> int:
    try:
        return os.open(path, READ_ONLY)
    except PermissionError:
        # Only the owner and root may read without a trace.
        return os.open(path, READ_ONLY & ~getattr(os, "O_NOATIME", 0))
