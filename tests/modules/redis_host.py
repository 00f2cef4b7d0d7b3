"""A lab host's Redis as it was installed, and asking it past the module."""

from __future__ import annotations

from collections.abc import Iterator

from opsplay.lab import LabHost

# With a blank: Redis 6 writes it down without the quotes that it then asks for.
PASSWORD = "s3cret word"


def fresh(host: LabHost) -> Iterator[LabHost]:
    host.run("[ -e /root/redis.conf ] || cp -a /etc/redis/redis.conf /root/redis.conf; rm -rf /srv/backups")
    clear = "systemctl stop redis-server; rm -rf /var/lib/redis/*; cp -a /root/redis.conf /etc/redis/redis.conf; systemctl reset-failed redis-server; systemctl start redis-server"
    host.run(clear, timeout=60)
    until_up(host)
    yield host
    host.run(clear + "; rm -rf /srv/backups", timeout=60)


def until_up(host: LabHost) -> None:
    host.run("until redis-cli ping 2>&1 | grep -qE 'PONG|NOAUTH'; do sleep 0.1; done", timeout=30)


def cli(host: LabHost, *words: str, password: str = "") -> str:
    argv = ["redis-cli", *(["--no-auth-warning", "-a", password] if password else []), *words]
    return host.run(argv).stdout.strip()
