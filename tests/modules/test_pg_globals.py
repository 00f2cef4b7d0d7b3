"""pg_globals: roles come back with their passwords, also from an encrypted backup, and nobody reads them on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call
from tests.modules import RELEASES
from tests.modules.cases import one
from tests.modules.databases import sql

MODULE, BACKUP = "postgres.pg_globals", "postgres.pg_backup"
DIR = "/srv/t-globals"
ROLES = """
CREATE ROLE "g ops" NOLOGIN; CREATE ROLE g_app LOGIN CONNECTION LIMIT 7 PASSWORD 'pw-g';
GRANT "g ops" TO g_app WITH ADMIN OPTION; ALTER ROLE g_app SET work_mem = '5MB';
"""
SEEN = """
SELECT rolname, rolcanlogin, rolconnlimit, rolpassword, (SELECT setconfig FROM pg_db_role_setting WHERE setrole = r.oid),
       (SELECT bool_or(admin_option) FROM pg_auth_members WHERE member = r.oid)
FROM pg_authid r WHERE rolname LIKE 'g_%' AND rolname IN ('g_app', 'g ops') ORDER BY 1
"""


@pytest.fixture(params=RELEASES)
def server(full: Callable[[str], LabHost], request: pytest.FixtureRequest) -> Iterator[LabHost]:
    host: LabHost = full(request.param)
    host.run(f"rm -rf {DIR}; systemctl start postgresql")
    drop(host)
    sql(host, ROLES)
    yield host
    drop(host)
    host.run(f"rm -rf {DIR}")


def drop(host: LabHost) -> None:
    sql(host, 'DROP ROLE IF EXISTS g_app; DROP ROLE IF EXISTS "g ops"')


def back(host: LabHost, **params: Any) -> dict[str, Any]:
    return one(host, Call(MODULE, {"src": f"{DIR}/globals/latest", **params}))


def test_roles_come_back(server: LabHost) -> None:
    key = server.run("age-keygen 2>/dev/null").stdout
    recipient = next(line.split()[-1] for line in key.split("\n") if "public" in line)
    made = one(server, Call(BACKUP, {"content": "globals", "dir": DIR, "encrypt": {"method": "age", "recipients": [recipient]}}))
    assert not made.get("failed"), made["msg"]
    before = sql(server, SEEN)
    assert "SCRAM-SHA-256" in before or "md5" in before
    drop(server)
    log = "cat /var/log/postgresql/*.log | wc -c"
    size = int(server.run(log).stdout)
    result = back(server, key=key)
    assert result["changed"] and "g_app" in result["roles"], result
    assert sql(server, SEEN) == before
    assert back(server, key=key)["changed"] is False
    sql(server, "ALTER ROLE g_app CONNECTION LIMIT 3 PASSWORD 'other'")
    assert back(server, key=key)["changed"] and sql(server, SEEN) == before
    assert "SCRAM-SHA-256$" not in server.run(f"cat /var/log/postgresql/*.log | tail -c +{size}").stdout
    assert "give its key" in back(server)["msg"]


def test_what_the_server_refuses_is_a_failure(full: Callable[[str], LabHost]) -> None:
    host = full("bookworm")
    host.run(f"rm -rf {DIR}")
    made = one(host, Call(BACKUP, {"content": "globals", "dir": DIR}))
    folder = made["folder"]
    bad = "CREATE ROLE g_app; ALTER ROLE nobody_there LOGIN;"
    host.run(f"""cd {folder} && echo "{bad}" > globals.sql && python3 - <<'E'
import hashlib, json
data = open("globals.sql", "rb").read(); found = json.load(open("manifest.json"))
found["files"][0].update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
json.dump(found, open("manifest.json", "w"))
E""")
    result = back(host)
    drop(host)
    assert result["failed"] and 'role "nobody_there" does not exist' in result["msg"]
    host.run(f"echo x >> {folder}/globals.sql")
    assert "the backup is refused" in back(host)["msg"]
    host.run(f"rm -rf {DIR}")
