"""What tasks are called, what adds up in a loop, and who is still in the play."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.test_runs import Done


def data(done: Done, task: str, host: str = "h1") -> dict[str, Any]:
    """What a task gave on a host."""
    found: dict[str, Any] = next(
        event["data"]
        for event in done.events
        if event["event"] == "task_finished" and event["task"] == task and event["host"] == host
    )
    return found


def test_what_set_fact_sets_adds_up_in_a_loop(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: h1
  gather_facts: false
  tasks:
    - {name: list, set_fact: {sum: "{{ sum | default([]) + [item * 2] }}"}, loop: [1, 2, 3], when: item != 2}
    - {name: seen, debug: {msg: "{{ sum }}"}}
""",
    )
    assert data(done, "seen")["msg"] == [2, 6]


def test_break_when_sees_the_item_s_result(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: h1
  gather_facts: false
  tasks:
    - {name: loop, command: "echo {{ item }}", loop: [1, 2, 3], register: r, loop_control: {break_when: r.stdout == '2'}}
""",
    )
    assert [result["item"] for result in data(done, "loop")["results"]] == [1, 2]


def test_names_of_a_role_s_tasks_are_templates(tmp_path: Path) -> None:
    folder = tmp_path / "roles/app/tasks"
    folder.mkdir(parents=True)
    (folder / "main.yml").write_text('- {name: "config of {{ app }}", debug: {msg: x}}\n')
    done = Done(tmp_path, "- {hosts: h1, gather_facts: false, vars: {app: web}, roles: [app]}\n")
    assert done.tasks("h1") == [("app : config of web", "ok")]


def test_hosts_that_failed_are_no_longer_in_the_play(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: all
  gather_facts: false
  tasks:
    - {name: fails, fail: {msg: x}, when: inventory_hostname == 'h2'}
    - {name: who, debug: {msg: "{{ ansible_play_hosts }} {{ ansible_play_batch }} {{ ansible_play_hosts_all }}"}}
""",
    )
    assert data(done, "who")["msg"] == "['h1', 'h3'] ['h1', 'h3'] ['h1', 'h2', 'h3']"


def test_adding_what_is_there_is_no_change(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: h1
  gather_facts: false
  tasks:
    - {name: new, add_host: {name: other, groups: [some], value: 1}}
    - {name: same, add_host: {name: other, groups: [some], value: 1}}
    - {name: other value, add_host: {name: other, value: 2}}
    - {name: group, group_by: {key: some}}
    - {name: same group, group_by: {key: some}}
""",
    )
    assert [status for _, status in done.tasks("h1")] == ["changed", "ok", "changed", "changed", "ok"]


def test_handlers_run_in_the_order_of_their_lists(tmp_path: Path) -> None:
    """Those of the play's roles, the play's own, those of roles that tasks bring in."""
    for role in ("first", "later"):
        (tmp_path / f"roles/{role}/handlers").mkdir(parents=True)
        (tmp_path / f"roles/{role}/tasks").mkdir()
        (tmp_path / f"roles/{role}/handlers/main.yml").write_text(f"- {{name: of {role}, debug: , listen: all}}\n")
        (tmp_path / f"roles/{role}/tasks/main.yml").write_text("- {name: task, debug: }\n")
    done = Done(
        tmp_path,
        """
- hosts: h1
  gather_facts: false
  roles: [first]
  tasks:
    - {name: include, include_role: {name: later}}
    - {name: notify, command: echo, notify: all}
  handlers: [{name: own, debug: , listen: all}]
""",
    )
    assert [name for name, _ in done.tasks("h1")][-3:] == ["first : of first", "own", "later : of later"]


def test_a_value_that_holds_what_is_undefined_is_no_text(tmp_path: Path) -> None:
    done = Done(
        tmp_path,
        """
- hosts: h1
  gather_facts: false
  vars: {late: {a: "{{ nosuch }}"}}
  tasks: [{name: shown, debug: {msg: "all of {{ late }}"}}]
""",
    )
    assert done.code == 2 and "'nosuch' is undefined" in done.text


def test_plays_behind_the_first_task_of_a_run_are_whole(tmp_path: Path) -> None:
    play = "- {hosts: h1, gather_facts: false, tasks: [{name: %s, debug: }, {name: %s, debug: }]}\n"
    playbook = play % ("one", "two") + play % ("three", "four") + play % ("five", "six")
    done = Done(tmp_path, playbook, "--start-at-task", "four")
    assert [name for name, _ in done.tasks("h1")] == ["four", "five", "six"]
