"""Content on its way into a file: bytes, or a Blob that is fetched from the control side in chunks."""

from __future__ import annotations

import os
import stat as stat_bits
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

from opsplay.agent import files, protocol
from opsplay.agent.looking import Looking
from opsplay.agent.record import ModuleFailed

# A difference is shown for texts up to this size.
DIFF_LIMIT = 256 << 10
NEED_AHEAD = 4 << 20


class Blob:
    """Content that lies on the control side: fetched in chunks, only when the host's own differs."""

    __slots__ = ("sha256", "size")

    def __init__(self, sha256: str, size: int) -> None:
        self.sha256 = sha256
        self.size = size


class Stream:
    """Content that can be read more than once, such as a member of an archive: `open` gives its chunks."""

    __slots__ = ("size", "open")

    def __init__(self, size: int, open: Callable[[], Iterator[bytes]]) -> None:
        self.size = size
        self.open = open


class Content(Looking):
    """Comparing, showing and fetching the content of files."""

    def __init__(self, agent: Any) -> None:
        self._blobs_here: Dict[str, str] = {}
        Looking.__init__(self, agent)

    def local_content(self, path: str) -> Any:
        """The content of a file of this host, to be written elsewhere: a large one is never whole in memory."""
        size = os.stat(path).st_size
        if size <= DIFF_LIMIT or (self.check and self._node(self.real(path)) is not None):
            return self.read(path)
        blob = Blob(self.digest(path, "sha256"), size)
        self._blobs_here[blob.sha256] = path
        return blob

    def staged(self, path: str, *algorithms: str) -> files.Staged:
        """A hidden file beside `path` for content that comes in pieces and is given to `write` when it is complete.

        `with host.staged(path) as new: new.write(…); host.write(path, new)`. SHA-256 is always made, `algorithms`
        besides. A preview only hashes. Raises OSError, and ValueError for an unknown algorithm.
        """
        hashers = {name: files.new_hash(name, files.SMALL + 1) for name in ("sha256",) + algorithms}
        return files.Staged(self.temporary, None if self.check else os.path.dirname(path), hashers)

    def _same_content(self, path: str, before: Any, content: Any) -> bool:
        if before is None or not stat_bits.S_ISREG(before.st_mode):
            return False
        node = self._node(path)
        if node is not None and node.kind == "file" and not self.knows(path):
            return False
        if isinstance(content, (Blob, files.Staged)):
            return bool(before.st_size == content.size) and self.digest(path, "sha256") == content.sha256
        if isinstance(content, Stream):
            return bool(before.st_size == content.size) and self._reads_as(path, content.open())
        if node is not None:
            return bool(self.read(path) == content)
        return bool(before.st_size == len(content)) and files.read_whole(path) == content

    def _reads_as(self, path: str, chunks: Iterator[bytes]) -> bool:
        node = self._node(path)
        if node is not None and node.content is not None:
            return node.content == b"".join(chunks)
        with open(path, "rb") as file:
            return all(file.read(len(chunk)) == chunk for chunk in chunks) and not file.read(1)

    def _install(
        self,
        path: str,
        content: Any,
        mode: int,
        owner: Tuple[int, int],
        validate: Optional[Callable[[str], None]],
        sync: bool,
    ) -> None:
        """Put content into place. Raises OSError."""
        if isinstance(content, files.Staged) and os.path.dirname(content.path) == os.path.dirname(path):
            content.install(path, mode, owner, validate, sync)
        else:
            files.replace(self.temporary, path, self.chunks(content), mode, owner, validate, sync)

    def chunks(self, content: Any) -> Iterator[bytes]:
        """The pieces of any content; a Blob's come from the control side. Raises OSError, ModuleFailed."""
        if isinstance(content, Stream):
            return content.open()
        if isinstance(content, files.Staged):
            return files.read_chunks(content.path)
        if not isinstance(content, Blob):
            return iter((content,))
        local = self._blobs_here.get(content.sha256)
        if local and os.path.exists(local) and self.digest(local, "sha256") == content.sha256:
            return files.read_chunks(local)
        return self._fetch(content)

    def _fetch(self, blob: Blob) -> Iterator[bytes]:
        """A blob's chunks from the control side, a few megabytes asked for ahead, verified at the end."""
        import hashlib

        hasher = hashlib.sha256()
        asked = received = 0
        while received < blob.size:
            while asked < blob.size and asked - received < NEED_AHEAD:
                length = min(NEED_AHEAD // 2, blob.size - asked)
                need = {"sha256": blob.sha256, "offset": asked, "length": length}
                self._agent.send(protocol.NEED, self.number, protocol.encode_json(need))
                asked += length
            chunk = self._agent.blobs.get()
            if not chunk:
                raise ModuleFailed("the control side could not send the file's content: it changed or was removed")
            received += len(chunk)
            hasher.update(chunk)
            self.progress("receiving", received, blob.size)
            yield chunk
        if hasher.hexdigest() != blob.sha256:
            raise ModuleFailed("the file changed on the control side while it was sent; run again")

    def _note_write(self, path: str, before: Any, content: Any) -> None:
        self.changed = True
        if not self.want_diff:
            return
        is_file = before is not None and stat_bits.S_ISREG(before.st_mode)
        whole = isinstance(content, bytes)
        size = len(content) if whole else content.size
        old: Any = None
        if size <= DIFF_LIMIT and whole and (not is_file or before.st_size <= DIFF_LIMIT):
            old = self._old_content(path) if is_file else b""
        if old is None or b"\0" in old or b"\0" in content:
            header = {"before_header": path, "after_header": path}
            self.diffs.append(dict(header, before="", after="", binary=True, size=size))
            return
        self.note(old.decode("utf-8", "replace"), content.decode("utf-8", "replace"), path)

    def _old_content(self, path: str) -> Any:
        try:
            return self.read(path)
        except ModuleFailed:
            return None
