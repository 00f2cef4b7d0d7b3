"""Contents by their hash: registered by path or value, read in chunks when a host asks, never whole in memory."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from opsplay.agent.protocol import CHUNK

# Contents up to this many bytes ride inside their call: fewer bytes than a round trip is worth.
INLINE_LIMIT = 8 << 10


@dataclass(frozen=True)
class Content:
    """A file's content: its hashes, its size, and where it lies (a path, or the bytes themselves)."""

    sha256: str
    sha1: str
    size: int
    path: str | None = None
    data: bytes | None = None

    def reference(self) -> dict[str, object]:
        """How a call names it."""
        return {"sha256": self.sha256, "size": self.size}


class BlobStore:
    """The contents that hosts may ask for in this run."""

    def __init__(self) -> None:
        self._contents: dict[str, Content] = {}
        self._by_file: dict[tuple[str, int, int], Content] = {}
        self._lock = threading.Lock()

    def from_bytes(self, data: bytes) -> Content:
        """Register content that is in memory."""
        content = Content(hashlib.sha256(data).hexdigest(), hashlib.sha1(data).hexdigest(), len(data), data=data)
        return self._keep(content)

    def from_file(self, path: str) -> Content:
        """Register a file's content; hashed once while its size and time stay. Raises OSError."""
        found = os.stat(path)
        key = (path, found.st_size, found.st_mtime_ns)
        with self._lock:
            known = self._by_file.get(key)
        if known is not None:
            return known
        sha256, sha1, size = hashlib.sha256(), hashlib.sha1(), 0
        small: list[bytes] = []
        with open(path, "rb", buffering=0) as file:
            while data := file.read(1 << 20):
                sha256.update(data)
                sha1.update(data)
                size += len(data)
                if size <= INLINE_LIMIT:
                    small.append(data)
        inline = b"".join(small) if size <= INLINE_LIMIT else None
        content = self._keep(Content(sha256.hexdigest(), sha1.hexdigest(), size, path, inline))
        with self._lock:
            self._by_file[key] = content
        return content

    def _keep(self, content: Content) -> Content:
        with self._lock:
            return self._contents.setdefault(content.sha256, content)

    def read(self, sha256: str, offset: int, length: int) -> Iterator[bytes]:
        """The chunks of a range; an empty chunk says that it cannot be had any more."""
        content = self._contents.get(sha256)
        if content is None:
            yield b""
        elif content.data is not None:
            for start in range(offset, offset + length, CHUNK):
                yield content.data[start : min(start + CHUNK, offset + length)]
        else:
            yield from self._read_file(str(content.path), offset, length)

    @staticmethod
    def _read_file(path: str, offset: int, length: int) -> Iterator[bytes]:
        try:
            with open(path, "rb", buffering=0) as file:
                file.seek(offset)
                while length > 0:
                    data = file.read(min(CHUNK, length))
                    yield data
                    if not data:
                        return
                    length -= len(data)
        except OSError:
            yield b""
