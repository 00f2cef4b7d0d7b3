"""One connection a host, one agent for each user on it; heartbeats; all of it closed at the end."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

from opsplay.errors import ConnectionLost
from opsplay.run.pretended import Pretended
from opsplay.session.blobs import BlobStore
from opsplay.session.bootstrap import Escalation
from opsplay.session.session import Heartbeat, Session
from opsplay.transport.base import Connection, Target
from opsplay.transport.connect import Connector

Become = tuple[str, str] | None


class HostSessions:
    """What is open to one host by one way: a connection and its agents. Held by one thread while it opens more."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.connection: Connection | None = None
        self.agents: dict[tuple[str | None, Become], Session] = {}
        self.lock = threading.RLock()


class Sessions:
    """Opens what a task needs and keeps it for the run. Thread-safe: several hosts may delegate to one."""

    def __init__(self, beat: Heartbeat) -> None:
        self.blobs = BlobStore()
        self.pretended = Pretended()
        self._beat = beat
        self._connector = Connector()
        self._hosts: dict[str, list[HostSessions]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._heart: threading.Thread | None = None

    def _of(self, host: str, target: Target) -> HostSessions:
        with self._lock:
            ways = self._hosts.setdefault(host, [])
            found = next((way for way in ways if way.target == target), None)
            if found is None:
                found = HostSessions(target)
                ways.append(found)
            return found

    def connection(self, host: str, target: Target) -> Connection:
        """The host's connection, opened now if need be. Raises UnreachableError's kinds."""
        found = self._of(host, target)
        with found.lock:
            if found.connection is None:
                found.connection = self._connector.connect(target)
            return found.connection

    def session(self, host: str, target: Target, become: Escalation | None) -> Session:
        """The agent of a user on a host, started now if need be. Raises UnreachableError's kinds."""
        ways = self._of(host, target)
        with ways.lock:
            connection = self.connection(host, target)
            key = agent_key(target, become)
            found = ways.agents.get(key)
            if found is not None and found.broken is None:
                return found
            session = Session.start(
                host, connection, blobs=self.blobs, interpreter=target.interpreter, become=become, beat=self._beat
            )
            ways.agents[key] = session
            self._start_heart()
            return session

    def connect_anew(self, host: str, target: Target, become: Escalation | None) -> None:
        """Connect beside what is open, start an agent, and end both. Raises UnreachableError's kinds."""
        connection = self._connector.connect(target)
        try:
            Session.start(
                host, connection, blobs=self.blobs, interpreter=target.interpreter, become=become, beat=self._beat
            ).close()
        finally:
            connection.close()

    def open_session(self, host: str, target: Target, become: Escalation | None) -> Session | None:
        """The agent of a user, if it runs already."""
        return self._of(host, target).agents.get(agent_key(target, become))

    def _start_heart(self) -> None:
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat_forever, name="heartbeat", daemon=True)
            self._heart.start()

    def _beat_forever(self) -> None:
        while not self._stopped.wait(self._beat.every):
            for way in [way for ways in list(self._hosts.values()) for way in ways]:
                for session in list(way.agents.values()):
                    if session.broken is None:
                        session.beat()

    def dismiss(self, host: str, user: str) -> None:
        """End the agents that run on a host as a user who is to change; the next task for him starts one anew."""
        with self._lock:
            ways = list(self._hosts.get(host, ()))
        for way in ways:
            with way.lock:
                for key in [key for key in way.agents if key[1] is not None and key[1][1] == user]:
                    way.agents.pop(key).leave()

    def close_host(self, host: str) -> None:
        """End a host's agents and its connection; the next task opens them anew."""
        with self._lock:
            ways = self._hosts.pop(host, [])
        for way in ways:
            for session in way.agents.values():
                with contextlib.suppress(ConnectionLost, OSError):
                    session.close()
            if way.connection is not None:
                with contextlib.suppress(OSError, EOFError):
                    way.connection.close()

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
