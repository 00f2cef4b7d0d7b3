"""What the host offers to the network: who listens, with default credentials, and what Docker opens."""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, List, Tuple

from opsplay.modules.hardening._audit import OK, Answer, Check, Look, Skip, Unknown, lines_of, none_of

LOOPBACK = ("127.", "[::1]", "::1", "[::ffff:127.")
# Protocols that show passwords to whoever listens.
PLAIN = {21: "ftp", 23: "telnet", 69: "tftp", 79: "finger", 512: "rexec", 513: "rlogin", 514: "rsh"}
DATABASES = {1433: "SQL Server", 3306: "MySQL", 5432: "PostgreSQL", 6379: "Redis", 9200: "Elasticsearch",
             11211: "memcached", 27017: "MongoDB", 2375: "Docker without TLS", 2379: "etcd", 9092: "Kafka"}  # fmt: skip
SECONDS = 3
MOST_ANSWER = 1 << 14


class Socket:
    __slots__ = ("proto", "address", "port", "program")

    def __init__(self, proto: str, address: str, port: int, program: str) -> None:
        self.proto = proto
        self.address = address
        self.port = port
        self.program = program

    @property
    def is_open(self) -> bool:
        """Whether others than this host can reach it."""
        return not self.address.startswith(LOOPBACK)

    def __str__(self) -> str:
        by = " (%s)" % self.program if self.program else ""
        return "%d/%s at %s%s" % (self.port, self.proto, self.address, by)


def sockets(look: Look) -> List[Socket]:
    """All sockets of TCP and UDP that take what comes. The programs' names are only for root to see."""
    return parsed(look.said("ss", "-H", "-l", "-n", "-t", "-u", "-p"))


def parsed(text: str) -> List[Socket]:
    """ss(8): netid, state, two queues, own address, the other side's, the program."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 6 or words[0] not in ("tcp", "udp"):
            continue
        address, _, port = words[4].rpartition(":")
        program = line.partition('(("')[2].partition('"')[0]
        if port.isdigit():
            found.append(Socket(words[0], address.partition("%")[0], int(port), program))
    return found


def open_sockets(look: Look) -> List[Socket]:
    return [socket for socket in look.once("sockets", lambda: sockets(look)) if socket.is_open]


def unexpected(look: Look) -> Answer:
    allowed = set(look.params.listeners)
    bad = [str(one) for one in open_sockets(look) if not {"%d/%s" % (one.port, one.proto), str(one.port)} & allowed]
    return none_of(sorted(set(bad)), "only %s" % (", ".join(sorted(allowed)) or "nothing"))


def plain(look: Look) -> Answer:
    found = [one for one in open_sockets(look) if one.port in PLAIN]
    bad = [str(one) for one in found if one.proto == ("udp" if one.port == 69 else "tcp")]
    return none_of(bad, "none")


def databases(look: Look) -> Answer:
    found = [one for one in open_sockets(look) if one.port in DATABASES and one.proto == "tcp"]
    bad = ["%s: %s" % (DATABASES[one.port], one) for one in found]
    return none_of(bad, "none can be reached by others")


# --- default credentials: only ever tried at the loopback ---


def places(look: Look, port: int) -> Tuple[bool, bool]:
    """Whether the loopback answers at a port, and whether others can reach it."""
    found = [one for one in look.once("sockets", lambda: sockets(look)) if one.port == port and one.proto == "tcp"]
    if not found:
        raise Skip("nothing listens at port %d" % port)
    everywhere = ("0.0.0.0", "*", "[::]")
    local = any(one.address in everywhere or one.address.startswith(LOOPBACK) for one in found)
    return local, any(one.is_open for one in found)


def redis(look: Look) -> Answer:
    local, is_open = places(look, 6379)
    if not local:
        raise Unknown("it does not listen at the loopback, and elsewhere it is not tried")
    answer = talk(6379, b"PING\r\nQUIT\r\n")
    if not answer.startswith(b"+PONG"):
        return Answer(OK, "Redis asks for a password")
    # In protected mode, Redis turns away clients of other hosts for as long as it has no password.
    guarded = b"yes" in talk(6379, b"CONFIG GET protected-mode\r\nQUIT\r\n")
    bad = ["Redis obeys without a password"] if is_open and not guarded else []
    return none_of(bad, "no password, but only for this host")


def talk(port: int, said: bytes) -> bytes:
    """What the loopback's port answers until it hangs up: an answer may come in several pieces."""
    import socket
    import time

    answer = b""
    latest = time.monotonic() + SECONDS
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
            connection.sendall(said)
            while len(answer) < MOST_ANSWER and time.monotonic() < latest:
                piece = connection.recv(4096)
                if not piece:
                    break
                answer += piece
    except OSError as problem:
        raise Unknown("port %d: %s" % (port, problem))
    return answer


def grafana(look: Look) -> Answer:
    local, _ = places(look, 3000)
    if not local:
        raise Unknown("it does not listen at the loopback, and elsewhere it is not tried")
    from binascii import b2a_base64

    if b'"database"' not in talk(3000, b"GET /api/health HTTP/1.0\r\nHost: localhost\r\n\r\n"):
        raise Skip("what listens at port 3000 is not Grafana")
    login = b2a_base64(b"admin:admin", newline=False)
    said = talk(3000, b"GET /api/user HTTP/1.0\r\nHost: localhost\r\nAuthorization: Basic " + login + b"\r\n\r\n")
    bad = ["Grafana lets admin in with the password admin"] if b" 200 " in said[:20] else []
    return none_of(bad, "not the default")


def postgres(look: Look) -> Answer:
    """Lines of pg_hba.conf that let somebody in without any proof."""
    files = [path for version in look.names("/etc/postgresql") for cluster in look.names(version)
             for path in look.names(cluster) if path.endswith("/pg_hba.conf")]  # fmt: skip
    if not files:
        raise Skip("there is no PostgreSQL of Debian's")
    bad = []
    for path in files:
        for number, line in enumerate((look.text(path) or "").splitlines(), 1):
            words = next(lines_of(line), "").partition("#")[0].split()
            if "trust" in words[3:] and (len(words) < 5 or words[-1] == "trust" or words[4] == "trust"):
                bad.append("%s:%d: %s" % (path, number, " ".join(words)))
    return none_of(bad, "every connection has to prove who it is")


# --- Docker ---

SOCKET = "/var/run/docker.sock"


def docker_socket(look: Look) -> Answer:
    """Whoever writes to it is root."""
    try:
        found = os.stat(SOCKET)
    except FileNotFoundError:
        raise Skip("there is no Docker")
    mode = stat.S_IMODE(found.st_mode)
    bad = ["%s: mode %04o, owner %d" % (SOCKET, mode, found.st_uid)] if mode & 0o007 or found.st_uid != 0 else []
    return none_of(bad, "mode %04o" % mode)


def containers(look: Look) -> List[Dict[str, Any]]:
    """What Docker says of every container that runs."""
    import json

    if look.host.which("docker") is None or not os.path.exists(SOCKET):
        raise Skip("there is no Docker")
    ids = look.said("docker", "ps", "--quiet", "--no-trunc").split()
    found: List[Dict[str, Any]] = json.loads(look.said("docker", "inspect", *ids)) if ids else []
    return found


def privileged(look: Look) -> Answer:
    """Containers that are as good as root on the host."""
    bad = []
    for one in look.once("containers", lambda: containers(look)):
        settings = one.get("HostConfig") or {}
        if settings.get("Privileged"):
            bad.append("%s: privileged" % one.get("Name", "").lstrip("/"))
        if any(bind.split(":")[0] in (SOCKET, "/run/docker.sock", "/") for bind in settings.get("Binds") or ()):
            bad.append("%s: has Docker's socket or the host's root folder" % one.get("Name", "").lstrip("/"))
    return none_of(bad, "none")


def published(look: Look) -> Answer:
    """Ports that Docker opens to everybody, past the firewall's own rules."""
    allowed, bad = set(look.params.listeners), []
    for one in look.once("containers", lambda: containers(look)):
        ports = (one.get("NetworkSettings") or {}).get("Ports") or {}
        for inside, places in ports.items():
            for place in places or ():
                port, address = "%s/%s" % (place.get("HostPort"), inside.partition("/")[2]), place.get("HostIp")
                if address in ("", "0.0.0.0", "::") and port not in allowed:
                    bad.append("%s: %s at %s" % (one.get("Name", "").lstrip("/"), port, address or "0.0.0.0"))
    return none_of(sorted(set(bad)), "none")


LISTENING = (
    Check("listening.unexpected", "medium", "Only what is expected can be reached", "listeners",
          "end it, bind it to 127.0.0.1, or name it in listeners", unexpected),
    Check("listening.plain", "high", "Nothing takes passwords in clear text", "no telnet, ftp, rsh",
          "apt: {name: PACKAGE, state: absent}", plain),
    Check("listening.databases", "high", "No database can be reached by others", "at the loopback only",
          "bind it to 127.0.0.1", databases),
)  # fmt: skip
CREDENTIALS = (
    Check("credentials.redis", "critical", "Redis wants a password", "requirepass, or only the loopback",
          "set requirepass", redis),
    Check("credentials.postgres", "high", "PostgreSQL trusts nobody by their word", "no trust in pg_hba.conf",
          "scram-sha-256 or peer in place of trust", postgres),
    Check("credentials.grafana", "critical", "Grafana's password is not the default", "not admin/admin",
          "grafana-cli admin reset-admin-password", grafana),
)  # fmt: skip
DOCKER = (
    Check("docker.socket", "critical", "Docker's socket is for root and its group", "mode 0660, root's",
          "file: {path: /var/run/docker.sock, mode: '0660'}", docker_socket),
    Check("docker.privileged", "high", "No container is as good as root", "none",
          "without privileged, without the socket", privileged),
    Check("docker.published", "medium", "No port of a container passes by the firewall", "127.0.0.1, or in listeners",
          "publish as 127.0.0.1:PORT:PORT", published),
)  # fmt: skip
