"""What a lab remembers between commands: where it lives, who works on it, which hosts it has.

A lab's directory is `$XDG_STATE_HOME/opsplay/lab/<name>` (mode 0700): `lab.json` (this record), the key pair, the
password of `ops`, `known_hosts`, and `hosts/<host>/` with the layers of each root file system.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from opsplay.errors import LabError

Progress = Callable[[str], None]


def silent(_message: str) -> None:
    """The progress of whoever wants none."""


@dataclass(frozen=True)
class HostSpec:
    """What a host is to be: a Debian release and an image (`base` or `full`).

    `volumes` are directories that lie on the file system of this machine instead of overlayfs, empty at first, and
    `arguments` go to systemd-nspawn. Docker Engine needs both: `volumes=("/var/lib/docker",)` and
    `arguments=("--capability=all", "--system-call-filter=@keyring bpf")`.
    """

    release: str = "bookworm"
    image: str = "base"
    volumes: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostRecord:
    """A host as it was made: its image's directory, and the last number of its address in the lab's /24."""

    name: str
    spec: HostSpec
    tree: str
    number: int


@dataclass(frozen=True)
class LabRecord:
    """A lab: its network 10.213.<network>.0/24, its hosts by name, and where it wrote inventories."""

    name: str
    network: int
    hosts: Mapping[str, HostRecord] = field(default_factory=dict)
    inventories: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        replace_file(path, json.dumps(asdict(self), indent=1) + "\n", 0o600)

    @classmethod
    def load(cls, path: Path) -> LabRecord | None:
        """The record at a path, or None when there is none. Raises LabError when it cannot be read."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            hosts = {name: _host_record(host) for name, host in data["hosts"].items()}
            return cls(data["name"], data["network"], hosts, tuple(data["inventories"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise LabError(f"{path} is no record of a lab: {error}", hint="`opsplay lab down` clears it") from error


def _host_record(data: dict[str, Any]) -> HostRecord:
    spec: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in data["spec"].items()
    }
    return HostRecord(data["name"], HostSpec(**spec), data["tree"], data["number"])


def state_home() -> Path:
    """The directory that holds the directories of all labs."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "opsplay" / "lab"


def cache_home() -> Path:
    """The directory that holds the images."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "opsplay" / "images"


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    # The XDG specification: relative paths are to be ignored.
    return Path(value) if value.startswith("/") else Path.home() / default


def replace_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file beside its place and rename it there; a symbolic link at the place is replaced, never followed.

    Inside a host's root a link may be absolute, and would lead to a file of this machine.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
        os.rename(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path, what: str, *, seconds: float, progress: Progress = silent) -> Iterator[int]:
    """Hold an exclusive lock while the block runs; yields its file descriptor. The lock file is gone afterwards.

    Waits at most `seconds` for another process that holds it, then raises LabError. A child that inherits the
    descriptor keeps the lock until it ends as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    told = False
    while (descriptor := _try_lock(path)) is None:
        if not told:
            progress(f"waiting for another command that works on {what}")
            told = True
        if time.monotonic() > deadline:
            raise LabError(f"another command has worked on {what} for {seconds:.0f} s", hint=f"its lock is {path}")
        time.sleep(0.1)
    try:
        yield descriptor
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _try_lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The one who held it before may have removed the file: a lock on a nameless file excludes nobody.
        if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
