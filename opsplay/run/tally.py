"""The recap's counts, a host at a time, and the exit code they amount to."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace

from opsplay.events import HostTally
from opsplay.model import Status

# Which counts a task's end adds to, as Ansible counts: a changed task is also ok, an ignored failure too.
COUNTED = {
    Status.OK: ("ok",),
    Status.CHANGED: ("ok", "changed"),
    Status.SKIPPED: ("skipped",),
    Status.FAILED: ("failed",),
    Status.IGNORED: ("ok", "ignored"),
    Status.RESCUED: ("rescued",),
    Status.UNREACHABLE: ("unreachable",),
    Status.UNKNOWN: ("unreachable",),
}


class Tallies:
    """Counts for every host of a run. Thread-safe."""

    def __init__(self) -> None:
        self._hosts: dict[str, HostTally] = {}
        self._lock = threading.Lock()

    def add_host(self, host: str) -> None:
        with self._lock:
            self._hosts.setdefault(host, HostTally(host))

    def count(self, host: str, status: Status, changed: bool = False, reason: str = "") -> None:
        """Add one task's end; `reason` says why the host stopped."""
        names = COUNTED[status]
        if status is Status.IGNORED and changed:
            names = (*names, "changed")
        with self._lock:
            tally = self._hosts.setdefault(host, HostTally(host))
            tally = replace(tally, **{name: getattr(tally, name) + 1 for name in names})
            self._hosts[host] = replace(tally, reason=reason) if reason else tally

    def all(self) -> tuple[HostTally, ...]:
        with self._lock:
            return tuple(sorted(self._hosts.values(), key=lambda tally: tally.host))


def exit_code(tallies: Iterable[HostTally]) -> int:
    """As ansible-playbook: 0 well, 2 a host failed, 4 a host was unreachable, 6 both."""
    found = list(tallies)
    failed = 2 if any(tally.failed for tally in found) else 0
    unreachable = 4 if any(tally.unreachable for tally in found) else 0
    return failed | unreachable
