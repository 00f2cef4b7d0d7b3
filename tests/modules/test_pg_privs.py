"""pg_privs on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.modules.cases import Case, previews, prove
from tests.modules.pg import refusals, sql

MODULE = "postgres.pg_privs"


@pytest.fixture(scope="module")
def server(pg: LabHost) -> Iterator[LabHost]:
    sql(pg, "DROP DATABASE IF EXISTS rights WITH (FORCE)")
    sql(pg, "DROP ROLE IF EXISTS reader; CREATE ROLE reader")
    sql(pg, "CREATE DATABASE rights")
    sql(
        pg,
        'CREATE TABLE a (x serial); CREATE TABLE "B b" (x int); CREATE SCHEMA inner_s; CREATE VIEW v AS SELECT 1',
        "rights",
    )
    yield pg
    sql(pg, "DROP DATABASE rights WITH (FORCE)")
    sql(pg, "DROP ROLE reader")


def has(what: str, kind: str = "table") -> str:
    return f"runuser -u postgres -- psql -XAtq rights -c \"SELECT has_{kind}_privilege('reader', {what})\";"


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"objs": "a,B b", "privs": "SELECT,INSERT"}, has("'a', 'SELECT'") + has("'\\\"B b\\\"', 'INSERT'") + has("'a', 'DELETE'"), "t\nt\nf"),
    ({"objs": "ALL_IN_SCHEMA", "privs": "all"}, has("'v', 'SELECT'") + has("'a', 'TRUNCATE'"), "t\nt"),
    ({"objs": "a", "privs": "ALL", "state": "absent"}, has("'a', 'SELECT'") + has("'v', 'SELECT'"), "f\nt"),
    ({"objs": "a_x_seq", "privs": "USAGE", "type": "sequence"}, has("'a_x_seq', 'USAGE'", "sequence"), "t"),
    ({"objs": "inner_s", "privs": "USAGE", "type": "schema"}, has("'inner_s', 'USAGE'", "schema"), "t"),
    ({"privs": "CONNECT,TEMP", "type": "database", "roles": "PUBLIC", "state": "absent"}, has("'rights', 'CONNECT'", "database"), "f"),
    ({"privs": "CONNECT", "type": "database"}, has("'rights', 'CONNECT'", "database") + has("'rights', 'TEMP'", "database"), "t\nf"),
]  # fmt: skip


def test_rights(server: LabHost) -> None:
    for params, look, after in CASES:
        prove(server, MODULE, Case(str(params), {"db": "rights", "roles": "reader", **params}, look=look, after=after))


def test_tables_to_come(server: LabHost) -> None:
    params = {
        "db": "rights",
        "roles": "reader",
        "objs": "ALL_IN_SCHEMA",
        "schema": "inner_s",
        "privs": "SELECT",
        "default": True,
    }
    prove(server, MODULE, Case("to come", params, look="true"))
    sql(server, "CREATE TABLE inner_s.later (x int)", "rights")
    assert server.run(has("'inner_s.later', 'SELECT'")).stdout == "t\n"


def test_refused(pg15: LabHost, server: LabHost) -> None:
    base = {"db": "rights", "roles": "reader", "objs": "a", "privs": "SELECT"}
    refusals(server, MODULE, [
        ({**base, "privs": "CONNECT"}, "a table has no right CONNECT; it has SELECT, INSERT"),
        ({**base, "objs": "none"}, "database rights has no table none in schema public"),
        ({**base, "roles": "nobody"}, "there is no role nobody; make it with pg_user first"),
        ({"db": "rights", "roles": "reader", "privs": "SELECT"}, "objs: name the tables, or ALL_IN_SCHEMA"),
    ])  # fmt: skip


def test_a_preview_goes_on(server: LabHost) -> None:
    tasks = [
        ("postgres.pg_user", {"name": "new"}),
        (MODULE, {"db": "rights", "roles": "new", "objs": "a", "privs": "SELECT"}),
    ]
    assert all(result["changed"] and not result.get("failed") for result in previews(server, tasks))
