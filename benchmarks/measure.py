"""What is measured about one run of a tool: its time, the memory of its processes, and what it left on the hosts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from opsplay.errors import LabError
from opsplay.lab.loopback_fleet import LoopbackFleet
from opsplay.lab.processes import descendants, terminate

_SAMPLE_SECONDS = 0.2
_LONGEST_SECONDS = 3600.0


@dataclass(frozen=True)
class Measured:
    """One run: wall seconds, the peak of its processes' memory in bytes, and all that it printed."""

    seconds: float
    peak_bytes: int
    output: str


def run_measured(
    fleet: LoopbackFleet, command: Sequence[str], *, environment: Mapping[str, str], directory: Path, log: Path
) -> Measured:
    """Run a tool inside the fleet's namespace. Raises LabError with the end of its output when it fails."""
    with log.open("wb") as output, PeakMemory(fleet) as memory:
        start = time.perf_counter()
        process = subprocess.Popen(
            fleet.command(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory,
        )
        limit = threading.Timer(_LONGEST_SECONDS, process.kill)
        limit.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            limit.cancel()
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(errors="replace")
    if process.returncode:
        raise LabError(f"`{' '.join(command)}` ended with status {process.returncode}:\n{text[-3000:]}")
    return Measured(seconds, max(memory.peak_bytes, usage.ru_maxrss * 1024), text)


class PeakMemory:
    """Samples the memory (proportional set size) of all that runs in a fleet's namespace and is not the hosts' side."""

    def __init__(self, fleet: LoopbackFleet) -> None:
        self.peak_bytes = 0
        self._fleet = fleet
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, sum(map(_memory, control_processes(self._fleet))))


def control_processes(fleet: LoopbackFleet) -> list[int]:
    """The processes in the fleet's namespace that belong to no host: a tool, its workers, its SSH clients."""
    namespace = Path("/run/netns", fleet.name).stat().st_ino
    server = fleet.server.pid
    hosts = {server, *(descendants(server) if server else ())}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended since
            inside = (process / "ns/net").stat().st_ino == namespace and int(process.name) not in hosts
            # The delaying proxy is the network's part.
            if inside and b"opsplay.lab.delay" not in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def end_leftovers(fleet: LoopbackFleet) -> None:
    """End what a tool left running on the control side, such as persistent SSH connections."""
    terminate(control_processes(fleet))


def digest(workdir: Path) -> str:
    """What a tool made of the hosts: paths, types, modes, owners (root or not), link targets and contents."""
    total = hashlib.sha256()
    for path in sorted(workdir.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            content = os.readlink(path).encode()
        elif path.is_file():
            # A path of its own inside a file is what differs between two runs that did the same.
            content = path.read_bytes().replace(os.fsencode(workdir), b"WORKDIR")
        else:
            content = b""
        mode = 0 if path.is_symlink() else status.st_mode
        total.update(repr((str(path.relative_to(workdir)), mode, status.st_uid == 0, content)).encode())
    return total.hexdigest()


def _memory(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
