"""What the agent says: whole messages in their order; results of quick tasks travel together."""

from __future__ import annotations

import _thread
import os
import select

from opsplay.agent import protocol

# While a full pipe does not take more: how long (s) until it is tried again.
TICK = 1.0


class Outbox:
    """The agent's output, for both of its threads. A stream that is gone is the reader's to notice."""

    def __init__(self, fd: int, mark: bytes, lane: int) -> None:
        self.fd = fd
        self.mark = mark
        self.lane = lane
        self.lock = _thread.allocate_lock()
        self.waiting = b""

    def post(self, kind: int, number: int, payload: bytes, more_follows: bool) -> None:
        """Send a message, at once or with those that follow. Raises FrameError for one that is too large."""
        data = protocol.pack(kind, self.lane, number, payload, self.mark)
        with self.lock:
            self.waiting += data
        if not more_follows or len(self.waiting) > protocol.CHUNK:
            self.flush()

    def send(self, kind: int, number: int, payload: bytes) -> None:
        """Send a message now, behind those that wait. Raises FrameError for one that is too large."""
        data = protocol.pack(kind, self.lane, number, payload, self.mark)
        with self.lock:
            data, self.waiting = self.waiting + data, b""
            write_all(self.fd, data)

    def flush(self) -> None:
        """Write what waits."""
        if self.waiting:
            with self.lock:
                data, self.waiting = self.waiting, b""
                write_all(self.fd, data)

    def beat(self) -> bool:
        """Say that the agent lives, unless a write is under way, which says the same. Returns whether it was said."""
        if not self.lock.acquire(False):
            return False
        try:
            write_all(self.fd, protocol.pack(protocol.BEAT, self.lane, 0, b"", self.mark))
        finally:
            self.lock.release()
        return True


def write_all(fd: int, data: bytes) -> None:
    """Write every byte. A closed stream is not an error here: the reader notices."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [], TICK)
        except OSError:
            return
