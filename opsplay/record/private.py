"""What undo needs: previous contents, encrypted with a key of the user, apart from the readable record."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opsplay.record.folder import state_directory

# A run's store stops growing here; what is beyond it cannot be undone, and the record says so.
STORE_LIMIT = 512 << 20


class PrivateStore:
    """Appends encrypted entries to `undo.jsonl` in a run's folder. Thread-safe.

    `warn` hears when it can be written no further, which fails no run.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.path = folder / "undo.jsonl"
        self._warn = warn
        self._is_over = False
        self._lock = threading.Lock()
        self._size = 0

    def keep(self, host: str, task: str, entries: tuple[Mapping[str, Any], ...]) -> None:
        """Remember what a task replaced on a host."""
        from cryptography.fernet import Fernet

        text = json.dumps({"host": host, "task": task, "entries": entries})
        with self._lock:
            if self._is_over or self._size + len(text) > STORE_LIMIT:
                return
            try:
                token = Fernet(user_key()).encrypt(text.encode())
                self._size += len(token)
                with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
                    file.write(token + b"\n")
            except OSError as problem:
                self._is_over = True
                self._warn(f"what is changed from here on cannot be undone: {self.path}: {problem.strerror}")

    def read(self) -> list[dict[str, Any]]:
        """Every entry. Raises OSError, or cryptography's InvalidToken with another user's key."""
        from cryptography.fernet import Fernet

        fernet = Fernet(user_key())
        return [json.loads(fernet.decrypt(line)) for line in self.path.read_bytes().splitlines()]


def user_key() -> bytes:
    """The user's own key, made on first use, readable for nobody else."""
    path = state_directory() / "key"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        from cryptography.fernet import Fernet

        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f".key.{os.getpid()}.{threading.get_ident()}")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(Fernet.generate_key())
        try:
            os.link(beside, path)
        except FileExistsError:
            pass
        finally:
            beside.unlink()
        return path.read_bytes()
