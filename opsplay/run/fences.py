"""Where hosts wait for each other.

Linear order is kept wherever it can be observed: commands, services, other hosts' variables. Such a task is a fence:
no host starts it before all are there, and none goes past it before all are through. Between two fences hosts run
ahead of each other. Places are compared by segment: 2k between the fences, 2k+1 on fence k.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from opsplay.documents.vault import is_vault
from opsplay.model import Block, Included, Task
from opsplay.run.position import BODY, HANDLERS, INCLUDED, Order

# Modules that touch only the host's own files, accounts and packages, or only the control side's view of that host:
# no other host can see when they run.
UNOBSERVED = frozenset(
    ("setup", "ping", "copy", "template", "file", "lineinfile", "blockinfile", "replace", "stat", "user", "group",
     "apt", "package", "cron", "debug", "assert", "set_fact", "fail", "meta", "timezone", "locale_gen", "alternatives",
     "known_hosts", "authorized_key", "service_facts", "package_facts", "apt_repository", "apt_key",
     "deb822_repository", "debconf", "dpkg_selections", "pip", "slurp", "find", "tempfile", "ini_file", "archive",
     "assemble", "unarchive", "env_file", "limits", "login_banner", "logrotate", "password_policy")
)  # fmt: skip

# What a template that reads other hosts' variables says.
OTHER_HOSTS = ("hostvars", "ansible_play_hosts", "ansible_play_batch", "play_hosts")


def is_fence(task: Task, find_template: Callable[[Task], str | None]) -> bool:
    """Whether other hosts could tell when this task ran. `find_template` gives the text of a template it renders."""
    if task.module not in UNOBSERVED or task.run_once or task.delegate_to or task.any_errors_fatal:
        return True
    if task.module == "meta" and task.free_form not in ("flush_handlers", "noop", "reset_connection"):
        return True
    if _mentions_others(repr((task.args, task.free_form, task.when, task.loop, task.vars, task.environment))):
        return True
    text = find_template(task)
    return text is not None and _mentions_others(text)


def _mentions_others(text: str) -> bool:
    return any(word in text for word in OTHER_HOSTS)


def template_text(folder: str) -> Callable[[Task], str | None]:
    """Finds a template task's text when its name is constant; a name that is only known later counts as observing."""

    def find(task: Task) -> str | None:
        if task.module != "template":
            return None
        source = str(task.args.get("src") or "")
        for place in (Path(folder) / "templates" / source, Path(folder) / source, Path(source)):
            try:
                text = place.read_text(errors="replace")
            except OSError:
                continue
            hides = is_vault(text) or "{% include" in text or "{% import" in text or "{% extends" in text
            return OTHER_HOSTS[0] if hides else text
        return OTHER_HOSTS[0]

    return find


def orders_of_fences(
    entries: Iterable[Task | Block], handlers: Iterable[Task], fenced: Callable[[Task], bool], prefix: Order = ()
) -> list[Order]:
    """The places of all fences below `entries`, in order. Handlers are looked for at every flush."""
    found: list[Order] = []
    for number, entry in enumerate(entries):
        here = (*prefix, number)
        if isinstance(entry, Task):
            if fenced(entry):
                found.append(here)
            if entry.module == "meta" and entry.free_form == "flush_handlers":
                found += orders_of_fences(handlers, (), fenced, (*here, HANDLERS))
            found += _fences_of_include(entry, here, handlers, fenced)
            continue
        for section, inner in enumerate((entry.body, entry.rescue, entry.always), BODY):
            found += orders_of_fences(inner, handlers, fenced, (*here, section))
    return found


def _fences_of_include(
    task: Task, here: Order, handlers: Iterable[Task], fenced: Callable[[Task], bool]
) -> list[Order]:
    """Those within what an include brings in; when that is not known yet, the place where hosts learn it."""
    if task.include is None:
        return []
    known = known_inclusion(task)
    if known is None:
        return [(*here, INCLUDED)]
    return orders_of_fences(known.entries, handlers, fenced, (*here, INCLUDED, 0))


def known_inclusion(task: Task) -> Included | None:
    """What an include brings in when that is the same for every host."""
    return task.include.known if task.include is not None and task.loop is None else None


def orders_of_flushes(entries: Iterable[Task | Block], prefix: Order = ()) -> list[Order]:
    """The places below `entries` where handlers run."""
    found: list[Order] = []
    for number, entry in enumerate(entries):
        here = (*prefix, number)
        if isinstance(entry, Block):
            for section, inner in enumerate((entry.body, entry.rescue, entry.always), BODY):
                found += orders_of_flushes(inner, (*here, section))
        elif entry.module == "meta" and entry.free_form == "flush_handlers":
            found.append(here)
        elif (known := known_inclusion(entry)) is not None:
            found += orders_of_flushes(known.entries, (*here, INCLUDED, 0))
    return found


class Gate:
    """Counts the hosts in each segment and says who may go on. Thread-safe.

    `release` is called, with the lock held, for every waiting host that the slowest one no longer holds back.
    """

    def __init__(
        self, fences: Iterable[Order], hosts: Iterable[str], start: Order, release: Callable[[str], None]
    ) -> None:
        self._fences = sorted(fences)
        self._lowest = self.segment(start)
        self._order = dict.fromkeys(hosts, start)
        self._segment = dict.fromkeys(hosts, self._lowest)
        self._count = {self._lowest: len(self._segment)}
        self._waiting: dict[str, Order] = {}
        self._release = release
        self._lock = threading.RLock()

    def segment(self, order: Order) -> int:
        """Where a place lies between the fences."""
        index = bisect.bisect_left(self._fences, order)
        on_fence = index < len(self._fences) and self._fences[index] == order
        return 2 * index + (1 if on_fence else 0)

    def add(self, fences: Iterable[Order]) -> None:
        """Further fences, behind everything that a host has begun."""
        with self._lock:
            self._fences = sorted({*self._fences, *fences})
            self._segment = {host: self.segment(order) for host, order in self._order.items()}
            self._count = dict(Counter(self._segment.values()))
            self._lowest = min(self._count) if self._count else self._lowest

    def hosts_at(self, order: Order) -> set[str]:
        """The hosts whose next task is at this place."""
        with self._lock:
            return {host for host, place in self._order.items() if place == order}

    def move(self, host: str, order: Order | None) -> None:
        """A host has finished everything before `order`; None when it has finished the play."""
        with self._lock:
            old = self._segment.get(host)
            if old is None:
                return
            if order is None:
                del self._segment[host]
                del self._order[host]
            else:
                self._order[host] = order
                self._segment[host] = self.segment(order)
                self._count[self._segment[host]] = self._count.get(self._segment[host], 0) + 1
            self._count[old] -= 1
            if not self._count[old]:
                del self._count[old]
            self._advance()

    def may_run(self, order: Order) -> bool:
        """Whether no host is in an earlier segment."""
        with self._lock:
            return self.segment(order) <= self._lowest

    def wait(self, host: str, order: Order) -> bool:
        """Note that a host waits to run `order`; False when it need not."""
        with self._lock:
            if self.segment(order) <= self._lowest:
                return False
            self._waiting[host] = order
            return True

    def _advance(self) -> None:
        lowest = min(self._count) if self._count else self._lowest
        if lowest == self._lowest and self._count:
            return
        self._lowest = lowest
        ready = [host for host, order in self._waiting.items() if self.segment(order) <= lowest or not self._count]
        for host in ready:
            del self._waiting[host]
            self._release(host)
