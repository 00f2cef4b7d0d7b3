"""Who holds the locks of apt and dpkg, and waiting for them with a deadline."""

from __future__ import annotations

import os
import time
from typing import Iterable, Optional, Tuple

from opsplay.agent import files
from opsplay.agent.host import Host

INSTALLING = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/cache/apt/archives/lock")
UPDATING = ("/var/lib/apt/lists/lock",)
PAUSE = 0.5


def holder(path: str) -> Optional[Tuple[int, str]]:
    """The process that holds a lock of fcntl(2): its pid (0 when it is in another container) and its command."""
    import fcntl
    import struct

    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # struct flock: type, whence, start, length, pid; the kernel fills in who would be in the way.
        answer = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))
    except OSError:
        return None
    finally:
        os.close(fd)
    kind, _, _, _, pid = struct.unpack("hhqqi", answer)
    if kind == fcntl.F_UNLCK:
        return None
    try:
        line = files.read_whole("/proc/%d/cmdline" % pid)
    except OSError:
        line = b""
    return pid, " ".join(line.decode("utf-8", "replace").split("\0")).strip() or "a process elsewhere"


def wait(host: Host, paths: Iterable[str], deadline: float, seconds: int) -> None:
    """Wait until nobody holds these locks. Fails at the deadline (monotonic), naming who does."""
    while True:
        held = [(path, found) for path, found in ((path, holder(path)) for path in paths) if found]
        if not held:
            return
        path, (pid, command) = held[0]
        who = "process %d (%s)" % (pid, command[:120])
        if time.monotonic() >= deadline:
            hint = "wait for it to end, or raise lock_timeout"
            host.fail("%s is held by %s, for longer than %d s; %s" % (path, who, seconds, hint), lock=path, pid=pid)
        host.progress("waiting for %s" % who)
        time.sleep(PAUSE)
