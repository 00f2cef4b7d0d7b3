"""migrate on a real server: with a command, and with alembic."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call
from tests.modules.cases import Case, one, prove
from tests.modules.pg import calls, refusals, sql

MODULE = "postgres.migrate"
PSQL = "runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 app"
# A tool of migrations in two lines: files that are not yet in a table.
PENDING = f'for f in /srv/app/*.sql; do n=$(basename $f); [ -n "$({PSQL} -c "SELECT 1 FROM done WHERE name = \'$n\'")" ] || echo $n; done'
APPLY = f"for n in $(sh pending); do ({{ cat $n; echo \"; INSERT INTO done VALUES ('$n')\"; }}) | {PSQL} -1 || exit 1; echo did $n; done"
PARAMS: dict[str, Any] = {"db": "app", "chdir": "/srv/app", "argv": ["sh", "apply"], "pending": ["sh", "pending"]}


@pytest.fixture
def host(pg15: LabHost) -> Iterator[LabHost]:
    sql(pg15, "DROP DATABASE IF EXISTS app WITH (FORCE)")
    sql(pg15, "CREATE DATABASE app")
    sql(pg15, "CREATE TABLE done (name text PRIMARY KEY)", "app")
    pg15.run("rm -rf /srv/app /srv/backups; mkdir /srv/app")
    write(pg15, "pending", PENDING)
    write(pg15, "apply", APPLY)
    write(pg15, "1.sql", "CREATE TABLE a (x int)")
    write(pg15, "2.sql", "CREATE TABLE b (x int)")
    yield pg15
    pg15.run("rm -rf /srv/app /srv/backups")
    sql(pg15, "DROP DATABASE app WITH (FORCE)")


def write(host: LabHost, name: str, text: str) -> None:
    (host.root / "srv/app" / name).write_text(text)


def tables(host: LabHost) -> str:
    return sql(host, "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_stat_user_tables", "app")


def test_pending_ones_once(host: LabHost) -> None:
    look = f"{PSQL} -c 'SELECT name FROM done ORDER BY 1'"
    result = prove(host, MODULE, Case("two", PARAMS, look=look, after="1.sql\n2.sql"))
    assert result["pending"] == ["1.sql", "2.sql"] and result["output"].startswith("did 1.sql")
    write(host, "3.sql", "SELECT broken")
    preview = one(host, Call(MODULE, PARAMS, check=True))
    assert preview["pending"] == ["3.sql"] and preview["changed"]
    failed = one(host, Call(MODULE, PARAMS))
    assert "sh apply failed" in failed["msg"] and 'column "broken" does not exist' in failed["msg"]
    assert host.run(look).stdout.split() == ["1.sql", "2.sql"]


def test_what_lies_is_found_out(host: LabHost) -> None:
    """A tool that ends well and has done nothing has not migrated."""
    failed = one(host, Call(MODULE, {**PARAMS, "argv": ["true"]}))
    assert failed["msg"] == "the migration ended well, but these are still pending: 1.sql, 2.sql"
    slow = one(host, Call(MODULE, {**PARAMS, "argv": ["sleep", "30"], "timeout": 1}))
    assert "sleep 30 took more than 1 s and was ended" in slow["msg"]
    refusals(host, MODULE, [({"db": "app"}, "needs argv"), ({**PARAMS, "backup_gate": "1h"}, "needs backup_dir"),
                            ({**PARAMS, "pending": ["no-such-tool"]}, "no-such-tool failed: No such file")])  # fmt: skip


def test_two_at_once(host: LabHost) -> None:
    """The second one waits, and then finds nothing to do; or it is told who is at work."""
    write(host, "1.sql", "SELECT pg_sleep(4); CREATE TABLE a (x int)")
    results: list[dict[str, Any]] = []
    first = threading.Thread(target=lambda: results.append(one(host, Call(MODULE, PARAMS))))
    first.start()
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    deadline = time.monotonic() + 20
    while sql(host, held, "app") == "0":
        assert time.monotonic() < deadline
    [refused, waited] = calls(host, MODULE, [PARAMS, {**PARAMS, "lock_wait": 60}])
    first.join(60)
    assert results[0]["changed"] and not results[0].get("failed"), results
    assert "another run is migrating database app; nothing was done" in refused["msg"]
    assert not waited["changed"] and not waited.get("failed") and "diff" not in waited, waited
    assert sql(host, held, "app") == "0" and tables(host) == "a,b,done"


def backup(host: LabHost, age: int, **fields: Any) -> None:
    """A backup as it lies in its folder, so many seconds old."""
    at = host.run(f"date -u -d '-{age} sec' +%Y%m%dT%H%M%SZ+%Y-%m-%dT%H:%M:%SZ").stdout.strip().split("+")
    folder = host.root / "srv/backups/app" / at[0]
    folder.mkdir(parents=True, exist_ok=True)
    data = {"version": 1, "kind": "pg_backup", "name": "app", "files": [], "started": at[1], "finished": at[1],
            "database": {"name": "app"}, "verified": {"level": "read"}, **fields}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(data))


def test_no_migration_without_a_backup(host: LabHost) -> None:
    gated = {**PARAMS, "backup_gate": "1h", "backup_dir": "/srv/backups"}
    refusals(host, MODULE, [(gated, "there is no backup of app in /srv/backups/app that was verified (read)")])
    backup(host, 7200)
    backup(host, 60, verified={"level": "list"})
    backup(host, 50, database={"name": "another"})
    refusals(host, MODULE, [(gated, "the newest verified backup of app is 120 min old, the limit is 1h")])
    assert tables(host) == "done"
    backup(host, 40)
    assert one(host, Call(MODULE, gated))["changed"] and tables(host) == "a,b,done"
    again = one(host, Call(MODULE, {**gated, "backup_gate": "1s"}))
    assert not again.get("failed") and not again["changed"], "nothing pending needs no backup"


ENV = """
from alembic import context
from sqlalchemy import create_engine
import os
with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
VERSION = """
from alembic import op
revision, down_revision = "{0}", {1}
def upgrade():
    op.execute("{2}")
"""


def test_alembic(host: LabHost) -> None:
    host.run("command -v alembic || { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y "
             "--no-install-recommends alembic python3-psycopg2; }", timeout=300)  # fmt: skip
    sql(host, "DROP ROLE IF EXISTS mover; CREATE ROLE mover LOGIN PASSWORD 'secret'; ALTER DATABASE app OWNER TO mover")
    sql(host, "GRANT ALL ON SCHEMA public TO mover", "app")
    (host.root / "srv/app/versions").mkdir()
    write(host, "alembic.ini", "[alembic]\nscript_location = .\n")
    write(host, "env.py", ENV)
    write(host, "versions/one.py", VERSION.format("aaa1", None, "CREATE TABLE one (x int)"))
    write(host, "versions/two.py", VERSION.format("bbb2", "'aaa1'", "CREATE TABLE two (x int)"))
    params = {"db": "app", "tool": "alembic", "chdir": "/srv/app", "user": "nobody",
              "env": {"DATABASE_URL": "postgresql://mover:secret@127.0.0.1/app"}}  # fmt: skip
    partly = one(host, Call(MODULE, {**params, "target": "aaa1"}))
    assert partly["changed"] and tables(host) == "alembic_version,done,one", partly
    assert not one(host, Call(MODULE, {**params, "target": "aaa1"}))["changed"]
    preview = one(host, Call(MODULE, params, check=True))
    assert len(preview["pending"]) == 1 and preview["pending"][0].startswith("aaa1 -> bbb2"), preview
    result = prove(host, MODULE, Case("head", params, look=f"{PSQL} -c 'TABLE alembic_version'", after="bbb2"))
    assert "secret" not in str(result)
    write(host, "versions/three.py", VERSION.format("ccc3", "'bbb2'", "SELECT broken"))
    assert 'column "broken" does not exist' in one(host, Call(MODULE, params))["msg"]
    sql(host, "ALTER DATABASE app OWNER TO postgres; DROP OWNED BY mover CASCADE; DROP ROLE mover", "app")
