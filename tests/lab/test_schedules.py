"""playbooks/backup_schedule.yml with real jobs: opsplay runs from systemd's timers, and a failure reaches people."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from opsplay.lab import HostSpec, LabHost
from tests.lab.control import ALERT, install, told
from tests.lab.driver import ROOT, Driver, wait_until
from tests.lab.quick_lab import QuickLab
from tests.modules.databases import sql

pytestmark = pytest.mark.lab

INVENTORY = "/etc/opsplay/inventory"
VALUES: dict[str, Any] = {
    "pg_backup_dbs": ["shop"], "pg_backup_globals": False, "pg_backup_metrics_dir": "/srv/metrics",
    "pitr_archive": "/srv/wal", "pitr_bases": "/srv/bases", "pitr_lag": 1,
}  # fmt: skip
BACKUP_FAILED, ARCHIVE_FAILED = (f"opsplay-{job}.service has failed" for job in ("pg-backup", "archive-check"))
WAITING = "SELECT count(*) FROM pg_stat_archiver WHERE last_failed_time > coalesce(last_archived_time, '-infinity')"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    """A database host that is its own control side, with the timers."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("timed") as lab:
        lab.up({"ops1": HostSpec(image="full")})
        here = lab.hosts["ops1"]
        here.run("systemctl start postgresql@*; pg_lsclusters -h", timeout=60)
        sql(here, "CREATE DATABASE shop")
        sql(here, "CREATE TABLE orders AS SELECT generate_series(1, 100) AS id", "shop")
        here.run(
            f"mkdir -p {INVENTORY}/group_vars; cat > {INVENTORY}/hosts.ini",
            stdin="[databases]\nops1 ansible_connection=local\n",
        )
        here.run(f"cat > {INVENTORY}/group_vars/all.json", stdin=json.dumps(VALUES))
        values = {
            "backup_schedule_hosts": "ops1", "backup_schedule_inventory": INVENTORY, "backup_schedule_alert": ALERT,
            "backup_schedule_program": install(here), "backup_schedule_archive": True,
        }  # fmt: skip
        driver = Driver(tmp_path_factory.mktemp("timed"), lab)
        for again in (False, True):
            done = driver.run(ROOT / "playbooks/backup_schedule.yml", "-e", json.dumps(values))
            assert done.code == 0 and bool(done.changed()) is not again, done.out + done.err
        yield here


def start(host: LabHost, job: str) -> int:
    """Start what the timer starts, and wait for its end."""
    return host.run(["systemctl", "start", f"{job}.service"], check=False, timeout=120).returncode


def test_the_jobs_work(host: LabHost) -> None:
    for job in ("opsplay-pg-backup", "opsplay-backup-verify", "opsplay-base-backup", "opsplay-archive-check"):
        assert start(host, job) == 0, host.run(f"journalctl -u {job} --no-pager | tail -n 40").stdout
    assert host.run("ls /var/backups/postgresql/shop/latest/proven.json /srv/bases/server/2*/manifest.json").stdout
    assert told(host) == []


def test_a_broken_database_is_told(host: LabHost) -> None:
    host.run("systemctl stop postgresql@15-main", timeout=60)
    try:
        assert start(host, "opsplay-pg-backup") != 0
        wait_until(lambda: BACKUP_FAILED in told(host), 30, "the alert arrives")
    finally:
        host.run("systemctl start postgresql@15-main", timeout=60)
    host.run("rm /srv/told")
    assert start(host, "opsplay-pg-backup") == 0 and BACKUP_FAILED not in told(host)


def test_a_log_that_is_not_archived_is_told_within_five_minutes(host: LabHost) -> None:
    """The archive's disk is full. The timer looks every four minutes; bin/soak waits for it."""
    host.run(
        "rm -f /srv/told; mount -t tmpfs -o size=1m tmpfs /srv/wal; chown postgres /srv/wal; chmod 700 /srv/wal;"
        " head -c 2M /dev/zero > /srv/wal/full || true"
    )
    try:
        sql(host, "INSERT INTO orders VALUES (0); SELECT pg_switch_wal()", "shop")
        wait_until(lambda: sql(host, WAITING) == "1", 60, "the server says that it cannot archive")
        if not os.environ.get("OPSPLAY_SOAK"):
            assert start(host, "opsplay-archive-check") != 0
        wait_until(lambda: ARCHIVE_FAILED in told(host), 300, "the alert arrives")
    finally:
        host.run("umount -l /srv/wal", timeout=60)
    soon = 'date -d "$(systemctl show -P NextElapseUSecRealtime opsplay-archive-check.timer)" +%s; date +%s'
    at, now = host.run(soon).stdout.split()
    assert int(at) - int(now) <= 240
    wait_until(lambda: sql(host, WAITING) == "0", 120, "it archives again")
    assert start(host, "opsplay-archive-check") == 0
