"""pg_restore on real servers: what replaces a database is proven first, and nothing is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.postgres import _database
from tests.lab.remote_module import Call, run_calls
from tests.modules import DEEP
from tests.modules.cases import Case, one, prove
from tests.modules.pg_backups import FOLDER, describe, make_backup, sql

MODULE = "postgres.pg_restore"
STAMP = "20261101T020000Z"
BACKUP = f"{FOLDER}/app/{STAMP}"
SCHEMA = """
CREATE SCHEMA shop AUTHORIZATION app; SET search_path = shop; SET ROLE app;
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers, total numeric);
INSERT INTO customers (name) SELECT 'customer ' || n FROM generate_series(1, 100) n;
INSERT INTO orders (customer, total) SELECT 1 + n % 100, n FROM generate_series(1, 1000) n;
"""
UNIT = """[Service]
ExecStart=/bin/sh -c 'while :; do runuser -u postgres -- psql -XAtqc "INSERT INTO shop.orders (customer, total)\\
 VALUES (1, 0)" app >/dev/null 2>&1; sleep 0.05; done'
"""


@pytest.fixture(scope="module", params=DEEP)
def server(full: Callable[[str], LabHost], request: pytest.FixtureRequest) -> Iterator[LabHost]:
    """A host of each release with its PostgreSQL (13, 15, 17), a database, and a backup of it in two formats."""
    host: LabHost = full(request.param)
    host.run("systemctl start 'postgresql@*' postgresql; rm -rf /srv/backups /srv/safe", timeout=60)
    clean(host)
    sql(host, "DROP ROLE IF EXISTS app, reporter; CREATE ROLE app LOGIN PASSWORD 'x'; CREATE ROLE reporter")
    # Names and locale that a careless restore would lose.
    sql(host, "CREATE DATABASE app OWNER app TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    sql(host, SCHEMA, "app")
    sql(host, "CREATE DATABASE app_first TEMPLATE app")
    for format, stamp in (("directory", "20261030T020000Z"), ("plain.gz", "20261031T020000Z"), ("custom", STAMP)):
        make_backup(host, "app", stamp, format)
    host.run("cat > /run/systemd/system/writer.service; systemctl daemon-reload", stdin=UNIT)
    yield host
    host.run("systemctl stop writer; rm /run/systemd/system/writer.service; systemctl daemon-reload", check=False)
    clean(host)
    sql(host, "DROP ROLE app; DROP ROLE reporter")


def clean(host: LabHost) -> None:
    for name in sql(host, "SELECT datname FROM pg_database WHERE datname LIKE 'app%'").split():
        sql(host, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def app(server: LabHost) -> LabHost:
    """The database with something lost since the backup, and none that earlier tests have kept."""
    server.run("systemctl stop writer")
    for name in sql(
        server, "SELECT datname FROM pg_database WHERE datname ~ '^app' AND datname <> 'app_first'"
    ).split():
        sql(server, f'DROP DATABASE "{name}" WITH (FORCE)')
    sql(server, "CREATE DATABASE app OWNER app TEMPLATE app_first")
    sql(server, "DELETE FROM shop.orders WHERE id <= 50; CREATE TABLE later (n int)", "app")
    server.run("rm -rf /srv/safe")
    return server


def phrase(host: LabHost, deed: str = "restore app") -> str:
    return f"{deed} on {host.run('uname -n').stdout.strip().partition('.')[0]}"


def params(host: LabHost, **more: Any) -> dict[str, Any]:
    return {"src": f"{FOLDER}/app/latest", "db": "app", "confirm": phrase(host), "safety_dir": "/srv/safe", **more}


def databases(host: LabHost) -> list[str]:
    return sql(host, "SELECT datname FROM pg_database WHERE datname LIKE 'app%' ORDER BY 1").split()


def look(host: LabHost) -> str:
    """All that a restore could change: databases with their numbers, rows, running units."""
    found = sql(host, "SELECT oid, datname, datallowconn FROM pg_database ORDER BY 1")
    return found + sql(host, "SELECT count(*), sum(id) FROM shop.orders", "app")


CARRIED = """SELECT json_build_object('owner', pg_get_userbyid(datdba), 'limit', datconnlimit, 'acl', datacl::text,
  'collate', datcollate, 'encoding', encoding, 'comment', shobj_description(d.oid, 'pg_database'),
  'settings', (SELECT json_agg(json_build_object(setrole::regrole::text, setconfig) ORDER BY setrole)
               FROM pg_db_role_setting WHERE setdatabase = d.oid)) FROM pg_database d WHERE datname = 'app'"""


def test_a_swap_keeps_what_the_database_is(app: LabHost) -> None:
    sql(
        app,
        """ALTER DATABASE app CONNECTION LIMIT 42; COMMENT ON DATABASE app IS 'it''s the shop';
        ALTER DATABASE app SET search_path TO shop, "$user", public; ALTER DATABASE app SET work_mem = '5MB';
        ALTER ROLE app IN DATABASE app SET statement_timeout = '30s'; REVOKE ALL ON DATABASE app FROM PUBLIC;
        GRANT CONNECT, TEMPORARY ON DATABASE app TO reporter WITH GRANT OPTION""",
    )
    before = json.loads(sql(app, CARRIED))
    result = prove(app, MODULE, Case("swap", params(app), look="runuser -u postgres -- psql -XAtc 'SELECT oid, datname"
                                     " FROM pg_database ORDER BY 1'; ls /srv/safe", repeats=True,
                                     result={"tables": 2, "rows": 1100}))  # fmt: skip
    assert json.loads(sql(app, CARRIED)) == before
    assert sql(app, "SELECT count(*) FROM orders; SELECT to_regclass('public.later')", "app") == "1000"
    assert sql(app, "SELECT nextval('shop.orders_id_seq')", "app") == "1001"
    assert sql(app, f"SELECT datallowconn FROM pg_database WHERE datname = '{result['kept']}'") == "f"
    # The kept one holds what was there, and the safety dump too.
    sql(app, f'ALTER DATABASE "{result["kept"]}" ALLOW_CONNECTIONS true')
    assert sql(app, "SELECT count(*) FROM shop.orders", result["kept"]) == "950"
    manifest = json.loads((app.root / result["safety"].lstrip("/") / "manifest.json").read_text())
    assert manifest["tag"] == "emergency" and manifest["verified"]["level"] == "list"
    assert not (app.root / "srv/safe/app/latest").exists()


@pytest.mark.parametrize("stamp", ["20261030T020000Z", "20261031T020000Z"], ids=["directory", "plain.gz"])
def test_each_format(app: LabHost, stamp: str) -> None:
    """A folder that only root may read with two jobs, and compressed SQL."""
    [result] = run_calls(app, [Call(MODULE, params(app, src=f"{FOLDER}/app/{stamp}", jobs=2, safety_backup="no"))])
    assert not result.get("failed"), result["msg"]
    assert result["rows"] == 1100 and result["safety"] == ""
    assert sql(app, "SELECT count(*) FROM shop.orders", "app") == "1000"


BARE = {
    "custom": "pg_dump -Fc app > /srv/bare",
    "tar": "pg_dump -Ft app > /srv/bare",
    "plain": "pg_dump app > /srv/bare",
    "gzip": "pg_dump app | gzip > /srv/bare",
    "custom in gzip": "pg_dump -Fc app | gzip > /srv/bare",
}


@pytest.mark.parametrize("format", BARE)
def test_a_bare_dump_of_any_format(app: LabHost, format: str) -> None:
    app.run(f"cd /; rm -f /srv/bare; runuser -u postgres -- sh -c '{BARE[format].partition(' > ')[0]}' > /srv/bare; "
            "chmod 600 /srv/bare")  # fmt: skip
    sql(app, "DELETE FROM shop.orders", "app")
    given = params(app, src="/srv/bare", safety_backup="no", verify_queries=["SELECT count(*) = 950 FROM shop.orders"])
    [result] = run_calls(app, [Call(MODULE, given)])
    assert not result.get("failed"), result["msg"]
    # Cut in half it is refused before anything is touched.
    app.run("truncate -s $(($(stat -c %s /srv/bare) / 2)) /srv/bare")
    before = look(app)
    [result] = run_calls(app, [Call(MODULE, given)])
    assert "/srv/bare is no whole dump: " in result["msg"] and "nothing was touched" in result["msg"], result
    assert look(app) == before


def test_a_database_that_its_sessions_hold_open_is_exchanged(app: LabHost) -> None:
    """psql refuses to drop the database that it is connected to; here even busy sessions are no obstacle."""
    app.run("systemctl start writer; systemd-run -G --unit idler runuser -u postgres -- psql -c 'BEGIN; LOCK shop.orders "
            "IN ROW SHARE MODE; SELECT pg_sleep(600)' app; sleep 0.5")  # fmt: skip
    [result] = run_calls(app, [Call(MODULE, params(app, writers=["writer"]))])
    app.run("systemctl stop idler", check=False)
    assert not result.get("failed"), result["msg"]
    assert result["stopped"] == ["writer.service"] and result["seconds"] < 60
    app.run("sleep 0.5; systemctl is-active writer; systemctl stop writer")
    assert int(sql(app, "SELECT count(*) FROM shop.orders", "app")) > 1000, "the writer writes into the restored one"
    sql(app, f'ALTER DATABASE "{result["kept"]}" ALLOW_CONNECTIONS true')
    kept = int(sql(app, "SELECT count(*) FROM shop.orders", result["kept"]))
    dumped = app.run(f"pg_restore -f - -t orders --data-only {result['safety']}/app.dump | grep -c '^[0-9]'").stdout
    assert int(dumped) == kept, "the safety dump was made after the writer had been stopped"


def test_a_plain_dump_is_never_loaded_over_a_database(app: LabHost) -> None:
    app.run("cd /; runuser -u postgres -- pg_dump app > /srv/plain.sql")
    before = look(app)
    [result] = run_calls(app, [Call(MODULE, params(app, src="/srv/plain.sql", mode="clean"))])
    assert "a plain dump cannot replace what is there: it would be loaded over it; use mode: swap" in result["msg"]
    assert look(app) == before
    # As an error within a dump ends the restore.
    app.run("sed -i '0,/^CREATE TABLE/s//CREATE TABLE broken (n none);\\n&/' /srv/plain.sql")
    [result] = run_calls(app, [Call(MODULE, params(app, src="/srv/plain.sql"))])
    assert 'psql failed: ERROR:  syntax error at or near "none"' in result["msg"]
    assert "the old database app is in service, untouched" in result["msg"]
    assert look(app) == before


def test_clean_replaces_in_one_transaction(app: LabHost) -> None:
    app.run(
        "systemd-run -G --unit holder runuser -u postgres -- psql -c 'BEGIN; LOCK shop.orders; SELECT pg_sleep(600)' app"
    )
    app.run("sleep 0.3")
    [result] = run_calls(app, [Call(MODULE, params(app, mode="clean", safety_backup="no"))])
    assert not result.get("failed"), result["msg"]
    assert sql(app, "SELECT count(*) FROM shop.orders; SELECT to_regclass('public.later')", "app") == "1000\nlater"
    # What hangs on a table keeps it from being dropped: all is as it was.
    sql(app, "CREATE VIEW seen AS SELECT * FROM shop.orders", "app")
    before = look(app)
    [result] = run_calls(app, [Call(MODULE, params(app, mode="clean"))])
    assert "the transaction was rolled back" in result["msg"] and "other objects depend on it" in result["msg"]
    assert look(app) == before
    sql(app, "DROP VIEW seen", "app")


def test_create_makes_what_is_not_there(app: LabHost) -> None:
    given = {"src": BACKUP, "db": "app_copy", "mode": "create"}
    preview = one(app, Call(MODULE, given, check=True))
    [result, again] = run_calls(app, [Call(MODULE, given)] * 2)
    assert preview["changed"] and preview["diff"] == result["diff"]
    assert result["rows"] == 1100 and result["kept"] == ""
    about = "SELECT pg_get_userbyid(datdba), datcollate FROM pg_database WHERE datname = 'app_copy'"
    assert sql(app, about) == "app|C"
    assert "the database app_copy exists; replace it with mode: swap" in again["msg"]


REFUSED = {
    "no confirmation": ({"confirm": None}, 'to do it, give confirm: "restore app on '),
    "a wrong confirmation": ({"confirm": "yes"}, "'yes' is no confirmation; to do it, give confirm: \"restore app on "),
    "no such backup": ({"src": "/srv/none"}, "/srv/none does not exist: there is nothing to restore"),
    "several backups": ({"src": f"{FOLDER}/app"}, "holds several backups; name one, e.g. /srv/backups/app/latest"),
    "no such database": ({"db": "app_none"}, "there is no database app_none to replace; make it with mode: create"),
    "the server's own": ({"db": "postgres"}, "postgres is a database of the server itself"),
    "a query that is none": ({"verify_queries": ["\\! id"]}, "is no query"),
    "a writer that is none": ({"writers": ["nobody"]}, "the writer nobody.service is no unit of this host"),
    "wrong password": ({"login_host": "127.0.0.1", "login_user": "app", "login_password": "no"},
                       "password authentication failed"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_is_touched(app: LabHost, name: str) -> None:
    given, message = REFUSED[name]
    before = look(app)
    app.run("systemctl start writer" if "writers" in given else "true")
    [result] = run_calls(app, [Call(MODULE, params(app, **given))])
    app.run("systemctl stop writer")
    assert result.get("failed") and message in result["msg"], result
    assert look(app) == before or "writers" in given


def test_what_would_be_lost_is_refused(app: LabHost) -> None:
    sql(app, "ALTER SYSTEM SET wal_level = logical; ALTER SYSTEM SET max_prepared_transactions = 5")
    app.run("systemctl restart postgresql", timeout=60)
    sql(app, "SELECT pg_create_logical_replication_slot('follow', 'test_decoding')", "app")
    try:
        [slot] = run_calls(app, [Call(MODULE, params(app))])
        sql(app, "SELECT pg_drop_replication_slot('follow')")
        sql(app, "CREATE SUBSCRIPTION elsewhere CONNECTION 'host=none' PUBLICATION p WITH (connect = false)", "app")
        [subscription] = run_calls(app, [Call(MODULE, params(app))])
        sql(app, "ALTER SUBSCRIPTION elsewhere SET (slot_name = NONE); DROP SUBSCRIPTION elsewhere", "app")
        sql(app, "BEGIN; DELETE FROM shop.orders; PREPARE TRANSACTION 'half'", "app")
        [prepared] = run_calls(app, [Call(MODULE, params(app))])
    finally:
        sql(app, "ROLLBACK PREPARED 'half'", "app")
        sql(app, "ALTER SYSTEM RESET wal_level; ALTER SYSTEM RESET max_prepared_transactions")
        app.run("systemctl restart postgresql", timeout=60)
    assert "has the logical replication slot follow; drop it first" in slot["msg"]
    assert "has the subscription elsewhere; drop it first" in subscription["msg"]
    assert "has the prepared transaction half; commit it" in prepared["msg"]


def test_damage_and_lies_leave_the_old_one(app: LabHost) -> None:
    app.run("systemctl start writer")
    path = make_backup(app, "app", "20261102T020000Z")
    app.run(f"printf XXXXXXXX | dd of={path}/app.dump bs=1 seek=2000 conv=notrunc 2>/dev/null")
    lying = make_backup(app, "app", "20261103T020000Z", lie=1)
    ids = sql(app, "SELECT oid, datname FROM pg_database ORDER BY 1")
    flipped, lied = run_calls(app, [Call(MODULE, params(app, src=src, writers=["writer"])) for src in (path, lying)])
    assert "the backup is damaged: " in flipped["msg"] and "its sha256 is not the manifest's" in flipped["msg"]
    assert "rows, the manifest says" in lied["msg"] and "the old database app is in service" in lied["msg"]
    assert sql(app, "SELECT oid, datname FROM pg_database ORDER BY 1") == ids
    app.run("systemctl is-active writer; systemctl stop writer")
    app.run(f"rm -rf {path} {lying}; ln -sfn {STAMP} {FOLDER}/app/latest")


def test_a_failure_at_the_last_moment_leaves_the_old_one(app: LabHost) -> None:
    """The exchange itself is refused: a setting of the old database that the server no longer takes."""
    sql(app, "ALTER DATABASE app SET work_mem = '5MB'")
    sql(app, "UPDATE pg_db_role_setting SET setconfig = '{no_such_setting=1}' WHERE setconfig::text LIKE '%work_mem%'")
    app.run("systemctl start writer")
    ids = sql(app, "SELECT oid, datname, datallowconn FROM pg_database ORDER BY 1")
    [result] = run_calls(app, [Call(MODULE, params(app, writers=["writer"]))])
    assert 'unrecognized configuration parameter "no_such_setting"' in result["msg"], result
    assert "the old database app is in service, untouched" in result["msg"]
    assert sql(app, "SELECT oid, datname, datallowconn FROM pg_database ORDER BY 1") == ids
    app.run("systemctl is-active writer; systemctl stop writer")
    sql(app, "DELETE FROM pg_db_role_setting WHERE setconfig::text LIKE '%no_such%'")


def test_a_killed_run_leaves_the_old_one_and_the_next_sweeps(app: LabHost) -> None:
    """The agent dies while it restores beside; an interrupted one cleans up by itself."""
    ids = sql(app, "SELECT oid, datname FROM pg_database ORDER BY 1")
    slow = {"before_swap": ["sleep 60"], "writers": ["writer"]}
    app.run("systemctl start writer")
    [result] = run_calls(app, [Call(MODULE, params(app, **slow), interrupt_after=8)])
    assert result.get("cancelled"), result
    assert sql(app, "SELECT oid, datname FROM pg_database ORDER BY 1") == ids
    app.run("systemctl is-active writer; systemctl stop writer")
    mark = 'COMMENT ON DATABASE "%s" IS ' + "'" + _database.UNDER_WAY + "'"
    marked, empty, strange, other = "app_new_20260101T000001", "app_new_20260101T000002", "app_new_20260101T000003", "apple_new_20260101T000004"
    for name in (marked, empty, strange, other):
        sql(app, f'CREATE DATABASE "{name}"')
    sql(app, f"{mark % marked}; {mark % other}")
    sql(app, "CREATE TABLE wanted (n int)", strange)
    [result] = run_calls(app, [Call(MODULE, params(app))])
    for name in (marked, empty):
        assert f"the database {name}, half restored by a run that was killed, was removed" in result["warnings"]
    assert any(strange in text and "it stays" in text for text in result["warnings"])
    there = databases(app)
    assert strange in there and other in there, "another database's restore may be at work"
    assert marked not in there and empty not in there


def test_too_little_room_is_seen_before(app: LabHost) -> None:
    path = f"{FOLDER}/app/{STAMP}/manifest.json"
    text = (app.root / path.lstrip("/")).read_text()
    data = json.loads(text)
    data["database"]["size"] = 1 << 50
    (app.root / path.lstrip("/")).write_text(json.dumps(data))
    before = look(app)
    [result] = run_calls(app, [Call(MODULE, params(app))])
    (app.root / path.lstrip("/")).write_text(text)
    assert "app.dump needs 1073741" in result["msg"] and "make room, nothing was touched" in result["msg"]
    assert look(app) == before


def test_encrypted_for_age_and_gpg(app: LabHost) -> None:
    app.run("rm -rf /run/keys; mkdir -m 700 /run/keys; age-keygen -o /run/keys/age 2>/dev/null; export GNUPGHOME=/run/keys/gpg;"
            "mkdir -m 700 $GNUPGHOME; gpg --batch --quiet --passphrase sesame --quick-gen-key backup default default never;"
            "gpg --batch --pinentry-mode loopback --passphrase sesame --armor --export-secret-keys backup > /run/keys/secret;"
            "gpgconf --kill all", timeout=60)  # fmt: skip
    key, secret = (app.run(f"cat /run/keys/{name}").stdout for name in ("age", "secret"))
    age = "age -r $(grep -o 'age1.*' /run/keys/age)>age"
    gpg = "gpg --homedir /run/keys/gpg --batch --quiet --trust-model always -r backup -e>gpg"
    app.run("touch /run/mark")
    opened = {"key_passphrase": "sesame"}
    for method, identity, other in ((age, {"identity": key}, {"key": secret, **opened}),
                                    (gpg, {"key": secret, **opened}, {"key": key, **opened})):  # fmt: skip
        path = make_backup(app, "app", "20261104T020000Z", encrypt=method)
        without, wrong, right = run_calls(app, [
            Call(MODULE, params(app, src=path, safety_backup="no", jobs=2, **given))
            for given in ({}, other, identity)])  # fmt: skip
        assert "give the private key as `key`" in without["msg"]
        assert "nothing" in wrong["msg"] or "cannot be read" in wrong["msg"] or "does not take" in wrong["msg"], wrong
        assert not right.get("failed"), right["msg"]
        assert right["rows"] == 1050
    # A folder's files are encrypted one by one.
    path = make_backup(app, "app", "20261104T020000Z", "directory")
    app.run(f"cd {path}/app.dir; for f in *; do age -r $(grep -o 'age1.*' /run/keys/age) -o $f.age $f; rm $f; done")
    describe(app, path)
    [right] = run_calls(app, [Call(MODULE, params(app, src=path, safety_backup="no", jobs=2, identity=key))])
    assert not right.get("failed"), right["msg"]
    assert right["rows"] == 1050
    left = app.run(
        "find /run /tmp /srv /var/tmp /dev/shm -newer /run/mark -name '.opsplay-*'; pgrep -a gpg-agent || true"
    ).stdout
    assert left == ""
    app.run(f"rm -rf /run/keys {path}; ln -sfn {STAMP} {FOLDER}/app/latest")


def test_lists_of_names_in_settings() -> None:
    value = _database.setting_value
    assert value("search_path", 'shop, "$user", public') == "'shop', '$user', 'public'"
    assert value("search_path", '"a""b, c", ""') == "'a\"b, c', ''"
    assert value("work_mem", "5MB") == "'5MB'"
    assert _database.short("x" * 70, "_old_20261128T020000") == "x" * 43 + "_old_20261128T020000"
