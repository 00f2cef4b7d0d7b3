"""pg_query on real servers, and the reader of SQL behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.lab import LabHost
from opsplay.modules.postgres import _statements
from tests.lab.remote_module import Call
from tests.modules.cases import Case, one, prove
from tests.modules.pg import calls, refusals, sql

MODULE = "postgres.pg_query"
DB = {"db": "q"}


@pytest.fixture(scope="module")
def db(pg: LabHost) -> Iterator[LabHost]:
    yield from with_table(pg)


@pytest.fixture(scope="module")
def db15(pg15: LabHost) -> Iterator[LabHost]:
    yield from with_table(pg15)


def with_table(host: LabHost) -> Iterator[LabHost]:
    sql(host, "DROP DATABASE IF EXISTS q WITH (FORCE)")
    sql(host, "CREATE DATABASE q")
    sql(host, "CREATE TABLE t (id serial PRIMARY KEY, name text UNIQUE, at timestamptz)", "q")
    yield host
    sql(host, "DROP DATABASE IF EXISTS q WITH (FORCE)")


TYPED = (
    "SELECT 1 AS n, 'a\\b'||chr(10)||'é' AS t, NULL AS x, true AS b, 1.5 AS f, ARRAY[1,2] AS l, DATE '2026-11-28' AS d"
)
CASES = [
    Case("typed rows", {"query": TYPED}, changed=False, result={"rows": [
        {"n": 1, "t": "a\\b\né", "x": None, "b": True, "f": 1.5, "l": [1, 2], "d": "2026-11-28"}], "value": 1}),
    Case("values are no SQL", {"query": "SELECT %(a)s || $y$x$y$ AS v", "params": {"a": "'); DROP TABLE t; --"}},
         changed=False, result={"value": "'); DROP TABLE t; --x"}),
    Case("numbered values", {"query": "SELECT 5 -$1 AS a, $2::int[] AS b, $3 IS NULL AS c", "params": [-3, [1, 2], None]},
         changed=False, result={"rows": [{"a": 8, "b": [1, 2], "c": True}]}),
]  # fmt: skip


def test_typed_rows_and_values(db: LabHost) -> None:
    for case in CASES:
        prove(db, MODULE, Case(case.name, {**DB, **case.params}, changed=False, result=case.result))


def test_changes(db: LabHost) -> None:
    """What changes something counts as changed, what finds nothing to do does not."""
    sql(db, "TRUNCATE t", "q")
    put = "INSERT INTO t (name) VALUES ('a') ON CONFLICT (name) DO NOTHING"
    table: list[tuple[str, bool]] = [
        (put, True), (put, False), ("UPDATE t SET at = now() WHERE name = 'none'", False),
        ("WITH old AS (SELECT 1) UPDATE t SET at = now() WHERE name = 'a'", True),
        ("CREATE TABLE IF NOT EXISTS u (v int)", True), ("CREATE TABLE IF NOT EXISTS u (v int)", False),
        ("SHOW server_version_num", False), ("EXPLAIN SELECT * FROM t", False), ("SELECT pg_notify('x', 'y')", False),
        ("SELECT lo_create(0)", True), ("DELETE FROM u; SELECT count(*) FROM u", False),
        ("INSERT INTO u VALUES (1), (2); SELECT count(*) AS n FROM u", True), ("TRUNCATE u", True),
    ]  # fmt: skip
    results = calls(db, MODULE, [{**DB, "query": query} for query, _ in table])
    assert [(query, result["changed"]) for (query, _), result in zip(table, results, strict=True)] == table
    assert results[6]["value"][:2] in ("13", "15", "17")
    assert results[11]["value"] == 2 and results[11]["row_counts"] == [2, 1]
    returned = one(db, Call(MODULE, {**DB, "query": "DELETE FROM t WHERE name = 'a' RETURNING name"}))
    assert returned["rows"] == [{"name": "a"}] and returned["changed"] and returned["row_count"] == 1
    assert one(db, Call(MODULE, {**DB, "query": "SELECT 1", "changed": True}))["changed"]


def test_preview(db15: LabHost) -> None:
    looked, unknown = calls(db15, MODULE, [
        {**DB, "query": "SELECT 7 AS n"}, {**DB, "query": "CREATE TABLE never (x int)"}], check=True)  # fmt: skip
    assert looked["value"] == 7 and not looked["changed"]
    assert unknown["changed"] and unknown["_unknown"] == ["rows", "row_count", "value"]
    assert sql(db15, "SELECT to_regclass('never') IS NULL", "q") == "t"
    writing = one(db15, Call(MODULE, {**DB, "query": "SELECT nextval('t_id_seq')"}, check=True))
    assert "read-only transaction" in writing["msg"] and "nothing was changed" in writing["msg"]


def test_all_or_nothing(db15: LabHost) -> None:
    """An error of any statement, or a result that was not expected, takes all back: no error is passed over."""
    sql(db15, "TRUNCATE t", "q")
    insert = "INSERT INTO t (name) VALUES ('x')"
    failing: list[tuple[dict[str, Any], str]] = [
        ({"query": f"{insert}; SELECT nothing"}, 'PostgreSQL 15/main, database q: column "nothing" does not exist'),
        ({"query": f"{insert}; SELECT count(*) FROM t", "expect": 5}, "gave 1, expected was 5; nothing was changed"),
        ({"query": insert, "expect_rows": ">=2"}, "gave 1 rows, expected was >=2; nothing was changed"),
        ({"query": insert, "readonly": True}, "cannot execute INSERT in a read-only transaction; nothing was changed"),
        ({"query": "SELECT pg_sleep(5)", "timeout": 1}, "canceling statement due to statement timeout"),
        ({"query": "CREATE INDEX CONCURRENTLY i ON t (name)"}, "give transaction: false"),
    ]
    for (_, words), result in zip(failing, calls(db15, MODULE, [{**DB, **p} for p, _ in failing]), strict=True):
        assert result.get("failed") and words in result["msg"], result
    assert sql(db15, "SELECT count(*) FROM t", "q") == "0"
    table = [{"query": "SELECT count(*) FROM t", "expect": "0"}, {"query": "SELECT 1 AS a", "expect": [{"a": "1"}]},
             {"query": "SELECT true", "expect": True}, {"query": "SELECT 1 WHERE false", "expect_rows": "0"},
             {"query": "CREATE INDEX CONCURRENTLY i ON t (name)", "transaction": False}]  # fmt: skip
    results = calls(db15, MODULE, [{**DB, **params} for params in table])
    assert [result["changed"] for result in results] == [False, False, False, False, True]
    sql(db15, "DROP INDEX i", "q")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"query": "SELECT 1; \\! touch /tmp/pwned"}, "a backslash outside of quotes"),
    ({"query": "SELECT 'open"}, "a quote is not closed"),
    ({"query": "SELECT (1"}, "before all that it opened is closed"),
    ({"query": "SELECT $1", "params": []}, "names the parameter 1, which is not given"),
    ({"query": "SELECT '%(a)s'", "params": {"a": 1}}, "parameter a is given and the query does not use it"),
    ({"query": " -- nothing"}, "there is no statement"),
    ({"query": "COMMIT"}, "it is in a transaction already"),
    ({"query": "COPY t FROM STDIN"}, "COPY cannot go through here"),
    ({"query": "DELETE FROM t", "export": "/tmp/x.csv"}, "export needs one query"),
    ({"query": "SELECT 1", "db": "none"}, 'database "none" does not exist'),
]


def test_refusals(db15: LabHost) -> None:
    refusals(db15, MODULE, [({**DB, **params}, words) for params, words in REFUSED])
    assert db15.run("ls /tmp/pwned", check=False).returncode


def test_export(db: LabHost) -> None:
    sql(db, "TRUNCATE t; INSERT INTO t (id, name) SELECT n, 'name, \"' || n FROM generate_series(1, 50000) n", "q")
    query = {**DB, "query": "SELECT id, name FROM t WHERE id > $1 ORDER BY id", "params": [0], "export": "/srv/t.csv"}
    case = Case("csv", query, before="rm -f /srv/t.csv", look="stat -c '%a %U' /srv/t.csv; wc -l </srv/t.csv",
                after="600 root\n50001", exact=False)  # fmt: skip
    result = prove(db, MODULE, case)
    assert result["sha256"] == db.run("sha256sum /srv/t.csv").stdout[:64]
    assert db.run("sed -n 2p /srv/t.csv").stdout == '1,"name, ""1"\n'
    broken = one(db, Call(MODULE, {**query, "query": "SELECT 1/(id - $1) FROM t ORDER BY id", "params": [40000]}))
    assert "division by zero; /srv/t.csv was not written" in broken["msg"]
    assert db.run("wc -l </srv/t.csv; ls -A /srv | grep t.csv; rm /srv/t.csv").stdout.split() == ["50001", "t.csv"]


# --- the reader ---

SPLIT = [
    ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
    ("SELECT ';', E'\\';', \"a;b\", $x$;$x$ -- ; \n, 1 /* ; /* ; */ */", None),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END", None),
    ("SELECT a[1:n], b::int, c:=1, 5 %(2)", ["SELECT a[1: n], b::int, c:=1, 5 %(2)"]),
    ("SELECT 'it''s'", None),
]


@pytest.mark.parametrize(("text", "expected"), SPLIT, ids=[text[:20] for text, _ in SPLIT])
def test_statements_are_cut(text: str, expected: list[str] | None) -> None:
    assert [sql for _, sql in _statements.statements(text)] == (expected or [text])


@given(st.text(alphabet=st.characters(blacklist_characters="\0", blacklist_categories=("Cs",))))
def test_a_value_never_ends_its_quotes(value: str) -> None:
    """Whatever a value holds, the reader finds one statement, and in it no word of the value."""
    [(words, text)] = _statements.statements("SELECT %(v)s", {"v": value})
    again = _statements.statements(text)
    assert len(again) == 1 and words == ["select"]
    assert again[0][0] in (["select"], ["select", "e"])
