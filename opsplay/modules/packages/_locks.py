"""Who holds the locks of apt and dpkg, and waiting for them with a deadline."""

from __future__ import annotations

import time
from typing import Iterable

from opsplay.agent.host import Host
from opsplay.agent.locks import holder

INSTALLING = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/cache/apt/archives/lock")
UPDATING = ("/var/lib/apt/lists/lock",)
PAUSE = 0.5


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
