"""Further lanes: forked children that serve another inventory host on the same machine side by side.

The parent's reader hands frames through: to the child over a pipe, from the child whole frame by whole frame.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Tuple

from opsplay.agent import protocol
from opsplay.agent.outbox import write_all


class Lane:
    """The parent's end of a forked child."""

    def __init__(self, number: int, pid: int, in_fd: int, out_fd: int, mark: bytes) -> None:
        self.number = number
        self.pid = pid
        self.in_fd = in_fd
        self.out_fd = out_fd
        self.mark = mark
        self._rest = b""

    @classmethod
    def fork(cls, agent: Any, number: int) -> "Lane":
        """A child that runs an agent of its own for lane `number`."""
        child_in, parent_out = os.pipe()
        parent_in, child_out = os.pipe()
        pid = os.fork()
        if pid:
            os.close(child_in)
            os.close(child_out)
            return cls(number, pid, parent_out, parent_in, agent.mark)
        try:
            os.close(parent_out)
            os.close(parent_in)
            os.close(agent.in_fd)
            for lane in agent.lanes.values():
                os.close(lane.in_fd)
                os.close(lane.out_fd)
            forget_imports_under_way()
            settings = dict(agent.settings, lane=number)
            type(agent)(child_in, child_out, agent.mark, settings, agent.importer).serve()
        finally:
            os._exit(1)

    def write(self, kind: int, number: int, payload: bytes) -> None:
        write_all(self.in_fd, protocol.pack(kind, self.number, number, payload))

    def relay(self, out_fd: int, lock: Any) -> bool:
        """Pass on what the child said. Returns whether the child still lives."""
        data = os.read(self.out_fd, 1 << 18)
        if not data:
            self.close()
            return False
        whole, self._rest = whole_frames(self._rest + data, len(self.mark))
        if whole:
            with lock:
                write_all(out_fd, whole)
        return True

    def close(self) -> None:
        """Close the pipes: the child notices the end of its stream and goes."""
        for fd in (self.in_fd, self.out_fd):
            os.close(fd)
        try:
            os.waitpid(self.pid, os.WNOHANG)
        except OSError:
            pass


def forget_imports_under_way() -> None:
    """In a forked child: what the parent's main thread was importing is imported anew, and its locks, which nobody
    will ever release here, are dropped."""
    import _frozen_importlib

    for waiting in ("_module_locks", "_blocking_on"):
        getattr(_frozen_importlib, waiting).clear()
    for name, module in list(sys.modules.items()):
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            del sys.modules[name]


def whole_frames(data: bytes, mark_length: int) -> Tuple[bytes, bytes]:
    """Split a child's output into the frames that are whole and the rest."""
    end = 0
    head = mark_length + protocol.HEADER.size
    while len(data) - end >= head:
        length = protocol.HEADER.unpack_from(data, end + mark_length)[3]
        if len(data) - end < head + length:
            break
        end += head + length
    return data[:end], data[end:]
