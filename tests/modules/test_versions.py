"""The servers of the releases that are not tested in depth: dumped, lost, brought back, and as they were."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call
from tests.modules import RELEASES
from tests.modules.cases import one
from tests.modules.databases import drop_database, make_database, manifest, rows_of, sql

DIR = "/srv/t-versions"
COUNTS = """
SELECT string_agg(n || '=' || c, ' ' ORDER BY n) FROM (SELECT format('%I.%I', schemaname, relname) AS n,
  (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM ONLY %I.%I', schemaname, relname), false, true, '')))[1]::text AS c
  FROM pg_stat_user_tables) q
"""


@pytest.mark.parametrize("release", RELEASES)
def test_a_database_comes_back(full: Callable[[str], LabHost], release: str) -> None:
    host = full(release)
    host.run(f"rm -rf {DIR}; systemctl restart postgresql", timeout=60)
    make_database(host, "lost", rows=300)
    before = sql(host, COUNTS, "lost")
    made = one(host, Call("postgres.pg_backup", {"db": "lost", "dir": DIR, "verify": "restore"}))
    assert not made.get("failed"), made["msg"]
    assert sum(rows_of(manifest(host, made["folder"])).values()) > 300
    sql(host, "DELETE FROM customers", "lost")
    name = host.run("hostname -s").stdout.strip()
    params = {"src": f"{DIR}/lost/latest", "db": "lost", "safety_dir": DIR, "confirm": f"restore lost on {name}"}
    back = one(host, Call("postgres.pg_restore", params))
    assert not back.get("failed"), back["msg"]
    assert sql(host, COUNTS, "lost") == before
    for database in sql(host, "SELECT datname FROM pg_database WHERE datname LIKE 'lost_old_%'").split():
        sql(host, f'DROP DATABASE "{database}" WITH (FORCE)')
    drop_database(host, "lost")
    host.run(f"rm -rf {DIR}")


@pytest.mark.parametrize("release", RELEASES)
def test_redis_comes_back(full: Callable[[str], LabHost], release: str) -> None:
    host = full(release)
    host.run(f"rm -rf {DIR}; systemctl restart redis-server; sleep 0.5; redis-cli set kept yes")
    made = one(host, Call("redis.redis_backup", {"dir": DIR}))
    assert not made.get("failed"), made["msg"]
    host.run("redis-cli set kept no; redis-cli set more 1")
    name = host.run("hostname -s").stdout.strip()
    back = one(host, Call("redis.redis_restore", {"src": made["folder"], "confirm": f"restore redis on {name}"}))
    assert not back.get("failed"), back["msg"]
    assert host.run("redis-cli get kept; redis-cli exists more").stdout == "yes\n0\n"
    host.run(f"redis-cli flushall; rm -rf {DIR}")
