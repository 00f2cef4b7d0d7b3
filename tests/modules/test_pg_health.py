"""pg_maintenance and pg_check: dead rows go, and real damage is named exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.postgres import pg_maintenance
from tests.lab.remote_module import Call
from tests.modules.cases import one
from tests.modules.harness import StubAgent
from tests.modules.pg import calls, refusals, sql

CARE, CHECK = "postgres.pg_maintenance", "postgres.pg_check"
DB = {"db": "health"}


@pytest.fixture(scope="module")
def server(pg: LabHost) -> Iterator[LabHost]:
    sql(pg, "DROP DATABASE IF EXISTS health WITH (FORCE)")
    sql(pg, "CREATE DATABASE health")
    sql(pg, 'CREATE SCHEMA "in ner"; CREATE TABLE "in ner"."T" (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = off);'
            "CREATE TABLE quiet (id int PRIMARY KEY) WITH (autovacuum_enabled = off);"
            """INSERT INTO quiet SELECT generate_series(1, 100); INSERT INTO "in ner"."T" """
            "SELECT n, CASE WHEN n = 7 THEN (SELECT string_agg(md5(x::text), '') FROM generate_series(1, 900) x) ELSE 'short' END FROM generate_series(1, 6000) n", "health")  # fmt: skip
    sql(pg, "ANALYZE", "health")
    yield pg
    sql(pg, "DROP DATABASE health WITH (FORCE)")


def dead(host: LabHost) -> int:
    return int(sql(host, "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'T'", "health"))


def test_only_where_it_is_needed(server: LabHost) -> None:
    sql(server, """UPDATE "in ner"."T" SET v = 'x' WHERE id > 3000; SELECT pg_sleep(1)""", "health")
    assert dead(server) == 3000
    few, preview = calls(server, CARE, [{**DB, "min_dead_tuples": 5000}, DB], check=True)
    assert few["tables"] == [] and not few["changed"]
    assert preview["tables"] == ["in ner.T"] and preview["changed"] and dead(server) == 3000
    real = one(server, Call(CARE, {**DB, "jobs": 2}))
    assert real["tables"] == ["in ner.T"] and preview["diff"] == real["diff"]
    sql(server, "SELECT pg_sleep(1)")
    assert (
        dead(server) == 0
        and sql(
            server,
            "SELECT last_vacuum IS NOT NULL AND last_analyze IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'T'",
            "health",
        )
        == "t"
    )
    assert not one(server, Call(CARE, DB))["changed"]


def test_reindex(server: LabHost) -> None:
    look = "SELECT string_agg(relfilenode::text, ',' ORDER BY relname) FROM pg_class WHERE relname IN ('T_pkey', 'quiet_pkey')"
    before = sql(server, look, "health").split(",")
    result = one(server, Call(CARE, {**DB, "op": "reindex", "tables": "quiet"}))
    after = sql(server, look, "health").split(",")
    assert (
        result["tables"] == ["public.quiet"] and [a == b for a, b in zip(before, after, strict=True)].count(True) == 1
    )


def test_window_lock_and_refusals(pg15: LabHost, server: LabHost) -> None:
    now = server.run("date +%H:%M").stdout.strip()
    [closed, opened] = calls(server, CARE, [{**DB, "window": f"{now}-{now}"}, {**DB, "window": "00:00-24:00"}])
    assert closed["in_window"] is False and not closed["changed"] and opened["in_window"] is True
    refusals(server, CARE, [({**DB, "window": "at night"}, "is not a time such as"),
                            ({**DB, "tables": "none"}, "database health has no table none")])  # fmt: skip
    version = sql(server, "SHOW server_version_num")[:2]
    lock = f"/run/opsplay-0-pg-{version}-main-health.lock"
    hold = f"import fcntl, time; f = open('{lock}', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(60)"
    server.run(["systemd-run", "--collect", "--quiet", "--unit=holder", "python3", "-c", hold])
    server.run(f"until grep -q . {lock} || [ -e {lock} ]; do sleep 0.1; done; sleep 0.5", timeout=20)
    locked = one(server, Call(CARE, DB))
    server.run(f"systemctl stop holder; rm -f {lock}")
    assert "-main-health is locked by process" in locked["msg"]


@pytest.mark.parametrize(("window", "now", "inside"), [
    ("01:00-05:00", "01:00", True), ("1:00-5:00", "05:00", False), ("22:00-02:00", "23:59", True),
    ("22:00-02:00", "01:59", True), ("22:00-02:00", "12:00", False), ("00:00-24:00", "23:59", True)])  # fmt: skip
def test_windows(window: str, now: str, inside: bool) -> None:
    assert pg_maintenance.is_within(StubAgent(), window, now) is inside  # type: ignore[arg-type]


def test_nothing_is_found_where_nothing_is_wrong(server: LabHost) -> None:
    """Each relation of each schema is looked at, and amcheck is not left behind."""
    result = one(server, Call(CHECK, DB))
    assert result["damage"] == [] and not result["changed"] and result["checked"] > 150
    assert sql(server, "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'", "health") == "0"


def spoil(host: LabHost, relation: str, position: int, data: str, times: int = 1) -> None:
    """Write bytes into a relation's file while the server does not run."""
    path = sql(host, f"SELECT current_setting('data_directory') || '/' || pg_relation_filepath('{relation}')", "health")
    unit = host.run('pg_lsclusters -h | awk \'{print "postgresql@"$1"-"$2}\'').stdout.split()[0]
    script = f"import sys; f = open({path!r}, 'r+b'); f.seek({position}); f.write(bytes.fromhex({data!r}) * {times})"
    host.run(["systemctl", "stop", unit])
    host.run(["python3", "-c", script])
    host.run(["systemctl", "start", unit])


def damage(host: LabHost, **params: Any) -> list[tuple[str, str, str]]:
    result = one(host, Call(CHECK, {**DB, "fail_on_damage": False, **params}))
    assert not result.get("failed"), result
    return [(found["kind"], found["relation"], found["problem"]) for found in result["damage"]]


def test_damage_is_named_exactly(server: LabHost) -> None:
    """A page that is no page, an index that lost its order, a page of zeros, a large value that cannot be put together."""
    sql(
        server,
        "CREATE TABLE bad (id int); INSERT INTO bad SELECT generate_series(1, 2000); CREATE INDEX worse ON quiet (id)",
        "health",
    )
    spoil(server, "bad", 8192 + 4, "ff", 16)
    [(kind, relation, problem)] = damage(server)
    assert (kind, relation) == ("table", "public.bad") and "invalid page in block 1" in problem
    failed = one(server, Call(CHECK, {**DB, "tables": "bad"}))
    assert failed["msg"].startswith("database health is damaged: table public.bad: invalid page in block 1")
    assert damage(server, tables="quiet") == []
    sql(server, "DROP TABLE bad", "health")
    spoil(server, "worse", 8192 + 8192 - 16 - 16 * 50 + 8, "ffff0000")
    [(kind, relation, problem)] = damage(server)
    assert (kind, relation) == ("index", "public.worse of public.quiet"), problem
    sql(server, "REINDEX INDEX worse", "health")
    assert damage(server) == []
    spoil(server, "quiet", 0, "00", 8192)
    [(kind, relation, problem)] = damage(server)
    assert (kind, relation) == ("table", "public.quiet") and problem.startswith("block 0 is empty, but index ")
    sql(server, "DROP TABLE quiet", "health")
    toast = sql(server, "SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'T'", "health")
    spoil(server, toast, 0, "00", 16384)
    found = damage(server)
    assert any(relation == "in ner.T" and "for toast value" in problem for _, relation, problem in found), found
    assert {relation for _, relation, _ in found} <= {"in ner.T", f"{toast} of in ner.T"}


def test_who_may(server: LabHost) -> None:
    sql(server, "CREATE ROLE reader LOGIN PASSWORD 'r'")
    try:
        login = {"login_host": "127.0.0.1", "login_user": "reader", "login_password": "r"}
        assert "needs a superuser" in one(server, Call(CHECK, {**DB, **login}))["msg"]
    finally:
        sql(server, "DROP ROLE reader")
