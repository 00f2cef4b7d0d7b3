"""The playbooks that bring data back, as a user runs them: with writers at work, with faults, and with a failover."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.driver import ROOT, Driver, Outcome, leftovers, wait_until
from tests.lab.quick_lab import QuickLab

pytestmark = pytest.mark.lab

BACKUPS = "/var/backups/postgresql"
ROWS = 200_000
SCHEMA = f"""CREATE SCHEMA shop; CREATE TABLE shop.customers (id serial PRIMARY KEY, name text);
CREATE TABLE shop.orders (id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES shop.customers, total int);
INSERT INTO shop.customers (name) SELECT 'customer ' || n FROM generate_series(1, 100) n;
INSERT INTO shop.orders (customer, total) SELECT 1 + n % 100, n FROM generate_series(1, {ROWS}) n;"""
WRITER = """[Service]
ExecStart=/bin/sh -c 'while :; do runuser -u postgres -- psql -XAtqc "INSERT INTO shop.orders (customer, total)\\
 VALUES (1, -5)" app >/dev/null 2>&1; sleep 0.1; done'
"""


class Site:
    """Two database hosts and the playbooks."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.db1, self.db2 = lab.hosts["db1"], lab.hosts["db2"]
        self.driver = Driver(folder, lab)

    def run(self, playbook: str, *arguments: str, **values: Any) -> Outcome:
        path = self.driver.directory / "values.yml"
        path.write_text(yaml.safe_dump(values))
        return self.driver.run(ROOT / "playbooks" / playbook, "-e", f"@{path}", *arguments, timeout=400)

    def restore(self, *arguments: str, **values: Any) -> Outcome:
        given = {"pg_restore_hosts": "db1", "pg_restore_db": "app", "pg_restore_writers": ["writer"],
                 "pg_restore_confirm": "restore app on db1", **values}  # fmt: skip
        return self.run("restore.yml", *arguments, **given)


def sql(host: LabHost, text: str, database: str = "postgres") -> str:
    argv = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", database]
    return host.run(argv, stdin=text, timeout=120).stdout.strip()


def said(outcome: Outcome) -> str:
    return outcome.out + outcome.err


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("rest") as lab:
        lab.up({"db1": HostSpec(image="full"), "db2": HostSpec(image="full")})
        for host in lab.hosts.values():
            # Made anew, its data directory lies in no lower layer of the host's root and can be renamed.
            host.run("pg_dropcluster 15 main --stop; pg_createcluster 15 main --start >/dev/null", timeout=60)
        yield Site(lab, tmp_path_factory.mktemp("restores"))


@pytest.fixture
def app(site: Site) -> Iterator[Site]:
    """A database on a small disk of its own, a writer at work, a backup of it, and a loss since then."""
    db1 = site.db1
    db1.run("mkdir -p /srv/small; mountpoint -q /srv/small || mount -t tmpfs -o size=100m tmpfs /srv/small;"
            "chown postgres /srv/small; cat > /run/systemd/system/writer.service; systemctl daemon-reload",
            stdin=WRITER)  # fmt: skip
    sql(db1, "CREATE TABLESPACE small LOCATION '/srv/small'")
    sql(db1, "CREATE DATABASE app TABLESPACE small")
    sql(db1, SCHEMA, "app")
    made = site.run("pg_backup.yml", pg_backup_hosts="db1", pg_backup_dbs=["app"], pg_backup_globals=False)
    assert made.code == 0, said(made)
    yield site
    db1.run("systemctl stop writer", check=False)
    for name in sql(db1, "SELECT datname FROM pg_database WHERE datname LIKE 'app%'").split():
        sql(db1, f'DROP DATABASE "{name}" WITH (FORCE)')
    sql(db1, "DROP TABLESPACE small")
    db1.run(f"umount /srv/small; rm -rf {BACKUPS}")


def oid(host: LabHost) -> str:
    return sql(host, "SELECT oid FROM pg_database WHERE datname = 'app'")


def newest(host: LabHost) -> Path:
    return host.root / host.run(f"readlink -f {BACKUPS}/app/latest").stdout.strip().lstrip("/")


def test_a_restore_with_writers_at_work(app: Site) -> None:
    db1 = app.db1
    sql(db1, "DELETE FROM shop.orders WHERE id > 1000", "app")
    db1.run("systemctl start writer")
    before = oid(db1)
    refused = app.restore(pg_restore_confirm="yes")
    assert refused.code != 0 and 'give confirm: "restore app on db1"; nothing was touched' in said(refused)
    preview = app.restore("--check", "--diff", pg_restore_confirm=None)
    assert preview.code == 0, said(preview)
    assert f"2 tables with {ROWS + 100} rows" in said(preview) and "app_old_<time>" in said(preview)
    assert oid(db1) == before and db1.run("systemctl is-active writer").stdout == "active\n"

    done = app.restore(pg_restore_migrations=["psql -qc 'CREATE TABLE shop.migrated (n int)'"])
    assert done.code == 0, said(done)
    result = done.results("db1")["Restore, prove, exchange"]["data"]
    assert result["rows"] == ROWS + 100 and result["stopped"] == ["writer.service"]
    assert oid(db1) != before
    assert sql(db1, "SELECT to_regclass('shop.migrated'); SELECT count(*) FROM shop.orders WHERE total >= 0", "app") \
        == f"shop.migrated\n{ROWS}"  # fmt: skip
    count = "SELECT count(*) FROM shop.orders WHERE total = -5"
    wait_until(lambda: int(sql(db1, count, "app")) > 0, 10, "the writer writes into the restored database")
    assert sql(db1, f"SELECT datallowconn FROM pg_database WHERE datname = '{result['kept']}'") == "f"
    # What was dumped just before is an emergency's: the next restore does not choose it, and neither a later one.
    assert json.loads((db1.root / result["safety"].lstrip("/") / "manifest.json").read_text())["tag"] == "emergency"
    again = app.restore("--check", "--diff", pg_restore_confirm=None)
    assert result["safety"] not in said(again) and str(newest(db1).name) in said(again)
    early = app.restore(pg_restore_before="2020-01-01T00:00:00Z")
    assert early.code != 0 and "there is no verified backup from before 2020-01-01" in said(early)
    assert leftovers(db1) == []


def test_faults_leave_the_application_on_the_old_database(app: Site) -> None:
    db1 = app.db1
    db1.run("systemctl start writer")
    before = oid(db1)
    folder = newest(db1)
    manifest = (folder / "manifest.json").read_text()
    whole = (folder / "app.dump").read_bytes()

    wrong = app.restore(pg_restore_login={"login_host": "127.0.0.1", "login_user": "postgres", "login_password": "no"})
    assert wrong.code != 0 and "password authentication failed" in said(wrong)
    (folder / "app.dump").write_bytes(whole[: len(whole) // 2])
    cut = app.restore()
    assert cut.code != 0 and "the backup is damaged" in said(cut)
    (folder / "app.dump").write_bytes(whole)
    room = app.restore(pg_restore_safety="no", pg_restore_src=big(db1, manifest, folder, 1 << 40))
    assert room.code != 0 and "make room, nothing was touched" in said(room)
    # The disk gets full while the new one is being restored: the manifest says that it is small.
    db1.run("head -c $(($(df --output=avail -B1 /srv/small | tail -1) - 18000000)) /dev/zero > /srv/small/ballast")
    full = app.restore(pg_restore_safety="no", pg_restore_src=big(db1, manifest, folder, 1))
    assert full.code != 0 and "No space left on device" in said(full), said(full)
    assert "the old database app is in service, untouched" in said(full)
    assert oid(db1) == before and sql(db1, "SELECT count(*) FROM pg_database WHERE datname ~ '^app_'") == "0"
    db1.run("rm /srv/small/ballast; systemctl is-active writer")
    count = int(sql(db1, "SELECT count(*) FROM shop.orders", "app"))
    wait_until(lambda: int(sql(db1, "SELECT count(*) FROM shop.orders", "app")) > count, 10, "the writer goes on")
    assert leftovers(db1) == []


def big(host: LabHost, manifest: str, folder: Path, size: int) -> str:
    data = json.loads(manifest)
    data["database"]["size"] = size
    (folder / "manifest.json").write_text(json.dumps(data))
    return f"{BACKUPS}/app/{folder.name}"


def test_exactly_the_deleted_rows_of_a_table(app: Site) -> None:
    db1 = app.db1
    sql(db1, "DELETE FROM shop.orders WHERE id BETWEEN 70001 AND 70100", "app")
    sql(db1, "UPDATE shop.orders SET total = -1 WHERE id <= 10", "app")
    values: dict[str, Any] = {"pg_table_hosts": "db1", "pg_table_db": "app", "pg_table_names": ["shop.orders"]}
    preview = app.run("table_restore.yml", "--check", **values)
    done = app.run("table_restore.yml", **values)
    again = app.run("table_restore.yml", **values)
    assert (preview.code, done.code, again.code) == (0, 0, 0), said(done)
    for outcome in (preview, done):
        found = outcome.results("db1")["Bring the rows back"]["data"]["tables"]["shop.orders"]
        assert (found["inserted"], found["different"], found["updated"]) == (100, 10, 0)
    assert again.recap("db1")["changed"] == 0
    counts = "SELECT count(*), count(*) FILTER (WHERE total = -1), sum(total) FILTER (WHERE id BETWEEN 70001 AND 70100)"
    assert sql(db1, f"{counts} FROM shop.orders", "app") == f"{ROWS}|10|{sum(range(70001, 70101))}"
    assert sql(db1, "SELECT nextval('shop.orders_id_seq')", "app") == str(ROWS + 1)


def test_back_to_a_second_between_two_commits(site: Site) -> None:
    db2 = site.db2
    values: dict[str, Any] = {"pitr_hosts": "db2", "pitr_archive": "/srv/wal", "pitr_bases": "/srv/base"}
    ready = site.run("pitr.yml", "--tags", "archive", **values)
    assert ready.code == 0, said(ready)
    sql(db2, "CREATE TABLE kept (n int); CREATE TABLE dropped (n int); INSERT INTO kept VALUES (1)")
    time.sleep(1.5)
    target = sql(db2, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || '+00'")
    time.sleep(1.5)
    sql(db2, "INSERT INTO kept VALUES (2); DROP TABLE dropped")
    later = site.run("pitr.yml", "--tags", "archive", **values)
    assert later.code == 0, said(later)
    started = sql(db2, "SELECT pg_postmaster_start_time()")
    unconfirmed = site.run("pitr.yml", "--tags", "recover", pitr_target=target, **values)
    assert unconfirmed.code != 0 and 'confirm: "recover 15/main on db2"' in said(unconfirmed)
    values["pitr_confirm"] = "recover 15/main on db2"
    zoneless = site.run("pitr.yml", "--tags", "recover", pitr_target=target[:-3], **values)
    assert zoneless.code != 0 and "has no time zone" in said(zoneless)
    assert sql(db2, "SELECT pg_postmaster_start_time()") == started
    done = site.run("pitr.yml", "--tags", "recover", pitr_target=target, **values)
    assert done.code == 0, said(done)
    assert sql(db2, "SELECT n FROM kept; SELECT count(*) FROM dropped; SELECT pg_is_in_recovery()") == "1\n0\nf"
    assert db2.run("ls -d /var/lib/postgresql/15/main_old_* /srv/wal/00000002.history | wc -l").stdout == "2\n"
    assert len(db2.run("ls -d /srv/base/server/2*").stdout.split()) == 3, "a fresh base backup was made"
    assert leftovers(db2) == []


OBSERVER = """while :; do a=0; b=0
psql -XAtqc "INSERT INTO seen VALUES (1)" "host=%s user=app connect_timeout=1" >/dev/null 2>&1 && a=1
psql -XAtqc "INSERT INTO seen VALUES (2)" "host=%s user=app connect_timeout=1" >/dev/null 2>&1 && b=1
echo "$a $b" >> /srv/seen; sleep 0.05; done
"""


def test_a_failover_never_has_two_writers(site: Site) -> None:
    db1, db2 = site.db1, site.db2
    db2.run("rm -rf /srv/wal /srv/base")
    values: dict[str, Any] = {"pg_failover_primary": "db1", "pg_failover_standby": "db2", "pg_failover_password": "p'w"}
    phrase = f"make 15/main follow {db1.address} on db2"
    setup = site.run("pg_failover.yml", "--tags", "setup", pg_failover_confirm=phrase, **values)
    assert setup.code == 0, said(setup)
    again = site.run("pg_failover.yml", "--tags", "setup", **values)
    assert again.code == 0 and not again.changed(), said(again)
    for host in (db1, db2):
        host.run("sed -i '1i host all app 0.0.0.0/0 trust' /etc/postgresql/15/main/pg_hba.conf")
        host.run("pg_ctlcluster 15 main reload")
    sql(db1, "CREATE ROLE app LOGIN; CREATE DATABASE app OWNER app")
    sql(db1, "CREATE TABLE seen (n int); GRANT ALL ON seen TO app", "app")
    check = site.run("pg_failover.yml", "--tags", "check", **values)
    assert check.code == 0, said(check)

    db2.run(["systemd-run", "--unit", "observer", "sh", "-c", OBSERVER % (db1.address, db2.address)])
    seen = db2.root / "srv/seen"
    wait_until(lambda: "1 0" in seen.read_text() if seen.exists() else False, 20, "db1 takes writes")
    early = site.run("pg_failover.yml", "--tags", "promote", pg_failover_confirm="promote 15/main on db2", **values)
    assert early.code != 0 and "still takes writes; fence it first" in said(early)
    unconfirmed = site.run("pg_failover.yml", "--tags", "failover", **values)
    assert unconfirmed.code != 0 and db1.run("pg_lsclusters -h").stdout.split()[3] == "online"
    values["pg_failover_confirm"] = "promote 15/main on db2"
    apps = {"pg_failover_apps": "db2", "pg_failover_env_file": "/srv/app.env", "pg_failover_env": {"DB_HOST": "db2"}}
    done = site.run("pg_failover.yml", "--tags", "failover", **values, **apps)
    assert done.code == 0, said(done)
    wait_until(lambda: "0 1" in seen.read_text(), 20, "db2 takes writes")
    values["pg_failover_confirm"] = f"make 15/main follow {db2.address} on db1"
    rejoin = site.run("pg_failover.yml", "--tags", "rejoin", **values)
    assert rejoin.code == 0, said(rejoin)
    time.sleep(1)
    db2.run("systemctl stop observer")
    lines = seen.read_text().splitlines()
    assert "1 1" not in lines
    assert lines[0] == "1 0" and lines[-1] == "0 1"
    # No write that was acknowledged is lost, and the old primary follows.
    for place in ("1", "2"):
        wanted = sum(line.split()[int(place) - 1] == "1" for line in lines)
        assert int(sql(db2, f"SELECT count(*) FROM seen WHERE n = {place}", "app")) >= wanted
    count = sql(db2, "SELECT count(*) FROM seen", "app")
    wait_until(lambda: sql(db1, "SELECT count(*) FROM seen", "app") == count, 20, "db1 follows")
    assert (db2.root / "srv/app.env").read_text() == "DB_HOST=db2\n"
