"""Whole runs over hosts without SSH: failures, handlers and ends of plays, as a user sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.commands import opsplay

HOSTS = "".join(f"h{number} ansible_connection=local\n" for number in (1, 2, 3))


class Done:
    """A run that has ended: its exit code, what it printed, its events."""

    def __init__(self, folder: Path, playbook: str, *words: str) -> None:
        (folder / "hosts.ini").write_text(HOSTS)
        (folder / "playbook.yml").write_text(playbook)
        before = set(folder.glob("home/.local/state/opsplay/runs/*"))
        done = opsplay(folder, "run", "-i", "hosts.ini", "playbook.yml", *words)
        self.code, self.text = done.returncode, done.stdout + done.stderr
        new = set(folder.glob("home/.local/state/opsplay/runs/*")) - before
        lines = [line for path in new for line in (path / "events.jsonl").read_text().splitlines()]
        self.events: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def tasks(self, host: str) -> list[tuple[str, str]]:
        """What a host went through: (task, status)."""
        finished = (event for event in self.events if event["event"] == "task_finished" and event["module"] != "meta")
        return [(event["task"], event["status"]) for event in finished if event["host"] == host]


@pytest.mark.parametrize("once", ["{{ inventory_hostname != 'h1' }}", "{{ inventory_hostname == 'h3' }}"])
def test_a_task_that_runs_once_for_some(tmp_path: Path, once: str) -> None:
    done = Done(
        tmp_path,
        f"""
- hosts: all
  gather_facts: false
  tasks:
    - {{name: once, run_once: "{once}", debug: {{msg: done}}}}
    - {{name: after, debug: {{msg: done}}}}
""",
    )
    assert done.code == 0, done.text
    assert all(("after", "ok") in done.tasks(host) for host in ("h1", "h2", "h3"))


@pytest.mark.parametrize(
    "keywords",
    [
        "retries: '{{ word }}', until: false",
        "until: found.nothing.more, register: found, retries: 1, delay: 0",
        "until: false, retries: 1, delay: '{{ word }}'",
        "throttle: '{{ word }}'",
        "timeout: '{{ word }}'",
        "async: '{{ word }}'",
        "async: 5, poll: '{{ word }}'",
        "loop: [1, 2], loop_control: {break_when: nothing.more}",
        "notify: '{{ nothing }}'",
    ],
)
def test_a_keyword_that_cannot_be_rendered_fails_its_task_alone(tmp_path: Path, keywords: str) -> None:
    done = Done(
        tmp_path,
        f"""
- hosts: h1
  gather_facts: false
  vars: {{word: many}}
  tasks:
    - {{name: wrong, command: echo, {keywords}, ignore_errors: true}}
    - {{name: after, debug: {{msg: done}}}}
""",
    )
    assert done.tasks("h1") == [("wrong", "ignored"), ("after", "ok")], done.text


def test_what_a_preview_cannot_judge_is_undecided(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: h1
  gather_facts: false
  tasks:
    - {name: asked, command: echo, register: asked}
    - {name: judged, stat: {path: /}, failed_when: asked.rc == 0, register: judged}
    - {name: of both, stat: {path: /}, changed_when: asked.rc == 0, loop: [1, 2]}
    - {name: "named {{ asked.stdout }}", stat: {path: /}}
    - {name: uses it, debug: {msg: x}, when: judged is failed}
    - {name: after, debug: {msg: done}}
""",
        "--check",
    )
    statuses = [status for _, status in done.tasks("h1")]
    assert statuses == ["skipped", "undecided", "undecided", "ok", "undecided", "ok"], done.text


def test_items_notify_and_failures_do_not(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: h1
  gather_facts: false
  tasks:
    - {name: loop, debug: {msg: x}, changed_when: true, loop: [a, b], notify: "handle {{ item }}"}
    - {name: fails, fail: {msg: x}, changed_when: true, ignore_errors: true, notify: handle c}
  handlers:
    - {name: handle a, debug: {msg: x}}
    - {name: handle b, debug: {msg: x}}
    - {name: handle c, debug: {msg: x}}
""",
    )
    assert done.tasks("h1")[2:] == [("handle a", "ok"), ("handle b", "ok")], done.text


def test_a_handler_that_is_notified_too_late_runs_at_the_next_flush(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: h1
  gather_facts: false
  tasks:
    - {name: change, debug: {msg: x}, changed_when: true, notify: second}
  handlers:
    - {name: first, debug: {msg: x}}
    - {name: second, debug: {msg: x}, changed_when: true, notify: first}
""",
    )
    assert [task for task, _ in done.tasks("h1")] == ["change", "second", "first"], done.text


@pytest.mark.parametrize("keyword", ["any_errors_fatal: true", "max_fail_percentage: 10"])
def test_all_hosts_do_the_task_whose_failure_ends_the_play(tmp_path: Path, keyword: str) -> None:
    done = Done(
        tmp_path,
        f"""
- hosts: all
  gather_facts: false
  {keyword}
  tasks:
    - {{name: fails, command: "false", when: inventory_hostname == 'h1'}}
    - {{name: never, debug: {{msg: x}}}}
- hosts: all
  gather_facts: false
  tasks:
    - {{name: never, debug: {{msg: x}}}}
""",
        "--forks=1",
    )
    assert done.code == 2
    assert done.tasks("h1") == [("fails", "failed")]
    assert done.tasks("h2") == done.tasks("h3") == [("fails", "skipped")], done.text


def test_a_fatal_failure_is_rescued_once(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - block:
        - {name: fails, fail: {msg: x}, run_once: true}
      rescue:
        - {name: rescue, debug: {msg: x}}
        - {name: more, debug: {msg: x}}
    - {name: after, debug: {msg: x}}
""",
    )
    assert done.code == 0, done.text
    assert done.tasks("h2") == done.tasks("h3") == [("rescue", "ok"), ("more", "ok"), ("after", "ok")]


def test_nothing_follows_a_play_that_failed_everywhere(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: h1
  gather_facts: false
  tasks: [{name: fails, fail: {msg: x}}]
- hosts: h2
  gather_facts: false
  tasks: [{name: never, debug: {msg: x}}]
""",
    )
    assert done.code == 2
    assert done.tasks("h2") == [], done.text


def test_a_host_that_failed_before_always_takes_no_further_part(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: all
  gather_facts: false
  tasks:
    - block: [{name: fails, fail: {msg: x}, when: inventory_hostname == 'h1'}]
      always: [{name: always, debug: {msg: x}}]
- hosts: all
  gather_facts: false
  tasks: [{name: second, debug: {msg: x}}]
""",
    )
    assert done.tasks("h1") == [("fails", "failed"), ("always", "ok")], done.text
    assert ("second", "ok") in done.tasks("h2")


def test_forced_handlers_run_on_whoever_failed(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - {name: once, debug: {msg: x}, run_once: true, changed_when: true}
    - {name: change, debug: {msg: x}, changed_when: true, notify: handle}
    - block: [{name: fails, fail: {msg: x}, when: inventory_hostname == 'h1'}]
      always: [{name: always, debug: {msg: x}}]
  handlers:
    - {name: handle, debug: {msg: x}}
""",
        "--force-handlers",
    )
    assert all(done.tasks(host)[-2:] == [("always", "ok"), ("handle", "ok")] for host in ("h1", "h2", "h3")), done.text


def test_batches_are_made_of_all_hosts_of_a_play(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: all
  gather_facts: false
  tasks: [{name: fails, fail: {msg: x}, when: inventory_hostname == 'h1'}]
- hosts: all
  gather_facts: false
  serial: 2
  tasks: [{name: once, debug: {msg: x}, run_once: true}]
""",
    )
    assert ("once", "ok") in done.tasks("h2") and ("once", "ok") in done.tasks("h3"), done.text


def test_the_first_host_decides_whether_a_play_ends(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: all
  gather_facts: false
  tasks:
    - {meta: end_play, when: inventory_hostname == 'h2'}
    - {name: reached, debug: {msg: x}}
    - {meta: end_play, when: inventory_hostname == 'h1'}
    - {name: never, debug: {msg: x}}
""",
    )
    assert all(done.tasks(host) == [("reached", "ok")] for host in ("h1", "h2", "h3")), done.text


def test_hosts_whose_errors_are_cleared_take_part_in_the_next_play(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: all
  gather_facts: false
  tasks:
    - {name: fails, fail: {msg: x}, when: inventory_hostname == 'h1'}
    - meta: clear_host_errors
- hosts: all
  gather_facts: false
  tasks: [{name: second, debug: {msg: x}}]
""",
    )
    assert ("second", "ok") in done.tasks("h1"), done.text


def test_no_log_hides_why_a_host_stopped(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: all
  gather_facts: false
  vars: {word: a-hidden-word, hide: true}
  tasks:
    - {name: cannot be, ping: , timeout: "{{ word }}", no_log: "{{ hide }}", ignore_errors: true}
    - {name: fails, fail: {msg: "{{ word }}"}, no_log: true}
""",
        "-vvv",
    )
    assert done.code == 2
    assert "a-hidden-word" not in done.text
    found = [path for path in (tmp_path / "home/.local").rglob("*") if path.is_file()]
    assert found and not [path for path in found if b"a-hidden-word" in path.read_bytes()]


def test_a_block_that_has_not_begun_is_left_alone_by_a_fatal_failure(tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_text("- {name: fails, fail: {msg: x}}\n")
    (tmp_path / "others.yml").write_text(
        "- block: [{name: body, debug: {msg: x}}]\n"
        "  rescue: [{name: rescue, debug: {msg: x}}]\n"
        "  always: [{name: always, debug: {msg: x}}]\n"
    )
    done = Done(
        tmp_path,
        """
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - {name: bring, include_tasks: "{{ 'one' if inventory_hostname == 'h1' else 'others' }}.yml"}
""",
    )
    assert done.tasks("h1")[1:] == [("fails", "failed")], done.text
    assert done.tasks("h2")[1:] == done.tasks("h3")[1:] == []


@pytest.mark.parametrize("end", ["end_play", "end_host"])
def test_a_play_that_ends_within_always_forgives_nothing(tmp_path: Path, end: str) -> None:
    done = Done(
        tmp_path,
        f"""
- hosts: all
  gather_facts: false
  tasks:
    - block: [{{name: fails, fail: {{msg: x}}, when: inventory_hostname == 'h2'}}]
      always: [{{meta: {end}}}]
- hosts: all
  gather_facts: false
  tasks: [{{name: second, debug: {{msg: x}}}}]
""",
    )
    assert done.tasks("h2") == [("fails", "failed")], done.text
    assert done.tasks("h1")[-1] == ("second", "ok")


def test_what_a_task_gives_that_runs_once_is_every_hosts(tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_text("- {name: sets, set_fact: {word: found}, run_once: true, register: how}\n")
    (tmp_path / "none.yml").write_text("[]\n")
    done = Done(
        tmp_path,
        """
- hosts: all
  gather_facts: false
  tasks:
    - {name: bring, include_tasks: "{{ 'none' if inventory_hostname == 'h1' else 'one' }}.yml"}
    - {name: knows, assert: {that: [word == 'found', how is defined]}}
""",
    )
    assert done.code == 0 and all(done.tasks(host)[-1] == ("knows", "ok") for host in ("h1", "h2", "h3")), done.text
