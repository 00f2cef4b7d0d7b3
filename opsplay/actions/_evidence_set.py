"""A set of evidence on disk: a folder of its own number, files that nobody changes, an index, and hashes of all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

INDEX, MANIFEST = "index.json", "manifest.sha256"


class EvidenceSet:
    """One collection. Each has a number that no other of the host has, also when several run at once."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder
        self.index: dict[str, Any] = {"version": 1, "host": host, "complete": False, "items": []}
        self.sums: dict[str, str] = {}

    @classmethod
    def begin(cls, base: Path, host: str) -> EvidenceSet:
        """A new, empty set below `base`. Raises OSError."""
        folder = base / host
        for path in (base, folder):
            path.mkdir(parents=True, mode=0o700, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        number = next_number(folder)
        while True:
            path, claim = folder / f"{number:03d}-{stamp}", folder / f".{number:03d}"
            with contextlib.suppress(FileExistsError):
                # Whoever has made it may look whether the number was taken meanwhile: nobody else takes it now.
                claim.mkdir(mode=0o700)
                if not any(folder.glob(f"{number:03d}-*")):
                    claim.rename(path)
                    return cls(path, host)
                claim.rmdir()
            number += 1

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Any]:
        """A new file of the set, written through a hash, that can only be read afterwards."""
        path = self.folder / name
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        writer = Writer(path)
        try:
            yield writer
        finally:
            writer.close()
            self.sums[name] = writer.digest.hexdigest()

    def add(self, entry: Mapping[str, Any]) -> None:
        self.index["items"].append(dict(entry))

    def finish(self, complete: bool) -> str:
        """Write the index and the hashes of all files. Returns the manifest's own hash, to be noted down elsewhere."""
        self.index["complete"] = complete
        with self.file(INDEX) as writer:
            writer.write(json.dumps(self.index, indent=1, sort_keys=True).encode() + b"\n")
        lines = [f"{digest}  {name}\n" for name, digest in sorted(self.sums.items())]
        writer = Writer(self.folder / MANIFEST)
        writer.write("".join(lines).encode())
        writer.close()
        return writer.digest.hexdigest()


def next_number(folder: Path) -> int:
    """One more than the highest number that there is."""
    numbers = [name.partition("-")[0] for name in os.listdir(folder)]
    return max((int(number) for number in numbers if number.isdigit()), default=0) + 1


class Writer:
    """A file that is there for its owner alone from the first byte, and safe on disk when it is closed."""

    def __init__(self, path: Path) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb")

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.digest.update(data)
        self.size += len(data)

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
