"""Settings of this machine's kernel that hosts need: raised while there is a lab, and then put back."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from opsplay.lab.state import replace_file

_SYS = Path("/proc/sys")
# Hosts reach their packages through this machine. A host takes six of root's inotify instances, of which the kernel
# grants 128 by default; those of all hosts count together.
_WANTED: Mapping[str, int] = {"net/ipv4/ip_forward": 1, "fs/inotify/max_user_instances": 8192}
# /run forgets at a reboot, as the kernel does.
_RUN = Path("/run/opsplay")
_BEFORE = _RUN / "lab-settings.json"


def raise_settings() -> None:
    """Raise what is too low, remembering what it was."""
    with _settings() as before:
        for name, value in _WANTED.items():
            now = int((_SYS / name).read_text(encoding="ascii"))
            if now < value:
                before.setdefault(name, now)
                replace_file(_BEFORE, json.dumps(before), 0o600)
                # Read-only where this machine is itself a container: small labs do without.
                with suppress(OSError):
                    (_SYS / name).write_text(f"{value}\n", encoding="ascii")


def restore_settings(in_use: Callable[[], bool]) -> None:
    """Put back what was raised, unless a lab is left or somebody else has changed it since."""
    with _settings() as before:
        if in_use():
            return
        for name, value in before.items():
            if int((_SYS / name).read_text(encoding="ascii")) == _WANTED[name]:
                (_SYS / name).write_text(f"{value}\n", encoding="ascii")
        _BEFORE.unlink(missing_ok=True)


@contextmanager
def _settings() -> Iterator[dict[str, int]]:
    _RUN.mkdir(mode=0o700, exist_ok=True)
    with open(_RUN / "lab.lock", "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before: dict[str, int] = {}
        with suppress(OSError, ValueError):
            before = json.loads(_BEFORE.read_text(encoding="ascii"))
        yield before
