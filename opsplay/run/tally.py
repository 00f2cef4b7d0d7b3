"""The recap's counts, a host at a time, and the exit code they amount to."""

from __future__ import annotations

import threading
from dataclasses import replace

from opsplay.events import HostTally
from opsplay.model import Status

# Which counts a task's end adds to, as Ansible counts: a changed task is also ok, an ignored failure too.
COUNTED = {
    Status.OK: ("ok",),
    Status.CHANGED: ("ok", "changed"),
    Status.SKIPPED: ("skipped",),
    Status.UNDECIDED: ("skipped", "undecided"),
    Status.FAILED: ("failed",),
    Status.IGNORED: ("ok", "ignored"),
    Status.RESCUED: ("rescued",),
    Status.UNREACHABLE: ("unreachable",),
    Status.UNKNOWN: ("unreachable",),
}

FAILED, UNREACHABLE = 2, 4


class Tallies:
    """Counts for every host of a run. Thread-safe."""

    def __init__(self) -> None:
        self._hosts: dict[str, HostTally] = {}
        self._forgiven: dict[str, HostTally] = {}
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

    def forgive(self) -> None:
        """Failures so far do not count for the exit code."""
        with self._lock:
            self._forgiven = dict(self._hosts)

    def exit_code(self) -> int:
        """As ansible-playbook: 0 well, 2 a host failed, 4 a host was unreachable, 6 both."""
        with self._lock:
            pairs = [(tally, self._forgiven.get(host, HostTally(host))) for host, tally in self._hosts.items()]
        failed = any(tally.failed > forgiven.failed for tally, forgiven in pairs)
        unreachable = any(tally.unreachable > forgiven.unreachable for tally, forgiven in pairs)
        return (FAILED if failed else 0) | (UNREACHABLE if unreachable else 0)

    def all(self) -> tuple[HostTally, ...]:
        with self._lock:
            return tuple(sorted(self._hosts.values(), key=lambda tally: tally.host))
