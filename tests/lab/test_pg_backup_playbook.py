"""playbooks/pg_backup.yml, backup_verify.yml and backup_schedule.yml as a user runs them, with faults at every step."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.driver import ROOT, Driver, Outcome, leftovers, wait_until
from tests.lab.quick_lab import QuickLab
from tests.modules.databases import listing, manifest, rows_of, sql

pytestmark = pytest.mark.lab

BACKUP, VERIFY, SCHEDULE = (
    ROOT / "playbooks" / f"{name}.yml" for name in ("pg_backup", "backup_verify", "backup_schedule")
)
DUMP, GOOD = "Dump, prove, publish", "The newest one of each is good"
DIR = "/var/backups/shop"
ROWS = 200_000


class Shop:
    """A database host with 200,000 rows, and the inventory for the playbooks."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.db: LabHost = lab.hosts["db1"]
        self.db.run("systemctl start postgresql@*; pg_lsclusters -h", timeout=60)
        sql(self.db, "CREATE DATABASE shop")
        sql(
            self.db,
            "CREATE TABLE orders AS SELECT n AS id, repeat(md5(n::text), 8) AS what, now() AS at"
            f" FROM generate_series(1, {ROWS}) n; CREATE TABLE users AS SELECT generate_series(1, 10) AS id",
            "shop",
        )
        self.driver = Driver(folder, lab)
        self.values: dict[str, Any] = {
            "pg_backup_hosts": "db1", "backup_verify_hosts": "db1", "pg_backup_dbs": ["shop"], "pg_backup_dir": DIR,
            "pg_backup_globals": False, "pg_backup_metrics_dir": "/srv/metrics",
        }  # fmt: skip

    def arguments(self, values: dict[str, Any]) -> list[str]:
        path = self.driver.directory / f"values-{len(list(self.driver.directory.iterdir()))}.yml"
        path.write_text(yaml.safe_dump({**self.values, **values}))
        return ["-e", f"@{path}"]

    def run(self, playbook: Path, *arguments: str, **values: Any) -> Outcome:
        return self.driver.run(playbook, *self.arguments(values), *arguments, timeout=240)

    def failing(self, **values: Any) -> str:
        """A backup that must fail and leave everything as it was; its message."""
        before = listing(self.db, DIR)
        outcome = self.run(BACKUP, **values)
        assert outcome.code != 0, outcome.out
        assert listing(self.db, DIR) == before
        assert leftovers(self.db) == []
        assert self.metric("opsplay_backup_success") == 0
        return str(messages(outcome, DUMP))

    def metric(self, name: str, file: str = "opsplay_backup_shop") -> float:
        lines = self.db.run(f"cat /srv/metrics/{file}.prom").stdout.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name + "{"))

    def latest(self) -> str:
        return self.db.run(f"readlink {DIR}/shop/latest").stdout.strip()

    def meanwhile(self, script: str) -> None:
        """Run a script on the host while the dump stands still, some way on; $file is what is being written."""
        find = f"file=$(ls -S {DIR}/shop/.opsplay-*/shop.* 2>/dev/null | head -n 1)"
        wait = f'until {find}; test -n "$file" && test $(stat -c %s $file) -gt 1000000; do sleep 0.01; done\n'
        still = "pkill -STOP -x pg_dump\n", "\npkill -CONT -x pg_dump\n"
        self.db.run("cat > /run/meanwhile.sh", stdin=wait + script.join(still))
        self.db.run("systemd-run --quiet --collect -p RuntimeMaxSec=120 sh /run/meanwhile.sh")


def messages(outcome: Outcome, task: str) -> list[str]:
    """What a loop's failed items said."""
    data = outcome.results("db1")[task]["data"]
    return [str(item["msg"]) for item in data.get("results", [data]) if item.get("failed")]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("shop") as lab:
        lab.up({"db1": HostSpec(image="full")})
        yield Shop(lab, tmp_path_factory.mktemp("shop"))


@pytest.mark.parametrize("made", ["custom", "directory", "plain", "plain.gz"])
def test_all_formats(shop: Shop, made: str) -> None:
    """A preview dumps nothing; a run leaves a whole, proven, private backup, and latest leads to it."""
    values = {"pg_backup_format": made, "pg_backup_jobs": 2 if made == "directory" else 1}
    before = shop.db.run(f"ls -R {DIR} 2>/dev/null", check=False).stdout
    preview = shop.run(BACKUP, "--check", "--diff", **values)
    assert preview.code == 0, preview.out + preview.err
    assert shop.db.run(f"ls -R {DIR} 2>/dev/null", check=False).stdout == before
    told = preview.results("db1")[DUMP]["data"]["results"][0]
    assert (told["tables"], told["database_size"] > 50 << 20) == (2, True)
    outcome = shop.run(BACKUP, **values)
    assert outcome.code == 0, outcome.out + outcome.err
    assert outcome.changed() == preview.changed() == {("db1", DUMP)}
    folder = f"{DIR}/shop/{shop.latest()}"
    data = manifest(shop.db, folder)
    assert rows_of(data) == {"public.orders": ROWS, "public.users": 10}
    assert (data["format"], data["verified"]["level"]) == (made, "read")
    sums = "".join(f"{entry['sha256']}  {entry['name']}\n" for entry in data["files"])
    shop.db.run(f"cd {folder} && sha256sum --check --strict --quiet", stdin=sums)
    modes = {line.split()[0] for line in listing(shop.db, DIR) if " latest " not in line}
    assert {line.split()[0] for line in listing(shop.db, f"{DIR}/shop")} <= {"700", "600", "777"} >= modes - {"755"}
    assert shop.metric("opsplay_backup_success") == 1
    assert shop.metric("opsplay_backup_size_bytes") == sum(entry["size"] for entry in data["files"])


def test_postgresql_is_killed_in_the_middle(shop: Shop) -> None:
    before = shop.metric("opsplay_backup_last_success_timestamp_seconds")
    shop.meanwhile("pkill -9 -u postgres -f '^postgres.*shop'")
    said = shop.failing()
    assert "backup of the database shop failed: pg_dump failed: " in said and "no new backup was published" in said
    shop.db.run("until pg_isready -q -h /run/postgresql; do sleep 0.1; done", timeout=60)
    assert shop.metric("opsplay_backup_last_success_timestamp_seconds") == before


def test_the_disk_is_full(shop: Shop) -> None:
    """Its free space vanishes while the dump is written."""
    shop.db.run(f"cp -a {DIR} /srv/kept; mount -t tmpfs -o size=400M tmpfs {DIR}; cp -a /srv/kept/. {DIR}")
    try:
        shop.meanwhile(f"head -c 400M /dev/zero > {DIR}/other")
        before = [line for line in listing(shop.db, DIR) if "other" not in line]
        outcome = shop.run(BACKUP, pg_backup_format="plain")
        said = str(messages(outcome, DUMP))
        assert f"cannot write {DIR}/shop/.opsplay-" in said and "No space left on device" in said
        assert [line for line in listing(shop.db, DIR) if "other" not in line] == before
        assert shop.metric("opsplay_backup_success") == 0
    finally:
        shop.db.run(f"systemctl stop 'run-*.service'; umount -l {DIR}", check=False)


def test_the_file_is_changed_before_it_is_verified(shop: Shop) -> None:
    shop.meanwhile("printf XXXXXXXX | dd of=$file bs=1 seek=500000 conv=notrunc")
    said = shop.failing(pg_backup_format="plain")
    assert "was changed while it was verified" in said


READER = """
import os, time
path, reads, ends = "%s/shop/latest/manifest.json", 0, time.monotonic() + 60
while not os.path.exists("/run/stop") and time.monotonic() < ends:
    with open(path) as file:
        assert file.read().endswith("}\\n")
    reads += 1
print(reads)"""


def test_two_at_once_and_a_reader(shop: Shop) -> None:
    """One waits for the other; whoever reads `latest` meanwhile always finds a whole backup."""
    shop.db.run("cat > /run/reader.py; rm -f /run/stop", stdin=READER % DIR)
    shop.db.run("systemd-run --quiet --unit reader -p StandardOutput=file:/run/reader.out python3 /run/reader.py")
    before = set(shop.db.run(f"ls {DIR}/shop").stdout.split())
    runs = [shop.driver.start(BACKUP, *shop.arguments({})) for _ in range(2)]
    ends = [(*process.communicate(timeout=120), process.returncode) for process in runs]
    assert [end[2] for end in ends] == [0, 0], ends
    assert len(set(shop.db.run(f"ls {DIR}/shop").stdout.split()) - before) == 2
    shop.db.run("touch /run/stop")
    wait_until(lambda: shop.db.run("cat /run/reader.out").stdout.strip(), 10, "the reader ends")
    assert int(shop.db.run("cat /run/reader.out").stdout) > 100
    assert shop.db.run("systemctl is-failed reader", check=False).stdout.strip() != "failed"


def test_old_ones_go_and_keep_min_stay(shop: Shop) -> None:
    """Files of 29 days stay, those of 31 go, the newest three stay when all are old."""
    stamps = shop.db.run(f"cd {DIR}/shop; ls -d 2*").stdout.split()
    for days, stamp in zip((45, 31, 29), stamps, strict=False):
        at = shop.db.run(f"date -u -d '{days} days ago' +%Y%m%dT%H%M%SZ,%FT%TZ").stdout.strip().split(",")
        shop.db.run(f"""cd {DIR}/shop; mv {stamp} {at[0]}
        sed -i 's/"finished": .*/"finished": "{at[1]}",/' {at[0]}/manifest.json""")
    gone = shop.db.run(f"cd {DIR}/shop; ls -d 2*").stdout.split()[:2]
    assert shop.run(BACKUP, "-e", "pg_backup_size_min=900M", "-e", "pg_backup_keep_days=30").code != 0
    assert set(gone) < set(shop.db.run(f"ls {DIR}/shop").stdout.split())
    outcome = shop.run(BACKUP, pg_backup_keep_days=30)
    assert outcome.results("db1")[DUMP]["data"]["results"][0]["removed"] == [f"{DIR}/shop/{stamp}" for stamp in gone]


def spoiled(shop: Shop, script: str) -> str:
    """A folder of backups with one that something was done to; $file is its dump."""
    script = f"""rm -rf /srv/five; mkdir -p /srv/five/shop; cp -a $(readlink -f {DIR}/shop/latest) /srv/five/shop
    cd /srv/five/shop; stamp=$(ls); ln -s $stamp latest; cd $stamp; file=shop.dump; {script}"""
    shop.db.run(script)
    return "/srv/five"


HOLLOW = """cd /; runuser -u postgres -- psql -Xq -c 'CREATE DATABASE hollow' postgres
runuser -u postgres -- psql -Xq -c 'CREATE TABLE orders (id int); CREATE TABLE users (id int)' hollow"""
FIXTURES = [
    ("good", "true", {}, ""),
    ("truncated", "truncate -s $(($(stat -c %s $file) / 2)) $file", {}, "the manifest says"),
    ("flipped", "printf XXXXXXXX | dd of=$file bs=1 seek=600000 conv=notrunc", {}, "is damaged: its sha256"),
    ("small", "true", {"backup_verify_size_min": "900M"}, "less than size_min 900.0 MiB"),
    ("missing", "true", {"backup_verify_expect": {"shop": {"tables": ["sales"]}}}, "the table public.sales is missing"),
    ("old", "sed -i 's/\"finished\": \"202/\"finished\": \"201/' manifest.json", {}, "more than max_age 26"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "values", "message"), [case[1:] for case in FIXTURES], ids=[case[0] for case in FIXTURES]
)
def test_verifying_fixtures(shop: Shop, script: str, values: dict[str, Any], message: str) -> None:
    """Only the good one passes; each other has its own message, and verify_success is 0."""
    folder = spoiled(shop, script)
    before = listing(shop.db, folder)
    expect = {"shop": {"tables": ["orders"], "min_rows": {"users": 1}}}
    outcome = shop.run(VERIFY, **{"backup_verify_dir": folder, "backup_verify_expect": expect, **values})
    assert listing(shop.db, folder) == before
    assert shop.metric("opsplay_backup_verify_success", "opsplay_backup_verify_shop_read") == (0 if message else 1)
    assert (outcome.code == 0) is (not message), outcome.out
    if message:
        assert message in str(messages(outcome, GOOD))
    else:
        assert outcome.changed() == set()


def test_empty_tables_are_no_good_backup(shop: Shop) -> None:
    shop.db.run(HOLLOW)
    assert shop.run(BACKUP, pg_backup_dbs=["hollow"], pg_backup_dir="/srv/hollow").code == 0
    expect = {"hollow": {"min_rows": {"orders": 1, "users": 1}}}
    values = {"backup_verify_dir": "/srv/hollow", "backup_verify_expect": expect, "backup_verify_level": "restore"}
    said = str(messages(shop.run(VERIFY, **values), GOOD))
    assert "public.orders has 0 rows, less than min_rows 1; public.users has 0 rows" in said


def test_a_key_that_never_lies_on_the_host(shop: Shop) -> None:
    """Encrypted for a key that only the control side has; the drill proves it with that key, through the channel."""
    private = shop.db.run("age-keygen 2>/dev/null").stdout
    public = private.partition("public key: ")[2].split()[0]
    crypt = {"method": "age", "recipients": [public]}
    assert shop.run(BACKUP, pg_backup_encrypt=crypt, pg_backup_dir="/srv/sealed").code == 0
    values = {"backup_verify_dir": "/srv/sealed", "backup_verify_level": "restore", "backup_verify_key": private}
    outcome = shop.run(VERIFY, **values)
    assert outcome.code == 0, outcome.out + outcome.err
    assert shop.db.run("cat /srv/sealed/shop/latest/proven.json").stdout
    secret = private.strip().splitlines()[-1]
    assert secret not in outcome.out + outcome.err + json.dumps(outcome.events)
    assert shop.db.run(["grep", "-rlF", secret, "/srv", "/run", "/tmp", "/var"], check=False, timeout=60).stdout == ""


STUB = """#!/bin/sh
printf '%s\\n' "$@" > /srv/asked
exec test ! -e /srv/broken
"""


def test_the_schedule(shop: Shop) -> None:
    """One timer for each job after three runs; they run just what was asked; a failure is told; others' jobs stay."""
    crontab = "7 7 * * * /usr/bin/true # somebody else's\n"
    shop.db.run("cat > /usr/local/bin/opsplay; chmod 755 /usr/local/bin/opsplay", stdin=STUB)
    shop.db.run("printf %s " + shlex.quote(crontab) + " > /etc/cron.d/other")
    values = {
        "backup_schedule_hosts": "db1", "backup_schedule_inventory": str(shop.driver.inventory),
        "backup_schedule_program": ["/usr/local/bin/opsplay"], "backup_schedule_drill": "/srv/drill.yml",
        "backup_schedule_alert": ["/bin/sh", "-c", "echo %i >> /srv/alerts"], "backup_schedule_restores": True,
        "backup_schedule_options": ["--vault-password-file", "/etc/opsplay/vault"],
    }  # fmt: skip
    preview = shop.run(SCHEDULE, "--check", "--diff", **values)
    assert preview.code == 0, preview.out + preview.err
    outcomes = [shop.run(SCHEDULE, **values) for _ in range(3)]
    assert [outcome.code for outcome in outcomes] == [0, 0, 0], outcomes[0].out + outcomes[0].err
    assert outcomes[0].changed() == preview.changed() and outcomes[1].changed() == outcomes[2].changed() == set()
    assert shop.db.run("cat /etc/cron.d/other").stdout == crontab
    timers = shop.db.run("systemctl list-timers --all --no-legend 'opsplay-*'").stdout.splitlines()
    assert len(timers) == 4
    results = outcomes[0].results("db1")["A timer for each job"]["data"]["results"]
    firings = [[moment[:10] for moment in result["next_elapses"]] for result in results]
    assert len(set(firings[0])) == len(firings[0]), "once a day"
    assert all(int(day[8:]) <= 7 for day in firings[3]), "the first Saturdays"
    assert {datetime.strptime(moment[:10], "%Y-%m-%d").weekday() for moment in results[2]["next_elapses"]} == {6}
    assert all("T03:00:00" in moment.replace(" ", "T") for moment in results[2]["next_elapses"])
    shop.db.run("systemctl start opsplay-pg-backup.service", timeout=30)
    asked = shop.db.run("cat /srv/asked").stdout.splitlines()
    vault = ["--vault-password-file", "/etc/opsplay/vault"]
    assert asked == ["run", "-i", str(shop.driver.inventory), str(BACKUP), *vault]
    shop.db.run("systemctl start opsplay-restore-drill.service", timeout=30)
    asked = shop.db.run("cat /srv/asked").stdout.splitlines()
    assert asked == ["run", "-i", str(shop.driver.inventory), str(ROOT / "playbooks/restore_drill.yml"), *vault]
    before = shop.latest()
    assert shop.run(BACKUP).code == 0 and shop.latest() != before, "what it asks for makes a backup"
    shop.db.run("touch /srv/broken; systemctl start opsplay-pg-backup.service", check=False, timeout=30)
    wait_until(lambda: shop.db.run("cat /srv/alerts", check=False).stdout, 10, "the alert arrives")
    assert shop.db.run("cat /srv/alerts").stdout == "opsplay-pg-backup.service\n"
