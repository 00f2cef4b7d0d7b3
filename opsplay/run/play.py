"""One batch of hosts in one play: the program they all follow, who has failed, and when the play must stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opsplay.model import Block, Handler, Included, Role, Task
from opsplay.run.batch import OnceTasks
from opsplay.run.context import PlayContext
from opsplay.run.fences import Gate, is_fence, known_inclusion, orders_of_fences, orders_of_flushes, template_text
from opsplay.run.inclusions import Inclusions
from opsplay.run.names import roles_named
from opsplay.run.once import Once
from opsplay.run.position import HANDLERS, INCLUDED, Inclusion, Order, last, start
from opsplay.run.program import flush_of, select
from opsplay.run.report import Reporter
from opsplay.run.runner import HostRunner
from opsplay.run.services import Services

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
        self.handlers = list(context.play.handlers)
        self.reporter = reporter
        self.failed: set[str] = set()
        self._stopped_at: Order | None = None
        self.ends_play = False
        self.ends_run = False
        self.fatal: Order | None = None
        self._open = set(hosts)
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._brought: dict[tuple[int, str], Included] = {}
        self._known_of: set[tuple[int, int, str]] = set()
        self._roles_of: dict[int, Role] = {}
        """the role that each include brought in, by the include's task, in the order of their first time"""
        self._limits: dict[int, threading.Semaphore] = {}
        self._steps: dict[Order, bool] = {}
        self._fenced = self._fence_rule()
        whole = (*program, flush_of(context.play))
        self.end = last(whole)
        self._flushes: list[Order] = orders_of_flushes(whole)
        self.inclusions = Inclusions(hosts, self._opened)
        self._runners = {host: HostRunner(self, host) for host in hosts}
        self.gate = Gate(self._fences(whole, ()), hosts, start(program).order, self._resume)
        self.once: OnceTasks = Once(hosts, self.gate.hosts_at, self._resume)

    def _fence_rule(self) -> Callable[[Task], bool]:
        play, options = self.context.play, self.run.options
        strict = options.lockstep or options.step or play.any_errors_fatal or play.max_fail_percentage is not None
        if strict or self.run.variables_mention_hosts(play):
            return lambda task: True
        find = template_text(self.context.folder)
        return lambda task: is_fence(task, find)

    def _fences(self, entries: Program, prefix: Order) -> list[Order]:
        if self.context.play.strategy == "free":
            return []
        return orders_of_fences(entries, [handler.task for handler in self.handlers], self._fenced, prefix)

    # --- includes ---

    def bring(self, task: Task, params: Mapping[str, Any], item: int) -> Included:
        """What an include's item brings in for these parameters, with its handlers and roles made known. Raises
        OpsplayError."""
        assert task.include is not None
        known = known_inclusion(task)
        with self._lock:
            if known is not None:
                return self._made_known(known, task, params, item)
            key = (id(task.include), repr(sorted(params.items())))
            if key not in self._brought:
                found = task.include.load(params)
                entries = tuple(select(found.entries, self.run.options))
                self._brought[key] = replace(found, entries=entries)
                self._add_handlers(found.handlers)
            return self._made_known(self._brought[key], task, params, item)

    def _made_known(self, included: Included, task: Task, params: Mapping[str, Any], item: int) -> Included:
        """Let the play know the roles that came, once for all hosts."""
        key = (id(task), item, included.path)
        if key in self._known_of:
            return included
        self._known_of.add(key)
        new = list(included.imported)
        if included.role is not None:
            self._roles_of.setdefault(id(task), included.role)
            new += [included.role]
        public = [role for role in new if role is not included.role or params.get("public")]
        self.context.roles += [role for role in public if role not in self.context.roles]
        self.run.variables.special.update(roles_named(self.run.variables.special, [role.name for role in new]))
        return included

    def _add_handlers(self, handlers: Sequence[Handler]) -> None:
        """Handlers of a role that was not known before: every later flush may run them."""
        first = len(self.handlers)
        self.handlers += handlers
        if self.context.play.strategy == "free":
            return
        numbered = [(first + index, handler.task) for index, handler in enumerate(handlers)]
        fences = [(*flush, HANDLERS, number) for flush in self._flushes for number, task in numbered
                  if self._fenced(task)]  # fmt: skip
        self.gate.add(fences)

    def _opened(self, order: Order, inclusion: Inclusion) -> None:
        """Hosts will go through a piece that was not known when the play began."""
        prefix = (*order, INCLUDED, inclusion.number)
        self._flushes += orders_of_flushes(inclusion.entries, prefix)
        self.gate.add(self._fences(inclusion.entries, prefix))

    # --- asking and holding back ---

    def may_step(self, order: Order, name: str) -> bool:
        """Whether the user wants a task to run, asked once a task for `--step`."""
        if not self.run.options.step:
            return True
        with self._lock:
            if order not in self._steps:
                self._steps[order] = self.run.confirm_step(name)
            return self._steps[order]

    def limited(self, task: Task, count: int) -> threading.Semaphore:
        """Lets so many hosts at a time through a task."""
        with self._lock:
            return self._limits.setdefault(id(task), threading.Semaphore(count))

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

    def active_hosts(self) -> set[str]:
        """Those for which the play is not over."""
        with self._lock:
            return set(self._open)

    def host_is_over(self, host: str) -> None:
        with self._lock:
            self._open.discard(host)
            if not self._open:
                self._finished.set()

    # --- failures ---

    def host_failed(self, host: str, order: Order) -> None:
        """A host failed or is unreachable at this place: see whether the play may go on."""
        play = self.context.play
        self.left(host)
        with self._lock:
            self.failed.add(host)
            share = 100.0 * len(self.failed) / max(1, len(self.hosts))
        if play.max_fail_percentage is not None and share > play.max_fail_percentage:
            self.ends_run = True
            self.stop(order, whole_play=True)

    def left(self, host: str) -> None:
        """A host takes no further part in the play: templates that ask who does no longer see it."""
        with self._lock:
            special = self.run.variables.special
            for name in ("ansible_play_hosts", "ansible_play_batch", "play_hosts"):
                special[name] = [other for other in special.get(name, ()) if other != host]

    def forgive(self) -> None:
        """Hosts that failed take part in the next play again."""
        with self._lock:
            self.failed.clear()
        self.run.forgive()

    def fail_all(self, order: Order) -> Order:
        """A failure at this place is one of every host; returns the place."""
        self.fatal = order
        return order

    def stop(self, order: Order, whole_play: bool) -> None:
        """No host of this batch, or of the whole play, starts another task; what stands here is done by all."""
        self._stopped_at = order
        self.ends_play = self.ends_play or whole_play

    def may_begin(self, order: Order) -> bool:
        """Whether no host has stopped the play before this place."""
        return self._stopped_at is None or self._stopped_at == order

    @property
    def forces_handlers(self) -> bool:
        stated = self.context.play.force_handlers
        return self.run.options.force_handlers if stated is None else stated

    # --- handlers ---

    def handlers_named(self, name: str, host: str) -> list[int]:
        """The handlers that a notification reaches, by number: every listener, and one of that name.

        As in Ansible it is the first of the list that was loaded last: a play's own handlers prevail over those of its
        roles, and those of a role that a task has brought in over both.
        """
        listening: dict[object, int] = {}
        for number, handler in enumerate(self.handlers):
            if name in handler.listen:
                # A role that is used twice brings its handlers twice: one of a name is enough.
                listening.setdefault(handler.task.title if handler.task.name else number, number)
        named = [number for number, handler in enumerate(self.handlers) if name in self._titles(handler.task, host)]
        if not named:
            return list(listening.values())
        lists = {number: (self.handlers[number].task.role, self.handlers[number].task.at.file) for number in named}
        last = max(named, key=lambda number: (self._brought_as(lists[number][0]), number))
        return [*listening.values(), next(number for number in named if lists[number] == lists[last])]

    def _brought_as(self, role: Role | None) -> int:
        """The how-manieth role it is that an include brought in, 0 for one that stood there before any."""
        brought = [number for number, other in enumerate(self._roles_of.values(), 1) if other == role]
        return brought[-1] if brought else 0

    def _titles(self, handler: Task, host: str) -> tuple[str, ...]:
        """What a handler may be called: its name, and with its role's name before it."""
        name = handler.name
        if "{{" in name:
            templar = self.context.templar(host, self.context.layers(host, handler))
            name = str(templar.render(name))
        return (name, f"{handler.role.name} : {name}") if handler.role else (name,)
