"""Actions that lose and find connections, and rsync over them, on real hosts."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from opsplay.lab import Lab
from tests.lab.driver import Driver

pytestmark = pytest.mark.lab

REBOOT = """
- hosts: web1, db1
  gather_facts: false
  tasks:
    - {name: before, copy: {content: kept, dest: /srv/kept}}
    - name: restarts
      reboot: {reboot_timeout: 120, test_command: systemctl is-active ssh}
      when: inventory_hostname == 'web1'
      register: restarted
    - {name: after, command: cat /proc/sys/kernel/random/boot_id /srv/kept}
    - {name: said, debug: {msg: "{{ restarted.rebooted | default('no') }} {{ restarted.elapsed | default(-1) >= 1 }}"}}
"""


def test_a_host_restarts_in_the_middle_of_a_playbook(driver: Driver, lab: Lab) -> None:
    web, other = lab.hosts["web1"], lab.hosts["db1"]
    before = web.boot_id(), other.boot_id()
    preview = driver.run(REBOOT, "--check")
    assert preview.code == 0, preview.out
    assert preview.results("web1")["restarts"]["data"]["rebooted"] and web.boot_id() == before[0]
    done = driver.run(REBOOT, timeout=240)
    assert done.code == 0, done.out + done.err
    assert done.results("web1")["restarts"]["status"] == "changed"
    assert done.results("web1")["said"]["data"]["msg"] == "True True"
    stdout = done.results("web1")["after"]["data"]["stdout"]
    assert before[0] not in stdout and stdout.endswith("kept")
    assert before[1] in done.results("db1")["after"]["data"]["stdout"]
    assert done.recap("web1")["unreachable"] == 0
    web.wait_until_settled(60)


def test_a_restart_as_another_user(driver: Driver, lab: Lab) -> None:
    before = lab.hosts["web2"].boot_id()
    playbook = """
- hosts: web2
  gather_facts: false
  become: true
  tasks:
    - {name: restarts, reboot: {connect_timeout: 3}}
    - {name: after, command: id -un}
"""
    done = driver.run(playbook, "-e", "ansible_user=admin", timeout=240)
    assert done.code == 0, done.out + done.err
    assert lab.hosts["web2"].boot_id() != before
    assert done.results("web2")["after"]["data"]["stdout"] == "root"
    lab.hosts["web2"].wait_until_settled(60)


def test_a_restart_that_does_not_come_about(driver: Driver, lab: Lab) -> None:
    playbook = """
- hosts: web1
  gather_facts: false
  tasks:
    - {name: nothing, reboot: {reboot_command: "true", reboot_timeout: 2}, ignore_errors: true}
    - {name: refused, reboot: {reboot_command: "false"}, ignore_errors: true}
    - {name: nowhere, reboot: {search_paths: [/nosuch]}, ignore_errors: true}
    - {name: silent, reboot: {boot_time_command: "true"}, ignore_errors: true}
    - {name: here, reboot: , delegate_to: localhost, ignore_errors: true}
    - {name: goes on, ping: }
"""
    done = driver.run(playbook)
    assert done.code == 0, done.out
    results = {name: entry["data"] for name, entry in done.results("web1").items()}
    assert "timed out waiting for last boot time check" in results["nothing"]["msg"]
    assert results["nothing"]["rebooted"] is False and results["nothing"]["elapsed"] >= 1
    assert "Reboot command failed" in results["refused"]["msg"]
    assert 'Unable to find command "shutdown"' in results["nowhere"]["msg"]
    assert "says nothing" in results["silent"]["msg"]
    assert "would reboot the control node" in results["here"]["msg"]


WAIT = """
- hosts: web1
  gather_facts: false
  tasks:
    - {name: waits, wait_for_connection: {timeout: %d, connect_timeout: 1, sleep: 1}}
    - {name: goes on, ping: }
"""


def test_waiting_for_a_host_whose_cable_is_out(driver: Driver, lab: Lab) -> None:
    host = lab.hosts["web1"]
    host.link(False)
    plug = threading.Timer(4, host.link, (True,))
    plug.start()
    try:
        done = driver.run(WAIT % 60)
    finally:
        plug.join()
    assert done.code == 0, done.out
    data = done.results("web1")["waits"]["data"]
    assert 2 <= data["elapsed"] < 40 and data["changed"] is False


def test_waiting_in_vain(driver: Driver, lab: Lab) -> None:
    host = lab.hosts["web1"]
    host.link(False)
    try:
        started = time.monotonic()
        done = driver.run(WAIT % 3)
        assert time.monotonic() - started < 30
    finally:
        host.link(True)
    assert done.code == 2
    assert "timed out waiting for a connection" in done.results("web1")["waits"]["data"]["msg"]
    skipped = driver.run(WAIT % 3, "--check")
    assert skipped.recap("web1")["skipped"] == 1


def folder(driver: Driver) -> Path:
    made = driver.directory / "site"
    (made / "sub").mkdir(parents=True)
    (made / "a").write_text("1")
    (made / "sub/b c").write_text("2")
    return made


SYNC = """
- hosts: web1
  gather_facts: false
  tasks:
    - {name: push, synchronize: {src: site/, dest: "/srv/a place/", delete: true}}
    - {name: again, synchronize: {src: site/, dest: "/srv/a place/", delete: true}}
    - {name: pull, synchronize: {mode: pull, src: /srv/a place/sub, dest: back/}}
"""


def test_a_folder_is_pushed_and_pulled(driver: Driver, lab: Lab) -> None:
    host, made = lab.hosts["web1"], folder(driver)
    host.run("rm -rf '/srv/a place'; mkdir -p '/srv/a place'; touch '/srv/a place/old'")
    preview = driver.run(SYNC.split("    - {name: again")[0], "--check")
    assert preview.code == 0, preview.out
    assert preview.results("web1")["push"]["status"] == "changed"
    assert host.run("ls '/srv/a place'").stdout == "old\n"
    done = driver.run(SYNC)
    assert done.code == 0, done.out
    results = done.results("web1")
    assert [results[name]["status"] for name in ("push", "again", "pull")] == ["changed", "ok", "changed"]
    assert "*deleting" in results["push"]["data"]["msg"] and results["push"]["data"]["rc"] == 0
    assert host.run("cd '/srv/a place'; cat a 'sub/b c'; ls").stdout == "12a\nsub\n"
    assert (driver.directory / "back/sub/b c").read_text() == "2"
    made.joinpath("a").write_text("9")
    assert driver.run(SYNC).results("web1")["push"]["data"]["changed"]


def test_a_folder_is_pushed_as_another_user(driver: Driver, lab: Lab) -> None:
    folder(driver)
    lab.hosts["web1"].run("rm -rf /srv/owned; mkdir -m 700 /srv/owned")
    playbook = """
- hosts: web1
  gather_facts: false
  become: true
  tasks:
    - {name: push, synchronize: {src: site, dest: /srv/owned, owner: false, group: false, rsync_opts: [--exclude=a]}}
"""
    done = driver.run(playbook, "-e", "ansible_user=admin")
    assert done.code == 0, done.out
    assert lab.hosts["web1"].run("cd /srv/owned; find . -type f -printf '%p %u\\n'").stdout == "./site/sub/b c root\n"
    asked = driver.run(playbook, "-e", "ansible_user=ops", "-e", f"ansible_become_password={lab.password}")
    assert asked.code == 2 and "a become password cannot be given to rsync" in asked.out


def test_folders_of_other_hosts(driver: Driver, lab: Lab) -> None:
    """From one place to another on the host itself, and from the host that the task is delegated to."""
    source, target = lab.hosts["web2"], lab.hosts["web1"]
    source.run("rm -rf /root/.ssh/id_ed25519*; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519;"
               f"ssh-keyscan -t ed25519 {target.address} > /root/.ssh/known_hosts 2>/dev/null;"
               "mkdir -p /srv/from; echo x > /srv/from/x")  # fmt: skip
    public = source.run("cat /root/.ssh/id_ed25519.pub").stdout.strip()
    target.run(f"rm -rf /srv/to*; echo '{public}' >> /root/.ssh/authorized_keys")
    playbook = """
- hosts: web1
  gather_facts: false
  tasks:
    - {name: across, synchronize: {src: /srv/from/, dest: /srv/to}, delegate_to: web2}
    - {name: within, synchronize: {src: /srv/to/, dest: /srv/to2}, delegate_to: "{{ inventory_hostname }}"}
    - {name: from here, synchronize: {src: site/a, dest: /srv/to3}, delegate_to: localhost}
    - {name: nosuch, synchronize: {src: /nosuch, dest: /srv/to4}, ignore_errors: true}
"""
    folder(driver)
    done = driver.run(playbook)
    assert done.code == 0, done.out
    assert target.run("cat /srv/to/x /srv/to2/x /srv/to3").stdout == "x\nx\n1"
    assert "/nosuch" in done.results("web1")["nosuch"]["data"]["msg"]
