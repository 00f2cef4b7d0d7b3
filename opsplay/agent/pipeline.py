"""Chains of programs with the agent in between: it counts and hashes what flows, and no failure of any is lost.

    taps = Tap(), Tap()
    flow(host, [Program(["pg_dump", …]), taps[0], Program(["age", …]), taps[1]], target=fd)

A shell's pipe says how its last program ended. Here the first one that failed is named, with its own words.
"""

from __future__ import annotations

import os
import select
import time
from typing import Any, Callable, List, Optional, Sequence

from opsplay.agent import process, spawn
from opsplay.agent.stages import PIECE, Enough, Head, Output, Program, Tap

__all__ = ["Failed", "Program", "Tap", "flow", "from_file", "head_of", "into_file"]

F_SETPIPE_SZ = 1031
# What a program says on its standard error is kept up to so many bytes, the last ones.
SAID_KEPT = 64 << 10
TICK = 0.5


class Failed(Exception):
    """A program of the chain failed, or what it made could not be written: `str()` says which and why."""

    def __init__(self, text: str, program: str = "") -> None:
        Exception.__init__(self, text)
        self.program = program


def flow(
    host: Any,
    steps: Sequence[Any],
    source: int = -1,
    target: int = -1,
    text: str = "",
    total: int = 0,
    tick: Optional[Callable[[], int]] = None,
) -> None:
    """Let a chain of programs and taps run to its end. Raises Failed, with every program ended.

    The first step reads `source`, the last one writes `target`: descriptors that stay the caller's. `text` is told as
    progress with the bytes that have passed the first tap, or what `tick` returns, of `total`.
    """
    chain = Chain(host)
    try:
        chain.build(steps, source, target)
        chain.pump(text, total, tick)
        chain.judge()
    except OSError as problem:
        raise Failed(problem.strerror or str(problem)) from None
    finally:
        chain.end()


def into_file(host: Any, path: str, steps: Sequence[Any], **options: Any) -> None:
    """Let a chain write a new file of mode 0600, and bring it to the disk. Raises Failed."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise Failed("cannot make %s: %s" % (path, problem.strerror)) from None
    try:
        flow(host, steps, target=fd, **options)
        os.fsync(fd)
    except Failed as problem:
        raise problem if problem.program else Failed("cannot write %s: %s" % (path, problem)) from None
    except OSError as problem:
        raise Failed("cannot write %s: %s" % (path, problem.strerror)) from None
    finally:
        os.close(fd)


def from_file(host: Any, path: str, steps: Sequence[Any], text: str = "", tick: Any = None, **options: Any) -> None:
    """Let a chain read a file; the progress is how far it has come, and `tick` is called meanwhile. Raises Failed."""
    fd = opened(path)

    def position() -> int:
        if tick is not None:
            tick()
        return os.lseek(fd, 0, os.SEEK_CUR)

    try:
        flow(host, steps, source=fd, text=text, total=os.fstat(fd).st_size, tick=position, **options)
    finally:
        os.close(fd)


def head_of(host: Any, path: str, steps: Sequence[Any], count: int) -> bytes:
    """The first bytes that a chain makes of a file; then it is ended, whatever is left. Raises Failed."""
    head = Head(count)
    fd = opened(path)
    try:
        flow(host, list(steps) + [head], source=fd)
    except Enough:
        pass
    finally:
        os.close(fd)
    return head.kept


def opened(path: str, follow: bool = True) -> int:
    """A descriptor to read a file by; with `follow` false, a link is none. Raises Failed."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except OSError as problem:
        raise Failed("cannot read %s: %s" % (path, problem.strerror)) from None


class Chain:
    """The programs and taps of one flow."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._programs: List[Program] = []
        self._taps: List[Tap] = []
        self._fds: List[int] = []
        self._culprit: Optional[Program] = None
        self._first: Optional[Tap] = None

    def build(self, steps: Sequence[Any], source: int, target: int) -> None:
        """Start the programs and connect them. Raises OSError, Failed."""
        for position, step in enumerate(steps):
            after = steps[position + 1] if position + 1 < len(steps) else None
            reading, writing = self._pipe() if after is not None else (-1, target)
            if isinstance(step, Tap):
                self._first = self._first or step
                self._taps.append(step)
                step.source = source
                if writing >= 0:
                    self._connect(step, writing, after)
                for side in step.sides:
                    beside, into = self._pipe()
                    self._connect(step, into, side[0])
                    self.build(side, beside, -1)
            else:
                self._start(step, source, writing)
                self._close(source, writing)
            source = reading

    def _connect(self, tap: Tap, fd: int, program: Optional[Program]) -> None:
        if program is not None:
            os.set_blocking(fd, False)
        tap.outputs.append(Output(fd, program))

    def _start(self, program: Program, source: int, target: int) -> None:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        program.err, stderr = self._pipe()
        os.set_blocking(program.err, False)
        fds = [source if source >= 0 else null, target if target >= 0 else null, stderr]
        third = self._third(program)
        try:
            env = dict(os.environ, **program.env)
            program.pid = spawn.start(program.argv, env, "/", fds + third, self._host.children)
        except OSError as problem:
            raise Failed("%s cannot be run: %s" % (program.name, problem.strerror), program.name) from None
        finally:
            os.close(null)
            self._close(stderr)
            if isinstance(program.third, bytes):
                self._close(*third)
        self._programs.append(program)

    def _third(self, program: Program) -> List[int]:
        if not isinstance(program.third, bytes):
            return [] if program.third is None else [program.third]
        reading, writing = self._pipe()
        os.set_blocking(writing, False)
        try:
            if os.write(writing, program.third) != len(program.third):
                raise Failed("%s: its key is too long" % program.name, program.name)
        finally:
            self._close(writing)
        return [reading]

    def _pipe(self) -> Any:
        import fcntl

        ends = os.pipe()
        self._fds += ends
        try:
            fcntl.fcntl(ends[1], F_SETPIPE_SZ, PIECE)
        except OSError:
            pass
        return ends

    def _close(self, *fds: int) -> None:
        for fd in fds:
            if fd in self._fds:
                self._fds.remove(fd)
                os.close(fd)

    def pump(self, text: str, total: int, tick: Optional[Callable[[], int]]) -> None:
        """Move the stream until every program has ended. Raises OSError when the target cannot be written."""
        taps = list(self._taps)
        told = 0.0
        while taps or any(program.status is None for program in self._programs):
            reads = [tap.source for tap in taps if not tap.waits]
            writes = [output.fd for tap in taps for output in tap.outputs if output.rest]
            errors = [program.err for program in self._programs if program.err in self._fds]
            ready, writable, _ = select.select(reads + errors, writes, [], TICK if taps else process.POLL_EVERY)
            for program in self._programs:
                if program.err in ready:
                    self._listen(program)
            for tap in list(taps):
                for output in tap.outputs:
                    if output.fd in writable and output.rest:
                        output.push()
                going = not (tap.source in ready and not tap.waits) or tap.take()
                if not going or self._is_cut(tap):
                    taps.remove(tap)
                    self._finish(tap)
            if not taps or not ready:
                self._poll()
            if text and time.monotonic() >= told:
                told = time.monotonic() + TICK
                done = tick() if tick is not None else self._first.size if self._first is not None else 0
                self._host.progress(text, done, total)

    def _is_cut(self, tap: Tap) -> bool:
        """Whether a program that should have read on has ended: then the whole chain does."""
        for output in tap.outputs:
            if output.gone and output.program is not None and not output.program.stops_early:
                self._culprit = self._culprit or output.program
                return True
        return False

    def _finish(self, tap: Tap) -> None:
        self._close(tap.source, *[output.fd for output in tap.outputs if output.program is not None])
        tap._buffer = None

    def _listen(self, program: Program) -> None:
        try:
            data = os.read(program.err, SAID_KEPT)
        except BlockingIOError:
            return
        program.said = (program.said + data)[-SAID_KEPT:]
        if not data:
            self._close(program.err)

    def _poll(self) -> None:
        for program in self._programs:
            if program.status is None:
                program.status = process.poll(program.pid)
                if program.status is not None:
                    self._host.children.discard(program.pid)

    def judge(self) -> None:
        """Name the first that failed. Raises Failed."""
        for program in self._programs:
            if program.err in self._fds:
                self._listen(program)
        failed = [program for program in self._programs if program.status != 0]
        guilty = [program for program in failed if not program.broken]
        if self._culprit is not None and self._culprit.status == 0 and not guilty:
            name = self._culprit.name
            raise Failed("%s ended before it had read everything" % name, name)
        first = [self._culprit] if self._culprit is not None and self._culprit.status != 0 else []
        for program in first + guilty + failed:
            raise Failed("%s failed: %s" % (program.name, program.words()), program.name)

    def end(self) -> None:
        """End what still runs, and close everything."""
        for program in self._programs:
            if program.status is None:
                process.kill_group(program.pid)
                self._host.children.discard(program.pid)
        self._close(*list(self._fds))
