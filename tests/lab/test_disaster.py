"""A host is lost: the service comes back on a blank one, from the newest proven set and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from opsplay.lab import HostSpec, Lab
from tests.lab.driver import ROOT, Driver, Outcome
from tests.lab.quick_lab import QuickLab
from tests.unit.test_recovery_actions import Sink, webhook  # noqa: F401

pytestmark = pytest.mark.lab

GROUPS = "[service]\napp1\n[backup_store]\nbak1\n[dr]\ndr1\n"
PASSWORDS = {"sample_database_password": "d'b pw:@1", "sample_redis_password": "redis-pw-1",
             "sample_secret_key": "signs-tokens-1", "sample_admin_password": "admin-pw-1"}  # fmt: skip
# A name server beside the store: `www` leads to the host that will be lost.
NAMES = """export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/dev/null && apt-get -qy install --no-install-recommends bind9 bind9-dnsutils >/dev/null || exit 1
tsig-keygen -a hmac-sha256 moves > /etc/bind/moves.key; chgrp bind /etc/bind/moves.key; chmod 640 /etc/bind/moves.key
cat > /etc/bind/named.conf.local <<'CONF'
include "/etc/bind/moves.key";
zone "sample.test" { type primary; file "/var/lib/bind/sample.test"; update-policy { grant moves zonesub ANY; }; };
CONF
printf '$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A ADDRESS\nwww A LOST\n' > /var/lib/bind/sample.test
chown bind: /var/lib/bind/sample.test; systemctl restart named
for n in $(seq 100); do dig +short @127.0.0.1 www.sample.test | grep -q . && exit 0; sleep 0.2; done; exit 1
"""
WWW = "dig +noall +answer @127.0.0.1 www.sample.test | awk '{print $2, $5}'"
COUNT = "runuser -u postgres -- psql -XAtc 'SELECT count(*) FROM reports' sample"


# The key of a host that made none of the sets.
OTHER_HOST = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGDQvPHXDy8tDqq9PMGOSo64kYVUKSUIDmqPBB8jCQ2u"


# The hosts when the service is where it was brought back to, and its first host was built anew.
MOVED = "[service]\ndr1\n[backup_store]\nbak1\n[dr]\napp1\n"
DRILL = "[dr]\ndr1\n[backup_store]\nbak1\n[drill_store]\nst1\n[drill_other]\napp1\n"
UNITS = "systemctl is-active sample@web sample@worker sample@beat; systemctl is-enabled sample@web"


@dataclass
class Site:
    """The lab of a service, its store and a blank host, with what is known of it before the loss."""

    lab: Lab
    folder: Path
    driver: Driver
    known: dict[str, Any] = field(default_factory=dict)
    groups: str = GROUPS

    def run(self, playbook: str, *words: str, **values: Any) -> Outcome:
        values = {**self.known["vars"], "dr_folder": str(self.folder / "recovery"), "dr_soak": 3, **values}
        groups = self.folder / "groups.ini"
        groups.write_text(self.groups)
        more = ["-i", str(ROOT / "inventories/sample"), "-i", str(groups)]
        return self.driver.run(ROOT / f"playbooks/{playbook}.yml", *more, "-e", json.dumps(values), *words)

    def recover(self, *words: str, **values: Any) -> Outcome:
        return self.run("disaster_recover", *words, **{**self.known["keys"], **values})

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "recovery/sample-report.json").read_text())
        return found


def key(folder: Path, name: str) -> tuple[str, str]:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)], check=True)
    return (folder / name).read_text(), (folder / f"{name}.pub").read_text().strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service with writers, a set and an increment of it in a store, and then its host powered off."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    folder = tmp_path_factory.mktemp("disaster")
    with QuickLab("lost") as lab:
        lab.up({"app1": HostSpec(release="bookworm", image="full"), "dr1": HostSpec(release="bookworm", image="full"),
                "bak1": HostSpec(release="trixie")})  # fmt: skip
        here = Site(lab, folder, Driver(folder, lab))
        (secret, public), (fetch, fetch_public) = key(folder, "opens"), key(folder, "fetches")
        encrypt = {"method": "age", "recipients": [public]}
        here.known["vars"] = {**PASSWORDS, "backup_encrypt": encrypt, "offsite_read_keys": [fetch_public]}
        here.known["keys"] = {"dr_key": secret, "dr_store_key": fetch}
        lose(here)
        yield here


def name_server(site: Site) -> dict[str, Any]:
    """A real one on the store's host; what a recovery is given to move its name."""
    store, app = site.lab.hosts["bak1"], site.lab.hosts["app1"]
    store.run(NAMES.replace("ADDRESS", store.address).replace("LOST", app.address), timeout=180)
    secret = store.run("sed -n 's/.*secret \"\\(.*\\)\";/\\1/p' /etc/bind/moves.key").stdout.strip()
    record = {"name": "www.sample.test", "server": store.address, "ttl": 120}
    return {"dr_dns": [record], "dr_dns_key_name": "moves", "dr_dns_key_secret": secret}


def lose(site: Site) -> None:
    """The service works, is backed up twice, and its host is gone."""
    app = site.lab.hosts["app1"]
    for playbook in ("sample_service", "backup_store", "full_backup"):
        done = site.run(playbook)
        assert done.code == 0, done.out
    again = site.run("sample_service")
    assert again.code == 0 and not again.changed(), "the second run changes nothing"
    site.known["old"] = app.run("readlink /var/backups/opsplay/sample/latest").stdout.strip()
    app.run("runuser -u postgres -- psql -qXc \"INSERT INTO reports (source, body) SELECT 'bulk', 'x' || n FROM "
            "generate_series(1, 5000) n\" sample; echo upload > /var/lib/sample/upload; "
            "REDISCLI_AUTH=redis-pw-1 redis-cli set marker kept")  # fmt: skip
    time.sleep(1.1)
    done = site.run("full_backup", backup_type="incremental")
    assert done.code == 0, done.out
    site.known["new"] = app.run("readlink /var/backups/opsplay/sample/latest").stdout.strip()
    site.known["manifest"] = json.loads(app.run("cat /var/backups/opsplay/sample/latest/manifest.json").stdout)
    assert site.known["manifest"]["increment_of"]["stamp"] == site.known["old"]
    site.known["keys"]["backup_signers"] = [app.run("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout]
    site.known["count"] = int(app.run(COUNT).stdout)
    site.known["address"] = app.address
    site.known["keys"].update(name_server(site))
    site.lab.down(["app1"])


def test_what_lacks_is_said_before_anything_begins(site: Site) -> None:
    done = site.recover(dr_key="", dr_store_key="", dr_dns=[{"name": "www.sample.test"}])
    assert done.code == 2 and "not begun; give dr_key, dr_store_key, the server of www.sample.test" in done.out
    assert site.lab.hosts["dr1"].run("ls /var/backups/opsplay", check=False).returncode != 0
    assert site.report()["recovered"] is False


def test_a_host_that_is_too_small_is_refused(site: Site) -> None:
    done = site.recover(dr_min_cores=512, dr_min_disk_gb=900000)
    assert done.code == 2 and "cores, 512 are wanted; " in done.out and "GB on /, 900000 are wanted" in done.out
    assert "dr_host : Programs" not in done.results("dr1")


def test_a_preview_runs_to_its_end_and_touches_nothing(site: Site) -> None:
    dr = site.lab.hosts["dr1"]
    dr.run("touch /run/mark; sleep 0.01")
    done = site.recover("--check")
    assert done.code == 0, done.out
    assert ("dr1", "The newest proven set, from the store") in done.changed()
    assert ("dr1", "Names lead to the new host") in done.changed()
    assert dr.run("find /etc /opt /srv /var/backups -newer /run/mark -type f").stdout == ""
    assert site.lab.hosts["bak1"].run(WWW).stdout == f"60 {site.known['address']}\n"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dr_before": "2020-01-01T00:00:00Z"}, "there is no latest_verified before 2020-01-01T00:00:00Z"),
        ({"dr_store_key": "no key"}, "the private key is not accepted"),
        ({"backup_signers": [OTHER_HOST]}, "was signed by another key, SHA256:"),
    ],
)
def test_what_cannot_be_fetched_is_said(site: Site, values: dict[str, Any], said: str) -> None:
    done = site.recover(**values)
    assert done.code == 2 and said in done.out
    assert site.report()["recovered"] is False and said in site.report()["problem"]


def test_a_set_that_was_harmed_is_refused(site: Site) -> None:
    store, where = site.lab.hosts["bak1"], f"/srv/backup-store/sample/{site.known['new']}/config.tar.age"
    store.run(f"cp -a {where} /root/whole; chmod 600 {where}; printf x | dd of={where} seek=9 conv=notrunc 2>/dev/null")
    try:
        done = site.recover()
    finally:
        store.run(f"cp -a /root/whole {where}")
    assert done.code == 2 and "what came is refused: " in done.out and "config.tar.age is damaged" in done.out
    assert site.lab.hosts["dr1"].run("ls /opt/sample /etc/sample", check=False).stdout == ""


def test_another_key_opens_nothing(site: Site, tmp_path: Path) -> None:
    other, _ = key(tmp_path, "other")
    done = site.recover(dr_key=other)
    assert done.code == 2 and "nothing was changed" in done.out
    assert site.lab.hosts["dr1"].run("ls /opt/sample /etc/sample", check=False).stdout == ""


def test_a_recovery_that_stops_after_the_files_is_none(site: Site) -> None:
    """The next run brings back all that this one has not, Redis, too."""
    dr = site.lab.hosts["dr1"]
    done = site.recover(dr_databases=[{"name": "sample", "part": "nothing"}])
    assert done.code == 2 and site.report()["recovered"] is False, done.out
    assert dr.run("cat /var/lib/sample/upload").stdout == "upload\n"
    assert "kept" not in dr.run("REDISCLI_AUTH=redis-pw-1 redis-cli get marker", check=False).stdout


def test_the_service_comes_back(site: Site, webhook: int) -> None:  # noqa: F811
    outage = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
    # The clock of the refused attempts goes on: they belong to the same recovery.
    began = json.loads((site.folder / "recovery/sample.json").read_text())["began"]
    numbers = site.folder / "numbers"
    done = site.recover(dr_began=outage, dr_notify=[f"json://127.0.0.1:{webhook}/told"], dr_metrics_dir=str(numbers))
    assert done.code == 0, done.out
    measured = next(numbers.iterdir()).read_text()
    assert 'opsplay_recovery_success{name="sample",practice="no"} 1\n' in measured
    assert "opsplay_recovery_last_success_timestamp_seconds{" in measured
    dr, report = site.lab.hosts["dr1"], site.report()
    assert report["recovered"] and report["set"] == site.known["new"] and report["release"] == "1.0"
    assert all(check["status"] == "ok" for check in report["checks"]) and len(report["checks"]) >= 13
    tables = site.known["manifest"]
    assert report["databases"] == [manifest_rows(site, tables)]
    phases = [one["name"] for one in report["rto"]["phases"]]
    assert phases[-8:] == ["host", "backup", "files", "databases", "service", "proof", "names", "soak"]
    budgets = {one["name"]: (one["budget"], one["over"]) for one in report["rto"]["phases"]}
    assert budgets["databases"] == (7200, False) and budgets["soak"] == (None, False)
    assert report["manual"] == {"The front page looks right": ""}
    assert report["dns"] == [moved(site)]
    assert site.lab.hosts["bak1"].run(WWW).stdout == f"120 {dr.address}\n"
    assert abs(report["rto"]["began_at"] - began) < 1 and not report["rto"]["over"]
    assert 0 <= report["rpo_seconds"] < 3600
    assert dr.run("cat /var/lib/sample/upload").stdout == "upload\n"
    assert dr.run("REDISCLI_AUTH=redis-pw-1 redis-cli get marker").stdout == "kept\n"
    assert dr.run("stat -c '%U %a' /etc/sample/sample.env /var/lib/sample").stdout == "root 600\nsample 750\n"
    told = [message["title"] for message in Sink.got]
    assert told == ["sample: recovered on dr1"]
    for secret in (*PASSWORDS.values(), "PRIVATE KEY", site.known["keys"]["dr_dns_key_secret"]):
        assert secret not in done.out + (site.folder / "recovery/sample-report.html").read_text()
    assert "PRIVATE KEY" not in dr.run("grep -rl 'OPENSSH PRIVATE KEY' /etc /root /var /tmp /run 2>/dev/null | "
                                       "grep -v '^/etc/ssh/' || true").stdout  # fmt: skip
    assert "app1" not in {event.get("host") for event in done.events}, "the lost host is not spoken to"


def moved(site: Site) -> dict[str, Any]:
    """What the report says of the name: where it leads, and where it led before, to go back."""
    before = [{"ttl": 60, "value": site.known["address"]}]
    value = [site.lab.hosts["dr1"].address]
    return {"name": "www.sample.test", "type": "A", "value": value, "ttl": 120, "before": before}


def manifest_rows(site: Site, data: dict[str, Any]) -> int:
    """The rows of the set's own count of the database, as it came to the recovered host."""
    (part,) = [part for part in data["parts"] if part["name"] == "database"]
    path = f"/var/backups/opsplay/sample/{site.known['new']}/{part['folders'][0]}/manifest.json"
    found = json.loads(site.lab.hosts["dr1"].run(f"cat {path}").stdout)
    return sum(table["rows"] for table in found["database"]["tables"])


def test_a_second_run_loses_nothing_of_what_is_served_since(site: Site) -> None:
    dr = site.lab.hosts["dr1"]
    dr.run("echo new > /var/lib/sample/since")
    before = int(dr.run(COUNT).stdout)
    done = site.recover()
    assert done.code == 0, done.out
    assert site.report()["dns"] == [moved(site)], "the second report says where the name led before the first"
    assert dr.run("cat /var/lib/sample/since").stdout == "new\n" and int(dr.run(COUNT).stdout) >= before
    declared = {"The clock runs", "The clock stops", "The report, to compute with and to read"}
    assert {task for _, task in done.changed() if not task.startswith("Phase: ")} == declared


def test_it_serves_after_a_restart(site: Site) -> None:
    dr = site.lab.hosts["dr1"]
    dr.reboot()
    dr.wait_until_settled(90)
    done = site.driver.run(
        "- {hosts: dr1, gather_facts: false, tasks: [{http: {url: 'http://127.0.0.1:8000/health', "
        "json: {status: healthy}, retries: 30}}]}"
    )
    assert done.code == 0, done.out


def test_a_drill_never_begins_on_a_host_that_serves(site: Site) -> None:
    done = site.run("dr_drill", production_hosts="dr", **site.known["keys"])
    assert done.code == 2 and "dr1 serves: it is in the group dr; no drill there" in done.out
    assert not list((site.folder / "recovery").glob("sample-drill*"))


def test_a_drill_moves_no_name_of_the_service(site: Site) -> None:
    done = site.run("dr_drill", "--check", production_hosts="service", **site.known["keys"])
    assert done.code == 0, done.out
    assert done.results("dr1")["Names lead to the new host"]["status"] == "skipped"


@pytest.fixture(scope="module")
def rebuilt(site: Site) -> Site:
    """The service is where it was brought back to, and adds to the store; its first host is there again, blank."""
    site.lab.up({"app1": HostSpec(release="bookworm", image="full"), "st1": HostSpec(release="bookworm")})
    site.groups = MOVED
    done = site.run("backup_store")
    assert done.code == 0, done.out
    return site


def test_a_service_that_is_not_proven_there_goes_on_here(rebuilt: Site) -> None:
    app, dr = rebuilt.lab.hosts["app1"], rebuilt.lab.hosts["dr1"]
    keys = {**rebuilt.known["keys"], "failover_to": "app1"}
    preview = rebuilt.run("failover", "--check", **keys)
    assert preview.code == 0 and ("dr1", "The service stops, for a restart, too") in preview.changed(), preview.out
    refused = rebuilt.run("failover", confirm_failover="yes", **keys)
    assert refused.code == 2 and "the confirmation 'move sample from dr1 to app1' is needed" in refused.out
    assert dr.run(UNITS, check=False).stdout == "active\nactive\nactive\nenabled\n"
    unproven = {"dr_checks": [{"name": "Of gold", "sql": {"db": "sample", "query": "SELECT false", "expect": True}}]}
    yes = {"confirm_failover": "move sample from dr1 to app1", "dr_check_seconds": 1}
    done = rebuilt.run("failover", **{**keys, **yes, **unproven})
    assert done.code == 2 and "Of gold" in done.out and "sample goes on at dr1" in done.out, done.out
    assert dr.run(UNITS, check=False).stdout == "active\nactive\nactive\nenabled\n"
    assert app.run(UNITS, check=False).stdout == "inactive\ninactive\ninactive\ndisabled\n"
    assert rebuilt.lab.hosts["bak1"].run(WWW).stdout == f"120 {dr.address}\n"


def test_a_drill_moves_the_service_there_and_back(rebuilt: Site) -> None:
    """What was written on either host is there at the end, and the two have never written at one time."""
    app, dr, store = (rebuilt.lab.hosts[name] for name in ("app1", "dr1", "bak1"))
    rebuilt.groups = DRILL
    dr.run("echo here > /var/lib/sample/here")
    keys = dict(rebuilt.known["keys"])
    sets = store.run("ls /srv/backup-store/sample").stdout
    values = {**keys, "drill_dns": keys["dr_dns"], "drill_failover_to": "drill_other", "drill_name": "try"}
    done = rebuilt.run("dr_drill", **values)
    assert done.code == 0, done.out
    names = [f"recovery/try{way}-report.json" for way in ("", "-failover", "-failback")]
    reports = [json.loads((rebuilt.folder / name).read_text()) for name in names]
    assert [(one["recovered"], one["host"]) for one in reports] == [(True, "dr1"), (True, "app1"), (True, "dr1")]
    assert all(one["rpo_seconds"] < 60 and one["rto"]["seconds"] < 120 for one in reports[1:])
    assert dr.run(UNITS, check=False).stdout == "active\nactive\nactive\nenabled\n"
    assert app.run(UNITS, check=False).stdout == "inactive\ninactive\ninactive\ndisabled\n"
    assert store.run(WWW).stdout == f"120 {dr.address}\n"
    assert dr.run("cat /var/lib/sample/here /var/lib/sample/since").stdout == "here\nnew\n"
    assert store.run("ls /srv/backup-store/sample").stdout == sets, "a drill adds nothing to the service's own store"
    times = "runuser -u postgres -- psql -XAtc \"SELECT count(*), max(created_at) FROM reports\" sample"
    (there, last), (here, newest) = (host.run(times).stdout.strip().split("|") for host in (app, dr))
    assert int(here) > int(there) and newest > last
    refused = rebuilt.run("failover", failover_from="app1", failover_to="dr1", **keys)
    assert refused.code == 2 and "dr1 serves: sample@web.service, sample@worker.service" in refused.out
