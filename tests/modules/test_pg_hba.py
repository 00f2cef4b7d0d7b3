"""pg_hba on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.postgres import _hba
from tests.lab.remote_module import Call
from tests.modules.cases import Case, one, previews, prove
from tests.modules.pg import calls, refusals, sql

MODULE = "postgres.pg_hba"
APP: dict[str, Any] = {
    "databases": "shop",
    "users": ["app", "+staff"],
    "address": "10.0.0.0/8",
    "method": "scram-sha-256",
}
PEER = {"type": "local", "users": "postgres", "method": "peer"}


def path(host: LabHost) -> str:
    return sql(host, "SHOW hba_file")


@pytest.fixture(scope="module")
def server(pg: LabHost) -> Iterator[LabHost]:
    yield from kept(pg)


@pytest.fixture(scope="module")
def one_server(pg15: LabHost) -> Iterator[LabHost]:
    yield from kept(pg15)


def kept(host: LabHost) -> Iterator[LabHost]:
    file = path(host)
    host.run(f"cp -a {file} /root/hba; stat -c '%a %U:%G' {file} >/root/hba-mode")
    yield host
    assert host.run(f"stat -c '%a %U:%G' {file} | diff - /root/hba-mode; cp -a /root/hba {file}").stdout == ""
    sql(host, "SELECT pg_reload_conf()")


def rules(host: LabHost) -> str:
    look = "SELECT type, array_to_string(database, ','), array_to_string(user_name, ','), address, auth_method FROM pg_hba_file_rules ORDER BY line_number"
    return sql(host, look)


def test_a_block_in_its_order(server: LabHost) -> None:
    count = len(rules(server).split("\n"))
    look = f"cat {path(server)}"
    two = [APP, {"type": "hostssl", "databases": "replication", "users": "rep", "address": "10.1.2.3/32", "method": "cert",
                 "options": {"map": "a b", "clientcert": "verify-full"}, "comment": "the standby"}]  # fmt: skip
    prove(server, MODULE, Case("two rules", {"rules": two}, look=look))
    found = rules(server).split("\n")
    assert len(found) == count + 2
    assert found[:2] == ["host|shop|app,+staff|10.0.0.0|scram-sha-256", "hostssl|replication|rep|10.1.2.3|cert"]
    assert calls(server, MODULE, [{"rules": two[::-1]}])[0]["changed"]
    assert rules(server).split("\n")[:2] == found[1::-1]
    last = {"rules": [{"address": "all", "method": "reject"}], "name": "end", "place": "last"}
    assert calls(server, MODULE, [last])[0]["changed"]
    assert rules(server).split("\n")[-1].endswith("reject")
    gone, end_gone = calls(server, MODULE, [{"rules": []}, {"rules": [], "name": "end"}])
    assert gone["changed"] and end_gone["changed"]
    assert server.run(f"diff {path(server)} /root/hba", check=False).stdout == ""


def test_a_line_that_the_server_refuses_never_gets_there(one_server: LabHost) -> None:
    before = one_server.run(f"stat -c '%i %y' {path(one_server)}").stdout
    refusals(one_server, MODULE, [
        ({"rules": [{**APP, "method": "scram"}]}, 'shop app,+staff 10.0.0.0/8 scram): invalid authentication method "scram"'),
        ({"rules": [{**APP, "address": "10.0.0.0/99"}]}, "invalid CIDR mask in address"),
        ({"rules": [{**APP, "options": {"x": 1}}]}, 'unrecognized authentication option name: "x"'),
        ({"rules": [{**APP, "metod": "md5"}]}, "rules: number 1: a rule has no metod"),
        ({"rules": [{**APP, "type": "local"}]}, "a rule of type local has no address"),
        ({"rules": [{"method": "md5"}]}, "a rule of type host has an address"),
        ({"rules": [], "exclusive": True}, "a file without rules lets nobody in"),
    ])  # fmt: skip
    assert one_server.run(f"stat -c '%i %y' {path(one_server)}").stdout == before


def test_the_connection_that_it_came_by_stays(server: LabHost) -> None:
    """Rules that would shut the module out are taken back, and the server goes on with the old ones."""
    before = server.run(f"cat {path(server)}").stdout
    shut: list[dict[str, Any]] = [
        {"rules": [{"type": "local", "method": "reject"}]},
        {"rules": [APP], "exclusive": True},
    ]
    for params in shut:
        result = one(server, Call(MODULE, params))
        assert "opsplay itself could not connect any more" in result["msg"], result
        assert "the old file is back and in force" in result["msg"]
        assert server.run(f"cat {path(server)}").stdout == before
        assert sql(server, "SELECT 1") == "1"


def test_the_whole_file(one_server: LabHost) -> None:
    prove(one_server, MODULE, Case("whole", {"rules": [PEER, APP], "exclusive": True}, look=f"cat {path(one_server)}"))
    assert rules(one_server).split("\n") == ["local|all|postgres||peer", "host|shop|app,+staff|10.0.0.0|scram-sha-256"]


def test_a_preview_of_a_blank_host(bookworm: LabHost) -> None:
    _, preview = previews(
        bookworm, [("packages.apt", {"name": "postgresql", "update_cache": True}), (MODULE, {"rules": [APP]})]
    )
    assert preview["changed"], preview


def test_nothing_of_the_trial_stays(one_server: LabHost) -> None:
    assert one_server.run(["find", "/", "-xdev", "-name", ".opsplay-*"]).stdout == ""
    assert [argv for _, argv in one_server.processes() if ".opsplay-" in " ".join(argv)] == []


LINES = [
    (PEER, "local all postgres peer"),
    ({**APP, "users": "all", "databases": ["a b", 'q"x']}, 'host "a b","q""x" all 10.0.0.0/8 scram-sha-256'),
    ({"users": '"all"', "address": "samenet", "method": "ldap", "options": {"ldaptls": True}}, 'host all "all" samenet ldap ldaptls=1'),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "line"), LINES)
def test_a_rule_as_its_line(rule: dict[str, Any], line: str) -> None:
    assert _hba.line(rule) == line
