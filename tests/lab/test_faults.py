"""The control process killed without warning, large files, unchanged files: what stays on the hosts, and in memory."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from opsplay.lab import Lab, LabHost
from tests.lab.driver import Driver, agents, leftovers, wait_until

pytestmark = pytest.mark.lab

MOMENTS = 30
# Over how many seconds of a run the kills are spread: start, upload, tasks and becoming all lie within.
SPREAD = 1.6

PLAYBOOK = """
- hosts: all
  tasks:
    - {name: upload, copy: {src: large, dest: /root/large, mode: "0600"}}
    - {name: many files, copy: {content: "{{ item }}\\n", dest: "/root/many-{{ item }}"}, loop: [a, b, c, d]}
    - {name: works, shell: "sleep 0.3; echo worked > /root/worked"}
    - {name: becomes, copy: {content: "mine\\n", dest: /tmp/of-plain}, become: true, become_user: plain}
    - {name: works as another, shell: "sleep 0.2; true", become: true, become_user: plain}
"""


def test_killed_at_random_moments_nothing_stays_and_a_rerun_converges(driver: Driver, lab: Lab) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    print(f"seed {seed}")
    (driver.directory / "large").write_bytes(os.urandom(24 << 20))
    for number in range(MOMENTS):
        if number % 3 == 0:
            for host in lab.hosts.values():
                host.run("rm -f /root/large /root/many-* /root/worked /tmp/of-plain")
        process = driver.start(PLAYBOOK)
        time.sleep(0.25 + chance.random() * SPREAD)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        for host in lab.hosts.values():
            wait_until(lambda host=host: not busy(host), 10, f"nothing runs on {host.name} after moment {number}")
            assert leftovers(host) == [], f"moment {number}"
            assert whole_or_absent(host, driver.directory / "large"), f"moment {number}"
    done = driver.run(PLAYBOOK)
    assert done.code == 0, done.out
    assert driver.run(PLAYBOOK).results("web1")["upload"]["status"] == "ok"


def busy(host: LabHost) -> bool:
    return bool(agents(host)) or any(argv[:1] == ["sleep"] for _, argv in host.processes())


def whole_or_absent(host: LabHost, source: Path) -> bool:
    """A file is never half there."""
    size = host.run("stat -c %s /root/large", check=False).stdout.strip()
    return size in ("", str(source.stat().st_size))


GIBIBYTE = 1 << 30
LIMIT_KIB = 100 << 10


def test_a_gibibyte_stays_out_of_memory_and_travels_once(driver: Driver, lab: Lab) -> None:
    source = driver.directory / "gibibyte"
    with source.open("wb") as file:
        block = os.urandom(1 << 20)
        for number in range(1024):
            file.write(number.to_bytes(8, "big") + block[8:])
    playbook = """
- hosts: db1
  gather_facts: false
  tasks:
    - {name: large, copy: {src: gibibyte, dest: /var/tmp/gibibyte}}
    - name: memory of the agent
      shell: grep VmHWM /proc/$PPID/status
      register: memory
"""
    before = received(lab.hosts["db1"])
    process = driver.start(playbook)
    control = highest_memory(process)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert received(lab.hosts["db1"]) - before > GIBIBYTE
    assert control < LIMIT_KIB, f"control side: {control} KiB"
    second = received(lab.hosts["db1"])
    again = driver.run(playbook)
    assert again.results("db1")["large"]["status"] == "ok"
    assert received(lab.hosts["db1"]) - second < (1 << 20), "an unchanged file moves no content"
    peak = int(again.results("db1")["memory of the agent"]["data"]["stdout"].split()[1])
    assert peak < LIMIT_KIB, f"agent: {peak} KiB"
    print(f"control {control >> 10} MiB, agent {peak >> 10} MiB")
    lab.hosts["db1"].run("rm -f /var/tmp/gibibyte")


def highest_memory(process: subprocess.Popen[str]) -> int:
    """The most memory (KiB, resident) that a process had until it ended, read while it runs.

    The kernel's account of a finished child would begin with the memory of the process that forked it.
    """
    highest = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            if "VmHWM:" in status:
                highest = int(status.split("VmHWM:")[1].split()[0])
        time.sleep(0.05)
    return highest


def received(host: LabHost) -> int:
    """Bytes that a host has received."""
    return int(host.run("cat /sys/class/net/host0/statistics/rx_bytes").stdout)
