"""A thousand hosts on loopback: one OpenSSH server in a network namespace where it answers at every 127.x.y.z."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from opsplay.errors import LabError
from opsplay.lab.loopback import LoopbackSSHD
from opsplay.lab.processes import terminate
from opsplay.lab.programs import call

_SUDOERS = Path("/etc/sudoers.d")


class LoopbackFleet:
    """A fleet behind one server in its own network namespace, with an account of its own; a context manager for root.

    The account has /bin/sh, no start-up files and sudo without a password. The hosts share one file system: let what
    runs on them write below a directory that bears the host's name. `directory` is the fleet's own, readable by all.
    Closing removes namespace, processes, account, sudoers file and directory; what a killed fleet left is removed
    when the next one opens (`records`, writable by root alone, says what there is).
    """

    def __init__(self, *, records: Path = Path("/run/opsplay-fleets")) -> None:
        self._records = records
        self.name = f"opsplay-{secrets.token_hex(4)}"
        self.directory = Path(tempfile.gettempdir()).absolute() / self.name
        self.server = LoopbackSSHD(self.directory / "sshd", address="0.0.0.0", namespace=self.name, user=self.name)
        self._lock = -1

    def __enter__(self) -> LoopbackFleet:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def home(self) -> Path:
        """The account's home; the account owns it."""
        return self.directory / "home"

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The command line that runs a program, as root, inside the fleet's network namespace."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def open(self) -> None:
        """Make the fleet, after removing what killed ones left. Raises LabError without root or a needed program."""
        if os.geteuid() != 0:
            raise LabError("a network namespace needs root", hint="as an ordinary user take LoopbackSSHD")
        with _exclusively(self._records):
            _sweep(self._records)
            self._lock = os.open(self._records / self.name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.write(self._lock, str(self.directory).encode())
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove all of it. Raises LabError naming what could not be removed; the next fleet tries again."""
        if self._lock < 0:
            return
        try:
            self.server.stop()
            with _exclusively(self._records):
                _remove(self.name, self.directory)
                (self._records / self.name).unlink()
        finally:
            os.close(self._lock)
            self._lock = -1

    def _make(self) -> None:
        self.directory.mkdir(mode=0o755)
        self.directory.chmod(0o755)  # whatever the umask says
        call(["ip", "netns", "add", self.name])
        call(["ip", "-n", self.name, "link", "set", "lo", "up"])
        # The password "*" opens nothing, and unlike a locked one does not close the account to keys.
        account = ("--system", "--user-group", "--shell", "/bin/sh", "--password", "*", "--no-log-init")
        call(["useradd", *account, "--no-create-home", "--home-dir", str(self.home), self.name])
        self.home.mkdir(mode=0o755)
        shutil.chown(self.home, self.name, self.name)
        if _SUDOERS.is_dir():
            beside = _SUDOERS / f".{self.name}.new"  # sudo ignores names with a dot
            beside.write_text(f"{self.name} ALL=(ALL:ALL) NOPASSWD: ALL\n")
            beside.chmod(0o440)
            beside.rename(_SUDOERS / self.name)
        self.server.start()
        self.server.directory.chmod(0o755)


@contextlib.contextmanager
def _exclusively(records: Path) -> Iterator[None]:
    """Only one process at a time makes or removes a record."""
    records.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(records, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _sweep(records: Path) -> None:
    """Remove the fleets whose owner holds no lock any more, which means that it died."""
    for record in sorted(records.glob("opsplay-*")):
        lock = os.open(record, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            _remove(record.name, Path(os.read(lock, 4096).decode() or "/nonexistent"))
            record.unlink()
        finally:
            os.close(lock)


def _remove(name: str, directory: Path) -> None:
    """Remove every part of the fleet `name` that is there."""
    wrong: list[str] = []
    if Path("/run/netns", name).exists():
        alive = terminate(int(pid) for pid in call(["ip", "netns", "pids", name], check=False).stdout.split())
        wrong += [f"process {pid}" for pid in alive]
        if call(["ip", "netns", "delete", name], check=False).returncode:
            wrong.append(f"network namespace {name}")
    # 6: there is no such account
    if call(["userdel", name], check=False).returncode not in (0, 6):
        wrong.append(f"account {name}")
    for path in (_SUDOERS / name, _SUDOERS / f".{name}.new"):
        path.unlink(missing_ok=True)
    if directory.name == name:  # never anything else, whatever the record says
        shutil.rmtree(directory, ignore_errors=True)
        wrong += [str(directory)] if directory.exists() else []
    if wrong:
        raise LabError(f"the loopback fleet left behind: {', '.join(wrong)}", hint="remove it as root")
