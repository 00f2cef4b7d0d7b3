"""Ending processes by number, for certain and within seconds (Linux; without /proc nothing is found)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until `condition` holds, at most `seconds`; whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def descendants(pid: int) -> list[int]:
    """The children of a process, their children, and so on, as they are now."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended since
            # The second field, the name, may hold anything; the parent's number is the second one after it.
            parent = int(status.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found: list[int] = []
    pending = [pid]
    while pending:
        born = children.pop(pending.pop(), [])
        found += born
        pending += born
    return found


def is_alive(pid: int) -> bool:
    """Whether a process exists and has not merely yet to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def terminate(pids: Iterable[int], *, grace: float = 2.0) -> list[int]:
    """End processes: ask, wait at most `grace` seconds, then kill. Returns those that live on a second after that."""
    alive = [pid for pid in pids if is_alive(pid)]
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 1.0)):
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        wait_for(partial(_have_ended, alive), seconds)
        alive = [pid for pid in alive if is_alive(pid)]
    return alive


def _have_ended(pids: list[int]) -> bool:
    return not any(map(is_alive, pids))
