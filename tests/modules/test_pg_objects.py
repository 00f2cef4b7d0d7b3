"""pg_db, pg_user and pg_ext on real servers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.lab import LabHost
from opsplay.modules.postgres import _scram
from tests.lab.remote_module import Call, run_calls
from tests.modules.cases import Case, one, previews, prove
from tests.modules.pg import calls, end_sessions, refusals, session, sql

DB, USER, EXT = "postgres.pg_db", "postgres.pg_user", "postgres.pg_ext"
PASSWORD = "s3cret'\\ päss"
CLEAN = ["DROP DATABASE IF EXISTS shop WITH (FORCE)", "DROP ROLE IF EXISTS seller, clerk, staff"]


@pytest.fixture(scope="module")
def server(pg: LabHost) -> Iterator[LabHost]:
    yield from clean(pg)


@pytest.fixture(scope="module")
def one_server(pg15: LabHost) -> Iterator[LabHost]:
    yield from clean(pg15)


def clean(host: LabHost) -> Iterator[LabHost]:
    for statement in CLEAN:
        sql(host, statement)
    yield host
    for statement in CLEAN:
        sql(host, statement)


def ask(text: str) -> str:
    return f'runuser -u postgres -- psql -XAtq -c "{text}"'


DATABASES = ask("SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datconnlimit, "
                "coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = 'shop'")  # fmt: skip
ROLES = ask("SELECT rolname, rolcanlogin, rolcreatedb, rolconnlimit, rolvaliduntil, left(rolpassword, 14) FROM pg_authid "
            "WHERE rolname = 'seller'")  # fmt: skip


def test_database(server: LabHost) -> None:
    sql(server, "CREATE ROLE seller; CREATE ROLE clerk")
    made = {"name": "shop", "owner": "seller", "encoding": "utf-8", "lc_collate": "C", "comment": "all the shop's"}
    prove(server, DB, Case("made", made, look=DATABASES, after="shop|seller|UTF8|C|-1|all the shop's"))
    altered = {**made, "owner": "clerk", "conn_limit": 7, "comment": ""}
    prove(server, DB, Case("altered", altered, look=DATABASES, after="shop|clerk|UTF8|C|7|"))


def test_a_dropped_database(server: LabHost) -> None:
    """Never the connected one (it is dropped from another), never without its name and host, never under its users."""
    host = server.run("hostname -s").stdout.strip()
    absent: dict[str, Any] = {"name": "shop", "state": "absent"}
    refusals(server, DB, [({**absent, "confirm": "drop shop on elsewhere"}, "is no confirmation")])
    asked = f'not confirmed; to do it, give confirm: "drop shop on {host}"'
    assert asked in one(server, Call(DB, absent))["msg"]
    assert asked in one(server, Call(DB, absent, check=True))["warnings"][0], "a preview goes on"
    absent["confirm"] = f"drop shop on {host}"
    session(server, "seller", "SELECT 1", "shop")
    refusals(server, DB, [(absent, "1 sessions are connected to database shop: postgres (seller, pid")])
    prove(server, DB, Case("dropped", {**absent, "force": True}, look=DATABASES, after=""))
    end_sessions(server)


def test_refused_databases(one_server: LabHost) -> None:
    refusals(one_server, DB, [
        ({"name": "postgres", "encoding": "LATIN1"}, "its encoding is UTF8, not LATIN1; it cannot change"),
        ({"name": "template1", "state": "absent"}, "belongs to the server itself"),
        ({"name": "shop", "owner": "nobody there"}, "there is no role nobody there to own it; make it with pg_user"),
    ])  # fmt: skip


def test_role(server: LabHost) -> None:
    sql(server, "DROP ROLE IF EXISTS seller")
    seller = {"name": "seller", "password": PASSWORD, "verify_login": True}
    prove(server, USER, Case("made", seller, look=ROLES, after="seller|t|f|-1||SCRAM-SHA-256$"))
    more = {**seller, "attributes": "CREATEDB,NOLOGIN", "conn_limit": 3, "valid_until": "2030-01-01 00:00:00+00",
            "verify_login": False}  # fmt: skip
    prove(server, USER, Case("altered", more, look=ROLES, after="seller|f|t|3|2030-01-01 00:00:00+00|SCRAM-SHA-256$"))
    assert "not permitted to log in" in one(server, Call(USER, seller))["msg"]
    sql(server, "ALTER ROLE seller LOGIN VALID UNTIL 'infinity'")
    assert "too many" not in str(run_calls(server, [Call(USER, seller), Call(USER, {**seller, "password": "other"})]))
    old = one(server, Call("postgres.pg_ready", {"login_host": "127.0.0.1", "login_user": "seller",
                                                 "login_password": PASSWORD, "timeout": 0}))  # fmt: skip
    assert "password authentication failed" in old["msg"], "the old password is refused"


def test_a_password_leaves_no_trace(server: LabHost) -> None:
    """Neither in the server's log, which logs all statements here, nor on a command line, nor in the result."""
    sql(server, "DROP ROLE IF EXISTS seller; ALTER ROLE postgres SET log_statement = 'all'")
    try:
        server.run(
            "systemd-run -q --collect --unit=watch-argv sh -c 'while :; do cat /proc/[0-9]*/cmdline 2>/dev/null; done >/run/argv'"
        )
        results = calls(server, USER, [{"name": "seller", "password": "Tr4celess", "verify_login": True}] * 2)
        server.run("systemctl stop watch-argv")
        assert [result["changed"] for result in results] == [True, False], results
        assert "Tr4celess" not in str(results)
        log = server.run("cat /var/log/postgresql/*.log").stdout
        assert "pg_authid" in log and "Tr4celess" not in log and "SCRAM-SHA-256$4096" not in log
        assert "Tr4celess" not in server.run("tr '\\0' ' ' </run/argv").stdout
    finally:
        sql(server, "ALTER ROLE postgres RESET log_statement")


def test_memberships_and_end(server: LabHost) -> None:
    sql(server, "DROP ROLE IF EXISTS seller, clerk; CREATE ROLE clerk; CREATE ROLE staff")
    groups = ask("SELECT string_agg(r.rolname, ',' ORDER BY 1) FROM pg_auth_members m JOIN pg_roles r ON r.oid = roleid "
                 "JOIN pg_roles u ON u.oid = member WHERE u.rolname = 'seller'")  # fmt: skip
    prove(server, USER, Case("joins", {"name": "seller", "member_of": "clerk,staff"}, look=groups, after="clerk,staff"))
    left = {"name": "seller", "member_of": ["staff"], "exclusive": True}
    prove(server, USER, Case("leaves", left, look=groups, after="staff"))
    sql(server, "CREATE DATABASE shop OWNER seller")
    refusals(
        server, USER, [({"name": "seller", "state": "absent"}, "it still has 1 object or rights in shop; give these")]
    )
    sql(server, "DROP DATABASE shop")
    prove(server, USER, Case("gone", {"name": "seller", "state": "absent"}, look=ROLES, after=""))


def test_refused_roles(one_server: LabHost) -> None:
    refusals(one_server, USER, [
        ({"name": "seller", "attributes": "FLYING"}, "'FLYING' is none of BYPASSRLS"),
        ({"name": "seller", "attributes": "LOGIN,NOLOGIN"}, "LOGIN and NOLOGIN cannot both be"),
        ({"name": "seller", "member_of": "none"}, "there is no role none"),
        ({"name": "seller", "valid_until": "soon"}, 'invalid input syntax for type timestamp with time zone: "soon"'),
        ({"name": "seller", "verify_login": True}, "verify_login needs the password itself"),
    ])  # fmt: skip


def test_extension(server: LabHost) -> None:
    sql(server, "CREATE DATABASE shop")
    look = "runuser -u postgres -- psql -XAtq shop -c \"SELECT extversion, nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'pg_stat_statements'\""
    before = {"name": "pg_stat_statements", "db": "shop", "version": "1.7"}
    prove(
        server,
        EXT,
        Case("made", before, look=look, after="1.7|public", warns="only works when shared_preload_libraries"),
    )
    newest = sql(server, "SELECT default_version FROM pg_available_extensions WHERE name = 'pg_stat_statements'")
    latest = {"name": "pg_stat_statements", "db": "shop", "version": "latest", "schema": "stats"}
    prove(server, EXT, Case("moved", latest, look=look, after=f"{newest}|stats"))
    prove(
        server, EXT, Case("gone", {"name": "pg_stat_statements", "db": "shop", "state": "absent"}, look=look, after="")
    )
    refusals(server, EXT, [({"name": "postgis_none", "db": "shop"}, "has no extension postgis_none; install the package"),
                           ({"name": "amcheck", "db": "shop", "version": "0.1"}, "has no version 0.1; this server has")])  # fmt: skip


def test_a_preview_goes_on(one_server: LabHost, bookworm: LabHost) -> None:
    """Where a role and a database would have been made, and where PostgreSQL would have been installed."""
    tasks: list[tuple[str, dict[str, Any]]] = [
        (USER, {"name": "new", "password": "x"}), (DB, {"name": "fresh", "owner": "new"}),
        (EXT, {"name": "amcheck", "db": "fresh"}), ("postgres.pg_query", {"db": "fresh", "query": "CREATE TABLE t ()"}),
    ]  # fmt: skip
    for results in (previews(one_server, tasks),
                    previews(bookworm, [("packages.apt", {"name": "postgresql", "update_cache": True}), *tasks])):  # fmt: skip
        assert [result["changed"] for result in results] == [True] * len(results), results


# --- verifiers ---


def test_the_verifier_is_the_servers(one_server: LabHost) -> None:
    """PostgreSQL's own client makes the same of a password: ASCII, and what SASLprep changes or forbids."""
    for password in ("plain", "ﬁné\u00a0\u00adx", "a\u0007b", "\u0627\u0031", "Å\u030a"):
        sql(
            one_server,
            f"SET password_encryption = 'scram-sha-256'; DROP ROLE IF EXISTS clerk; CREATE ROLE clerk PASSWORD '{password}'",
        )
        stored = sql(one_server, "SELECT rolpassword FROM pg_authid WHERE rolname = 'clerk'")
        assert _scram.again(password, stored) == stored, ascii(password)
    sql(one_server, "DROP ROLE clerk")


@given(st.text(min_size=1), st.text(min_size=1))
def test_another_password_is_another_verifier(first: str, second: str) -> None:
    stored = _scram.verifier(first, b"0123456789abcdef", 1)
    assert _scram.is_verifier(stored)
    assert (_scram.again(second, stored) == stored) == (_scram.prepared(first) == _scram.prepared(second))


def test_what_is_a_verifier() -> None:
    assert _scram.is_verifier("md5" + hashlib.md5(b"x", usedforsecurity=False).hexdigest())
    assert not any(map(_scram.is_verifier, ["", "md5", "md5secret", "SCRAM-SHA-256$", "SCRAM-SHA-256$1:a$b"]))
    assert _scram.again("x", "md5" + "0" * 32) == ""
