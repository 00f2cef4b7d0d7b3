"""SSH with Fabric and Paramiko: one connection a host, bastions shared, host keys checked against known_hosts."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
from pathlib import Path
from typing import Any

import fabric
import paramiko

from opsplay.errors import AuthenticationFailed, ConnectionFailed, ConnectionLost, HostKeyError
from opsplay.transport import known_hosts, ssh_config
from opsplay.transport.base import Stream, Tail, Target

# While waiting for output, standard error is drained this often (s): it shares the channel's window.
DRAIN_EVERY = 1.0
# After some was there, more of it may be held back.
DRAIN_AGAIN = 0.01
# What Paramiko says when it has neither a key nor a password.
NOTHING_TO_OFFER = "No authentication methods available"
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


class Bastions:
    """Connections to jump hosts, one for each, shared by all the hosts behind it."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, ...], fabric.Connection] = {}
        self._locks: dict[tuple[str, ...], threading.Lock] = {}
        self._guard = threading.Lock()

    def gateway(self, target: Target, jump: tuple[str, ...]) -> fabric.Connection | None:
        """The connection to the last of `jump`, opened through those before it."""
        if not jump:
            return None
        with self._guard:
            lock = self._locks.setdefault(jump, threading.Lock())
        with lock:
            found = self._open.get(jump)
            if found is None or not found.is_connected:
                found = _connect(self._target(target, jump), self.gateway(target, jump[:-1]))
                self._open[jump] = found
            return found

    @staticmethod
    def _target(target: Target, jump: tuple[str, ...]) -> Target:
        user, _, place = jump[-1].rpartition("@")
        host, _, port = place.partition(":")
        return Target(
            name=f"{host} (bastion of {target.name})",
            address=host,
            user=user or None,
            port=int(port) if port else None,
            private_key=target.private_key,
            known_hosts=target.known_hosts,
            host_key_checking=target.host_key_checking,
            timeout=target.timeout,
        )

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()
        self._open.clear()


class SSHConnection:
    """A host's connection. Raises ConnectionFailed, AuthenticationFailed or HostKeyError when it cannot be made."""

    def __init__(self, target: Target, bastions: Bastions) -> None:
        self.target = target
        self._bastions = bastions
        self._connections = [_connect(target, bastions.gateway(target, jumps(target)))]

    def open(self, command: str) -> Stream:
        try:
            return self._start(self._connections[-1], command)
        except paramiko.ChannelException:
            # MaxSessions is reached: a further connection has room of its own.
            connection = _connect(self.target, self._bastions.gateway(self.target, jumps(self.target)))
            self._connections.append(connection)
            return self._start(connection, command)

    def _start(self, connection: fabric.Connection, command: str) -> Stream:
        try:
            channel = connection.transport.open_session(timeout=self.target.timeout)
            channel.exec_command(command)
        except paramiko.ChannelException:
            raise
        except (paramiko.SSHException, EOFError, OSError) as problem:
            raise ConnectionLost(f"{self.target.name}: the connection was lost: {problem or 'closed'}") from problem
        return ChannelStream(channel, self.target.name)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


class ChannelStream:
    """A command on an SSH channel."""

    def __init__(self, channel: paramiko.Channel, name: str) -> None:
        self._channel = channel
        self._name = name
        self._errors = Tail()

    def send(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except (OSError, EOFError, paramiko.SSHException) as problem:
            raise ConnectionLost(f"{self._name}: the connection was lost") from problem

    def receive(self, timeout: float) -> bytes:
        waited, pause = 0.0, DRAIN_EVERY
        while True:
            step = min(pause, timeout - waited)
            self._channel.settimeout(max(step, 0.001))
            try:
                return self._channel.recv(1 << 18)
            except TimeoutError:
                pause = DRAIN_AGAIN if self._drain() else DRAIN_EVERY
                waited += step
                if waited >= timeout:
                    raise TimeoutError from None
            except (OSError, EOFError, paramiko.SSHException) as problem:
                raise ConnectionLost(f"{self._name}: the connection was lost") from problem

    def _drain(self) -> bool:
        """Take what is on standard error; whether there was something."""
        found = False
        while self._channel.recv_stderr_ready():
            self._errors.add(self._channel.recv_stderr(1 << 18))
            found = True
        return found

    def errors(self) -> str:
        self._drain()
        return self._errors.text()

    def finish(self) -> int:
        try:
            self._channel.shutdown_write()
            return self._channel.recv_exit_status()
        except (OSError, EOFError, paramiko.SSHException) as problem:
            raise ConnectionLost(f"{self._name}: the connection was lost") from problem

    def close(self) -> None:
        # To say goodbye is no use where the connection has just ended.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()


def jumps(target: Target) -> tuple[str, ...]:
    """The bastions on the way: the inventory's, else those of the ssh configuration."""
    if target.jump:
        return target.jump
    configured = ssh_config.lookup(target.address).get("proxyjump")
    if not isinstance(configured, str) or configured.lower() == "none":
        return ()
    return tuple(configured.split(","))


@functools.lru_cache(maxsize=1)
def _fabric_config() -> fabric.Config:
    """One configuration for all connections: ssh_config's is read once, nothing of Fabric's own files."""
    return fabric.Config(lazy=True, ssh_config=ssh_config.load())


def _connect(target: Target, gateway: fabric.Connection | None) -> fabric.Connection:
    connection = fabric.Connection(
        target.address,
        user=target.user,
        port=target.port,
        config=_fabric_config(),
        gateway=gateway if gateway is not None else _proxy_command(target),
        connect_timeout=max(1, int(target.timeout)),
    )
    connection.connect_kwargs = _credentials(target)
    _expect_host_key(connection, target)
    where = f"{target.name} ({connection.user}@{connection.host}:{connection.port})"
    try:
        connection.open()
    except paramiko.BadHostKeyException as problem:
        path = _known_files(target)[0].path
        name = known_hosts.entry_name(connection.host, connection.port)
        raise known_hosts.changed_key(name, problem.key.get_name(), problem.key.asbytes(), path) from problem
    except (paramiko.AuthenticationException, paramiko.PasswordRequiredException) as problem:
        raise _refused(where, str(problem)) from problem
    except socket.gaierror as problem:
        raise ConnectionFailed(f"{where}: the name does not resolve: {problem.strerror}") from problem
    except (paramiko.SSHException, OSError, EOFError) as problem:
        if str(problem) == NOTHING_TO_OFFER:
            raise _refused(where, "there is no key, agent or password to offer") from problem
        raise ConnectionFailed(f"{where}: {_reason(problem, target)}") from problem
    if target.key_port is not None and ssh_config.host_key_checking(target) != "no":
        _remember(connection, target)
    return connection


def _remember(connection: fabric.Connection, target: Target) -> None:
    """Note down, for the port that a host has moved to, the key by which it was known before."""
    name, file = known_hosts.entry_name(connection.host, connection.port), _known_files(target)[0]
    key = connection.transport.get_remote_server_key()
    if key.asbytes() not in [raw for _, raw in file.lookup(name)]:
        file.add(name, key.get_name(), key.asbytes())


def _refused(where: str, why: str) -> AuthenticationFailed:
    hint = "check the user and key, or ask for a password with -k"
    return AuthenticationFailed(f"{where}: authentication failed: {why}", hint=hint)


def _reason(problem: BaseException, target: Target) -> str:
    if isinstance(problem, TimeoutError):
        return f"no answer within {target.timeout:g} s"
    if isinstance(problem, paramiko.ssh_exception.NoValidConnectionsError):
        return "; ".join(sorted({str(getattr(error, "strerror", None) or error) for error in problem.errors.values()}))
    return str(problem) or type(problem).__name__


def _proxy_command(target: Target) -> str | bool:
    """The ProxyCommand of the inventory or the ssh configuration; False keeps Fabric from looking by itself."""
    command = target.options.get("proxycommand") or ssh_config.lookup(target.address).get("proxycommand")
    if not isinstance(command, str) or command.lower() == "none":
        return False
    return command.replace("%h", target.address).replace("%p", str(target.port or 22)).replace("%r", target.user or "")


def _credentials(target: Target) -> dict[str, Any]:
    """What Paramiko may offer: the named key, else the configured or usual ones; the agent; the password."""
    options: dict[str, Any] = {
        "look_for_keys": False,
        "banner_timeout": max(target.timeout, 1),
        "auth_timeout": max(target.timeout, 1),
        "password": target.password,
        "allow_agent": "SSH_AUTH_SOCK" in os.environ,
    }
    files = [target.private_key] if target.private_key else _configured_keys(target.address)
    keys = [key for key in (load_key(os.path.expanduser(name)) for name in files) if key is not None]
    if len(keys) == 1:
        options["pkey"] = keys[0]
    elif keys:
        options["key_filename"] = [os.path.expanduser(name) for name in files]
    elif target.private_key:
        raise AuthenticationFailed(
            f"{target.name}: the private key {target.private_key} cannot be used",
            hint="check its path, that it is readable, and that a key with a passphrase is loaded into an ssh agent",
        )
    return options


def _configured_keys(address: str) -> list[str]:
    configured = ssh_config.lookup(address).get("identityfile")
    names = [configured] if isinstance(configured, str) else list(configured or ())
    names = names or [f"~/.ssh/{name}" for name in DEFAULT_KEYS]
    return [name for name in names if os.path.exists(os.path.expanduser(name))]


@functools.cache
def load_key(path: str) -> paramiko.PKey | None:
    """A private key, read once; None when it cannot be read or has a passphrase (an agent may hold it)."""
    try:
        return paramiko.PKey.from_path(path)
    except (OSError, ValueError, TypeError, paramiko.SSHException):
        return None


def _known_files(target: Target) -> list[known_hosts.KnownHosts]:
    return [known_hosts.load(path) for path in ssh_config.known_hosts_files(target)]


def _expect_host_key(connection: fabric.Connection, target: Target) -> None:
    """Tell Paramiko this host's accepted keys, and what to do with another."""
    files = _known_files(target)
    name = known_hosts.entry_name(connection.host, connection.port)
    known_as = known_hosts.entry_name(connection.host, target.key_port or connection.port)
    expected = connection.client.get_host_keys()
    revoked = set().union(*(file.revoked for file in files))
    if ssh_config.host_key_checking(target) != "no":
        for kind, key in (entry for file in files for entry in file.lookup(known_as) if entry[1] not in revoked):
            try:
                expected.add(name, kind, paramiko.PKey.from_type_string(kind, key))
            except (paramiko.SSHException, ValueError):
                continue
    connection.client.set_missing_host_key_policy(UnknownKeyPolicy(target, files))


class UnknownKeyPolicy(paramiko.MissingHostKeyPolicy):
    """Refuse, accept and remember, or let pass, as the target asks."""

    def __init__(self, target: Target, files: list[known_hosts.KnownHosts]) -> None:
        self._target = target
        self._files = files

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raw = key.asbytes()
        if any(raw in file.revoked for file in self._files):
            raise HostKeyError(f"the host key of {hostname} is marked as revoked: {known_hosts.fingerprint(raw)}")
        checking = ssh_config.host_key_checking(self._target)
        if checking == "no":
            return
        file = self._files[0]
        if checking == "accept-new":
            file.add(hostname, key.get_name(), raw)
            return
        raise known_hosts.unknown_key(hostname, key.get_name(), raw, Path(file.path))
