"""One batch of hosts in one play: the program they all follow, who has failed, and when the play must stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from opsplay.model import Block, Task
from opsplay.run.context import PlayContext
from opsplay.run.fences import Gate, is_fence, orders_of_fences, template_text
from opsplay.run.position import start
from opsplay.run.report import Reporter
from opsplay.run.runner import HostRunner
from opsplay.run.services import Services
from opsplay.run.variables import Layers

Program = tuple[Task | Block, ...]


class PlayRun:
    """A play on one batch of hosts."""

    def __init__(
        self, run: Services, reporter: Reporter, context: PlayContext, program: Program, hosts: list[str]
    ) -> None:
        self.run = run
        self.context = context
        self.program = program
        self.hosts = hosts
        self.handlers = [handler.task for handler in context.play.handlers]
        self.reporter = reporter
        self.failed: set[str] = set()
        self.is_stopped = False
        self.ends_play = False
        self._open = set(hosts)
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._runners = {host: HostRunner(self, host) for host in hosts}
        self.gate = Gate(self._fences(), hosts, start(program).order, self._resume)

    def _fences(self) -> list[tuple[int, ...]]:
        play = self.context.play
        if play.strategy == "free":
            return []
        strict = self.run.options.lockstep or play.any_errors_fatal or play.max_fail_percentage is not None
        hidden = strict or self.run.variables_mention_hosts(play)
        find = template_text(self.context.folder)
        fenced: Callable[[Task], bool] = (lambda task: True) if hidden else (lambda task: is_fence(task, find))
        return orders_of_fences(self.program, self.handlers, fenced)

    # --- running ---

    def work_through(self) -> None:
        """Advance every host to its end. Raises what a worker could not handle, and KeyboardInterrupt."""
        for host in self.hosts:
            self._resume(host)
        while not self._finished.wait(0.5):
            self.run.check_crashed()
        self.run.check_crashed()

    def _resume(self, host: str) -> None:
        self.run.submit(self._runners[host].advance, self._crashed)

    def _crashed(self) -> None:
        self._finished.set()

    def host_is_over(self, host: str) -> None:
        with self._lock:
            self._open.discard(host)
            if not self._open:
                self._finished.set()

    # --- failures ---

    def host_failed(self, host: str) -> None:
        """A host failed or is unreachable: see whether the play may go on."""
        play = self.context.play
        with self._lock:
            self.failed.add(host)
            share = 100.0 * len(self.failed) / max(1, len(self.hosts))
        too_many = play.max_fail_percentage is not None and share > play.max_fail_percentage
        if play.any_errors_fatal or too_many:
            self.stop(whole_play=True)

    def stop(self, whole_play: bool) -> None:
        """No host starts another task of this batch, or of the whole play."""
        self.is_stopped = True
        self.ends_play = self.ends_play or whole_play

    @property
    def forces_handlers(self) -> bool:
        return self.context.play.force_handlers or self.run.options.force_handlers

    # --- handlers ---

    def layers_of(self, task: Task) -> Layers:
        return Layers(play=self.context.layers, task=task.vars)

    def handlers_named(self, name: str, host: str, task: Task) -> list[int]:
        """The handlers that a notification reaches, by number: every listener, and the last of that name."""
        listening = [number for number, handler in enumerate(self.context.play.handlers) if name in handler.listen]
        named = [number for number, handler in enumerate(self.handlers) if self._title(handler, host) == name]
        found = [*listening, *named[-1:]]
        if not found:
            self.reporter.warn(f"{task.at}: no handler is named, or listens to, '{name}'", host)
        return found

    def _title(self, handler: Task, host: str) -> str:
        if "{{" not in handler.name:
            return handler.name
        return str(self.context.templar(host, self.layers_of(handler)).render(handler.name))
