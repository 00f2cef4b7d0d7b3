"""pg_settings on real servers: values by their meaning, restarts, and settings that no server comes up with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.lab import LabHost
from opsplay.modules.postgres import _setting_values as values
from tests.lab.remote_module import Call
from tests.modules.cases import Case, one, previews, prove
from tests.modules.pg import calls, refusals, sql

MODULE = "postgres.pg_settings"


@pytest.fixture(scope="module")
def server(pg: LabHost) -> Iterator[LabHost]:
    yield from untouched(pg)


@pytest.fixture(scope="module")
def one_server(pg15: LabHost) -> Iterator[LabHost]:
    yield from untouched(pg15)


def untouched(host: LabHost) -> Iterator[LabHost]:
    yield host
    sql(host, "ALTER SYSTEM RESET ALL")
    host.run("systemctl restart 'postgresql@*'", timeout=60)


def show(*names: str) -> str:
    return "".join(f"runuser -u postgres -- psql -XAtqc 'SHOW {name}';" for name in names)


def started(host: LabHost) -> str:
    return sql(host, "SELECT pg_postmaster_start_time()")


def test_a_reload_is_enough(server: LabHost) -> None:
    before = started(server)
    wanted = {
        "work_mem": "12MB",
        "log_min_duration_statement": "1.5s",
        "log_lock_waits": True,
        "effective_cache_size": "1GB",
    }
    look = show("work_mem", "log_min_duration_statement", "log_lock_waits", "effective_cache_size")
    result = prove(
        server, MODULE, Case("set", {"set": wanted, "restart": True}, look=look, after="12MB\n1500ms\non\n1GB")
    )
    assert result["effective"]["work_mem"] == "12MB" and result["pending_restart"] == []
    assert started(server) == before, "nothing here asks for a restart"
    same = {
        "work_mem": "12288kB",
        "log_min_duration_statement": 1500,
        "log_lock_waits": "true",
        "effective_cache_size": 131072,
    }
    assert not one(server, Call(MODULE, {"set": same}))["changed"]
    back = prove(
        server,
        MODULE,
        Case("reset", {"set": {"work_mem": None, "log_lock_waits": None}}, look=show("work_mem"), after="4MB"),
    )
    assert back["effective"]["log_lock_waits"] == "off"


def test_a_restart_only_when_it_is_allowed(server: LabHost) -> None:
    """Three statements at once would be one transaction, which ALTER SYSTEM refuses; a reload changes no shared_buffers."""
    before = started(server)
    wanted = {"set": {"shared_buffers": "96MB", "max_connections": 90, "work_mem": "5MB"}}
    look = show("shared_buffers", "work_mem")
    result = prove(
        server, MODULE, Case("pending", wanted, look=look, after="128MB\n5MB", warns="only a restart brings")
    )
    assert result["pending_restart"] == ["max_connections", "shared_buffers"] and started(server) == before
    result = prove(server, MODULE, Case("restarted", {**wanted, "restart": True}, look=look, after="96MB\n5MB"))
    assert result["effective"]["max_connections"] == "90" and started(server) != before


def test_what_no_server_comes_up_with_is_put_back(server: LabHost) -> None:
    prepared = one(server, Call(MODULE, {"set": {"shared_buffers": "64MB", "work_mem": "6MB"}, "restart": True}))
    assert not prepared.get("failed"), prepared
    absurd = {"set": {"shared_buffers": "900GB", "work_mem": "7MB"}, "restart": True, "timeout": 30}
    assert one(server, Call(MODULE, absurd, check=True))["changed"]
    result = one(server, Call(MODULE, absurd))
    assert "did not come up with the new settings: could not map anonymous shared memory" in result["msg"], result
    assert "the old settings are back and the server runs" in result["msg"]
    assert server.run(show("shared_buffers", "work_mem")).stdout.split() == ["64MB", "6MB"]
    library = one(server, Call(MODULE, {"set": {"shared_preload_libraries": "no_such_library"}, "restart": True}))
    assert 'could not access file "no_such_library"' in library["msg"] and "the server runs" in library["msg"], library
    assert server.run(show("shared_preload_libraries")).stdout == "\n"


def test_a_list_of_libraries(one_server: LabHost) -> None:
    wanted = {"set": {"shared_preload_libraries": ["pg_stat_statements", "auto_explain"]}, "restart": True}
    look = show("shared_preload_libraries")
    prove(one_server, MODULE, Case("list", wanted, look=look, after="pg_stat_statements, auto_explain"))
    assert not one(one_server, Call(MODULE, {"set": {"shared_preload_libraries": "pg_stat_statements,auto_explain"}}))[
        "changed"
    ]
    loaded = {
        "set": {"pg_stat_statements.max": 2000, "shared_preload_libraries": "pg_stat_statements"},
        "restart": True,
    }
    prove(one_server, MODULE, Case("its own settings", loaded, look=show("pg_stat_statements.max"), after="2000"))


def test_refusals(one_server: LabHost) -> None:
    refusals(one_server, MODULE, [
        ({"set": {"wrok_mem": "4MB"}}, "this server has no setting wrok_mem; check its name"),
        ({"set": {"pg_cron.x": 1}}, "no setting pg_cron.x; the library that brings it must be loaded first"),
        ({"set": {"work_mem": "4mb"}}, "work_mem: '4mb' has the unit mb; there is B, kB, MB, GB, TB"),
        ({"set": {"work_mem": "1kB"}}, "work_mem: 1kB is outside of 64 to 2147483647 kB"),
        ({"set": {"max_connections": "many"}}, "max_connections: 'many' is no number"),
        ({"set": {"wal_level": "most"}}, "wal_level: 'most' is none of minimal, replica, logical"),
        ({"set": {"fsync": "perhaps"}}, "fsync: 'perhaps' is neither on nor off"),
        ({"set": {"block_size": 8192}}, "block_size cannot be set"),
    ])  # fmt: skip
    before = one_server.run("cat /var/lib/postgresql/15/main/postgresql.auto.conf").stdout
    refused = one(one_server, Call(MODULE, {"set": {"temp_buffers": "9MB", "timezone": "Nowhere/At all"}}))
    assert 'invalid value for parameter "TimeZone"' in refused["msg"] and "nothing was changed" in refused["msg"]
    assert one_server.run("cat /var/lib/postgresql/15/main/postgresql.auto.conf").stdout == before


def test_a_preview_of_a_blank_host(bookworm: LabHost) -> None:
    _, preview = previews(
        bookworm,
        [("packages.apt", {"name": "postgresql", "update_cache": True}), (MODULE, {"set": {"work_mem": "8MB"}})],
    )
    assert preview["changed"] and "effective" in preview["_unknown"]


def test_a_plain_data_directory(one_server: LabHost) -> None:
    """A server that neither Debian nor systemd looks after is restarted with pg_ctl."""
    pg_ctl = "runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_ctl -w -D /srv/plain -l /srv/plain/log"
    one_server.run("runuser -u postgres -- sh -c true; install -d -o postgres /srv/plain; "
                   "runuser -u postgres -- /usr/lib/postgresql/15/bin/initdb -D /srv/plain >/dev/null; "
                   f"{pg_ctl} -o '-p 5999 -k /tmp' start >/dev/null", timeout=60)  # fmt: skip
    try:
        params = {"cluster": "/srv/plain", "set": {"shared_buffers": "32MB"}, "restart": True}
        [result] = calls(one_server, MODULE, [params])
        assert result["effective"] == {"shared_buffers": "32MB"}, result
        assert "could not map" in one(one_server, Call(MODULE, {**params, "set": {"shared_buffers": "900GB"}}))["msg"]
        assert not one(one_server, Call(MODULE, params))["changed"]
    finally:
        one_server.run(f"{pg_ctl} -m immediate stop; rm -r /srv/plain", timeout=60)


# --- what values mean ---

KB8 = {"name": "shared_buffers", "vartype": "integer", "unit": "8kB", "min_val": "16", "max_val": "1073741823"}
MS: dict[str, Any] = {"name": "x", "vartype": "integer", "unit": "ms", "min_val": "-1", "max_val": "2147483647"}
SAME = [
    (KB8, "256MB", 32768), (KB8, "262144kB", "0x8000"), (KB8, "0.25GB", "256MB"), (MS, "1min", "60s"),
    (MS, "1d", 86400000), (MS, "-1", -1), (MS, "1500us", "2ms"),
    ({"name": "search_path", "vartype": "string"}, '"$user", public', ["$user", "public"]),
    ({"name": "x", "vartype": "bool"}, "of", False), ({"name": "x", "vartype": "enum", "enumvals": ["on", "off"]}, True, "ON"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "first", "second"), SAME)
def test_the_same(row: dict[str, Any], first: Any, second: Any) -> None:
    assert values.same(row, first, second)


@given(st.integers(16, 1 << 20), st.integers(16, 1 << 20))
def test_different_numbers_differ(first: int, second: int) -> None:
    assert values.same(KB8, first, f"{second * 8}kB") == (first == second)


def test_a_list_is_several_literals() -> None:
    assert values.assignment("shared_preload_libraries", "a, b") == "'a', 'b'"
    assert values.assignment("work_mem", "8MB") == "'8MB'"
