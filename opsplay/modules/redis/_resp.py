"""Redis' protocol (RESP2) over a socket: an error reply is an error, and a password is on no command line."""

from __future__ import annotations

import time
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Int, Name, Str

CONNECTION = {
    "login_host": Str(default="127.0.0.1", help="Where the server is, or the path of its socket"),
    "login_port": Int(default=6379, min=1, max=65535, aliases=["port"], help="Its port"),
    "login_user": Name(help="The user of its access list; without it the default user"),
    "login_password": Str(secret=True, help="The password; it is on no command line"),
}
# Seconds that a connection, and an answer, may take.
PATIENCE = 10.0
ANSWER_MOST = 64 << 20
# A server that says one of these will say it again.
REFUSED = ("NOAUTH", "WRONGPASS", "invalid password", "NOPERM", "without any password")


class RedisError(Exception):
    """The server refused a command, or could not be reached: `str()` is why."""


class Client:
    """One connection: `with Client(params) as redis: redis.call("PING")`. Raises RedisError."""

    def __init__(self, params: Any, password: Any = None, seconds: float = PATIENCE) -> None:
        self.address = params.login_host
        self.port = params.login_port
        self.user = params.login_user or ""
        self.password = params.login_password if password is None else password
        self.seconds = seconds
        self._socket: Any = None
        self._data = b""

    def __enter__(self) -> "Client":
        import socket

        try:
            if self.address.startswith("/"):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(self.seconds)
                self._socket.connect(self.address)
            else:
                self._socket = socket.create_connection((self.address, self.port), self.seconds)
        except OSError as problem:
            self.__exit__()
            reason = problem.strerror or problem
            raise RedisError("cannot connect to Redis at %s: %s" % (self.where(), reason)) from None
        try:
            if self.password:
                self.call("AUTH", *([self.user] if self.user else []), self.password)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def where(self) -> str:
        return self.address if self.address.startswith("/") else "%s:%d" % (self.address, self.port)

    def call(self, *words: Any) -> Any:
        """Say a command; its answer as text, number, list or None."""
        parts = [str(word).encode("utf-8", "surrogateescape") for word in words]
        message = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        try:
            self._socket.sendall(message)
            return self._answer()
        except OSError as problem:
            reason = problem.strerror or problem
            raise RedisError("Redis at %s does not answer %s: %s" % (self.where(), words[0], reason)) from None

    def info(self, *sections: str) -> Dict[str, str]:
        """The lines of INFO by name."""
        found = {}
        for section in sections or ("default",):
            for line in self.call("INFO", section).split("\r\n"):
                name, colon, value = line.partition(":")
                if colon:
                    found[name] = value
        return found

    def config(self, *names: str) -> Dict[str, str]:
        """Settings by name; those that this version does not know are left out."""
        found: Dict[str, str] = {}
        for name in names:
            pair = self.call("CONFIG", "GET", name)
            found.update(zip(pair[::2], pair[1::2]))  # noqa: B905
        return found

    def _answer(self) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return text(rest)
        if kind == b"-":
            raise RedisError("Redis at %s: %s" % (self.where(), text(rest)))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else text(self._exactly(size + 2)[:-2])
        if kind == b"*":
            return self._list(int(rest))
        raise RedisError("what answers at %s is no Redis: it said %r" % (self.where(), line[:60]))

    def _list(self, count: int) -> Any:
        found: List[Any] = []
        for _ in range(count):
            found.append(self._answer())
        return None if count < 0 else found

    def _line(self) -> bytes:
        while b"\r\n" not in self._data:
            self._receive()
        line, _, self._data = self._data.partition(b"\r\n")
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            self._receive()
        found, self._data = self._data[:size], self._data[size:]
        return found

    def _receive(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data or len(self._data) > ANSWER_MOST:
            raise RedisError("Redis at %s has closed the connection" % self.where())
        self._data += data


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def await_ready(host: Host, params: Any, seconds: float, password: Any = None) -> str:
    """Wait until the server answers and has loaded its data; empty then, else what it said last.

    A wrong or missing password is no reason to wait.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with Client(params, password) as redis:
                redis.call("PING")
                if redis.info("persistence").get("loading") == "0":
                    return ""
                problem = "Redis at %s is still loading its data" % redis.where()
        except RedisError as error:
            problem = str(error)
            if any(word in problem for word in REFUSED):
                return problem
        if time.monotonic() > deadline:
            return problem
        host.progress("waiting for Redis: %s" % problem)
        time.sleep(0.2)


def keys_of(info: Dict[str, str]) -> Dict[str, int]:
    """The number of keys of each database, from INFO keyspace: db0:keys=3,expires=0,avg_ttl=0."""
    found = {}
    for name, value in info.items():
        fields = dict(part.partition("=")[::2] for part in value.split(","))
        if name.startswith("db") and fields.get("keys", "").isdigit():
            found[name] = int(fields["keys"])
    return found
