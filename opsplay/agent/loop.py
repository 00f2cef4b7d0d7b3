"""The agent: a reader that never blocks, and a main thread that runs one task after the other.

The reader takes frames in, answers heartbeats, hands blobs to the task that waits for them, and watches the clock.
When the control side is gone (end of stream, or silence), it interrupts the running task, lets a declared critical
section end within its deadline, ends the task's process group, and leaves.
"""

from __future__ import annotations

import _signal
import _thread
import marshal
import os
import select
import sys
import time
from typing import Any, Dict, List

from opsplay.agent import protocol
from opsplay.agent.host import Cancelled, Host, ModuleFailed
from opsplay.agent.lanes import Lane
from opsplay.agent.outbox import Outbox

try:
    from _queue import SimpleQueue
except ImportError:  # Python 3.6
    from queue import Queue as SimpleQueue  # type: ignore[assignment]

# Seconds that an interrupted task has to clean up before the agent ends without it.
GRACE = 3.0
TICK = 1.0
# Results of a long loop are sent when this many seconds have passed since the last.
FLUSH_EVERY = 0.1


class Job:
    """One call: a module and the parameters of one or more items, run one after the other."""

    __slots__ = ("number", "module", "items", "options", "deadline")

    def __init__(self, number: int, call: Dict[str, Any]) -> None:
        self.number = number
        self.module = call["module"]
        self.items = call["items"]
        self.options = call["options"]
        self.deadline = 0.0


class Agent:
    """Serves one stream. `settings`: lane, beat_every, beat_dead (seconds)."""

    def __init__(self, in_fd: int, out_fd: int, mark: bytes, settings: Dict[str, Any], importer: Any) -> None:
        self.in_fd = in_fd
        self.out_fd = out_fd
        self.mark = mark
        self.settings = settings
        self.importer = importer
        self.own_lane = settings.get("lane", 0)
        self.lanes = {}  # type: Dict[int, Lane]
        self.queue = SimpleQueue()  # type: Any
        self.blobs = SimpleQueue()  # type: Any
        self.outbox = Outbox(out_fd, mark, self.own_lane)
        self.running = None  # type: Any
        self.cancelled = set()  # type: Any
        self.broken_window = -1
        self.interruption = ""
        self.ending = False
        self.last_heard = time.monotonic()
        self.last_beat = self.last_look = self.last_heard
        self.host = Host(self)
        self.main_thread = _thread.get_ident()

    # --- the main thread ---

    def serve(self) -> None:
        """Run until the stream ends. Leaves by `os._exit`: nothing of the interpreter's end is needed."""
        _signal.signal(_signal.SIGUSR1, self._on_interrupt)
        for ignored in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGTERM):
            _signal.signal(ignored, _signal.SIG_IGN)
        self.baseline = (os.getcwd() if os.path.isdir(".") else "/", os.umask(0o077), dict(os.environ))
        os.umask(self.baseline[1])
        _thread.start_new_thread(self._read_forever, ())
        while True:
            job = self.queue.get()
            if job is None:
                break
            try:
                self._perform(job)
            except Cancelled:
                pass
        self.host.clean_up()
        os._exit(0)

    def _on_interrupt(self, signum: int, frame: Any) -> None:
        if self.running is not None and self.interruption:
            self.host.interrupt(self.interruption)

    def _perform(self, job: Job) -> None:
        if self.ending or job.number in self.cancelled or job.options["window"] == self.broken_window:
            self.cancelled.discard(job.number)
            self.post(protocol.DROPPED, job.number, b"{}")
            return
        pending = []  # type: List[Any]
        flushed = time.monotonic()
        failed = False
        for index, params in enumerate(job.items):
            result = self.run_item(job, params)
            failed = failed or bool(result.get("failed"))
            if failed and job.options["on_fail"] == "stop":
                self.broken_window = job.options["window"]
            pending.append([index, result])
            last = index == len(job.items) - 1 or self.ending or job.number in self.cancelled
            if last or time.monotonic() - flushed > FLUSH_EVERY:
                self._send_results(job, pending, last)
                pending, flushed = [], time.monotonic()
            if last:
                break

    def _send_results(self, job: Job, pending: List[Any], last: bool) -> None:
        try:
            self.post(protocol.RESULT, job.number, protocol.encode_json({"results": pending, "done": last}))
        except protocol.FrameError as problem:
            failure = {"failed": True, "msg": "the result is too large to return: %s" % problem}
            small = [[index, failure] for index, _ in pending]
            self.post(protocol.RESULT, job.number, protocol.encode_json({"results": small, "done": last}))

    def run_item(self, job: Job, params: Dict[str, Any]) -> Dict[str, Any]:
        """One item of a call, with everything cleaned up and put back behind it."""
        timeout = job.options.get("timeout") or 0
        job.deadline = time.monotonic() + timeout if timeout else 0.0
        host = self.host
        host.begin(job.number, job.options)
        self.interruption = ""
        self.running = job
        started = time.monotonic()
        try:
            result = run_module(host, job.module, params)
        except ModuleFailed as problem:
            result = problem.result
        except Cancelled as problem:
            result = {"failed": True, "msg": str(problem), "cancelled": True}
        except Exception as problem:  # a module's own mistake must not end the agent
            result = crash_report(job.module, problem)
        finally:
            self.running = None
            job.deadline = 0.0
            host.clean_up()
            self._restore()
        result["_seconds"] = round(time.monotonic() - started, 4)
        return host.finish(result)

    def _restore(self) -> None:
        """Give the next task the working directory, umask and environment that the login gave."""
        directory, umask, environ = self.baseline
        os.umask(umask)
        if os.environ != environ:
            os.environ.clear()
            os.environ.update(environ)
        try:
            os.chdir(directory)
        except OSError:
            os.chdir("/")

    # --- both threads ---

    def post(self, kind: int, number: int, payload: bytes) -> None:
        """Send a result; together with those of the tasks that wait, which follow at once unless they are slow.

        Programs and blobs flush first, the reader does after a TICK.
        """
        self.outbox.post(kind, number, payload, more_follows=not self.queue.empty())

    def send(self, kind: int, number: int, payload: bytes) -> None:
        """Send one message now."""
        self.outbox.send(kind, number, payload)

    def flush(self) -> None:
        """Write what waits to be sent."""
        self.outbox.flush()

    # --- the reader's thread ---

    def _read_forever(self) -> None:
        try:
            self._read_until_end()
        except BaseException:
            # Whatever went wrong, an agent without a reader must not live on.
            pass
        self._leave()

    def _read_until_end(self) -> None:
        decoder = protocol.Decoder()
        while not self.ending:
            sources = [self.in_fd] + [lane.out_fd for lane in self.lanes.values()]
            ready, _, _ = select.select(sources, [], [], TICK)
            if self.in_fd in ready:
                data = os.read(self.in_fd, 1 << 18)
                if not data:
                    return
                self.last_heard = time.monotonic()
                for kind, lane, number, payload in decoder.feed(data):
                    self._dispatch(kind, lane, number, payload)
            for lane_number, child in list(self.lanes.items()):
                if child.out_fd in ready and not child.relay(self.out_fd, self.outbox.lock):
                    del self.lanes[lane_number]
            self._watch_clock()

    def _dispatch(self, kind: int, lane: int, number: int, payload: bytes) -> None:
        if kind == protocol.END:
            self.ending = True
        elif kind == protocol.MODULE:
            self.importer.add(marshal.loads(payload))
            self._tell_lanes(kind, number, payload)
        elif kind == protocol.BEAT:
            self._tell_lanes(kind, number, payload)
        elif lane != self.own_lane:
            if lane not in self.lanes:
                self.lanes[lane] = Lane.fork(self, lane)
            self.lanes[lane].write(kind, number, payload)
        elif kind == protocol.CALL:
            self.queue.put(Job(number, marshal.loads(payload)))
        elif kind == protocol.BLOB:
            self.blobs.put(payload)
        elif kind == protocol.CANCEL:
            self.cancelled.add(number)
            running = self.running
            if running is not None and running.number == number:
                self._interrupt("cancelled")

    def _tell_lanes(self, kind: int, number: int, payload: bytes) -> None:
        for lane in self.lanes.values():
            lane.write(kind, number, payload)

    def _watch_clock(self) -> None:
        now = time.monotonic()
        if now - self.last_look >= TICK:
            self.flush()
        self.last_look = now
        running = self.running
        if running is not None and running.deadline and now > running.deadline:
            running.deadline = 0.0
            self._interrupt("timed out")
        if now - self.last_heard > self.settings["beat_dead"]:
            self.ending = True
        if now - self.last_beat > self.settings["beat_every"] and self.outbox.beat():
            self.last_beat = now

    def _interrupt(self, reason: str) -> None:
        self.interruption = reason
        _signal.pthread_kill(self.main_thread, _signal.SIGUSR1)

    def _leave(self) -> None:
        """End the running task, wait for its cleaning up, and go: within GRACE, or the critical section's deadline."""
        self.ending = True
        for lane in self.lanes.values():
            lane.close()
        self.queue.put(None)
        self.blobs.put(None)
        while self.running is not None:
            limit = time.monotonic() + GRACE
            if self.host.critical_until > time.monotonic():
                limit = self.host.critical_until
            self._interrupt("the control side is gone")
            while self.running is not None and time.monotonic() < limit:
                time.sleep(0.02)
            if time.monotonic() >= limit:
                self.host.kill_children()
                self.host.clean_up()
                os._exit(1)
        # The main thread finds the None and ends the process; if it cannot, this does.
        time.sleep(GRACE)
        os._exit(1)


def run_module(host: Host, name: str, params: Dict[str, Any]) -> Dict[str, Any]:
    """Import a shipped module by its full name and run it. Raises what the module raises."""
    from opsplay.agent.spec import Params

    __import__(name)
    outcome = sys.modules[name].run(host, Params(params))
    return dict(outcome) if outcome is not None else host.outcome()


def crash_report(module: str, problem: Exception) -> Dict[str, Any]:
    """A result for an exception that the module did not foresee, with its traceback."""
    import traceback

    text = "".join(traceback.format_exception(type(problem), problem, problem.__traceback__))
    if isinstance(problem, OSError) and problem.filename:
        message = "%s: %s" % (problem.strerror, problem.filename)
    else:
        message = "%s: %s" % (type(problem).__name__, problem)
    return {"failed": True, "msg": "%s: %s" % (module.rpartition(".")[2], message), "exception": text}
