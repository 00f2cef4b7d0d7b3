"""What a chain of pipeline.py consists of: programs, and taps through which the agent sees the stream."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Sequence

from opsplay.agent.temporary import write_all

# A piece of the stream: what a pipe is allowed to hold, if the kernel lets it.
PIECE = 1 << 20
# After so many bytes the kernel is asked to bring them to the disk: at the end there is little left to wait for.
WRITTEN_BACK = 16 << 20
SIGPIPE = 13


class Program:
    """A program of a chain. `third` is what it has as descriptor 3: an open descriptor, or bytes that it reads there.

    One that `stops_early` may end with success before it has read all (pg_restore --list).
    """

    __slots__ = ("argv", "env", "third", "stops_early", "pid", "status", "err", "said")

    def __init__(
        self, argv: Sequence[str], env: Optional[Dict[str, str]] = None, third: Any = None, stops_early: bool = False
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.env = env or {}
        self.third = third
        self.stops_early = stops_early
        self.pid = 0
        self.status: Optional[int] = None
        self.err = -1
        self.said = b""

    @property
    def name(self) -> str:
        """Its name for messages, without the program that changes the account."""
        argv = self.argv[self.argv.index("--") + 1 :] if self.argv[0] == "setpriv" else self.argv
        return os.path.basename(argv[0])

    @property
    def broken(self) -> bool:
        """Whether it ended because nobody read what it wrote: not its own fault."""
        return self.status is not None and os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == SIGPIPE

    def words(self) -> str:
        """How it ended, in its own words if it had any."""
        status = self.status or 0
        said = self.said.decode("utf-8", "replace").strip()
        if os.WIFSIGNALED(status):
            return ("killed by signal %d; %s" % (os.WTERMSIG(status), said)).rstrip("; ")
        return said or "exit code %d" % os.WEXITSTATUS(status)


class Tap:
    """A place where the agent sees the stream: counts and hashes it, keeps its last bytes, copies it to `sides`.

    A side is a chain of its own; what comes out of it is thrown away, unless it ends in a tap.
    """

    __slots__ = ("size", "sides", "kept", "outputs", "source", "_hasher", "_keep", "_buffer")

    def __init__(self, sides: Sequence[Sequence[Any]] = (), keep: int = 0, hashed: bool = True) -> None:
        self.size = 0
        self.sides = sides
        self.kept = b""
        self.outputs: List[Output] = []
        self.source = -1
        self._keep = keep
        self._hasher: Any = None
        self._buffer: Any = None
        if hashed:
            import hashlib

            self._hasher = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return str(self._hasher.hexdigest())

    @property
    def waits(self) -> bool:
        """Whether somebody has not yet taken the last piece."""
        return any(output.rest for output in self.outputs)

    def take(self) -> bool:
        """Read a piece and hand it on. Returns False at the end of the stream. Raises OSError."""
        if self._buffer is None:
            self._buffer = bytearray(PIECE)
        count = os.readv(self.source, [self._buffer])
        if not count:
            return False
        piece = memoryview(self._buffer)[:count]
        self.size += count
        # Those who read at the same time get their piece first.
        for output in self.outputs:
            output.offer(piece)
        if self._hasher is not None:
            self._hasher.update(piece)
        if self._keep:
            self.kept = (self.kept + bytes(piece[-self._keep :]))[-self._keep :]
        return True


class Enough(Exception):
    """The chain need not go on."""


class Head(Tap):
    """A tap at the end that wants no more than the first bytes. Raises Enough when it has them."""

    __slots__ = ("_count",)

    def __init__(self, count: int) -> None:
        Tap.__init__(self, hashed=False)
        self._count = count

    def take(self) -> bool:
        piece = os.read(self.source, self._count - len(self.kept))
        self.kept += piece
        if len(self.kept) >= self._count:
            raise Enough
        return bool(piece)


class Output:
    """Where a tap hands its pieces: the file at the end, or a program, which takes them when it can."""

    __slots__ = ("fd", "program", "rest", "gone", "_written", "_begun")

    def __init__(self, fd: int, program: Optional[Program]) -> None:
        self.fd = fd
        self.program = program
        self.rest: Any = b""
        self.gone = False
        self._written = 0
        self._begun = 0

    def offer(self, piece: Any) -> None:
        if self.gone:
            return
        if self.program is None:
            write_all(self.fd, piece)
            self._written += len(piece)
            if self._written - self._begun >= WRITTEN_BACK:
                self._write_back()
        else:
            self.rest = piece
            self.push()

    def _write_back(self) -> None:
        """Begin to bring to the disk what has been written: Linux does so for dirty pages that are not needed."""
        os.posix_fadvise(self.fd, self._begun, self._written - self._begun, os.POSIX_FADV_DONTNEED)
        self._begun = self._written

    def push(self) -> None:
        try:
            self.rest = self.rest[os.write(self.fd, self.rest) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.rest, self.gone = b"", True
