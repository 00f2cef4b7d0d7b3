"""Keep one container booted: again after a reboot, no more after a power-off.

The lab runs this file by its path with `python -I -S`, one process a host, so it imports the standard library only. Its
argument is the host's directory, which holds `boot.json` (what to run); it keeps `process.json` (what runs) there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import FrameType

# systemd-nspawn(1) --keep-unit: a reboot asked for from inside ends it with this status.
REBOOT = 133
# More boots than this within the period are a crash loop, which would only eat the machine.
BOOTS, PERIOD = 10, 60.0


def start_time(pid: int) -> int:
    """When a process began, in clock ticks since the machine's boot; 0 when it is gone or a zombie.

    With the pid it names a process for good, as pids are given out again.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def detach(log: str) -> None:
    """Let go of whatever the starter's standard streams were; what is said from here on goes to a log."""
    null = os.open(os.devnull, os.O_RDONLY)
    console = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (console, 1), (console, 2)):
        os.dup2(source, target)
    os.closerange(3, max(null, console) + 1)


def remove_cgroups(top: str) -> None:
    """Remove a cgroup and those below it. One that still holds processes stays."""
    for path, _, _ in os.walk(top, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            pass


def enter(cgroup: str) -> None:
    """Move this process into a cgroup, making that first."""
    for _ in range(5):
        try:
            os.makedirs(cgroup, exist_ok=True)
            break
        except FileNotFoundError:  # the last host of another lab has just taken the common parent with it
            pass
    with open(os.path.join(cgroup, "cgroup.procs"), "w", encoding="ascii") as file:
        file.write(str(os.getpid()))


def delegate(cgroup: str) -> None:
    """Hand every controller that the cgroup has to those below it, so that a host's systemd can use limits."""
    with open(os.path.join(cgroup, "cgroup.controllers"), encoding="ascii") as file:
        controllers = file.read().split()
    for controller in controllers:
        try:
            with open(os.path.join(cgroup, "cgroup.subtree_control"), "w", encoding="ascii") as file:
                file.write("+" + controller)
        except OSError:
            pass


class Supervisor:
    """Boots the container of one host until it is powered off, crashes, or this process is told to end."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        with open(os.path.join(directory, "boot.json"), encoding="utf-8") as file:
            plan = json.load(file)
        self.argv: list[str] = plan["argv"]
        self.environment: dict[str, str] = plan["environment"]
        self.cgroup: str = plan["cgroup"]
        self.child: subprocess.Popen[bytes] | None = None
        self.stopping = False

    def run(self) -> None:
        """Boot and boot again; returns when the host is to stay off."""
        signal.signal(signal.SIGTERM, self.stop)
        detach(os.path.join(self.directory, "console.log"))
        enter(os.path.join(self.cgroup, "watch"))
        delegate(self.cgroup)
        boots: list[float] = []
        while True:
            status = self.boot()
            boots = [when for when in boots if when > time.monotonic() - PERIOD] + [time.monotonic()]
            if status != REBOOT or self.stopping or len(boots) >= BOOTS:
                self.record(exit_status=status)
                return

    def boot(self) -> int:
        """One life of the container, from boot to its end; returns the status of systemd-nspawn."""
        # nspawn splits the cgroup it is started in, so each life needs an undivided one.
        host = os.path.join(self.cgroup, "host")
        remove_cgroups(host)
        self.child = subprocess.Popen(self.argv, env=self.environment, preexec_fn=lambda: enter(host))
        self.record()
        if self.stopping:
            self.child.terminate()
        return self.child.wait()

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Ask the container to power off: nspawn passes SIGTERM on as a request for an orderly shutdown."""
        self.stopping = True
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()

    def record(self, exit_status: int | None = None) -> None:
        """Write what runs, whole or not at all."""
        pid = self.child.pid if self.child is not None and exit_status is None else 0
        text = json.dumps(
            {
                "supervisor": [os.getpid(), start_time(os.getpid())],
                "nspawn": [pid, start_time(pid)] if pid else None,
                "exit_status": exit_status,
            }
        )
        path = os.path.join(self.directory, "process.json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)


if __name__ == "__main__":
    Supervisor(sys.argv[1]).run()
