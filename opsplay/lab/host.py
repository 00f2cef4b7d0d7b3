"""A host of a lab, as a test sees it: commands inside it that need no SSH, its processes, its cable, its power."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from opsplay.errors import LabError
from opsplay.lab.machine import PAYLOAD, Machine, Power
from opsplay.lab.network import set_link
from opsplay.lab.programs import SEARCH_PATH

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LANG": "C.UTF-8",
}


@dataclass(frozen=True)
class LabHost:
    """A host: its name, IPv4 address, Debian release and image.

    `root` is its root file system, for looking at its files from outside (without what the host mounted itself, such
    as /run and /tmp); it is there while the lab is up.
    """

    name: str
    address: str
    release: str
    image: str
    machine: Machine = field(repr=False)

    @property
    def root(self) -> Path:
        """The root file system as this machine sees it."""
        return self.machine.root

    @property
    def power(self) -> Power:
        """Whether it runs, boots, or was switched off, failed, or lost its supervisor."""
        return self.machine.power()

    @property
    def is_running(self) -> bool:
        """Whether the host's systemd is alive."""
        return self.machine.leader() != 0

    def run(
        self, command: str | Sequence[str], *, check: bool = True, timeout: float = 60, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the host as root, through its namespaces and not its network; timeout in seconds.

        A string goes to /bin/sh, a list is run as it is. Raises LabError when the host does not run, when the command
        takes too long (its process group is killed), or when it fails and `check` is true.
        """
        leader = self.machine.leader()
        if not leader:
            raise LabError(f"{self.name} does not run", hint=f"its console is {self.machine.console}")
        inner = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        environment = [f"{name}={value}" for name, value in _ENVIRONMENT.items()]
        argv = ["nsenter", f"--target={leader}", "--all", "--root", "--wd", "--", "env", "-i", *environment, *inner]
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            env={"PATH": SEARCH_PATH}, start_new_session=True,
        )  # fmt: skip
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            _kill_group(process)
            raise LabError(f"{self.name}: `{_shown(inner)}` took longer than {timeout:g} s") from error
        except BaseException:
            _kill_group(process)
            raise
        if check and process.returncode:
            said = (stderr or stdout).strip()[-2000:]
            raise LabError(f"{self.name}: `{_shown(inner)}` failed ({process.returncode}): {said}")
        return subprocess.CompletedProcess(inner, process.returncode, stdout, stderr)

    def processes(self) -> list[tuple[int, list[str]]]:
        """The pid (as this machine counts) and command line of each process inside the host."""
        # What `run` has brought in is in the namespace and not in the cgroup; what Docker has inside, the reverse.
        pids = set(self.machine.pids(PAYLOAD))
        if namespace := _link(f"/proc/{self.machine.leader()}/ns/pid"):
            numbers = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
            pids.update(pid for pid in numbers if _link(f"/proc/{pid}/ns/pid") == namespace)
        found = []
        for pid in sorted(pids):
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                found.append((pid, [os.fsdecode(word) for word in words]))
        return found

    def link(self, up: bool) -> None:
        """Pull the host's network cable out (false) or plug it in again (true)."""
        set_link(self.machine.cable, up)

    def boot_id(self) -> str:
        """The kernel's random number of this boot."""
        return self.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip()

    def reboot(self, *, seconds: float = 60) -> None:
        """Reboot from inside, and wait until the host has settled again. Raises LabError when that takes too long."""
        before = self.machine.leader()
        self.run(["systemctl", "reboot"], check=False)
        deadline = time.monotonic() + seconds
        while self.machine.leader() in (0, before):
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} has not rebooted within {seconds:.0f} s:\n{self.machine.console_tail()}")
            time.sleep(0.05)
        self.wait_until_settled(deadline - time.monotonic())

    def wait_until_settled(self, seconds: float) -> str:
        """Wait until systemd has finished booting and sshd answers; returns `running` or `degraded`.

        Raises LabError with the end of the console and the journal when the host fails, or `seconds` pass.
        """
        deadline = time.monotonic() + seconds
        while True:
            state = self._system_state()
            if state in ("running", "degraded") and self._answers():
                return state
            power = self.power
            if power in (Power.FAILED, Power.OFF):
                raise LabError(f"{self.name} did not boot:\n{self.machine.console_tail()}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} has not settled in {seconds:.0f} s ({state}):\n{self._evidence()}")
            time.sleep(0.1)

    def _system_state(self) -> str:
        try:
            return self.run(["systemctl", "is-system-running"], check=False, timeout=10).stdout.strip()
        except LabError:
            return "not running"

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((self.address, 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
        return False

    def _evidence(self) -> str:
        parts = [self.machine.console_tail()]
        for command in ("systemctl --no-legend --failed", "journalctl --no-pager --quiet --lines=15"):
            with suppress(LabError):
                parts.append(self.run(command, check=False, timeout=10).stdout)
        return "\n".join(parts)


def _shown(argv: Sequence[str]) -> str:
    return " ".join(argv)[:200]


def _link(path: str) -> str:
    with suppress(OSError):
        return os.readlink(path)
    return ""


def _kill_group(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # What left the group may hold the pipes open for good.
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=2)
