"""A run: playbooks one after the other, their plays, their batches of hosts; and all that a run owns."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from opsplay import events
from opsplay.actions.base import AddHost, AddToGroup, Effect, SetStatistics
from opsplay.documents.keyring import KEYRING
from opsplay.errors import LanguageError
from opsplay.inventory.model import ALL, Inventory
from opsplay.inventory.patterns import limit, select
from opsplay.inventory.variables import InventoryVariables
from opsplay.model import Play, Playbook
from opsplay.run.batches import batches
from opsplay.run.connection import PASSWORD_VARIABLES, current_user
from opsplay.run.context import PlayContext, folder_of
from opsplay.run.fences import OTHER_HOSTS
from opsplay.run.names import connection_names, play_names
from opsplay.run.options import RunOptions
from opsplay.run.play import PlayRun
from opsplay.run.program import build, starts_in
from opsplay.run.prompts import answers
from opsplay.run.report import Reporter, Sink
from opsplay.run.sessions import Sessions
from opsplay.run.tally import Tallies
from opsplay.run.variables import RunVariables
from opsplay.secrets import Redactor

# Seconds that remote work may take to end after Ctrl-C, the recap included.
INTERRUPT_SECONDS = 4.0
INTERRUPTED = 99

UndoKeeper = Callable[[str, str, tuple[Mapping[str, Any], ...]], None]
Ask = Callable[[str, bool, "float | None"], "str | None"]
"""Shows a text and reads a line, hidden or not, at most so many seconds long; None when nobody can answer."""


class Interrupted(BaseException):
    """The user wants to stop: raised in every worker at its next wait."""


class Run:
    """One run over one inventory. `sinks` see its events; `undo` keeps what changes replaced."""

    def __init__(
        self,
        inventory: Inventory,
        options: RunOptions,
        sinks: tuple[Sink, ...] = (),
        redactor: Redactor | None = None,
        undo: UndoKeeper | None = None,
        run_id: str | None = None,
    ) -> None:
        self.inventory = inventory
        self.options = options
        self.redactor = redactor or Redactor()
        for secret in (options.connection.password, options.connection.become_password):
            self.redactor.register(secret)
        KEYRING.watch(self.redactor)
        self.reporter = Reporter(sinks, self.redactor)
        self.sessions = Sessions(options.beat)
        self.tallies = Tallies()
        self.run_id = run_id or new_run_id()
        self._undo = undo
        self._ask: Ask | None = None
        self._all_steps = False
        self._ended = False
        self.statistics: dict[str, dict[str, Any]] = {}
        self._failed: set[str] = set()
        self._known_secrets: set[str] = set()
        self._stop = threading.Event()
        self._crash: BaseException | None = None
        self._window = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max(1, options.forks), thread_name_prefix="host")
        self._limit = limit(options.limit, inventory) if options.limit else None
        self.variables = RunVariables(inventory, InventoryVariables(inventory), options.extra)

    # --- the whole ---

    def execute(self, playbooks: Iterable[Playbook]) -> int:
        """Run them in turn and return the exit code. Ctrl-C ends remote work and gives 99."""
        chosen = list(playbooks)
        started = time.monotonic()
        names = tuple(playbook.path for playbook in chosen)
        self.reporter.emit(self._start_of(names))
        interrupted = False
        try:
            for playbook in chosen:
                self._playbook(playbook)
        except KeyboardInterrupt:
            interrupted = True
            self._interrupt()
        finally:
            self._stop.set()
            self._pool.shutdown(wait=not interrupted, cancel_futures=True)
            if not interrupted:
                self.sessions.close()
        tallies = self.tallies.all()
        code = INTERRUPTED if interrupted else self.tallies.exit_code()
        tallies = tuple(replace(tally, reason=self.redactor.text(tally.reason)) for tally in tallies)
        seconds = time.monotonic() - started
        statistics = self.redactor.clean(self.statistics)
        self.reporter.emit(events.RunFinished(code, tallies, seconds, interrupted, statistics))
        return code

    def _start_of(self, playbooks: tuple[str, ...]) -> events.RunStarted:
        options = self.options
        return events.RunStarted(
            self.run_id,
            tuple(os.path.abspath(path) for path in playbooks),
            options.check,
            current_user(),
            machine=os.uname().nodename,
            inventory=tuple(self.inventory.sources),
            arguments=tuple(self.redactor.text(word) for word in options.arguments),
            limit=options.limit,
            tags=tuple(sorted(options.tags)),
            revision=options.revision,
            dirty=options.dirty,
        )

    def _interrupt(self) -> None:
        """End what runs on the hosts: every agent is told to go, and given a few seconds."""
        self._stop.set()
        closer = threading.Thread(target=self.sessions.close, daemon=True)
        closer.start()
        closer.join(INTERRUPT_SECONDS)

    def _playbook(self, playbook: Playbook) -> None:
        folder = folder_of(playbook.path)
        layers = InventoryVariables(self.inventory, folder)
        self.variables.use(layers)
        for play in playbook.plays:
            if self._ended:
                return
            self._play(play, folder_of(play.at.file) if play.at.file else folder)

    # --- a play ---

    def hosts_of(self, play: Play) -> list[str]:
        """The hosts of a play whose pattern is rendered, within the limit."""
        hosts = select(play.hosts, self.inventory, play.at)
        hosts = [host for host in hosts if self._limit is None or host in self._limit]
        return order(hosts, play.order)

    def _play(self, play: Play, folder: str) -> None:
        context = PlayContext(self, play, folder)
        play = replace(play, hosts=context.render_play(play.hosts))
        all_hosts = self.hosts_of(play)
        for host in all_hosts:
            self.tallies.add_host(host)
        hosts = [host for host in all_hosts if host not in self._failed]
        program = build(play, self.options)
        if not hosts or not program:
            self.reporter.emit(events.PlayStarted(play.title, tuple(hosts)))
            return
        if starts_in(play, self.options):
            # The plays behind it are run whole.
            self.options = replace(self.options, start_at=None)
        context.answers.update(answers(play, context, self))
        parts = batches(all_hosts, play.serial, play.at)
        for number, part in enumerate(parts, 1):
            batch = [host for host in part if host not in self._failed]
            if not batch:
                continue
            alive = [host for host in all_hosts if host not in self._failed]
            names = play_names(play, self.options, self.inventory, folder, all_hosts, alive, batch)
            self.variables.special.update(names)
            self.variables.assumed = connection_names(play, self.options)
            self.reporter.emit(events.PlayStarted(play.title, tuple(batch), number, len(parts)))
            batch_run = PlayRun(self, self.reporter, context, program, batch)
            batch_run.work_through()
            self._failed |= batch_run.failed
            # As in Ansible, nothing follows a batch that has failed on every host, nor too many failures.
            self._ended = batch_run.ends_run or set(part) <= batch_run.failed
            if self._ended or batch_run.ends_play:
                break

    def variables_mention_hosts(self, play: Play) -> bool:
        """Whether a variable of the inventory or the play reads other hosts' variables behind a task's back."""
        sources = [play.vars, *(host.vars for host in self.inventory.hosts.values())]
        sources += [group.vars for group in self.inventory.groups.values()]
        sources += list(self.variables.files())
        return any(word in repr(source) for source in sources for word in OTHER_HOSTS)

    # --- people ---

    def use_prompter(self, ask: Ask) -> None:
        """Let questions of plays and tasks be asked in this way; without one, nobody is there to answer."""
        self._ask = ask

    def ask(self, text: str, hidden: bool, seconds: float | None) -> str | None:
        """What a person types, at most so many seconds long; None when nobody is there to answer."""
        return self._ask(text, hidden, seconds) if self._ask is not None else None

    def confirm_step(self, name: str) -> bool:
        """Whether the user wants a task to run; he may say that he wants all further ones."""
        question = f"Run task: {name} (n)o/(y)es/(c)ontinue with all: "
        while not self._all_steps:
            answer = (self.ask(question, False, None) or "n").strip().lower()
            if answer in ("n", "no"):
                return False
            if answer in ("y", "yes"):
                return True
            self._all_steps = answer in ("c", "continue")
        return True

    # --- the inventory while it is used ---

    def apply(self, effect: Effect, host: str) -> None:
        """Do what an action asks of the run: a host or a group is added, a number kept for the end."""
        with self._lock:
            if isinstance(effect, AddHost):
                self._add_host(effect)
            elif isinstance(effect, AddToGroup):
                self._add_to_group(effect, host)
            elif isinstance(effect, SetStatistics):
                merge_statistics(self.statistics.setdefault(host if effect.per_host else "run", {}), effect)

    def _add_host(self, effect: AddHost) -> None:
        added = self.inventory.add_host(effect.name, ALL)
        added.vars.update(effect.vars)
        for group in effect.groups:
            self.inventory.add_host(effect.name, group)
        self._settle()

    def _add_to_group(self, effect: AddToGroup, host: str) -> None:
        self.inventory.add_host(host, effect.name)
        for parent in effect.parents:
            self.inventory.add_child(parent, effect.name)
        self._settle()

    def _settle(self) -> None:
        self.inventory.settle()
        self.variables.renew()

    def refresh_inventory(self) -> None:
        """Read the inventory's sources anew: hosts keep what was set and found out about them."""
        from opsplay.inventory.sources import load

        with self._lock:
            fresh = load(self.inventory.origins, self.inventory.extra)
            self.inventory.replace(fresh)
            self.variables.renew(files=True)

    # --- for those who run in it ---

    def submit(self, work: Callable[[], None], on_crash: Callable[[], None]) -> None:
        """Run on a worker; what it cannot handle is raised in the main thread."""

        def guarded() -> None:
            try:
                work()
            except Interrupted:
                on_crash()
            except BaseException as problem:
                self._crash = self._crash or problem
                on_crash()

        if not self._stop.is_set():
            self._pool.submit(guarded)

    def learn_secrets(self, host: str, lookup: Callable[[str], Any]) -> None:
        """Register a host's passwords before anything about it is shown."""
        if host in self._known_secrets:
            return
        self._known_secrets.add(host)
        for name in PASSWORD_VARIABLES:
            value = lookup(name)
            if isinstance(value, str):
                self.redactor.register(value)

    def check_crashed(self) -> None:
        if self._crash is not None:
            raise self._crash

    def check_interrupted(self) -> None:
        """Raise Interrupted when the user wants to stop."""
        if self._stop.is_set():
            raise Interrupted

    def sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Interrupted

    def next_window(self) -> int:
        with self._lock:
            self._window += 1
            return self._window

    def warn(self, message: str) -> None:
        self.reporter.warn(message)

    def forgive(self) -> None:
        self._failed.clear()
        self.tallies.forgive()

    def progress(self, host: str, progress: Mapping[str, Any]) -> None:
        text = self.redactor.text(str(progress.get("text", "")))
        self.reporter.emit(
            events.TaskProgress(host, "", text, int(progress.get("done") or 0), int(progress.get("total") or 0))
        )

    def keep_undo(self, host: str, task: str, entries: tuple[Mapping[str, Any], ...]) -> None:
        if self._undo is not None:
            self._undo(host, task, entries)


def merge_statistics(known: dict[str, Any], effect: SetStatistics) -> None:
    """Add to what is known, as set_stats does: numbers and texts are added up, dictionaries merged."""
    for name, value in effect.data.items():
        before = known.get(name)
        if not effect.aggregate or before is None:
            known[name] = value
        elif isinstance(before, dict) and isinstance(value, dict):
            known[name] = {**before, **value}
        elif type(before) is type(value):
            known[name] = before + value


def order(hosts: list[str], how: str) -> list[str]:
    """A play's hosts in the order that its `order` keyword asks for. Raises LanguageError."""
    if how == "inventory":
        return hosts
    if how in ("sorted", "reverse_sorted"):
        return sorted(hosts, reverse=how == "reverse_sorted")
    if how == "reverse_inventory":
        return hosts[::-1]
    if how == "shuffle":
        import random

        return random.sample(hosts, len(hosts))
    raise LanguageError(
        f"unknown order '{how}'", hint="use inventory, reverse_inventory, sorted, reverse_sorted or shuffle"
    )


def new_run_id() -> str:
    """A name for a run that sorts by time."""
    return time.strftime("%Y%m%dT%H%M%S") + "-" + uuid.uuid4().hex[:6]
