"""Have a task's items done: calls to the host's agent, answers of the control side, retries, raw commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from opsplay.actions.base import ActionFailed, Answer, RawCommand, Remote, Steps
from opsplay.errors import TemplateError
from opsplay.run.background import run_in_background
from opsplay.run.context import PlayContext
from opsplay.run.items import Item
from opsplay.run.judge import ItemResult, ends_loop, is_settled, judge, status_of
from opsplay.run.live import LiveHost
from opsplay.run.ways import Way, way_of
from opsplay.run.work import Work, again, number
from opsplay.session.session import Call, Session

OnItem = Callable[[int, dict[str, Any]], None]
OnRetry = Callable[[int, int], None]
Receive = Callable[[bytes], None]

USER = "opsplay.modules.accounts.user"
# A raw command's output beyond this many bytes is not kept.
RAW_KEPT = 16 << 20


@dataclass
class Sent:
    """A task's call on its way: which items the agent works on, and the results so far by item."""

    session: Session
    number: int
    lane: int
    machine: str
    indices: list[int]
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    done: bool = False


class Executor:
    """Executes for one host; calls of one window are dropped by the agent behind a failed one."""

    def __init__(self, context: PlayContext, host: str) -> None:
        self._context = context
        self._host = host
        self._sessions = context.run.sessions
        self._window = 0

    def new_window(self) -> None:
        """What is sent from now on does not depend on what was sent before."""
        self._window = self._context.run.next_window()

    def is_blocking(self, work: Work) -> bool:
        """Whether a task is done item by item, nothing else being under way."""
        loop = work.task.loop
        stepwise = any(isinstance(item.prepared, (RawCommand, Steps)) for item in work.items)
        scattered = any(item.way != work.way for item in work.items)
        paced = loop is not None and bool(loop.pause or loop.break_when)
        return stepwise or scattered or paced or work.background is not None or bool(work.task.throttle)

    def session(self, way: Way) -> Session:
        """The agent that works that way, started now if need be. Raises UnreachableError's kinds."""
        return self._sessions.session(way.host, way.target, way.become)

    def can_follow(self, work: Work, under_way: Sequence[Sent]) -> bool:
        """Whether a task may be sent while others are under way: only to the very agent that works on those."""
        if not under_way:
            return True
        way = work.way
        return under_way[-1].session is self._sessions.open_session(way.host, way.target, way.become)

    def send(self, work: Work) -> Sent:
        """Send a task's remote items as one call. Raises UnreachableError's kinds."""
        chosen = [(index, item.prepared) for index, item in enumerate(work.items) if isinstance(item.prepared, Remote)]
        modules = {prepared.module for _, prepared in chosen}
        assert len(modules) == 1, "the items of one task are one module's"
        sent = self._call(work, work.way, Call(modules.pop(), [prepared.params for _, prepared in chosen]))
        sent.indices = [index for index, _ in chosen]
        return sent

    def _call(self, work: Work, way: Way, call: Call) -> Sent:
        if call.module == USER and not work.check:
            # A new login finds the groups that the account has from now on; nobody removes one that is logged in.
            for name in {str(params.get("name")) for params in call.items}:
                self._sessions.dismiss(way.host, name)
        session = self.session(way)
        # Behind a task that the control side judges nothing is sent, so that there is nothing to drop.
        on_fail = "continue" if work.goes_on_after_failure or work.closes_window else "stop"
        options = {
            "check": work.check,
            "diff": work.diff,
            "reads_only": work.task.changed_when == (False,),
            "keep_undo": self._context.run.options.keep_undo and not work.no_log,
            "timeout": work.timeout,
            "environment": dict(work.environment),
            "window": self._window,
            "on_fail": on_fail,
            **call.options,
        }
        lane = session.lane_of(self._host)
        if work.check:
            options["shadow"] = self._sessions.pretended.for_agent(way.host, (session, lane))
        number = session.call(replace(call, options=options), lane)
        return Sent(session, number, lane, way.host, list(range(len(call.items))))

    def receive(self, sent: Sent, on_item: OnItem, on_data: Receive | None = None) -> None:
        """Wait until a call is done. Raises UnreachableError's kinds."""
        while not sent.done:
            reply = sent.session.receive(sent.lane, on_wait=self._context.run.check_interrupted)
            if reply.number != sent.number:
                continue
            if reply.progress is not None:
                self._context.run.progress(self._host, reply.progress)
                continue
            if reply.data is not None:
                if on_data is not None:
                    on_data(reply.data)
                continue
            for index, result in reply.results:
                self._sessions.pretended.learn(sent.machine, (sent.session, sent.lane), result)
                sent.results[sent.indices[index]] = result
                on_item(sent.indices[index], result)
            sent.done = reply.done

    def raw_results(self, work: Work, sent: Sent) -> list[dict[str, Any]]:
        """Every item's result in order: the agent's, or the control side's own answer."""
        found = []
        for index, item in enumerate(work.items):
            if isinstance(item.prepared, Answer):
                found.append(dict(item.prepared.result))
            else:
                missing = {"failed": True, "msg": "the agent dropped this item", "changed": False}
                found.append(sent.results.get(index, missing))
        return found

    def discard(self, sent: Sent) -> None:
        """Take the agent's word that a call was dropped. Raises UnreachableError's kinds."""
        self.receive(sent, lambda index, result: None)

    # --- one after the other ---

    def run_now(self, work: Work, on_item: OnItem, on_retry: OnRetry) -> list[ItemResult]:
        """Every item to its end, with its retries. Raises UnreachableError's kinds."""
        found: list[ItemResult] = []
        for index in range(len(work.items)):
            if index and work.task.loop is not None and work.task.loop.pause:
                self._context.run.sleep(work.task.loop.pause)
            result = self._with_retries(work, index, on_retry)
            on_item(index, dict(result.data))
            found.append(result)
            if ends_loop(self._context, work, work.items[index], result.data):
                break
        return found

    def _with_retries(self, work: Work, index: int, on_retry: OnRetry) -> ItemResult:
        retry = work.task.retry
        item = work.items[index]
        result = judge(self._context, work, item, self._once(work, item))
        if retry is None:
            return result
        try:
            return self._retried(work, index, result, on_retry)
        except TemplateError as problem:
            return judge_again(result, {**result.data, "failed": True, "msg": str(problem)})

    def _retried(self, work: Work, index: int, result: ItemResult, on_retry: OnRetry) -> ItemResult:
        """The result that `until` is content with, or the last one. Raises TemplateError."""
        retry, item = work.task.retry, work.items[index]
        assert retry is not None
        templar = self._context.templar(self._host, item.layers)
        retries = int(number(templar, retry.retries, "retries", work.task))
        delay = max(0.0, number(templar, retry.delay, "delay", work.task))
        attempts = 1
        while not is_settled(self._context, work, item, result.data):
            if attempts > retries:
                data = {**result.data, "attempts": attempts - 1, "failed": True}
                data.setdefault("msg", f"still not so after {attempts - 1} retries")
                return judge_again(result, data)
            on_retry(attempts, retries)
            self._context.run.sleep(delay)
            attempts += 1
            work = again(self._context, work, index)
            item = work.items[index]
            result = judge(self._context, work, item, self._once(work, item))
        return judge_again(result, {**result.data, "attempts": attempts})

    def _once(self, work: Work, item: Item) -> dict[str, Any]:
        prepared = item.prepared
        if isinstance(prepared, Answer):
            return dict(prepared.result)
        if isinstance(prepared, RawCommand):
            return self._raw(work, item.way, prepared.command)
        live = LiveHost(self._context.run, item.way, work, self._perform, lambda: self._own_way(work, item))
        if isinstance(prepared, Steps):
            try:
                return {"changed": False, **prepared.run(live)}
            except ActionFailed as problem:
                return {"changed": False, **problem.data, "failed": True, "msg": problem.message}
        if work.background is not None:
            return run_in_background(live, prepared, *work.background)
        return live.call(prepared.module, prepared.params)

    def _own_way(self, work: Work, item: Item) -> Way:
        """How to reach the task's own host, wherever the task is done."""
        return way_of(self._context, self._host, work.task, replace(item.layers, machine=None))

    def _perform(self, work: Work, way: Way, call: Call, receive: Receive | None) -> dict[str, Any]:
        """One call to its end, nothing else being under way."""
        sent = self._call(work, way, call)
        self.receive(sent, lambda index, result: None, receive)
        self.new_window()
        return sent.results.get(0, {"failed": True, "msg": "the agent dropped the task"})

    def _raw(self, work: Work, way: Way, command: str) -> dict[str, Any]:
        """A command of the login shell (or of the user to become), without Python."""
        from opsplay.session.shell import run_raw

        connection = self._sessions.connection(way.host, way.target)
        deadline = time.monotonic() + work.timeout if work.timeout else None
        return run_raw(connection, command, way.become, RAW_KEPT, deadline, self._context.run.check_interrupted)


def judge_again(result: ItemResult, data: dict[str, Any]) -> ItemResult:
    """A result with other data, and the status that follows from it."""
    return replace(result, data=data, status=status_of(data))
