"""Files that hold vaults: read, replaced and edited so that neither the old nor the new content can be lost."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from opsplay.documents import vault
from opsplay.documents.keyring import Password
from opsplay.errors import Location, OpsplayError, UsageError

STANDARD = "-"
# Where the plain text lies while it is edited: in memory, where there is such a place, so that it never is on a disk.
IN_MEMORY = (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm")


def read(name: str) -> bytes:
    """A file's content, or standard input's. Raises UsageError."""
    if name == STANDARD:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as problem:
        raise UsageError(f"cannot read {name}: {problem.strerror}") from problem


def place(name: str) -> Location:
    return Location("standard input" if name == STANDARD else name)


def seal(data: bytes, password: Password, at: Location, label: str | None = None) -> bytes:
    """The vault of a text, proven to open again. Raises UsageError for what is a vault already."""
    if vault.is_vault(data):
        raise UsageError("this is encrypted already", at=at)
    sealed = vault.encrypt(data, password.text, label or password.label)
    if vault.decrypt(vault.parse(sealed), password.text) != data:
        raise OpsplayError("the vault that was made does not open again; nothing was written")
    return sealed.encode()


def write(name: str, data: bytes, keep_mode: bool = False) -> None:
    """Put content into a file, all of it or none, or on standard output.

    Nobody else may read the file, unless `keep_mode` leaves that as it was; links are followed. Raises UsageError.
    """
    if name == STANDARD:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    path = os.path.realpath(name)
    try:
        _replace(path, data, keep_mode)
    except OSError as problem:
        raise UsageError(f"cannot write {name}: {problem.strerror}; it is as it was") from problem


def _replace(path: str, data: bytes, keep_mode: bool) -> None:
    folder = os.path.dirname(path)
    handle, beside = tempfile.mkstemp(prefix=".opsplay-", dir=folder)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            if keep_mode and os.path.exists(path):
                before = os.stat(path)
                if before.st_uid != os.geteuid() or before.st_gid != os.getegid():
                    os.fchown(handle, before.st_uid, before.st_gid)
                os.fchmod(handle, before.st_mode & 0o7777)
            os.fsync(handle)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise
    entries = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(entries)
    finally:
        os.close(entries)


def edit(name: str, before: bytes, password: Password, label: str, always: bool = False) -> bool:
    """Let the user change a text in an editor, and keep the result encrypted; whether there was anything to keep.

    The plain text lies in a file that nobody else can read, for as long as the editor runs. Raises UsageError when
    the editor fails or is ended, or the result cannot be written: what was changed is then kept encrypted elsewhere.
    """
    with _private_folder() as folder:
        path = folder / Path(name).name
        path.touch(0o600)
        path.write_bytes(before)
        try:
            _run_editor(path, name)
            after = path.read_bytes() if path.exists() else before
            if after == before and not always:
                return False
            write(name, seal(after, password, place(name), label), keep_mode=True)
        except UsageError as problem:
            if path.exists() and path.read_bytes() != before:
                problem.hint = f"what you wrote is kept, encrypted, in {_rescue(path, password, label)}"
            raise
    return True


def _rescue(plain: Path, password: Password, label: str) -> str:
    """Where the vault of a text is put that could not be put where it belongs."""
    handle, path = tempfile.mkstemp(prefix=f"{plain.name}.", suffix=".vault")
    with open(handle, "w", encoding="ascii") as file:
        file.write(vault.encrypt(plain.read_bytes(), password.text, label))
    return path


def _run_editor(path: Path, name: str) -> None:
    """Wait for the user's editor. Raises UsageError when it fails."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    # Ctrl-C belongs to the editor; a handler, unlike SIG_IGN, is not handed on to it.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        done = subprocess.run([*shlex.split(editor), str(path)])
    except OSError as problem:
        raise UsageError(f"cannot run the editor {editor}: {problem.strerror}; {name} is as it was") from problem
    finally:
        signal.signal(signal.SIGINT, before)
    if done.returncode != 0:
        raise UsageError(f"the editor {editor} ended with {done.returncode}; {name} is as it was")


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder of the user's own that is gone afterwards, also when the process is told to end."""
    parent = next((name for name in IN_MEMORY if name and os.access(name, os.W_OK | os.X_OK)), None)
    folder = Path(tempfile.mkdtemp(prefix="opsplay-vault-", dir=parent))
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise UsageError(f"ended by {signal.Signals(number).name} while the editor ran")
