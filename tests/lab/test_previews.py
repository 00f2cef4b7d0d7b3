"""Check mode on real hosts: what it tells beforehand, what it says that it cannot know, and that it runs to its end."""

from __future__ import annotations

import pytest

from opsplay.lab import Lab
from tests.lab.driver import Driver

pytestmark = pytest.mark.lab

UNKNOWN = """
- hosts: web1
  gather_facts: false
  tasks:
    - {name: asks, command: cat /etc/hostname, changed_when: false, register: asked}
    - {name: uses the answer, copy: {dest: /root/x, content: "{{ asked.stdout }}"}}
    - {name: depends on the answer, debug: {msg: x}, when: asked.stdout == 'web1'}
    - {name: keeps the answer, set_fact: {kept: "{{ asked.stdout }}"}}
    - {name: uses what was kept, debug: {msg: "{{ kept }}"}}
    - {name: loops over the answer, debug: {msg: "{{ item }}"}, loop: "{{ asked.stdout_lines }}"}
    - {name: judges the answer, assert: {that: asked.rc == 0}}
    - {name: with a default, debug: {msg: "{{ nosuch | default('known') }}"}}
    - {name: is defined, debug: {msg: yes}, when: asked.stdout is defined}
    - {name: did not change, debug: {msg: yes}, when: asked is not changed}
    - {name: makes a file, shell: echo x > /root/made}
    - {name: looks for it, stat: {path: /root/made}, register: made}
    - {name: needs it, debug: {msg: x}, when: made.stat.exists}
    - {name: edits it, lineinfile: {path: /root/made, line: y}}
    - {name: is sure, file: {path: /root/dir, state: directory}}
    - {name: retries, command: "true", register: r, until: r.rc == 0, retries: 1, delay: 0.1}
    - {name: includes, include_tasks: "{{ asked.stdout }}.yml"}
"""


def test_what_a_preview_cannot_know_is_said_and_stops_nothing(driver: Driver) -> None:
    done = driver.run(UNKNOWN, "--check")
    assert done.code == 0, done.out
    status = {task: event["status"] for task, event in done.results("web1").items()}
    undecided = {task for task, found in status.items() if found == "undecided"}
    assert undecided == {
        "uses the answer", "depends on the answer", "keeps the answer", "uses what was kept", "loops over the answer",
        "judges the answer", "needs it", "edits it", "includes",
    }, done.out  # fmt: skip
    assert "depends on stdout of 'asks', which only a real run gives" in done.out
    assert status["is defined"] == status["did not change"] == "ok"
    assert status["is sure"] == "changed"


def test_a_failure_after_a_program_that_was_not_run_is_in_doubt(driver: Driver) -> None:
    playbook = """
- hosts: web1
  gather_facts: false
  tasks:
    - {name: sets up, shell: "groupadd made; useradd -g made made"}
    - {name: needs the user, authorized_key: {user: made, key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdv not-a-key"}}
    - {name: goes on, file: {path: /root/on, state: touch}}
"""
    done = driver.run(playbook, "--check")
    assert done.results("web1")["goes on"]["status"] == "changed", done.out
    assert done.results("web1")["needs the user"]["status"] in ("changed", "undecided"), done.out


def test_a_preview_is_shared_between_users_and_hosts_that_delegate(driver: Driver) -> None:
    playbook = """
- hosts: web1:db1
  gather_facts: false
  tasks:
    - {name: as root, file: {path: /srv/ours, state: directory, owner: plain, mode: "0755"}}
    - {name: user, user: {name: newcomer, shell: /bin/sh}}
    - {name: as another, copy: {dest: /srv/ours/file, content: "x\\n"}, become: true, become_user: plain}
    - {name: as root again, lineinfile: {path: /srv/ours/file, line: x}}
    - {name: elsewhere, file: {path: "/srv/of-{{ inventory_hostname }}", state: directory}, delegate_to: web2}
    - {name: below it, copy: {dest: "/srv/of-{{ item }}/f", content: x}, delegate_to: web2, run_once: true,
       loop: "{{ ansible_play_hosts }}"}
    - {name: owned by it, file: {path: /srv/ours/mine, state: directory, owner: newcomer}}
"""
    foretold = driver.run(playbook, "--check")
    assert foretold.code == 0, foretold.out
    real = driver.run(playbook)
    assert real.code == 0, real.out
    assert foretold.changed() == real.changed()
    assert len(real.changed()) == 11
    assert driver.run(playbook).changed() == set()


def test_check_mode_of_a_playbook_for_a_blank_host(driver: Driver, lab: Lab) -> None:
    """Packages, accounts, units and files that build on each other: the preview foretells it all."""
    playbook = """
- hosts: web1
  gather_facts: true
  handlers: [{name: restart, service: {name: cron, state: restarted}}]
  tasks:
    - {name: package, apt: {name: cron, state: present, update_cache: true}}
    - {name: group, group: {name: app}}
    - {name: account, user: {name: app, group: app, home: /srv/app, system: true}}
    - {name: folder, file: {path: /srv/app/etc, state: directory, owner: app, group: app}}
    - {name: config, copy: {dest: /srv/app/etc/app.conf, content: "a=1\\n", owner: app}}
    - {name: setting, lineinfile: {path: /srv/app/etc/app.conf, line: a=1}}
    - {name: unit, copy: {dest: /etc/systemd/system/app.service, content: "[Service]\\nExecStart=/bin/sleep 1000\\n"}}
    - {name: started, systemd: {name: app, state: started, daemon_reload: true}}
    - {name: job, cron: {name: app, user: app, minute: 5, job: /bin/true}, notify: restart}
    - {name: version, command: dpkg-query -W cron, changed_when: false, register: version}
    - {name: note, copy: {dest: /srv/app/version, content: "{{ version.stdout }}"}}
"""
    foretold = driver.run(playbook, "--check", "--diff")
    assert foretold.code == 0, foretold.out
    real = driver.run(playbook)
    assert real.code == 0, real.out
    assert foretold.changed() == real.changed() - {("web1", "note")}
    assert driver.run(playbook).changed() == set()
