"""One connection a host, one agent for each user on it; heartbeats; all of it closed at the end."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

from opsplay.errors import ConnectionLost
from opsplay.session.blobs import BlobStore
from opsplay.session.bootstrap import Escalation
from opsplay.session.session import Heartbeat, Session
from opsplay.transport.base import Connection, Target
from opsplay.transport.connect import Connector

Become = tuple[str, str] | None


class HostSessions:
    """What is open to one host."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.connection: Connection | None = None
        self.agents: dict[tuple[str | None, Become], Session] = {}


class Sessions:
    """Opens what a task needs and keeps it for the run. A host is used by one thread at a time."""

    def __init__(self, beat: Heartbeat) -> None:
        self.blobs = BlobStore()
        self._beat = beat
        self._connector = Connector()
        self._hosts: dict[str, HostSessions] = {}
        self._stopped = threading.Event()
        self._heart: threading.Thread | None = None

    def connection(self, host: str, target: Target) -> Connection:
        """The host's connection, opened now if need be. Raises UnreachableError's kinds."""
        found = self._hosts.get(host)
        if found is None or found.target != target:
            if found is not None:
                self.close_host(host)
            found = self._hosts[host] = HostSessions(target)
        if found.connection is None:
            found.connection = self._connector.connect(target)
        return found.connection

    def session(self, host: str, target: Target, become: Escalation | None) -> Session:
        """The agent of a user on a host, started now if need be. Raises UnreachableError's kinds."""
        connection = self.connection(host, target)
        agents = self._hosts[host].agents
        key = agent_key(target, become)
        found = agents.get(key)
        if found is not None and found.broken is None:
            return found
        session = Session.start(
            host, connection, blobs=self.blobs, interpreter=target.interpreter, become=become, beat=self._beat
        )
        agents[key] = session
        self._start_heart()
        return session

    def open_session(self, host: str, target: Target, become: Escalation | None) -> Session | None:
        """The agent of a user, if it runs already."""
        found = self._hosts.get(host)
        return None if found is None or found.target != target else found.agents.get(agent_key(target, become))

    def _start_heart(self) -> None:
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat_forever, name="heartbeat", daemon=True)
            self._heart.start()

    def _beat_forever(self) -> None:
        while not self._stopped.wait(self._beat.every):
            for host in list(self._hosts.values()):
                for session in list(host.agents.values()):
                    if session.broken is None:
                        session.beat()

    def close_host(self, host: str) -> None:
        """End a host's agents and its connection; the next task opens them anew."""
        found = self._hosts.pop(host, None)
        if found is None:
            return
        for session in found.agents.values():
            with contextlib.suppress(ConnectionLost, OSError):
                session.close()
        if found.connection is not None:
            with contextlib.suppress(OSError, EOFError):
                found.connection.close()

    def close(self) -> None:
        """End everything, several hosts at a time."""
        self._stopped.set()
        hosts = list(self._hosts)
        if hosts:
            with ThreadPoolExecutor(min(len(hosts), 16)) as pool:
                list(pool.map(self.close_host, hosts))
        self._connector.close()


def agent_key(target: Target, become: Escalation | None) -> tuple[str | None, Become]:
    """What tells a host's agents apart: the interpreter, and who it runs as."""
    return target.interpreter, (become.method, become.user) if become else None
