"""The library: run playbooks from Python, and modules on a host as methods.

    from opsplay import Inventory, Playbook, connect

    with connect("root@db1") as host:
        if host.copy(content="ready\\n", dest="/etc/motd").changed:
            host.service(name="motd-news", state="restarted")

    result = Playbook.load("site.yml").run(Inventory.load("hosts.ini"), check=True, progress=print)
    result.raise_for_failures()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from opsplay import catalog, model
from opsplay.actions.base import AddHost, AddToGroup, Answer, Bring, Meta, SetStatistics
from opsplay.documents.values import trust
from opsplay.errors import Location, OpsplayError, UsageError
from opsplay.events import Event, HostTally
from opsplay.host_modules import HostModules
from opsplay.inventory import patterns, sources
from opsplay.inventory.model import Inventory as Hosts
from opsplay.language.parse import Parser
from opsplay.language.rendering import renderer
from opsplay.model import Become, Play, Task
from opsplay.run import position as places
from opsplay.run.connection import ConnectionDefaults
from opsplay.run.context import PlayContext
from opsplay.run.engine import Run
from opsplay.run.execute import Executor
from opsplay.run.judge import combine
from opsplay.run.options import RunOptions
from opsplay.run.work import prepare

__all__ = ["HostFailed", "Inventory", "Outcome", "Playbook", "RunResult", "TaskFailed", "connect"]

HERE = Location("a Python program")
# What an action may ask of a playbook's run.
OF_A_RUN = (Meta, Bring, AddHost, AddToGroup, SetStatistics)


class TaskFailed(OpsplayError):
    """A module failed on a host; `outcome` has all that it returned."""

    exit_code = 2

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.host}: {outcome.module}: {outcome.get('msg') or 'failed'}")
        self.outcome = outcome


class HostFailed(OpsplayError):
    """Hosts failed or were unreachable in a run; `result` has the counts."""

    exit_code = 2

    def __init__(self, result: RunResult) -> None:
        reasons = [f"{tally.host}: {tally.reason}" for tally in result.hosts.values() if tally.reason]
        super().__init__("; ".join(reasons) or "the run failed")
        self.result = result


@dataclass(frozen=True)
class Outcome(Mapping[str, Any]):
    """What a module did on a host. Its return values are items, and attributes too: `outcome.stdout`."""

    host: str
    module: str
    changed: bool
    failed: bool
    skipped: bool
    data: Mapping[str, Any] = field(repr=False)
    diff: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self.data:
            raise AttributeError(f"{self.module} returned no '{name}'; it returned {', '.join(self.data)}")
        return self.data[name]


@dataclass(frozen=True)
class RunResult:
    """How a run ended: ansible-playbook's exit code, and each host's counts."""

    code: int
    hosts: Mapping[str, HostTally]

    @property
    def ok(self) -> bool:
        return self.code == 0

    def raise_for_failures(self) -> RunResult:
        """This result, when no host failed. Raises HostFailed."""
        if not self.ok:
            raise HostFailed(self)
        return self


class Inventory:
    """Hosts, groups and their variables."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    @classmethod
    def load(cls, *names: str | os.PathLike[str]) -> Inventory:
        """Of files, programs, folders, or lists of hosts such as `web1,web2`. Raises Problems."""
        return cls(sources.load([os.fspath(name) for name in names]))

    @classmethod
    def of(cls, hosts: Mapping[str, Mapping[str, Any]]) -> Inventory:
        """Of hosts with their variables: `Inventory.of({"web1": {"ansible_host": "192.0.2.7"}})`."""
        found = Hosts()
        for name, variables in hosts.items():
            found.add_host(name).vars.update(trust(dict(variables), HERE))
        found.settle()
        return cls(found)

    def hosts(self, pattern: str = "all") -> list[str]:
        """The hosts that a pattern names. Raises InventoryError."""
        return patterns.select(pattern, self._hosts)


class Playbook:
    """A playbook that has been read and checked."""

    def __init__(self, parsed: model.Playbook, extra: Mapping[str, Any]) -> None:
        self._parsed = parsed
        self._extra = extra

    @classmethod
    def load(cls, path: str | os.PathLike[str], **extra: Any) -> Playbook:
        """Read a file with all that it imports; `extra` are variables over all others. Raises Problems."""
        trusted = trust(extra, HERE)
        return cls(Parser(catalog, renderer(trusted)).playbook(os.fspath(path)), trusted)

    def run(
        self,
        inventory: Inventory,
        *,
        check: bool = False,
        diff: bool = False,
        limit: str | None = None,
        tags: frozenset[str] = frozenset(),
        skip_tags: frozenset[str] = frozenset(),
        forks: int = 50,
        progress: Callable[[Event], None] | None = None,
    ) -> RunResult:
        """Run it; `progress` is called with each event (opsplay.events), from several threads.

        With `check` nothing is changed. Failures of hosts are in the result; wrong files raise Problems beforehand.
        """
        options = RunOptions(
            check=check, diff=diff, limit=limit, tags=tags, skip_tags=skip_tags, forks=forks, extra=self._extra
        )
        run = Run(inventory._hosts, options, (_Caller(progress),) if progress is not None else ())
        code = run.execute([self._parsed])
        return RunResult(code, {tally.host: tally for tally in run.tallies.all()})


class _Caller:
    """A sink that calls a function."""

    def __init__(self, call: Callable[[Event], None]) -> None:
        self._call = call

    def emit(self, event: Event) -> None:
        self._call(event)


def connect(
    target: str,
    *,
    inventory: Inventory | None = None,
    become: bool = False,
    become_user: str = "root",
    check: bool = False,
    private_key: str | None = None,
    password: str | None = None,
    become_password: str | None = None,
    accept_new_host_keys: bool = False,
    **variables: Any,
) -> Host:
    """A host to run modules on: `[user@]host[:port]`, a name of the inventory, or `localhost` without SSH.

    `variables` are connection variables such as `ansible_host`. The connection is made with the first module, and
    ended by `close` or the end of a `with`. Raises UsageError for a target that is none.
    """
    user, name, port = _parts(target)
    stated = {"ansible_user": user, "ansible_port": port, **variables}
    hosts = inventory if inventory is not None else Inventory.of({name: {}})
    if name not in hosts._hosts.hosts:
        hosts._hosts.add_host(name)
        hosts._hosts.settle()
    defaults = ConnectionDefaults(
        private_key=private_key,
        password=password,
        become_password=become_password,
        host_key_checking="accept-new" if accept_new_host_keys else "yes",
        connection="local" if name in patterns.LOCAL_NAMES else "ssh",
    )
    extra = trust({key: value for key, value in stated.items() if value is not None}, HERE)
    run = Run(hosts._hosts, RunOptions(check=check, connection=defaults, extra=extra))
    return Host(run, name, Become(enabled=become, user=become_user))


def _parts(target: str) -> tuple[str | None, str, int | None]:
    """User, host and port of `[user@]host[:port]`; an IPv6 address with a port stands in brackets."""
    user, _, rest = target.rpartition("@")
    name, port = rest, ""
    if rest.startswith("["):
        name, closed, port = rest[1:].partition("]")
        name, port = (name, port.removeprefix(":")) if closed else ("", "")
    elif rest.count(":") == 1:
        name, _, port = rest.partition(":")
    if not name or (port and not port.isdigit()):
        raise UsageError(f"{target!r} is no host", hint="write [user@]host[:port]")
    return user or None, name, int(port) if port else None


class Host(HostModules):
    """A host whose modules are methods: `host.apt(name="nginx")`. Used by one thread."""

    def __init__(self, run: Run, name: str, become: Become) -> None:
        self._run = run
        self._name = name
        self._become = become
        self._context = PlayContext(run, Play(HERE, name), os.getcwd())
        self._executor = Executor(self._context, name)

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, and what runs on it."""
        self._run.sessions.close()

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `setup` has found out, without the prefix `ansible_`."""
        return self._run.variables.of(self._name).facts

    def run_module(self, module: str, params: Mapping[str, Any], ignore_errors: bool = False) -> Outcome:
        """Run a module by its name. Strings are taken as they are, never as templates.

        Raises UsageError for an unknown module, TaskFailed unless `ignore_errors`, UnreachableError's kinds.
        """
        entry = catalog.find(module)
        if entry is None:
            raise UsageError(f"there is no module '{module}'", hint=catalog.suggestion(module))
        task = Task(module=entry.name, at=HERE, args=dict(params), become=self._become)
        place = places.start((task,))
        work = prepare(self._context, self._name, task, place)
        if any(isinstance(item.prepared, Answer) and isinstance(item.prepared.effect, OF_A_RUN) for item in work.items):
            raise UsageError(f"{entry.name} steers a run of a playbook, and none is under way here")
        done = self._executor.run_now(work, lambda index, result: None, lambda attempt, retries: None)
        result = combine(work, tuple(done))
        facts = result.data.get("ansible_facts")
        if isinstance(facts, dict):
            self._run.variables.of(self._name).learn(facts)
        data = result.data
        outcome = Outcome(
            self._name, entry.name, bool(data.get("changed")), bool(data.get("failed")), bool(data.get("skipped")),
            data, result.diff, result.warnings,
        )  # fmt: skip
        if outcome.failed and not ignore_errors:
            raise TaskFailed(outcome)
        return outcome
