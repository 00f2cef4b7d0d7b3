"""A lock against two runs at once: advisory, freed by the kernel when its holder dies, with its holder's name."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from typing import Any, Optional, Tuple

from opsplay.agent import files

PAUSE = 0.2
# struct flock of fcntl(2): type, whence, start, length, pid.
FLOCK = struct.Struct("hhqqi")


class Lock:
    """The context of `Host.lock`."""

    __slots__ = ("host", "name", "path", "seconds", "fd")

    def __init__(self, host: Any, name: str, seconds: float) -> None:
        self.host = host
        self.name = name
        self.path = name if "/" in name else path_of(name)
        self.seconds = seconds
        self.fd = -1

    def __enter__(self) -> None:
        if self.host.check:
            return
        deadline = time.monotonic() + self.seconds
        while not self._take():
            who = describe(self.path)
            if time.monotonic() >= deadline:
                waited = ", after %g s of waiting" % self.seconds if self.seconds else ""
                hint = "wait for it to end, or allow a longer wait"
                self.host.fail("%s is locked by %s%s; %s" % (self.name, who, waited, hint), lock=self.path)
            self.host.progress("waiting for %s, which has locked %s" % (who, self.name))
            time.sleep(PAUSE)

    def __exit__(self, *exc: Any) -> None:
        if self.fd < 0:
            return
        # A file that the caller named is the caller's; what waits for ours sees that it is gone and makes another.
        if self.path != self.name:
            os.unlink(self.path)
        os.close(self.fd)
        self.fd = -1

    def _take(self) -> bool:
        """Try once. Raises OSError where no lock can be."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = is_still(self.path, fd)
        except OSError as problem:
            os.close(fd)
            if problem.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return False
        if not taken:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.write(fd, signature().encode("utf-8", "surrogateescape"))
        self.fd = fd
        return True


def path_of(name: str) -> str:
    """Where the lock of this name is, in a folder that nobody else may write to if there is one."""
    folder = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR") or "/tmp"
    return os.path.join(folder, "opsplay-%d-%s.lock" % (os.geteuid(), name))


def is_still(path: str, fd: int) -> bool:
    """Whether the path still names the open file: its holder may have removed it before it was locked here."""
    try:
        there, here = os.stat(path), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)


def signature() -> str:
    """Who holds the lock, for those who find it held."""
    user = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME") or "uid %d" % os.geteuid()
    origin = os.environ.get("SSH_CLIENT", "").partition(" ")[0]
    return "%s%s since %s" % (user, " from " + origin if origin else "", time.strftime("%Y-%m-%d %H:%M:%S"))


def describe(path: str) -> str:
    """The holder in words."""
    pid, command = holder(path) or (0, "")
    try:
        said = files.read_whole(path).decode("utf-8", "replace")
    except OSError:
        said = ""
    return "process %d (%s)" % (pid, said or command[:120])


def holder(path: str) -> Optional[Tuple[int, str]]:
    """The process that holds a lock of fcntl(2): its pid (0 when it is in another container) and its command."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # The kernel fills in who would be in the way.
        answer = fcntl.fcntl(fd, fcntl.F_GETLK, FLOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0))
    except OSError:
        return None
    finally:
        os.close(fd)
    kind, _, _, _, pid = FLOCK.unpack(answer)
    if kind == fcntl.F_UNLCK:
        return None
    try:
        line = files.read_whole("/proc/%d/cmdline" % pid)
    except OSError:
        line = b""
    return pid, " ".join(line.decode("utf-8", "replace").split("\0")).strip() or "a process elsewhere"
