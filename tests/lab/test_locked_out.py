"""Ways to lock oneself out, each tried on a real host: none succeeds, and each message says why.

A watcher looks on all the time: between the steps of every case a new login has to work.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.driver import Driver, Outcome, wait_until
from tests.lab.quick_lab import QuickLab

pytestmark = pytest.mark.lab

# Seconds until a change that was not proven has gone back.
WINDOW = 8
DOORS = "cat /etc/ufw/user*.rules /etc/ufw/ufw.conf /etc/default/ufw /etc/ssh/sshd_config.d/* 2>/dev/null | sha256sum"


@pytest.fixture(scope="module")
def shut() -> Iterator[Lab]:
    """One host with a firewall."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("shut") as fleet:
        fleet.up({"door": HostSpec(release="bookworm", image="full")})
        yield fleet


@pytest.fixture
def driver(shut: Lab, tmp_path: Path) -> Iterator[Driver]:
    """With the host's doors as they were before, after each case."""
    door = shut.hosts["door"]
    door.run("ufw --force reset >/dev/null; rm -f /etc/ssh/sshd_config.d/*.conf; systemctl reload ssh; "
             "rm -rf /var/lib/opsplay")  # fmt: skip
    yield Driver(tmp_path, shut)


@dataclass(frozen=True)
class Way:
    """A way to lock oneself out: the module, its parameters, and what the message says. `before` prepares the host.

    What is refused changes nothing and is quick; what goes `back` was tried, and put back.
    """

    name: str
    module: str
    params: dict[str, Any]
    says: str
    back: bool = False
    before: str = "true"
    variables: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


DENY = {"incoming": "deny", "exclusive": True}
WAYS = [
    Way("deny first and allow nothing", "ufw_rules", DENY, "the default for incoming connections, deny"),
    Way("another port", "ufw_rules", {**DENY, "rules": ["2222/tcp"]}, "to port 22: the default"),
    Way("only others", "ufw_rules", {**DENY, "rules": [{"port": 22, "proto": "tcp", "from": "192.0.2.0/24"}]},
        "put the rule {from: "),
    Way("a denial before the permission", "ufw_rules",
        {**DENY, "rules": [{"action": "deny", "from": "10.0.0.0/8"}, "22/tcp"]}, "the rule 'deny in from 10.0.0.0/8"),
    Way("another interface", "ufw_rules", {**DENY, "rules": [{"port": 22, "proto": "tcp", "interface": "eth7"}]},
        "the default for incoming"),
    Way("all rejected", "ufw_rules", {"incoming": "reject", "rules": [{"action": "reject", "port": 22}]},
        "the rule 'reject in"),
    Way("a firewall nobody looks at", "ufw_rules", {**DENY, "ssh_guard": "off"}, "a new connection failed", back=True),
    Way("root kept out", "sshd_config", {"settings": {"PermitRootLogin": "no"}}, "PermitRootLogin no keeps out root"),
    Way("everybody else may", "sshd_config", {"settings": {"AllowUsers": ["admin", "ops"]}},
        "AllowUsers does not name root"),
    Way("a group that root is not in", "sshd_config", {"settings": {"AllowGroups": ["sudo"]}},
        "AllowGroups names no group of root"),
    Way("passwords off without a key", "sshd_config",
        {"settings": {"PasswordAuthentication": False, "AuthorizedKeysFile": "/etc/ssh/keys/%u"}},
        "root has no key in /etc/ssh/keys/root"),
    Way("one session", "sshd_config", {"settings": {"MaxSessions": 1}}, "MaxSessions 1 leaves no session"),
    Way("an invalid setting", "sshd_config", {"settings": {"PermitRootLogin": "perhaps"}},
        "/etc/ssh/sshd_config.d/10-opsplay.conf line 2"),
    Way("an unknown setting", "sshd_config", {"settings": {"PermitRoot": "yes"}}, "configuration option: PermitRoot"),
    Way("a key exchange that the control side lacks", "sshd_config",
        {"settings": {"KexAlgorithms": ["sntrup761x25519-sha512@openssh.com"]}}, "a new connection failed", back=True),
    Way("a port behind a firewall", "sshd_config", {"settings": {"Port": 2222}}, "a new connection failed", back=True,
        before="ufw default deny incoming; ufw allow 22/tcp; ufw --force enable"),
    Way("an account that does not exist", "sshd_config",
        {"settings": {"AllowUsers": ["admin"]}, "guard": False}, "a new connection failed", back=True),
]  # fmt: skip


def playbook(module: str, params: dict[str, Any], *more: dict[str, Any]) -> str:
    tasks = [{"name": "change", module: params}, *more]
    return yaml.safe_dump([{"hosts": "door", "gather_facts": False, "tasks": tasks}])


def logs_in(driver: Driver, *options: str) -> bool:
    """Whether a new login works now."""
    door = driver.lab.hosts["door"]
    known = f"UserKnownHostsFile={driver.lab.known_hosts}"
    argv = ["ssh", "-i", str(driver.lab.private_key), "-o", known, "-o", "HostKeyAlias=door", "-o", "BatchMode=yes",
            "-o", "ConnectTimeout=3", *options, f"root@{door.address}", "true"]  # fmt: skip
    return subprocess.run(argv, capture_output=True, timeout=20).returncode == 0


def doors(host: LabHost) -> str:
    """Everything that decides who gets in, as a hash, and whether the firewall is up."""
    return host.run(DOORS + "; ufw status; sshd -T | sha256sum").stdout


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_none_succeeds(driver: Driver, shut: Lab, way: Way) -> None:
    door = shut.hosts["door"]
    door.run(way.before)
    before = doors(door)
    params = {"confirm_within": WINDOW, **way.params}
    outcome = driver.run(playbook(way.module, params))
    result = outcome.results("door")["change"]
    assert result["status"] == "failed", outcome.out
    assert way.says in result["data"]["msg"], result["data"]["msg"]
    if way.back:
        assert result["data"]["restored"] and "what it replaced is back" in result["data"]["msg"]
    assert doors(door) == before
    assert logs_in(driver)
    assert nothing_armed(door)


def nothing_armed(door: LabHost) -> bool:
    return "way-back" not in door.run("ls /etc/systemd/system /etc/systemd/system/*.wants", check=False).stdout


OPEN = {"incoming": "deny", "rules": ["22/tcp"], "exclusive": True}


def test_the_connection_is_let_in_where_that_is_asked(driver: Driver, shut: Lab) -> None:
    params = {**DENY, "rules": ["80/tcp"], "ssh_guard": "allow"}
    outcome = driver.run(playbook("ufw_rules", params))
    assert outcome.code == 0, outcome.out
    status = shut.hosts["door"].run("ufw status").stdout
    assert "opsplay: control side" in status and logs_in(driver)
    assert driver.run(playbook("ufw_rules", params)).changed() == set()


def test_the_connection_is_let_in_before_it_is_limited(driver: Driver, shut: Lab) -> None:
    limited = {"port": 22, "proto": "tcp", "action": "limit"}
    for exclusive in (True, False):
        params = {"incoming": "deny", "rules": [limited], "ssh_guard": "allow", "exclusive": exclusive}
        assert driver.run(playbook("ufw_rules", params)).code == 0
        assert driver.run(playbook("ufw_rules", params)).changed() == set()
        rules = shut.hosts["door"].run("ufw status numbered").stdout.splitlines()
        assert "control side" in next(line for line in rules if line.startswith("[ 1]"))
        assert all(logs_in(driver) for _ in range(8))
        shut.hosts["door"].run("ufw --force reset; ufw allow 80/tcp")


def test_another_port_is_used_from_then_on(driver: Driver, shut: Lab) -> None:
    """The old port is given up, the new one proven, and the rest of the run goes there."""
    settings = {"settings": {"Port": 2222}}
    more = [{"name": "anew", "meta": "reset_connection"}, {"name": "still there", "command": "true"}]
    outcome = driver.run(playbook("sshd_config", settings, *more))
    assert outcome.code == 0, outcome.out
    assert outcome.results("door")["change"]["data"]["proven"] and "still there" in outcome.results("door")
    assert not logs_in(driver) and logs_in(driver, "-p", "2222")


def test_the_control_side_dies_before_the_proof(driver: Driver, shut: Lab) -> None:
    door = shut.hosts["door"]
    before = doors(door)
    process = driver.start(playbook("ufw_rules", {**DENY, "ssh_guard": "off", "confirm_within": WINDOW}))
    try:
        wait_until(lambda: armed(door) and firewall(door) == "active", 20, "the firewall is up")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
    assert not logs_in(driver)
    wait_until(lambda: doors(door) == before, WINDOW + 10, "the rules went back by themselves")
    assert logs_in(driver) and nothing_armed(door)


def test_a_restart_before_the_proof(driver: Driver, shut: Lab) -> None:
    """The way back is on disk: a host that starts anew within the time comes up with the old rules."""
    door = shut.hosts["door"]
    before = doors(door)
    process = driver.start(playbook("ufw_rules", {**DENY, "ssh_guard": "off", "confirm_within": 600}))
    try:
        wait_until(lambda: armed(door) and firewall(door) == "active", 20, "the firewall is up")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
    door.reboot()
    wait_until(lambda: logs_in(driver), 30, "a login works after the restart")
    assert doors(door) == before and nothing_armed(door)


def armed(door: LabHost) -> bool:
    return door.run("test -e /var/lib/opsplay/way-back/ufw/armed", check=False).returncode == 0


def firewall(door: LabHost) -> str:
    return door.run("ufw status", check=False).stdout.partition("\n")[0].partition(": ")[2]


def test_a_second_run_waits_for_no_proof_of_the_first(driver: Driver, shut: Lab) -> None:
    """What another run has armed is not lost under a change of this one."""
    door = shut.hosts["door"]
    door.run("mkdir -p /var/lib/opsplay/way-back/ufw; touch /var/lib/opsplay/way-back/ufw/armed")
    outcome = driver.run(playbook("ufw_rules", OPEN))
    assert outcome.code == 2 and "still waits for its proof" in outcome.results("door")["change"]["data"]["msg"]


def test_a_preview_foretells_and_arms_nothing(driver: Driver, shut: Lab) -> None:
    door = shut.hosts["door"]
    before = doors(door)
    tasks = playbook("ufw_rules", OPEN, {"name": "sshd", "sshd_config": {"settings": {"MaxAuthTries": 3}}})
    preview = driver.run(tasks, "--check", "--diff")
    assert doors(door) == before and nothing_armed(door)
    real = driver.run(tasks, "--diff")
    assert preview.code == real.code == 0, real.out
    assert preview.changed() == real.changed() == {("door", "change"), ("door", "sshd")}
    assert diffs(preview) == diffs(real)
    assert driver.run(tasks).changed() == set()
    assert logs_in(driver)


def diffs(outcome: Outcome) -> list[Any]:
    return [result["data"].get("diff") for result in outcome.results("door").values()]


def test_a_login_as_an_account_that_becomes_root(driver: Driver, shut: Lab) -> None:
    """sudo drops what tells of the connection: it is found all the same."""
    keep_out = {"name": "sshd", "sshd_config": {"settings": {"DenyUsers": "adm*"}}}
    play = yaml.safe_load(playbook("ufw_rules", DENY, keep_out))
    play[0].update(remote_user="admin", become=True, vars={"ansible_user": "admin"})
    play[0]["tasks"][0]["ignore_errors"] = True
    outcome = driver.run(yaml.safe_dump(play))
    results = outcome.results("door")
    assert "to port 22" in results["change"]["data"]["msg"]
    assert "DenyUsers names admin" in results["sshd"]["data"]["msg"]
