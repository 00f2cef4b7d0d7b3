"""A run: playbooks one after the other, their plays, their batches of hosts; and all that a run owns."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from opsplay import events
from opsplay.errors import LanguageError
from opsplay.inventory.model import Inventory
from opsplay.inventory.patterns import limit, select
from opsplay.inventory.variables import InventoryVariables
from opsplay.model import Play, Playbook
from opsplay.run.batches import batches
from opsplay.run.connection import PASSWORD_VARIABLES, current_user
from opsplay.run.context import PlayContext, folder_of
from opsplay.run.fences import OTHER_HOSTS
from opsplay.run.options import RunOptions
from opsplay.run.play import PlayRun
from opsplay.run.program import build
from opsplay.run.report import Reporter, Sink
from opsplay.run.sessions import Sessions
from opsplay.run.tally import Tallies, exit_code
from opsplay.run.variables import RunVariables
from opsplay.secrets import Redactor

# Seconds that remote work may take to end after Ctrl-C, the recap included.
INTERRUPT_SECONDS = 4.0
INTERRUPTED = 99

UndoKeeper = Callable[[str, str, tuple[Mapping[str, Any], ...]], None]


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
        self.reporter = Reporter(sinks, self.redactor)
        self.sessions = Sessions(options.beat)
        self.tallies = Tallies()
        self.run_id = run_id or new_run_id()
        self._undo = undo
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
        self.reporter.emit(events.RunStarted(self.run_id, names, self.options.check, current_user()))
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
        code = INTERRUPTED if interrupted else exit_code(tallies)
        tallies = tuple(replace(tally, reason=self.redactor.text(tally.reason)) for tally in tallies)
        seconds = time.monotonic() - started
        self.reporter.emit(events.RunFinished(code, tallies, seconds, interrupted))
        return code

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
            self._play(play, folder_of(play.at.file) if play.at.file else folder)

    # --- a play ---

    def hosts_of(self, play: Play, context: PlayContext) -> list[str]:
        """The hosts of a play, within the limit, without those that failed."""
        pattern = context.render_play(play.hosts)
        hosts = select(pattern, self.inventory, play.at)
        hosts = [host for host in hosts if self._limit is None or host in self._limit]
        return order(hosts, play.order)

    def _play(self, play: Play, folder: str) -> None:
        context = PlayContext(self, play, folder)
        all_hosts = self.hosts_of(play, context)
        for host in all_hosts:
            self.tallies.add_host(host)
        hosts = [host for host in all_hosts if host not in self._failed]
        program = build(play, self.options)
        if not hosts or not program:
            self.reporter.emit(events.PlayStarted(play.title, tuple(hosts)))
            return
        parts = batches(hosts, play.serial, play.at)
        for number, batch in enumerate(parts, 1):
            self.variables.special.update(self._play_names(play, folder, all_hosts, batch))
            self.reporter.emit(events.PlayStarted(play.title, tuple(batch), number, len(parts)))
            batch_run = PlayRun(self, self.reporter, context, program, batch)
            batch_run.work_through()
            self._failed |= batch_run.failed
            if batch_run.ends_play or set(batch) <= batch_run.failed:
                break

    def _play_names(self, play: Play, folder: str, hosts: list[str], batch: list[str]) -> dict[str, Any]:
        options = self.options
        return {
            "ansible_play_name": play.title,
            "ansible_play_hosts_all": hosts,
            "ansible_play_hosts": [host for host in hosts if host not in self._failed],
            "ansible_play_batch": batch,
            "play_hosts": batch,
            "playbook_dir": folder,
            "ansible_check_mode": options.check,
            "ansible_diff_mode": options.diff,
            "ansible_verbosity": options.verbosity,
            "ansible_forks": options.forks,
            "ansible_run_tags": sorted(options.tags) or ["all"],
            "ansible_skip_tags": sorted(options.skip_tags),
            "ansible_version": {"full": "2.19.0", "major": 2, "minor": 19, "revision": 0, "string": "2.19.0"},
        }

    def variables_mention_hosts(self, play: Play) -> bool:
        """Whether a variable of the inventory or the play reads other hosts' variables behind a task's back."""
        sources = [play.vars, *(host.vars for host in self.inventory.hosts.values())]
        sources += [group.vars for group in self.inventory.groups.values()]
        sources += list(self.variables.files())
        return any(word in repr(source) for source in sources for word in OTHER_HOSTS)

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

    def forgive(self) -> None:
        self._failed.clear()

    def progress(self, host: str, progress: Mapping[str, Any]) -> None:
        text = self.redactor.text(str(progress.get("text", "")))
        self.reporter.emit(
            events.TaskProgress(host, "", text, int(progress.get("done") or 0), int(progress.get("total") or 0))
        )

    def keep_undo(self, host: str, task: str, entries: tuple[Mapping[str, Any], ...]) -> None:
        if self._undo is not None:
            self._undo(host, task, entries)


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
