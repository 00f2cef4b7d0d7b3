"""Run a program on the host: no shell, a session of its own, both outputs always drained, bounded memory.

subprocess costs 18 to 27 ms to import; this needs only os and select.
"""

from __future__ import annotations

import os
import select
import time
from typing import Any, Callable, Dict, List, Optional

from opsplay.agent import spawn

# Output beyond this many bytes a stream is counted but not kept.
OUTPUT_KEPT = 16 << 20
# After the program has ended, a daemon it left behind may hold its outputs open: wait for the rest until nothing came
# for LINGER seconds, and LINGER_MOST at most.
LINGER = 0.1
LINGER_MOST = 5.0
# Seconds that a program has to end when it is asked to.
TERMINATION = 0.5
# How often (s) it is asked whether the program has ended.
POLL_EVERY = 0.05


class Completed:
    """How a program ended. `rc` is negative for a signal, 127 when it could not be started; `error` says why."""

    __slots__ = ("argv", "rc", "out", "err", "error", "timed_out", "truncated", "skipped")

    def __init__(self, argv: List[str], rc: int = 0, out: bytes = b"", err: bytes = b"") -> None:
        self.argv = argv
        self.rc = rc
        self.out = out
        self.err = err
        self.error = ""
        self.timed_out = False
        self.truncated = False
        self.skipped = False

    @property
    def stdout(self) -> str:
        return self.out.decode("utf-8", "surrogateescape")

    @property
    def stderr(self) -> str:
        return self.err.decode("utf-8", "surrogateescape")


class Stream:
    """One output of a program, kept up to the limit."""

    __slots__ = ("fd", "parts", "size", "truncated", "watch")

    def __init__(self, fd: int, watch: Optional[Callable[[bytes], None]] = None) -> None:
        self.fd = fd
        self.watch = watch
        self.parts: List[bytes] = []
        self.size = 0
        self.truncated = False

    def take(self) -> bool:
        """Read what is there. Returns False at the end of the stream."""
        data = os.read(self.fd, 1 << 16)
        if not data:
            return False
        if self.size < OUTPUT_KEPT:
            self.parts.append(data)
        else:
            self.truncated = True
        self.size += len(data)
        if self.watch is not None:
            self.watch(data)
        return True


def run(
    argv: List[str],
    children: Any,
    stdin: bytes = b"",
    cwd: Optional[str] = None,
    env: Optional[Dict[str, str]] = None,
    timeout: float = 0,
    watch: Optional[Callable[[bytes], None]] = None,
) -> Completed:
    """Run a program to its end. `children` (a set) holds its pid meanwhile, so that others can end its group.

    `timeout` in seconds, 0 for none: when it is over, the process group is killed and `timed_out` set. `watch` is
    called with each piece of standard output as it comes.
    """
    result = Completed(argv)
    stdin_out, stdin_in = os.pipe()
    out_out, out_in = os.pipe()
    err_out, err_in = os.pipe()
    try:
        pid = spawn.start(argv, dict(os.environ, **(env or {})), cwd, [stdin_out, out_in, err_in], children)
    except OSError as problem:
        for fd in (stdin_out, stdin_in, out_out, out_in, err_out, err_in):
            os.close(fd)
        result.rc = 127 if problem.errno == 2 else 126
        result.error = "%s: %s" % (problem.strerror, problem.filename)
        result.err = result.error.encode()
        return result
    for fd in (stdin_out, out_in, err_in):
        os.close(fd)
    out, err = Stream(out_out, watch), Stream(err_out)
    try:
        status = _drain(pid, stdin_in, stdin, [out, err], timeout, result)
        result.rc = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    except BaseException:
        kill_group(pid)
        raise
    finally:
        children.discard(pid)
        os.close(out_out)
        os.close(err_out)
    result.out, result.err = b"".join(out.parts), b"".join(err.parts)
    result.truncated = out.truncated or err.truncated
    return result


def _drain(pid: int, stdin_fd: int, stdin: bytes, streams: List[Stream], timeout: float, result: Completed) -> int:
    """Feed and read until the program has ended and said all. Returns the wait status."""
    deadline = time.monotonic() + timeout if timeout else 0.0
    feed = Feed(stdin_fd, stdin)
    open_streams = {stream.fd: stream for stream in streams}
    status = None
    ended = asked = time.monotonic()
    try:
        while open_streams or status is None:
            if not open_streams and feed.fd < 0:
                # Nothing more to read or write: only the end is missing.
                status = wait_until(pid, deadline)
            else:
                wait = LINGER if status is not None else POLL_EVERY
                writing = [feed.fd] if feed.fd >= 0 else []
                ready, writable, _ = select.select(list(open_streams), writing, [], wait)
                for fd in ready:
                    if not open_streams[fd].take():
                        del open_streams[fd]
                if writable:
                    feed.push()
                now = time.monotonic()
                if status is not None and (not ready or now - ended > LINGER_MOST):
                    break
                # One who talks without a pause is asked, too: it may be a daemon that outlives the program.
                if status is None and (not ready or now - asked > POLL_EVERY):
                    status = poll(pid)
                    ended = asked = now
            if status is None and deadline and time.monotonic() > deadline:
                result.timed_out = True
                kill_group(pid)
                return 9
    finally:
        feed.close()
    return status or 0


class Feed:
    """A program's standard input, with what is still to be written to it."""

    __slots__ = ("fd", "rest")

    def __init__(self, fd: int, data: bytes) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.rest = memoryview(data)
        if not data:
            self.close()

    def push(self) -> None:
        """Write what the pipe takes. A program that reads no more is not an error."""
        try:
            self.rest = self.rest[os.write(self.fd, self.rest[:65536]) :]
        except BlockingIOError:
            return
        except OSError:
            self.rest = self.rest[:0]
        if not self.rest:
            self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def poll(pid: int) -> Optional[int]:
    """The wait status, or None while the program runs.

    An interruption ends programs and takes their status itself: such a one counts as killed.
    """
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 9
    return status if found else None


def wait_until(pid: int, deadline: float) -> Optional[int]:
    """The wait status, or None when the deadline (monotonic seconds, 0 for none) comes first."""
    if not deadline:
        return os.waitpid(pid, 0)[1]
    pause = 0.001
    while time.monotonic() < deadline:
        status = poll(pid)
        if status is not None:
            return status
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return None


def kill_group(pid: int) -> None:
    """End a program and all that it started: first asked, then forced."""
    import _signal

    for number in (_signal.SIGTERM, _signal.SIGKILL):
        try:
            os.killpg(pid, number)
        except OSError:
            break
        limit = time.monotonic() + TERMINATION
        while time.monotonic() < limit:
            # Nobody survives SIGKILL: then only the leader's exit status is waited for.
            if reap(pid) and (number == _signal.SIGKILL or not group_lives(pid)):
                break
            time.sleep(0.01)
    reap(pid)


def end(pid: int, seconds: float) -> None:
    """Wait so long for a program that was asked to end, then force it. An interruption may have reaped it before."""
    try:
        gone = wait_until(pid, time.monotonic() + seconds) is not None
    except ChildProcessError:
        return
    if not gone:
        kill_group(pid)


def group_lives(pid: int) -> bool:
    """Whether a process group has a member left."""
    try:
        os.killpg(pid, 0)
    except OSError:
        return False
    return True


def reap(pid: int) -> bool:
    """Take a child's exit status if it is there, so that it is no zombie. Returns whether it has ended."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except OSError:
        return True
