"""A host cut off during an incident, and addresses that are blocked, seen from a second host."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.driver import Driver, Outcome, wait_until
from tests.lab.quick_lab import QuickLab

pytestmark = pytest.mark.lab

DOOR6, PEER6 = "fd00:6f70::1", "fd00:6f70::2"

# Writes down what it hears on port 7777, a character a line.
LISTENER = """
import socket
s = socket.create_server(("::", 7777), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    c, _ = s.accept()
    while data := c.recv(1):
        open("/run/heard", "ab").write(data)
"""
TALKER = """
import socket, time
c = socket.create_connection(("{address}", 7777))
while True:
    c.send(b"x"); time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def street() -> Iterator[Lab]:
    """The host to isolate, and a peer with a session that is open to it."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("street") as fleet:
        hosts = fleet.up({"door": HostSpec(release="bookworm", image="full"), "peer": HostSpec(release="bookworm")})
        give_addresses(hosts["door"], hosts["peer"])
        yield fleet


@pytest.fixture
def driver(street: Lab, tmp_path: Path) -> Driver:
    return Driver(tmp_path, street)


def give_addresses(door: LabHost, peer: LabHost) -> None:
    for host, address in ((door, DOOR6), (peer, PEER6)):
        host.run(f"ip -6 address replace {address}/64 dev host0 nodad")


def in_background(host: LabHost, name: str, script: str) -> None:
    host.run(f"systemctl stop {name} 2>/dev/null; systemctl reset-failed {name} 2>/dev/null; true")
    host.run(["systemd-run", f"--unit={name}", "--collect", "python3", "-c", script])


def reaches(host: LabHost, address: str, port: int = 22) -> bool:
    """Whether a new connection comes about."""
    script = f"import socket; socket.create_connection(('{address}', {port}), 2)"
    return host.run(["python3", "-c", script], check=False, timeout=10).returncode == 0


def heard(door: LabHost) -> int:
    return int(door.run("stat -c %s /run/heard 2>/dev/null || echo 0").stdout)


def rules(door: LabHost) -> str:
    """All rules of all firewalls, without what they counted."""
    return door.run("nft --stateless list ruleset | sed 's/counter packets [0-9]* bytes [0-9]*//'").stdout


def run(driver: Driver, task: str, *arguments: str) -> Outcome:
    return driver.run(f"- hosts: door\n  gather_facts: false\n  tasks: [{{name: task, {task}}}]\n", *arguments)


ISOLATE = "host_isolate: {reason: an incident, confirm_within: 30}"


def test_a_host_is_cut_off_and_control_is_kept(driver: Driver, street: Lab) -> None:
    door, peer = street.hosts["door"], street.hosts["peer"]
    door.run("ufw allow 22/tcp; ufw allow 7777/tcp; ufw --force enable")
    before = rules(door)
    in_background(door, "listener", LISTENER)
    wait_until(lambda: reaches(peer, door.address, 7777), 10, "the listener answers")
    in_background(peer, "talker", TALKER.format(address=door.address))
    wait_until(lambda: heard(door) > 3, 10, "the open session talks")
    assert reaches(peer, DOOR6) and reaches(door, PEER6)
    preview = run(driver, ISOLATE, "--check")
    assert preview.changed() and rules(door) == before
    outcome = run(driver, ISOLATE)
    assert outcome.code == 0 and outcome.results("door")["task"]["data"]["proven"], outcome.out
    assert is_cut_off(door, peer)
    assert reaches(door, "127.0.0.1") and reaches(door, "::1"), "the loopback works"
    assert run(driver, ISOLATE).changed() == set()
    door.reboot()
    give_addresses(door, peer)
    wait_until(lambda: run(driver, "ping: null").code == 0, 30, "control reaches the host again")
    assert is_cut_off(door, peer)
    assert run(driver, ISOLATE).changed() == set()
    assert run(driver, "host_isolate: {state: absent}").code == 0
    assert rules(door) == before
    assert reaches(peer, door.address) and reaches(peer, DOOR6) and reaches(door, peer.address)
    assert run(driver, "host_isolate: {state: absent}").changed() == set()


def is_cut_off(door: LabHost, peer: LabHost) -> bool:
    """In both directions, over both versions of IP, and for what was open before."""
    new = [reaches(peer, door.address), reaches(peer, DOOR6), reaches(door, peer.address), reaches(door, PEER6)]
    count = heard(door)
    time.sleep(1)
    return not any(new) and heard(door) == count


def test_a_control_side_that_dies_lets_the_host_open_again(driver: Driver, street: Lab) -> None:
    door, peer = street.hosts["door"], street.hosts["peer"]
    process = driver.start("- hosts: door\n  tasks: [{host_isolate: {confirm_within: 5}}]\n")
    armed = "test -e /var/lib/opsplay/way-back/isolate/armed && nft list table inet opsplay_isolate"
    try:
        wait_until(lambda: door.run(armed, check=False).returncode == 0, 20, "the host is isolated")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
    wait_until(lambda: reaches(peer, door.address), 15, "the peer reaches the host again")
    left = "nft list tables; ls /etc/systemd/system; ls -A /etc/opsplay"
    wait_until(lambda: "opsplay" not in door.run(left).stdout, 10, "nothing is left of it")


def test_who_would_be_cut_off_by_mistake_is_asked_first(driver: Driver, street: Lab) -> None:
    outcome = run(driver, "host_isolate: {allow_from: [nonsense]}")
    assert "neither an address nor a network" in outcome.results("door")["task"]["data"]["msg"]


def block(ip: str, more: str = "") -> str:
    return f"ip_block: {{ip: ['{ip}']{more}}}"


def test_one_address_is_blocked_and_others_are_not(driver: Driver, street: Lab) -> None:
    door, peer = street.hosts["door"], street.hosts["peer"]
    before = rules(door)
    assert run(driver, block(peer.address, ", reason: tries passwords")).code == 0
    assert not reaches(peer, door.address) and reaches(peer, DOOR6)
    assert run(driver, "ping: null").code == 0
    assert run(driver, block(peer.address)).changed() == set()
    assert run(driver, block(f"{PEER6}/64", ", expires: 4s")).code == 2, "it holds this host itself"
    assert run(driver, block(PEER6, ", expires: 20s")).code == 0
    assert not reaches(peer, DOOR6)
    started = time.monotonic()
    door.reboot()
    give_addresses(door, peer)
    assert not reaches(peer, door.address), "a block for good holds after a restart"
    wait_until(lambda: reaches(peer, DOOR6), max(1.0, 35 - (time.monotonic() - started)), "the other one ends")
    assert run(driver, block(peer.address, ", state: absent")).code == 0
    assert run(driver, block(PEER6, ", state: absent")).code == 0
    assert reaches(peer, door.address)
    assert "opsplay" not in rules(door)
    assert before.count("table") == rules(door).count("table")


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (block("0.0.0.0/0"), "this host itself"),
        (block("CONTROL"), "where opsplay comes from"),
        (block("198.51.100.0/24", ", never: [198.51.100.7]"), "named by `never`"),
        (block("example.org"), "neither an address nor a network"),
        (block("198.51.100.1", ", expires: soon"), "is no duration"),
    ],
)
def test_what_must_not_be_blocked_is_refused(driver: Driver, street: Lab, task: str, says: str) -> None:
    door = street.hosts["door"]
    outcome = run(driver, task.replace("CONTROL", door.address.rpartition(".")[0] + ".1"))
    assert outcome.code == 2 and says in outcome.results("door")["task"]["data"]["msg"], outcome.out
    assert "opsplay_block" not in rules(door)


JAIL = "fail2ban_jail: {name: sshd, maxretry: 3, findtime: 10m, bantime: 10m, backend: auto}"


def fail_to_log_in(command: list[str], times: int) -> None:
    for _ in range(times):
        subprocess.run(command, capture_output=True, timeout=20)


def test_who_fails_too_often_is_banned_but_never_the_control_side(driver: Driver, street: Lab) -> None:
    door, peer = street.hosts["door"], street.hosts["peer"]
    door.run("ufw --force reset; ufw disable; systemctl start rsyslog fail2ban")
    assert run(driver, JAIL).code == 0
    wrong = ["timeout", "5", "ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o",
             "UserKnownHostsFile=/dev/null", f"nobody-here@{door.address}", "true"]  # fmt: skip
    fail_to_log_in(wrong, 6)
    for _ in range(6):
        peer.run(wrong, check=False, timeout=20)
    wait_until(lambda: not reaches(peer, door.address), 20, "the peer is banned")
    outcome = run(driver, JAIL)
    assert outcome.code == 0 and outcome.results("door")["task"]["data"]["banned"] == [peer.address]


def test_the_control_side_is_let_out_of_a_jail(driver: Driver, street: Lab) -> None:
    door = street.hosts["door"]
    jail = "fail2ban_jail: {name: web, filter: sshd, logpath: /var/log/auth.log, port: 8081, backend: polling}"
    assert run(driver, jail).code == 0
    control = door.address.rpartition(".")[0] + ".1"
    door.run(f"fail2ban-client set web banip {control} 198.51.100.9")
    outcome = run(driver, jail)
    banned = outcome.results("door")["task"]["data"]["banned"]
    assert outcome.changed() and control not in banned and "198.51.100.9" in banned
    assert run(driver, jail).changed() == set()
    assert run(driver, "fail2ban_jail: {name: web, state: absent}").code == 0
    assert "web" not in door.run("fail2ban-client status").stdout


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("fail2ban_jail: {name: sshd, filter: nosuch}", "nosuch"),
        ("fail2ban_jail: {name: sshd, bantime: soon}", "fail2ban"),
        ("fail2ban_jail: {name: webby, filter: sshd, logpath: /var/log/none}", "log file"),
    ],
)
def test_a_jail_that_cannot_be_is_refused(driver: Driver, street: Lab, task: str, says: str) -> None:
    door = street.hosts["door"]
    before = door.run("cat /etc/fail2ban/jail.d/*; fail2ban-client status").stdout
    outcome = run(driver, task)
    assert outcome.code == 2 and says in outcome.results("door")["task"]["data"]["msg"], outcome.out
    assert door.run("cat /etc/fail2ban/jail.d/*; fail2ban-client status").stdout == before


# What Docker sets up for `--publish 8081:80`: a bridge's side, a container's network, its rules, and a server in it.
PUBLISH = """
sysctl -qw net.ipv4.ip_forward=1
ip netns add box
ip link add docker0 type veth peer name eth0 netns box
ip address add 172.31.9.1/24 dev docker0; ip link set docker0 up
ip -n box address add 172.31.9.2/24 dev eth0; ip -n box link set eth0 up; ip -n box route add default via 172.31.9.1
iptables -t nat -N DOCKER
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.31.9.2:80
iptables -I FORWARD -d 172.31.9.0/24 -j ACCEPT; iptables -I FORWARD -s 172.31.9.0/24 -j ACCEPT
systemd-run --unit=box --collect ip netns exec box python3 -m http.server 80 --directory /srv
"""


def test_published_ports_obey_the_firewall_when_they_are_closed(driver: Driver, street: Lab) -> None:
    door, peer = street.hosts["door"], street.hosts["peer"]
    rules = "incoming: deny, exclusive: true, rules: [22/tcp]"
    assert run(driver, f"ufw_rules: {{{rules}}}").code == 0
    door.run(PUBLISH)
    wait_until(lambda: reaches(peer, door.address, 8081), 10, "the published port goes past ufw")
    told = run(driver, f"ufw_rules: {{{rules}}}").results("door")["task"]["data"]
    assert [(port["port"], port["to"]) for port in told["docker_ports"]] == [(8081, "172.31.9.2:80")]
    closed = f"ufw_rules: {{{rules}, docker: close}}"
    assert run(driver, closed, "--check").changed() and reaches(peer, door.address, 8081)
    assert run(driver, closed).code == 0
    assert not reaches(peer, door.address, 8081)
    assert run(driver, closed).changed() == set()
    allowed = rules.replace("22/tcp", f"22/tcp, {{port: 8081, proto: tcp, from: {peer.address}}}")
    assert run(driver, f"ufw_rules: {{{allowed}, docker: close}}").code == 0
    assert reaches(peer, door.address, 8081), "a rule for it lets it in"
    assert run(driver, closed).code == 0 and not reaches(peer, door.address, 8081)
    assert run(driver, f"ufw_rules: {{{rules}}}").code == 0 and reaches(peer, door.address, 8081)
