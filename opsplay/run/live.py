"""A host on which an action acts step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opsplay.errors import BecomeFailed
from opsplay.run.services import Services
from opsplay.run.ways import Way
from opsplay.run.work import Work
from opsplay.session.bootstrap import escalate
from opsplay.session.session import Call
from opsplay.transport.openssh import program_and_options

Receive = Callable[[bytes], None]
Perform = Callable[[Work, Way, Call, Receive | None], dict[str, Any]]


class LiveHost:
    """What an action of steps sees: `Live` of opsplay.actions.base."""

    def __init__(self, run: Services, way: Way, work: Work, perform: Perform, own: Callable[[], Way]) -> None:
        self._run = run
        self._way = way
        self._work = work
        self._perform = perform
        self._own = own

    @property
    def host(self) -> str:
        return self._way.host

    @property
    def address(self) -> str:
        return self._way.target.address

    @property
    def is_local(self) -> bool:
        return self._way.target.connection == "local"

    @property
    def is_delegated(self) -> bool:
        return self._work.task.delegate_to is not None

    @property
    def check(self) -> bool:
        return self._work.check

    @property
    def diff(self) -> bool:
        return self._work.diff

    def call(
        self,
        module: str,
        params: Mapping[str, Any],
        receive: Receive | None = None,
        also: Sequence[str] = (),
        timeout: float | None = None,
    ) -> dict[str, Any]:
        options = {} if timeout is None else {"timeout": timeout}
        return self._perform(self._work, self._way, Call(module, [params], options, also), receive)

    def sleep(self, seconds: float) -> None:
        self._run.sleep(seconds)

    def ask(self, text: str, hidden: bool, seconds: float | None) -> str | None:
        return self._run.ask(text, hidden, seconds)

    def progress(self, text: str) -> None:
        self._run.progress(self.host, {"text": text})

    def disconnect(self) -> None:
        self._run.sessions.close_host(self.host)

    def connect_anew(self, port: int | None, seconds: float) -> None:
        target = replace(self._way.target, timeout=min(seconds, self._way.target.timeout))
        if port is not None:
            target = replace(target, port=port, key_port=target.port or 22)
        self._run.sessions.connect_anew(self.host, target, self._way.become)

    def use_port(self, port: int) -> None:
        self._run.variables.of(self.host).set["ansible_port"] = port
        self._way = replace(self._way, target=replace(self._way.target, port=port))

    def patience(self, seconds: float) -> None:
        self._way = replace(self._way, target=replace(self._way.target, timeout=seconds))

    def own(self) -> LiveHost:
        return LiveHost(self._run, self._own(), self._work, self._perform, self._own)

    def command_to(self) -> Sequence[str]:
        return program_and_options(self._way.target)

    def as_user(self, command: Sequence[str]) -> Sequence[str]:
        become = self._way.become
        if become is not None and become.password is not None:
            hint = "let the account use sudo without a password for this command"
            raise BecomeFailed(f"{self.host}: a become password cannot be given to {command[0]}", hint=hint)
        return escalate(become, "", list(command))
