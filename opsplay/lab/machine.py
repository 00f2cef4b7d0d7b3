"""One container: a systemd-nspawn under a supervisor, in a cgroup by which all its processes are found again.

A machine that systemd runs gets a transient service per host with a delegated cgroup; elsewhere the lab makes the
cgroup itself. In both cases the container sees nothing but the unified hierarchy, which Debian 13 insists on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from opsplay.errors import LabError
from opsplay.lab import overlay, supervisor
from opsplay.lab.network import remove_link
from opsplay.lab.processes import wait_for
from opsplay.lab.programs import SEARCH_PATH, call
from opsplay.lab.state import replace_file

# systemd(1), signals: orderly power-off.
_POWER_OFF: int = signal.SIGRTMIN + 3
_KILL_SECONDS = 5.0
# Where systemd-nspawn puts the container, below the cgroup that the supervisor starts it in.
PAYLOAD = "host/payload"


class Power(Enum):
    """Whether a host runs."""

    RUNNING = "running"
    BOOTING = "booting"
    OFF = "off"
    FAILED = "failed"
    ORPHANED = "orphaned"  # it runs, and its supervisor was killed


@dataclass(frozen=True)
class Machine:
    """The container of a host: its name on this machine, the host's directory, and this machine's end of its cable."""

    name: str
    directory: Path
    cable: str

    @property
    def root(self) -> Path:
        """Where the root file system is mounted on this machine."""
        return self.directory / "root"

    @property
    def console(self) -> Path:
        """The log of the host's console."""
        return self.directory / "console.log"

    @property
    def unit(self) -> str:
        """The transient service on a machine that systemd runs."""
        return f"opsplay-lab-{self.name}.service"

    @property
    def cgroup(self) -> Path:
        """The cgroup of the supervisor and all of the container."""
        parts = ("system.slice", self.unit) if _has_systemd() else ("opsplay-lab", self.name)
        return _unified_hierarchy().joinpath(*parts)

    def power(self) -> Power:
        """Whether it runs, judged by its processes alone."""
        watching, booted, exit_status = self._recorded()
        if watching:
            return Power.RUNNING if booted and self.leader() else Power.BOOTING
        if any(self.pids()):
            return Power.ORPHANED
        return Power.OFF if exit_status == 0 else Power.FAILED

    def pids(self, part: str = "") -> Iterator[int]:
        """The supervisor, nspawn, and every process of the container that is in its cgroup, or a part of that."""
        for path, _, _ in os.walk(self.cgroup / part):
            with suppress(OSError):
                yield from map(int, Path(path, "cgroup.procs").read_text(encoding="ascii").split())

    def leader(self) -> int:
        """The pid of the container's systemd as this machine sees it; 0 when it has none."""
        depth = len(_namespace_pids(os.getpid())) + 1
        for pid in self.pids(PAYLOAD):
            numbers = _namespace_pids(pid)
            # Until nspawn has changed its root, what joins its namespaces would run on this machine's files.
            if len(numbers) == depth and numbers[-1] == 1 and _same_directory(f"/proc/{pid}/root", self.root):
                return pid
        return 0

    def boot(self, bridge: str, arguments: Sequence[str]) -> None:
        """Start the supervisor, which boots the container; returns before that has happened."""
        argv = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", f"--directory={self.root}",
            f"--machine={self.name}", f"--network-bridge={bridge}", "--resolv-conf=off", "--timezone=off",
            "--link-journal=no", "--capability=CAP_NET_ADMIN", *arguments,
        ]  # fmt: skip
        environment = {"PATH": SEARCH_PATH, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_LOCK": "0"}
        plan = {"argv": argv, "environment": environment, "cgroup": str(self.cgroup)}
        (self.directory / "process.json").unlink(missing_ok=True)
        replace_file(self.directory / "boot.json", json.dumps(plan), 0o600)
        replace_file(self.console, "", 0o600)
        watch = [sys.executable, "-I", "-S", supervisor.__file__, str(self.directory)]
        if _has_systemd():
            properties = ["--property=Delegate=yes", "--property=KillMode=mixed", "--property=TasksMax=infinity"]
            service = [f"--unit={self.unit}", "--slice=system.slice", "--collect", *properties]
            call(["systemd-run", "--quiet", *service, *watch])
        else:
            call(["setsid", "--fork", *watch], quiet=True)
        if not wait_for(lambda: (self.directory / "process.json").exists(), 10):
            raise LabError(f"the supervisor of {self.directory.name} did not start:\n{self.console_tail()}")

    def console_tail(self, lines: int = 15) -> str:
        """The last lines of the console."""
        with suppress(OSError):
            said = self.console.read_text(errors="replace").splitlines()
            return "\n".join([line for line in said if line.strip()][-lines:])
        return ""

    def halt(self, grace: float) -> None:
        """Power off, in order within `grace` seconds and by force after that.

        Leaves no process, mount, cable or cgroup. Raises LabError when a process outlives even SIGKILL for 5 s.
        """
        if any(self.pids()):
            self._ask()
            if not wait_for(lambda: not any(self.pids()), grace):
                self._kill()
        overlay.unmount_below(self.directory)
        remove_link(self.cable)
        self._remove_cgroups()
        shutil.rmtree(Path("/run/systemd/nspawn/propagate", self.name), ignore_errors=True)

    def _remove_cgroups(self) -> None:
        if _has_systemd():
            # The service is systemd's to remove, and its name is free for the next boot after that.
            wait_for(lambda: not self.cgroup.exists(), _KILL_SECONDS)
            call(["systemctl", "reset-failed", self.unit], check=False)
            return
        # systemd-nspawn makes the same cgroup in systemd's v1 hierarchy, where a machine has that too.
        relative = self.cgroup.relative_to(_unified_hierarchy())
        for hierarchy in _hierarchies():
            supervisor.remove_cgroups(str(hierarchy / relative))
            with suppress(OSError):
                (hierarchy / relative.parent).rmdir()

    def _ask(self) -> None:
        watching, booted, _ = self._recorded()
        leader = self.leader()
        # A supervisor that is told to end asks nspawn, and nspawn the host: the first one alive has to do it.
        target = watching or booted or leader
        if target:
            with suppress(ProcessLookupError):
                os.kill(target, signal.SIGTERM if watching or booted else _POWER_OFF)

    def _kill(self) -> None:
        def gone() -> bool:
            left = list(self.pids())
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        if not wait_for(gone, _KILL_SECONDS):
            raise LabError(f"processes of {self.directory.name} survive SIGKILL: {list(self.pids())}")

    def _recorded(self) -> tuple[int, int, int | None]:
        """The living supervisor and nspawn (0: gone), and the exit status when the supervisor has ended by itself."""
        try:
            data = json.loads((self.directory / "process.json").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0, 0, 0
        return _if_alive(data["supervisor"]), _if_alive(data["nspawn"]), data["exit_status"]


def _if_alive(identity: Sequence[int] | None) -> int:
    if identity and identity[1] and supervisor.start_time(identity[0]) == identity[1]:
        return identity[0]
    return 0


def _namespace_pids(pid: int) -> list[int]:
    """The numbers that a process has in each nested pid namespace, as seen from here."""
    with suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("NSpid:"):
                return [int(number) for number in line.split()[1:]]
    return []


def _same_directory(one: str, other: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.stat(one), os.stat(other))
    return False


def _has_systemd() -> bool:
    # sd_booted(3)
    return Path("/run/systemd/system").is_dir()


def _hierarchies(kinds: tuple[str, ...] = ("cgroup", "cgroup2")) -> list[Path]:
    with open("/proc/self/mounts", encoding="utf-8") as file:
        return [Path(line.split()[1]) for line in file if line.split()[2] in kinds]


def _unified_hierarchy() -> Path:
    mounted = _hierarchies(("cgroup2",))
    if not mounted:
        raise LabError(
            "no unified cgroup hierarchy is mounted",
            hint="boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup/unified",
        )
    return mounted[0]


def standing_containers(prefix: str) -> list[str]:
    """The names of containers that still have a cgroup on this machine, and begin with `prefix`."""
    if _has_systemd():
        pattern, cut = f"system.slice/opsplay-lab-{prefix}*.service", ("opsplay-lab-", ".service")
    else:
        pattern, cut = f"opsplay-lab/{prefix}*", ("", "")
    found = _unified_hierarchy().glob(pattern)
    return [path.name.removeprefix(cut[0]).removesuffix(cut[1]) for path in found]
