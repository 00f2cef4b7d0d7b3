"""playbooks/harden.yml on a fresh host of each release: foretold, done, unchanged, kept over a restart, and judged.

Each day on another of the three releases, and in bin/soak on all at once."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.driver import Driver, wait_until
from tests.lab.quick_lab import QuickLab
from tests.lab.quick_ucf import quick_ucf
from tests.modules import SOAK

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
HARDEN = ROOT / "playbooks/harden.yml"
ALL = {"h11": "bullseye", "h12": "bookworm", "h13": "trixie"}
TODAY = list(ALL)[datetime.date.today().toordinal() % len(ALL)]
HOSTS = ALL if SOAK else {TODAY: ALL[TODAY]}
# As whom they are hardened: root, or an ordinary account that becomes it, after which root cannot log in at all.
ACCOUNTS = {"h11": "root", "h12": "root", "h13": "admin"}
# A watcher that comes more often would itself be taken for an attacker (`ufw limit`: six within 30 s).
PACE = 8.0
USERS = '{"harden_ssh_users": ["root", "admin", "ops"]}'
SCAN = "nmap -n -Pn -p- --min-rate 8000 --max-retries 1 --open -oG -"


@pytest.fixture(scope="module")
def street() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("harden") as fleet:
        specs = {name: HostSpec(release=release, image="full") for name, release in HOSTS.items()}
        hosts = fleet.up({**specs, "peer": HostSpec(release="bookworm")})
        install = "apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends nmap"
        hosts["peer"].run(install, timeout=120)
        for number, host in enumerate(hosts.values(), 1):
            quick_ucf(host)
            host.run(f"ip -6 address replace fd00:6f71::{number}/64 dev host0 nodad")
        yield fleet


class Watcher(threading.Thread):
    """Logs in anew to every host, again and again, and keeps count of those who failed."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(daemon=True)
        self.lab = lab
        self.tries = 0
        self.failed: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(PACE):
            for name in HOSTS:
                self.tries += 1
                if not logs_in(self.lab, self.lab.hosts[name]):
                    self.failed.append(f"{name} at {time.strftime('%T')}")


def logs_in(lab: Lab, host: LabHost, user: str = "") -> bool:
    user = user or ACCOUNTS[host.name]
    known = f"UserKnownHostsFile={lab.known_hosts}"
    argv = ["ssh", "-i", str(lab.private_key), "-o", known, "-o", "BatchMode=yes", "-o", "ConnectTimeout=15",
            f"{user}@{host.address}", "true"]  # fmt: skip
    return subprocess.run(argv, capture_output=True, timeout=40).returncode == 0


def run(driver: Driver, *arguments: str) -> Any:
    # The database of all files takes its minutes: test_aide.py is about that.
    return driver.run(HARDEN, "-l", ",".join(HOSTS), "-e", USERS, "--skip-tags", "integrity", *arguments, timeout=400)


def test_harden(street: Lab, tmp_path: Path) -> None:
    driver = Driver(tmp_path, street)
    (tmp_path / "host_vars").mkdir()
    for name in HOSTS:
        (tmp_path / f"host_vars/{name}.yml").write_text(f"ansible_user: {ACCOUNTS[name]}\n")
    before = {name: fingerprint(street.hosts[name]) for name in HOSTS}
    preview = run(driver, "--check")
    assert preview.code == 0, preview.out
    assert {name: fingerprint(street.hosts[name]) for name in HOSTS} == before, "a preview changes nothing"
    watcher = Watcher(street)
    watcher.start()
    real = run(driver)
    watcher.over.set()
    watcher.join()
    assert real.code == 0, real.out
    assert len(real.changed()) > 15 * len(HOSTS) and preview.changed() == real.changed(), "foretold just as it is done"
    assert watcher.tries and watcher.failed == [], "a new login always works"
    again = run(driver)
    assert again.code == 0 and again.changed() == set(), again.out
    for name in HOSTS:
        judged(street, name)
    for host in (street.hosts[name] for name in HOSTS):
        host.reboot()
    for number, name in enumerate(HOSTS, 1):
        host = street.hosts[name]
        host.run(f"ip -6 address replace fd00:6f71::{number}/64 dev host0 nodad")
        wait_until(lambda host=host: logs_in(street, host), 40, f"a login to {name} works after a restart")
        judged(street, name)
    assert run(driver).changed() == set(), "all is as it was after a restart"
    assert scanned(street) == {f"{address} 22/open" for name in HOSTS for address in addresses(street, name)}


def fingerprint(host: LabHost) -> str:
    look = "find /etc /root /usr/local -xdev -type f ! -path '/etc/ufw/*.lock' -exec sha256sum {} + | sort | sha256sum"
    return host.run(look + "; dpkg-query -W | sha256sum; iptables-save | wc -l").stdout


def addresses(lab: Lab, name: str) -> tuple[str, str]:
    """Its addresses of IPv4 and IPv6."""
    return lab.hosts[name].address, f"fd00:6f71::{list(HOSTS).index(name) + 1}"


def scanned(lab: Lab) -> set[str]:
    """All TCP ports of all hosts that a peer finds open, over both versions of IP."""
    found = set()
    for version, option in enumerate(("", "-6")):
        targets = " ".join(addresses(lab, name)[version] for name in HOSTS)
        for line in lab.hosts["peer"].run(f"{SCAN} {option} {targets}", timeout=300).stdout.splitlines():
            if "Ports: " in line:
                ports = line.partition("Ports: ")[2].partition("\t")[0].split(", ")
                found |= {f"{line.split()[1]} {'/'.join(port.split('/')[:2])}" for port in ports}
    return found


def judged(lab: Lab, name: str) -> None:
    """What outsiders see: how sshd speaks, who may log in; and what holds inside."""
    host = lab.hosts[name]
    root = ACCOUNTS[name] == "root"
    assert logs_in(lab, host) and logs_in(lab, host, "admin") and not logs_in(lab, host, "plain")
    assert logs_in(lab, host, "root") is root
    settings = dict(line.split(" ", 1) for line in host.run("sshd -T").stdout.splitlines() if " " in line)
    assert settings["permitrootlogin"] == ("without-password" if root else "no")
    assert settings["passwordauthentication"] == "no"
    inside = host.run(
        "ufw status | head -1; systemctl is-active fail2ban; sysctl -n net.ipv4.conf.all.rp_filter net.ipv4.ip_forward;"
        "su -c 'umask; ulimit -c' - admin; fail2ban-client get sshd ignoreip | grep -c ."
    ).stdout.split()
    assert inside[:6] == ["Status:", "active", "active", "1", "0", "0027"], inside
    command = [Path(sys.executable).with_name("ssh-audit"), "--level=fail", host.address]
    audit = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "[fail]" not in audit.stdout, audit.stdout
    # sshd from 9.8 on shuts out for a while who comes like a scanner.
    wait_until(lambda: logs_in(lab, host), 90, "the scanner's address is let in again")
