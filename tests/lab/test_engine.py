"""The engine on real hosts: escalation, failures beside each other, trust, secrets, interruption, lost connections."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time

import pytest

from opsplay.lab import Lab
from tests.lab.driver import Driver, agents, leftovers, wait_until

pytestmark = pytest.mark.lab

WHO = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: login, command: id -un, register: login}
    - {name: root, command: id -un, become: true, register: root}
    - {name: other, command: id -un, become: true, become_user: plain, register: other}
    - {name: said, debug: {msg: "{{ login.stdout }} {{ root.stdout }} {{ other.stdout }}"}}
"""


def test_become_without_and_with_a_password(driver: Driver, lab: Lab) -> None:
    free = driver.run(WHO, "-e", "ansible_user=admin")
    assert free.code == 0, free.out
    assert free.results("web1")["said"]["data"]["msg"] == "admin root plain"
    asked = driver.run(WHO, "-e", "ansible_user=ops", "-e", f"ansible_become_password={lab.password}")
    assert asked.code == 0, asked.out
    assert asked.results("web2")["said"]["data"]["msg"] == "ops root plain"


def test_a_wrong_or_missing_become_password_fails_the_task(driver: Driver, lab: Lab) -> None:
    wrong = driver.run(WHO, "-e", "ansible_user=ops", "-e", "ansible_become_password=wrong", "-l", "web1")
    assert wrong.code == 2
    assert "become password was refused" in wrong.out
    missing = driver.run(WHO, "-e", "ansible_user=ops", "-l", "web1")
    assert missing.code == 2
    assert "-K" in missing.out


def test_login_by_password(driver: Driver, lab: Lab) -> None:
    password = [
        "-e",
        "ansible_user=ops",
        "-e",
        f"ansible_password={lab.password}",
        "-e",
        "ansible_ssh_private_key_file=",
    ]
    done = driver.run("- {hosts: web1, gather_facts: false, tasks: [{ping: }]}", *password)
    assert done.code == 0, done.out
    refused = driver.run("- {hosts: web1, gather_facts: false, tasks: [{ping: }]}", *password[:2], "-e",
                         "ansible_password=wrong", "-e", "ansible_ssh_private_key_file=")  # fmt: skip
    assert refused.code == 4 and "authentication failed" in refused.out


def test_an_unknown_host_key_is_refused_with_the_remedy(driver: Driver) -> None:
    done = driver.run("- {hosts: web1, gather_facts: false, tasks: [{ping: }]}", "-e", "ansible_ssh_common_args=")
    assert done.code == 4
    assert "SHA256:" in done.out and "--accept-new-host-keys" in done.out


def test_failed_and_unreachable_hosts_do_not_stop_the_others(driver: Driver, lab: Lab) -> None:
    playbook = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: fails on one, command: "false", when: inventory_hostname == 'web1'}
    - {name: goes on, copy: {content: "x", dest: /root/went-on}}
"""
    done = driver.run(playbook, "-e", '{"ansible_port": "{{ 1 if inventory_hostname == \'db1\' else 22 }}"}')
    assert done.code == 6, done.out
    assert done.recap("web1")["failed"] == 1
    assert done.recap("db1")["unreachable"] == 1
    assert done.recap("web2") == {**done.recap("web2"), "failed": 0, "unreachable": 0, "ok": 1}
    assert "because: goes on" in done.out or "because: fails on one" in done.out
    assert lab.hosts["web2"].run("cat /root/went-on").stdout == "x"


HOSTILE = """
- hosts: web1
  vars:
    wrapped: "{{ said.stdout }}"
  tasks:
    - {name: output, command: cat /root/hostile, register: said}
    - {name: through set_fact, set_fact: {kept: "{{ said.stdout }}", listed: "{{ said.stdout_lines }}"}}
    - {name: through a variable, debug: {msg: "{{ wrapped }}"}}
    - {name: through a fact, debug: {msg: "{{ kept }}"}}
    - {name: through a loop, debug: {msg: "{{ item }}"}, loop: "{{ said.stdout_lines }}"}
    - {name: through filters, debug: {msg: "{{ said.stdout | upper | lower | trim }}"}}
    - {name: through facts, debug: {msg: "{{ ansible_local.hostile.value }}"}}
    - {name: through hostvars, debug: {msg: "{{ hostvars['web1'].kept }}"}}
    - {name: to a file, copy: {content: "{{ kept }}", dest: /root/copied}}
    - {name: as an argument, command: {argv: [printf, "%s", "{{ kept }}"]}, register: argument}
    - {name: said argument, debug: {msg: "{{ argument.stdout }}"}}
    - {name: in a condition, debug: {msg: "equal"}, when: kept == said.stdout}
    - {name: as the name of a variable, debug: {var: "{{ said.stdout }}"}}
"""


def test_what_a_host_says_is_never_evaluated(driver: Driver, lab: Lab) -> None:
    canary = "{{ 7*7 }} {% if true %}yes{% endif %} {# c #} {{ lookup('env','HOME') }}"
    host = lab.hosts["web1"]
    host.run(["sh", "-c", "cat > /root/hostile; mkdir -p /etc/ansible/facts.d"], stdin=canary)
    host.run(["sh", "-c", "cat > /etc/ansible/facts.d/hostile.fact"], stdin=json.dumps({"value": canary}))
    done = driver.run(HOSTILE)
    assert done.code == 0, done.out
    results = done.results("web1")
    for task in ("through a variable", "through a fact", "through facts", "through hostvars", "said argument"):
        assert results[task]["data"]["msg"] == canary, task
    assert results["through a loop"]["data"]["results"][0]["msg"] == canary
    assert "7*7" in results["through filters"]["data"]["msg"]
    assert results["in a condition"]["data"].get("msg") == "equal"
    assert host.run("cat /root/copied").stdout == canary
    assert list(results["as the name of a variable"]["data"].values())[0] == canary
    assert "49" not in done.out


def test_secrets_are_masked_wherever_they_would_be_shown(driver: Driver, lab: Lab) -> None:
    playbook = """
- hosts: web1
  gather_facts: false
  tasks:
    - {name: shown, debug: {msg: "the password is {{ ansible_become_password }}"}}
    - {name: echoed, command: "echo {{ ansible_become_password }}", become: true, register: echoed}
    - {name: kept back, command: "echo canary-of-no-log", no_log: true, register: hidden}
    - {name: a file, copy: {content: "{{ ansible_become_password }}", dest: /root/secret}}
    - {name: usable, assert: {that: hidden.stdout == 'canary-of-no-log'}}
    - {name: fails, fail: {msg: "sorry {{ ansible_become_password }}"}}
"""
    secret = "correct-horse-battery"
    done = driver.run(playbook, "-vv", "--diff", "-e", f"ansible_become_password={secret}")
    assert done.code == 2, done.out
    record = "".join(
        path.read_text() for path in driver.directory.glob("home/.local/state/opsplay/runs/*/events.jsonl")
    )
    for text in (done.out, done.err, record):
        assert secret not in text
        assert "canary-of-no-log" not in text.replace("hidden.stdout == 'canary-of-no-log'", "")
    assert lab.hosts["web1"].run("cat /root/secret").stdout == secret


SLOW = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: slow, command: sleep 300}
"""


def test_interrupting_ends_remote_work_and_prints_the_recap(driver: Driver, lab: Lab) -> None:
    process = driver.start(SLOW)
    wait_until(lambda: all(sleeping(host) for host in lab.hosts.values()), 20, "the task runs everywhere")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    wait_until(lambda: not any(sleeping(host) for host in lab.hosts.values()), 10 - (time.monotonic() - began), "ended")
    assert process.returncode == 99, err
    assert "RECAP" in out and "interrupted" in out
    wait_until(lambda: not any(agents(host) for host in lab.hosts.values()), 10, "the agents are gone")


def sleeping(host: object) -> bool:
    return any(argv[:2] == ["sleep", "300"] for _, argv in host.processes())  # type: ignore[attr-defined]


def test_a_cut_network_is_reported_in_time_and_the_agent_goes(driver: Driver, lab: Lab) -> None:
    playbook = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: begins, ping: }
    - {name: works, command: sleep 300, when: inventory_hostname == 'web1'}
    - {name: a file, copy: {content: "done", dest: /root/after-the-cut}}
"""
    process = driver.start(playbook, "--heartbeat", "1", "6")
    host = lab.hosts["web1"]
    wait_until(lambda: sleeping(host), 20, "the task runs")
    began = time.monotonic()
    host.link(False)
    try:
        out, _ = process.communicate(timeout=30)
        took = time.monotonic() - began
        assert process.returncode == 4, out
        assert took < 15, "reported within its deadline"
        assert "nothing was heard for 6 s" in out
        wait_until(lambda: not sleeping(host) and not agents(host), 15, "the agent is gone after its own deadline")
    finally:
        host.link(True)
    for other in ("web2", "db1"):
        assert lab.hosts[other].run("cat /root/after-the-cut", check=False).stdout == "done", out
    assert not leftovers(host)


def test_a_login_shell_that_talks_does_not_disturb(driver: Driver, lab: Lab) -> None:
    host = lab.hosts["web1"]
    noise = "echo 'Welcome {\"event\": 1}'; (sleep 0.3; echo late noise; sleep 0.5; echo later) & \n"
    host.run(["sh", "-c", "cat > /root/.bashrc"], stdin=noise)
    try:
        done = driver.run("- {hosts: web1, tasks: [{command: sleep 1}, {ping: }]}")
    finally:
        host.run("rm -f /root/.bashrc")
    assert done.code == 0, done.out
    assert done.recap("web1")["ok"] == 3


def test_no_python_is_said_with_the_remedy(driver: Driver) -> None:
    done = driver.run("- {hosts: web1, tasks: [{ping: }]}", "-e", "ansible_python_interpreter=/opt/none/python3")
    assert done.code == 4
    assert "web1" in done.out and "/opt/none/python3" in done.out and "raw" in done.out
    raw = driver.run("- {hosts: web1, gather_facts: false, tasks: [{raw: echo hello, register: said}]}",
                     "-e", "ansible_python_interpreter=/opt/none/python3")  # fmt: skip
    assert raw.code == 0, raw.out
    assert raw.results("web1")["raw"]["data"]["stdout"] == "hello\n"


MANY = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: "a command that takes a while", command: sleep 0.5}
    - {name: many, command: "true", loop: "{{ range(40) }}"}
    - {name: files, copy: {content: "{{ item }}", dest: "/tmp/live-{{ item }}"}, loop: "{{ range(40) }}"}
    - {name: again, command: sleep 0.5}
"""


def test_a_terminal_shows_who_is_at_work(driver: Driver) -> None:
    shown = on_a_terminal(driver.command("run", "-i", str(driver.inventory), str(driver.write(MANY)), "--diff"), driver)
    assert "⋯ " in shown and "a command that takes a while" in shown
    assert "RECAP" in shown and "\x1b[" in shown


def on_a_terminal(argv: list[str], driver: Driver, seconds: float = 60) -> str:
    """What a command shows on a terminal of its own."""
    main, side = os.openpty()
    environment = {**driver.environment(), "TERM": "xterm-256color", "COLUMNS": "110", "LINES": "40"}
    process = subprocess.Popen(argv, env=environment, stdin=side, stdout=side, stderr=side, start_new_session=True)
    os.close(side)
    parts = []
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and select.select([main], [], [], limit - time.monotonic())[0]:
        try:
            parts.append(os.read(main, 1 << 16))
        except OSError:  # the other side is closed
            break
    process.kill() if process.poll() is None and time.monotonic() >= limit else process.wait(10)
    os.close(main)
    assert process.wait(10) == 0, b"".join(parts).decode(errors="replace")[-3000:]
    return b"".join(parts).decode(errors="replace")


LANGUAGE = """
- hosts: all
  serial: [1, "100%"]
  gather_facts: false
  vars: {x: 3}
  tasks:
    - {name: items, debug: {msg: "{{ item }}"}, with_items: [a, [b, c]], register: items}
    - name: retry
      shell: "echo x >> /tmp/tries; test $(wc -l < /tmp/tries) -ge 3"
      register: tried
      until: tried.rc == 0
      retries: 5
      delay: 0.1
    - {name: clean, file: {path: /tmp/tries, state: absent}}
    - name: tries
      assert:
        that: [tried.attempts == 3, "items.results | map(attribute='item') | list == ['a', 'b', 'c']"]
    - {name: ignored, command: "false", ignore_errors: true}
    - {name: new connection, meta: reset_connection}
    - name: outer
      block:
        - {name: fails on one, fail: {msg: "no"}, when: inventory_hostname == 'web1'}
        - {name: not on that one, debug: {msg: here}}
      always:
        - {name: always, debug: {msg: always}}
      when: x == 3
    - {name: ends, meta: end_host, when: inventory_hostname == 'db1'}
    - {name: last, debug: {msg: last}}
"""


def test_batches_loops_retries_blocks_and_meta(driver: Driver) -> None:
    done = driver.run(LANGUAGE)
    assert done.code == 2, done.out
    batches = [event["hosts"] for event in done.events if event["event"] == "play_started"]
    assert [len(batch) for batch in batches] == [1, 2]
    assert "last" not in done.results("db1") and "last" in done.results("web2")
    failed = done.results("web1")
    assert "not on that one" not in failed and failed["always"]["status"] == "ok" and "last" not in failed
    assert done.recap("web2")["ignored"] == 1 and done.recap("web2")["skipped"] == 1


CHAIN = """
- hosts: web1
  gather_facts: false
  pre_tasks:
    - {name: begins, command: "true", notify: first}
  tasks:
    - {name: between, command: "true"}
  handlers:
    - {name: first, shell: "echo first >> /tmp/chain", notify: second}
    - {name: second, shell: "echo second >> /tmp/chain"}
"""


def test_a_handler_that_a_handler_notified_runs_once(driver: Driver, lab: Lab) -> None:
    done = driver.run(CHAIN)
    assert done.code == 0, done.out
    assert lab.hosts["web1"].run("cat /tmp/chain").stdout == "first\nsecond\n"
