"""pg_sessions and pg_stats with real sessions, locks and dead rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.postgres import _durations, pg_stats
from tests.lab.remote_module import Call
from tests.modules.cases import one
from tests.modules.pg import calls, end_sessions, refusals, session, sql

SESSIONS, STATS = "postgres.pg_sessions", "postgres.pg_stats"


@pytest.fixture(scope="module")
def server(pg: LabHost) -> Iterator[LabHost]:
    sql(pg, "DROP DATABASE IF EXISTS care WITH (FORCE)")
    sql(pg, "CREATE DATABASE care")
    sql(pg, "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = off)", "care")
    sql(pg, "INSERT INTO t SELECT n, 'x' FROM generate_series(1, 5000) n", "care")
    yield pg
    end_sessions(pg)
    sql(pg, "DROP DATABASE care WITH (FORCE)")


@pytest.fixture
def sessions(server: LabHost) -> Iterator[dict[str, int]]:
    """An idle one, an active one, one that holds a lock in an open transaction, one that waits for it; one elsewhere."""
    pids = {
        "idle": session(server, "idle", "SELECT 1;", "care", "state = 'idle'"),
        "busy": session(server, "busy", "SELECT pg_sleep(300);", "care", "state = 'active'"),
        "holder": session(server, "holder", "BEGIN; UPDATE t SET v = 'y' WHERE id = 1;", "care",
                          "state = 'idle in transaction'"),
        "waiter": session(server, "waiter", "UPDATE t SET v = 'n' WHERE id = 1;", "care", "wait_event_type = 'Lock'"),
        "other": session(server, "other", "SELECT 1;", "postgres", "state = 'idle'"),
    }  # fmt: skip
    yield pids
    end_sessions(server)


def test_sessions(server: LabHost, sessions: dict[str, int]) -> None:
    everything, idle, aged, elsewhere = calls(server, SESSIONS, [
        {"db": "care"}, {"db": "care", "state": ["idle"]}, {"db": "care", "older_than": "1h"},
        {"application": "other", "show_query": True}])  # fmt: skip
    names = {row["application"]: row for row in everything["sessions"]}
    assert {name: row["pid"] for name, row in names.items()} == {k: v for k, v in sessions.items() if k != "other"}
    assert names["waiter"]["blocked_by"] == [sessions["holder"]] and "query" not in names["busy"]
    assert [row["pid"] for row in idle["sessions"]] == [sessions["idle"]] and aged["count"] == 0
    assert elsewhere["sessions"][0]["query"] == "SELECT 1;" and not everything["changed"]
    cancel = {"action": "cancel", "db": "care", "older_than": "0.1s", "max": 1}
    refusals(server, SESSIONS, [(cancel, "2 sessions match, max is 1; nothing was ended")])
    cancel = {"action": "cancel", "application": "busy"}
    preview, real = one(server, Call(SESSIONS, cancel, check=True)), one(server, Call(SESSIONS, cancel))
    assert preview["diff"] == real["diff"] and preview["changed"] and real["changed"], (
        "a cancelled session is idle then"
    )
    assert calls(server, SESSIONS, [cancel])[0]["count"] == 0
    end = {"action": "terminate", "state": "idle in transaction", "db": "care"}
    ended, again = calls(server, SESSIONS, [end, end])
    assert [row["pid"] for row in ended["sessions"]] == [sessions["holder"]] and not again["changed"]
    assert sql(server, "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('idle', 'other')") == "2"


def test_nobody_is_ended_by_accident(server: LabHost) -> None:
    refusals(server, SESSIONS, [
        ({"action": "terminate"}, "this would end every session of the server; say which"),
        ({"action": "terminate", "state": "sleeping"}, "state: 'sleeping' is none of active, idle"),
        ({"older_than": "soon"}, "older_than: 'soon' is no span of time; write it as 90s, 5m, 1h or 2d"),
    ])  # fmt: skip
    kept = session(server, "opsplay", "SELECT 1;", "care", "state = 'idle'")
    [left, listed] = calls(
        server, SESSIONS, [{"action": "terminate", "db": "care"}, {"db": "care", "exclude_self": False}]
    )
    assert not left["changed"] and [row["pid"] for row in listed["sessions"]] == [kept]
    end_sessions(server)


def test_long_queries_and_locks(server: LabHost, sessions: dict[str, int]) -> None:
    """An idle session is no long query, however old; who blocks whom is told to the root."""
    what = {"what": ["long_queries", "blockers", "connections"], "db": "care", "older_than": "0.2s"}
    server.run("sleep 0.5")
    [result] = calls(server, STATS, [what])
    names = {row["application"] for row in result["long_queries"]["queries"]}
    assert names == {"busy", "waiter"}, "neither idle nor holder"
    assert [row["pid"] for row in result["blockers"]["waiting"]] == [sessions["waiter"]]
    assert [row["pid"] for row in result["blockers"]["roots"]] == [sessions["holder"]]
    used = result["connections"]
    assert used["used"] == 5 and used["by_db"] == {"care": 4, "postgres": 1} and used["usable"] == 97
    assert used["by_state"] == {"active": 2, "idle": 2, "idle in transaction": 1} and result["status"] == "ok"
    limits: list[tuple[dict[str, Any], str]] = [
        ({"warn": {"connections": 5}}, "warning"), ({"warn": {"connections": 6}}, "ok"),
        ({"warn": {"blockers": 1}, "critical": {"connections": 5}, "fail_on": "never"}, "critical"),
    ]  # fmt: skip
    for (_, status), found in zip(
        limits, calls(server, STATS, [{**what, **limit} for limit, _ in limits]), strict=True
    ):
        assert found["status"] == status and not found.get("failed"), found
    failed = one(server, Call(STATS, {**what, "critical": {"connections": 5}}))
    assert failed["msg"] == "critical: connections is 5.2 %, the limit is 5 %" and failed["connections"]["used"] == 5


def test_size_dead_rows_and_cache(server: LabHost) -> None:
    sql(server, "UPDATE t SET v = 'z' WHERE id > 100; ANALYZE t; SELECT pg_sleep(1)", "care")
    what = {"what": "size,bloat,cache_hit,growth", "db": "care", "trend_file": "/srv/trend"}
    server.run(f"echo {1_700_000_000} 5000000 care >/srv/trend; echo 1700000000 77 another >>/srv/trend")
    preview = one(server, Call(STATS, what, check=True))
    result = one(server, Call(STATS, what))
    assert not result["changed"] and preview["size"] == result["size"]
    assert result["size"]["bytes"] == int(sql(server, "SELECT pg_database_size('care')"))
    assert "t" in [table["name"] for table in result["size"]["largest"]]
    assert result["bloat"]["tables"][0]["dead"] >= 4900 and 40 < result["bloat"]["tables"][0]["percent"] < 60
    assert 0 < result["cache_hit"]["percent"] <= 100
    growth = result["growth"]
    assert (
        growth["measurements"] == 1 and growth["per_day"] > 0 and growth["days_to_full"] > 0 and growth["percent"] > 10
    )
    again = one(server, Call(STATS, what))
    assert again["growth"]["measurements"] == 2 and again["growth"]["percent"] < 5
    assert server.run("wc -l </srv/trend; rm /srv/trend").stdout.strip() == "4"
    low = one(server, Call(STATS, {"what": "cache_hit", "db": "care", "critical": {"cache_hit": 100}}))
    assert "critical: cache_hit is" in low["msg"]


def test_slow_queries(server: LabHost) -> None:
    """The column has been mean_exec_time since 13; a server without the extension is told what is missing."""
    needs = {"what": "slow_queries", "db": "care", "show_query": True}
    refusals(
        server,
        STATS,
        [(needs, "set shared_preload_libraries with pg_settings and make it in database care with pg_ext")],
    )
    load = {"set": {"shared_preload_libraries": "pg_stat_statements"}, "restart": True}
    assert not one(server, Call("postgres.pg_settings", load)).get("failed")
    try:
        assert one(server, Call("postgres.pg_ext", {"name": "pg_stat_statements", "db": "care"}))["changed"]
        sql(server, "SELECT pg_sleep(0.3)", "care")
        sql(server, "SELECT count(*) FROM t", "care")
        result = one(server, Call(STATS, needs))
        slowest = result["slow_queries"]["queries"][0]
        assert slowest["query"] == "SELECT pg_sleep($1)" and slowest["mean_ms"] >= 300 and slowest["calls"] == 1
        failed = one(server, Call(STATS, {**needs, "critical": {"slow_queries": 100}}))
        assert "critical: slow_queries is 3" in failed["msg"] and "the limit is 100 ms" in failed["msg"]
    finally:
        back = {"set": {"shared_preload_libraries": None}, "restart": True}
        assert not one(server, Call("postgres.pg_settings", back)).get("failed")


SPANS = [("5m", 300), ("90", 90), (90, 90), ("1.5h", 5400), ("2 d", 172800), ("10min", 600), ("1w", 604800)]


@pytest.mark.parametrize(("text", "seconds"), SPANS)
def test_spans(text: Any, seconds: float) -> None:
    assert _durations.seconds(text) == seconds


def test_every_part_is_documented() -> None:
    assert all(name in (pg_stats.__doc__ or "") for name in pg_stats.PARTS)
