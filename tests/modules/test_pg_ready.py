"""pg_ready, and with it how every module of PostgreSQL finds a server and speaks to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call, run_calls
from tests.modules import RELEASES
from tests.modules.cases import Case, one, previews, prove

MODULE = "postgres.pg_ready"
SECRET = "o'dd:pass\\word"


@pytest.fixture(scope="module", params=RELEASES)
def server(full: Callable[[str], LabHost], request: pytest.FixtureRequest) -> Iterator[LabHost]:
    """A host of each release with its PostgreSQL: 13, 15 and 17."""
    host: LabHost = full(request.param)
    host.run("systemctl start postgresql@*; pg_lsclusters -h", timeout=60)
    sql(host, "CREATE ROLE app LOGIN PASSWORD 'o''dd:pass\\word'")
    yield host
    sql(host, "DROP ROLE app")


def sql(host: LabHost, text: str, database: str = "postgres") -> str:
    argv = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", database]
    return host.run(argv, stdin=text).stdout.strip()


CASES = [
    Case("on its socket", {}, changed=False, result={"in_recovery": False}),
    Case("over tcp with a password", {"login_host": "127.0.0.1", "login_user": "app", "login_password": SECRET},
         changed=False, result={"in_recovery": False}),
    Case("a server that takes writes", {"writable": True}, changed=False),
    Case("a wrong password", {"login_host": "127.0.0.1", "login_user": "app", "login_password": "no", "timeout": 0},
         fails='password authentication failed for user "app"'),
    Case("no password", {"login_host": "127.0.0.1", "login_user": "app", "timeout": 0}, fails="no password supplied"),
    Case("nobody there", {"login_host": "127.0.0.1", "login_port": 5999, "timeout": 1}, fails="Connection refused"),
    Case("no such database", {"db": "none", "timeout": 0}, fails='database "none" does not exist'),
    Case("no such cluster", {"cluster": "9.1/main"}, fails="there is no PostgreSQL cluster 9.1/main; there is 1"),
    Case("no data directory", {"cluster": "/srv"}, fails="/srv is not a data directory of PostgreSQL"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ready(case: Case, server: LabHost) -> None:
    result = prove(server, MODULE, case)
    assert SECRET not in str(result)


def test_a_stopped_server_is_waited_for(server: LabHost) -> None:
    server.run("systemctl stop 'postgresql@*'")
    server.run("systemd-run --on-active=2 --timer-property=AccuracySec=100ms systemctl restart postgresql")
    result = one(server, Call(MODULE, {"timeout": 40}))
    assert not result.get("failed") and result["waited"] > 1, result
    assert result["version"].startswith("PostgreSQL ")


def test_no_process_and_no_password_stays(server: LabHost) -> None:
    params = {"login_host": "127.0.0.1", "login_user": "app", "login_password": SECRET}
    server.run("touch /run/mark")
    run_calls(server, [Call(MODULE, params)])
    left = server.run("find /run /tmp -newer /run/mark -name '.opsplay-*'; pgrep -a psql || true").stdout
    assert left == ""


def test_a_second_cluster_must_be_named(full: Callable[[str], LabHost]) -> None:
    host = full("bookworm")
    host.run("pg_createcluster 15 side --start -p 5555 >/dev/null", timeout=60)
    try:
        assert one(host, Call(MODULE, {}))["in_recovery"] is False, "5432 is the one that psql would take"
        assert one(host, Call(MODULE, {"cluster": "15/side"}))["in_recovery"] is False
        assert one(host, Call(MODULE, {"cluster": "/var/lib/postgresql/15/side"}))["in_recovery"] is False
        host.run(
            "pg_ctlcluster 15 main stop; pg_dropcluster 15 side --stop; pg_createcluster 15 side -p 5555 >/dev/null"
        )
        host.run("sed -i 's/^port = 5432/port = 5433/' /etc/postgresql/15/main/postgresql.conf")
        result = one(host, Call(MODULE, {}))
        assert "several PostgreSQL clusters: 15/main (port 5433), 15/side (port 5555); name one" in result["msg"]
    finally:
        host.run("sed -i 's/^port = 5433/port = 5432/' /etc/postgresql/15/main/postgresql.conf")
        host.run("pg_dropcluster 15 side --stop; pg_ctlcluster 15 main start", check=False, timeout=60)


def test_a_host_without_postgresql(bookworm: LabHost) -> None:
    result = one(bookworm, Call(MODULE, {}))
    assert "there is no psql in this host; install PostgreSQL's programs" in result["msg"]
    installed = ("packages.apt", {"name": ["postgresql"], "update_cache": True})
    backup = ("postgres.pg_backup", {"db": "app", "dir": "/srv/backups"})
    verify = ("postgres.pg_verify", {"path": "/srv/backups/app"})
    for preview in previews(bookworm, [installed, (MODULE, {}), backup, verify]):
        assert not preview.get("failed"), preview
