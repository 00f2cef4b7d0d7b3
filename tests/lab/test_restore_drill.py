"""playbooks/restore_drill.yml: the newest set comes back on a staging host, or a failure is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.control import ALERT, install, told
from tests.lab.driver import ROOT, Driver, Outcome, leftovers, wait_until
from tests.lab.quick_lab import QuickLab
from tests.lab.test_disaster import key
from tests.modules.databases import sql
from tests.modules.pg_backups import describe
from tests.unit.test_recovery_actions import Sink, webhook  # noqa: F401

pytestmark = pytest.mark.lab

GROUPS = "[service]\ndb1\n[backup_store]\nst1\n[staging]\nst1\n"
SAMPLE = """CREATE TABLE users AS SELECT n AS id, now() - interval '3 hours' AS created_at
  FROM generate_series(1, 40) n;
CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS what, now() AS created_at FROM generate_series(1, 5000) n"""
FETCHED, STORED, LYING = "/var/backups/opsplay-drill", "/srv/backup-store/shop", "/srv/lying"
EXPECT: dict[str, Any] = {
    "shop": {"tables": ["orders", "users"], "min_rows": {"orders": 1, "users": 1},
             "fresh": {"orders.created_at": 2, "users.created_at": 26}},
}  # fmt: skip
ONE_STORED = f"file=$(ls -d {STORED}/2*/shop/2*/shop.dump.age | tail -n 1)"
LOCAL = "[backup_store]\nst1 ansible_host=%s\n[staging]\nst1\n[all:vars]\nansible_connection=local\n"
# Names, sizes and times of all files of the databases; the server writes none of them while nobody changes anything.
FILES = "cd /var/lib/postgresql/15/main; find base global ! -name pg_control -printf '%p %s %T@\\n' | sort | sha256sum"
DATABASES = "SELECT oid, datname FROM pg_database ORDER BY 1; SELECT pg_postmaster_start_time()"
ROWS = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM users)"


class Site:
    """A production host with a database, and a host that keeps its sets and restores them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.production: LabHost = lab.hosts["db1"]
        self.staging: LabHost = lab.hosts["st1"]
        self.folder, self.driver = folder, Driver(folder, lab)
        (folder / "groups.ini").write_text(GROUPS)
        (secret, public), (fetch, fetch_public) = key(folder, "opens"), key(folder, "fetches")
        self.values: dict[str, Any] = {
            "backup_name": "shop", "backup_databases": {"database": {"db": "shop"}, "roles": {"content": "globals"}},
            "backup_encrypt": {"method": "age", "recipients": [public]}, "offsite_read_keys": [fetch_public],
            "pg_backup_hosts": "db1", "pg_backup_dbs": ["shop"], "pg_backup_dir": "/srv/plain",
            "pg_backup_globals": False,
            "drill_key": secret, "drill_store_key": fetch, "drill_expect": EXPECT, "drill_metrics_dir": "/srv/metrics",
        }  # fmt: skip
        self.secrets = [secret.splitlines()[3], fetch.splitlines()[3]]

    def run(self, playbook: str, *words: str, **values: Any) -> Outcome:
        given = json.dumps({**self.values, **values})
        more = ["-i", str(self.folder / "groups.ini"), "-e", given, *words]
        return self.driver.run(ROOT / f"playbooks/{playbook}.yml", *more, timeout=240)

    def serve(self) -> None:
        """The production database, a set of it in the store, and a plain backup that lies on the staging host."""
        for host in (self.production, self.staging):
            host.run("systemctl start postgresql@*; pg_lsclusters -h", timeout=60)
        sql(self.production, "ALTER SYSTEM SET autovacuum = off")
        sql(self.production, "SELECT pg_reload_conf()")
        sql(self.production, "CREATE DATABASE shop")
        sql(self.production, SAMPLE, "shop")
        for playbook in ("backup_store", "full_backup", "pg_backup"):
            done = self.run(playbook)
            assert done.code == 0, done.out + done.err
        sql(self.production, ROWS, "shop")
        sql(self.production, "CHECKPOINT")

    def at_rest(self) -> tuple[str, str]:
        """Production as it is: its files, its databases, how long it has run."""
        databases = sql(self.production, DATABASES)
        sql(self.production, "CHECKPOINT")
        return self.production.run(FILES).stdout, databases

    def metric(self, name: str) -> float:
        lines = self.staging.run("cat /srv/metrics/opsplay_restore_drill_shop.prom").stdout.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"opsplay_restore_drill_{name}{{"))

    def clean(self) -> None:
        """No scratch cluster, no hidden folder, no agent is left on the staging host."""
        assert self.staging.run("pgrep -fa '^[^ ]*postgres -D .*opsplay'", check=False).stdout == ""
        assert leftovers(self.staging) == []

    def lie(self) -> Path:
        """The plain backup on the staging host, as it was made; its folder seen from here."""
        source = next(path for path in (self.production.root / "srv/plain/shop").iterdir() if path.name[0] == "2")
        target = self.staging.root / LYING.lstrip("/")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target / "20260101T000000Z")
        return target / "20260101T000000Z"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("drilled") as lab:
        lab.up({"db1": HostSpec(image="full"), "st1": HostSpec(image="full")})
        here = Site(lab, tmp_path_factory.mktemp("drilled"))
        here.serve()
        yield here


def test_a_preview_touches_nothing(site: Site) -> None:
    done = site.run("restore_drill", "--check")
    assert done.code == 0, done.out + done.err
    assert done.changed() >= {("st1", "The newest set, from the store")}
    assert site.staging.run(f"ls -d {FETCHED} /srv/metrics", check=False).stdout == ""


def test_the_newest_set_comes_back(site: Site, webhook: int) -> None:  # noqa: F811
    before = site.at_rest()
    for _ in range(2):
        done = site.run("restore_drill", drill_notify=[f"json://127.0.0.1:{webhook}/told"])
        assert done.code == 0, done.out + done.err
        assert site.at_rest() == before
        site.clean()
    assert sql(site.production, ROWS, "shop") == "5000|40"
    assert "db1" not in {event.get("host") for event in done.events}, "production is not spoken to"
    (folder,) = site.staging.run(f"ls -d {FETCHED}/shop/2*/shop/2*").stdout.split()
    proof = json.loads(site.staging.run(f"cat {folder}/proven.json").stdout)
    assert (proof["rows"], proof["level"], proof["by"]) == (5040, "restore", "st1")
    assert site.metric("success") == 1 and site.metric("last_success_timestamp_seconds") > 1e9
    assert Sink.got == []
    for secret in site.secrets:
        assert secret not in done.out + done.err + json.dumps(done.events)
        look = ["grep", "-rlF", secret, "/srv", "/run", "/tmp", "/var", "/root"]
        assert site.staging.run(look, check=False, timeout=60).stdout == ""


def test_sets_of_earlier_drills_go(site: Site) -> None:
    """Also a tagged one: it is a copy."""
    old = site.staging.run(f"ls {FETCHED}/shop").stdout.split()
    manifest = f"{FETCHED}/shop/{old[0]}/manifest.json"
    site.staging.run(f"""sed -i 's/"tag": ""/"tag": "before-2.0"/' {manifest}; grep before-2.0 {manifest}""")
    assert site.run("full_backup").code == 0
    done = site.run("restore_drill")
    assert done.code == 0, done.out + done.err
    (now,) = site.staging.run(f"ls {FETCHED}/shop").stdout.split()
    assert now not in old


def test_a_backup_that_lies_there_already(site: Site) -> None:
    site.lie()
    done = site.run("restore_drill", drill_set=f"{LYING}/20260101T000000Z", drill_store_key="", backup_name="plain")
    assert done.code == 0, done.out + done.err
    found = site.staging.run(f"ls {LYING}/20260101T000000Z").stdout.split()
    assert found == ["manifest.json", "manifest.json.sig", "proven.json", "shop.dump"]


def test_sunday_at_three(site: Site) -> None:
    """The timer's own unit runs it, from a vault whose password lies there; when it fails its alert reaches people."""
    host, inventory, vault = site.staging, "/etc/opsplay/inventory", site.folder / "vault.json"
    vault.write_text(json.dumps({name: site.values[name] for name in ("drill_key", "drill_store_key")}))
    password = site.folder / "password"
    password.write_text("opens the vault")
    encrypt = site.driver.command("vault", "encrypt", "--vault-password-file", str(password), str(vault))
    subprocess.run(encrypt, check=True, env=site.driver.environment())
    host.run(f"mkdir -p {inventory}/group_vars/all; cat > {inventory}/hosts.ini", stdin=LOCAL % host.address)
    host.run(f"cat > {inventory}/group_vars/all/vault.json", stdin=vault.read_text())
    plain = {name: value for name, value in site.values.items() if name not in ("drill_key", "drill_store_key")}
    host.run(f"cat > {inventory}/group_vars/all/plain.json", stdin=json.dumps(plain))
    host.run("umask 077; printf 'opens the vault' > /etc/opsplay/password")
    values = {
        "backup_schedule_hosts": "st1", "backup_schedule_inventory": inventory, "backup_schedule_alert": ALERT,
        "backup_schedule_program": install(host), "backup_schedule_restores": True,
        "backup_schedule_options": ["--vault-password-file", "/etc/opsplay/password"],
    }  # fmt: skip
    done = site.run("backup_schedule", **values)
    assert done.code == 0, done.out + done.err
    timer = host.run("systemctl list-timers --all --no-legend opsplay-restore-drill.timer").stdout
    assert timer.startswith("Sun ") and " 03:00:00 " in timer
    start = ["systemctl", "start", "opsplay-restore-drill.service"]
    ended = host.run(start, check=False, timeout=120).returncode
    assert ended == 0, host.run("journalctl -u opsplay-restore-drill --no-pager | tail -n 60").stdout
    assert site.metric("success") == 1 and told(host) == []
    host.run(f"rm -rf {FETCHED}; {ONE_STORED}; cp -a $file /root/whole; truncate -s 3000 $file")
    try:
        assert host.run(start, check=False, timeout=120).returncode != 0
        wait_until(lambda: told(host), 30, "the alert arrives")
    finally:
        host.run(f"{ONE_STORED}; cp -a /root/whole $file")
    assert told(host) == ["opsplay-restore-drill.service has failed"] and site.metric("success") == 0
    for secret in site.secrets:
        look = ["grep", "-rlF", secret, "/etc", "/srv", "/run", "/tmp", "/var", "/root"]
        assert host.run(look, check=False, timeout=60).stdout == ""
    site.clean()


def edited(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads((folder / "manifest.json").read_text())
    change(data)
    (folder / "manifest.json").write_text(json.dumps(data))


def truncated(site: Site, folder: Path) -> None:
    """Cut off, with a manifest that agrees: only the restore itself can find out."""
    size = (folder / "shop.dump").stat().st_size
    os.truncate(folder / "shop.dump", size * 2 // 3)
    describe(site.staging, f"{LYING}/{folder.name}")


def other_rows(_site: Site, folder: Path) -> None:
    edited(folder, lambda data: data["database"]["tables"][0].update(rows=5001))


def old(_site: Site, folder: Path) -> None:
    edited(folder, lambda data: data.update(finished="2025-01-01T00:00:00Z"))


def nothing(_site: Site, _folder: Path) -> None:
    """It stays as it is."""


@dataclass(frozen=True)
class Failure:
    """What is done to a backup that lies on the staging host, or there beforehand, and what is said of it."""

    name: str
    said: str
    spoil: Callable[[Site, Path], None] = nothing
    before: str = "true"
    after: str = "true"
    values: dict[str, Any] = field(default_factory=dict)
    fetched: bool = False

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


LITTLE = "mkdir -p {0}; mount -t tmpfs -o size={1} tmpfs {0}"
FAILURES = [
    Failure("truncated in the store", "what came is refused: ", fetched=True,
            before=f"{ONE_STORED}; cp -a $file /root/whole; truncate -s 3000 $file",
            after=f"{ONE_STORED}; cp -a /root/whole $file"),
    Failure("truncated before it was described", "is no good backup: pg_restore failed: ", truncated),
    Failure("other rows than the manifest", "rows, the manifest says 5001", other_rows),
    Failure("old", "more than max_age 26", old),
    Failure("nothing new in it", "the newest value of users.created_at is 3.",
            values={"drill_expect": {"shop": {"fresh": {"users.created_at": 2}}}}),
    Failure("too few rows", "public.users has 40 rows, less than min_rows 41",
            values={"drill_expect": {"shop": {"min_rows": {"users": 41}}}}),
    Failure("a table is missing", "the table public.sales is missing",
            values={"drill_expect": {"shop": {"tables": ["sales"]}}}),
    Failure("a database is missing", "holds the databases shop; drill_expect names sales",
            values={"drill_expect": {"sales": {}}}),
    Failure("no room for the restore", "/srv/little has 4.0 MiB free, and a restore of shop needs ",
            before=LITTLE.format("/srv/little", "4m"), after="umount /srv/little",
            values={"drill_scratch_dir": "/srv/little"}),
    Failure("no room for the set", "nothing was fetched", fetched=True,
            before=LITTLE.format(FETCHED, "32k"), after=f"umount {FETCHED}"),
    Failure("another key", "age failed: ", fetched=True, values={"drill_key": "another"}),
    Failure("no key to the store", "not begun; give drill_store_key", fetched=True, values={"drill_store_key": ""}),
    Failure("a host that serves", "st1 serves: it is in the group staging; no drill there",
            values={"production_hosts": "staging"}),
    Failure("no backup there", "manifest.json", values={"drill_set": "/srv/nowhere"}),
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_failure_is_told_and_leaves_nothing(site: Site, webhook: int, failure: Failure) -> None:  # noqa: F811
    """An alert, the metric 0, the last success as it was, no cluster, and an exit code; production as it was."""
    before, success = site.at_rest(), site.metric("last_success_timestamp_seconds")
    site.staging.run(f"rm -rf {FETCHED}; {failure.before}")
    folder = site.lie()
    failure.spoil(site, folder)
    values = {} if failure.fetched else {"drill_set": f"{LYING}/{folder.name}"}
    values.update(failure.values)
    if values.get("drill_key"):
        values["drill_key"] = key(Path(site.driver.directory), "another")[0]
    try:
        done = site.run("restore_drill", drill_notify=[f"json://127.0.0.1:{webhook}/told"], **values)
    finally:
        site.staging.run(failure.after)
    assert done.code == 2 and failure.said in done.out, done.out + done.err
    (message,) = Sink.got
    assert message["title"] == "shop: the backup did not come back on st1" and failure.said in message["message"]
    assert site.metric("success") == 0 and site.metric("last_success_timestamp_seconds") == success
    assert not (folder / "proven.json").exists()
    assert site.at_rest() == before
    site.clean()
