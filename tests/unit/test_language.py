"""Playbooks to plays; and every mistake of every file at once, with its place and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from opsplay import catalog
from opsplay.errors import Problems
from opsplay.language.parse import Parser
from opsplay.model import Block, Loop, Play, Task
from opsplay.templating.environment import missing
from opsplay.templating.templar import Templar


def parse(folder: Path, text: str, files: Mapping[str, str] | None = None, extra: Any = None) -> tuple[Play, ...]:
    for name, content in {"p.yml": text, **(files or {})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    templar = Templar(lambda name: (extra or {}).get(name, missing))
    return Parser(catalog, lambda value, known: templar.render(value)).playbook(str(folder / "p.yml")).plays


def errors(folder: Path, text: str, files: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(Problems) as refused:
        parse(folder, text, files)
    return [str(error).replace(f"{folder}/", "") for error in refused.value.errors]


def in_play(tasks: str) -> str:
    return "- hosts: all\n  tasks:\n" + "".join(f"    {line}\n" for line in tasks.splitlines())


# --- mistakes ---


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("- comand: ls", "p.yml:3:7: unknown module or keyword 'comand'; did you mean 'command'?"),
        ("- xyzzy: ls", "p.yml:3:7: unknown module or keyword 'xyzzy'"),
        ("- command: ls\n  wehn: x", "p.yml:4:7: unknown keyword 'wehn' of a task; did you mean 'when'?"),
        ("- file: {path: /x, onwer: a}", "p.yml:3:24: unknown parameter 'onwer' of file; did you mean 'owner'?"),
        ("- file: path=/x onwer=a", "p.yml:3:13: unknown parameter 'onwer' of file; did you mean 'owner'?"),
        ("- file: {path: /x}\n  args: {modee: 1}", "p.yml:4:14: unknown parameter 'modee' of file; did you mean 'mode'?"),
        ("- file: {path: /x, mode: 'rwx'}", "p.yml:3:30: file: parameter 'mode': 'rwx' is not a mode; "
                                            'write it as "0644" or "u=rw,go=r"'),
        ("- file: {path: /x, state: gone}", "p.yml:3:31: file: parameter 'state': 'gone' is not one of "),
        ("- file: {path: [1]}", "p.yml:3:20: file: parameter 'path': expected a string, not a list"),
        ("- file: {state: touch}", "p.yml:3:7: file lacks the parameter 'path'"),
        ("- command: ls\n  shell: ls", "p.yml:4:7: two modules in one task: command and shell"),
        ("- name: x", "p.yml:3:7: the task names no module"),
        ("- ls", "p.yml:3:7: a task must be a mapping with a module and its parameters"),
        ("- ping: [1]", "p.yml:3:13: the parameters of ping must be a mapping"),
        ("- ping: some text", "p.yml:3:13: ping takes no free text: 'some text'"),
        ("- ping: '{{ all }}'", "p.yml:3:13: ping: parameters cannot come from one template"),
        ("- ping:\n  args: [1]", "p.yml:4:13: args must be a mapping of parameters"),
        ("- copy: dest=/x content='a", "p.yml:3:13: a quote or a template expression does not end: dest=/x content='a"),
        ("- command: ls\n  loop: [1]\n  with_items: [1]", "p.yml:5:7: two loops in one task: loop and with_items"),
        ("- command: ls\n  with_itmes: [1]", "p.yml:4:7: unknown loop 'with_itmes'; did you mean 'with_items'?"),
        ("- command: ls\n  loop: [1]\n  loop_control: {lable: x}",
         "p.yml:5:22: unknown keyword 'lable' of loop_control; did you mean 'label'?"),
        ("- command: ls\n  loop: [1]\n  loop_control: {pause: x}",
         "p.yml:5:29: pause of loop_control must be a number of seconds"),
        ("- command: ls\n  loop_control: x", "p.yml:4:21: loop_control must be a mapping"),
        ("- command: echo {{ x", "p.yml:3:16: bad template: unexpected end of template, expected 'end of print statement'."),
        ("- debug: {msg: '{{ x | nofilter }}'}", "p.yml:3:20: bad template: No filter named 'nofilter'."),
        ("- debug: {msg: '{% if x %}'}", "p.yml:3:20: bad template: Unexpected end of template."),
        ("- command: ls\n  when: x ==", "p.yml:4:13: bad template: unexpected 'end of template'"),
        ("- command: ls\n  when: [a, 'b c']", "p.yml:4:17: bad template: unexpected 'c'"),
        ("- command: ls\n  when: \"{{ a }} == 'x'\"",
         "p.yml:4:13: a condition is an expression by itself: {{ a }} == 'x'; leave out {{ and }}"),
        ("- assert: {that: ['x =']}", "p.yml:3:23: bad template: "),
        ("- block:\n    - command: ls\n  resuce: []", "p.yml:5:7: unknown keyword 'resuce' of a block; did you mean 'rescue'?"),
        ("- block: {command: ls}", "p.yml:3:14: tasks must be a list"),
        ("- block: []\n  when: '=='", "p.yml:4:13: bad template: "),
        ("- import_tasks: none.yml", "p.yml:3:21: there is no file none.yml"),
        ("- import_tasks:", "p.yml:3:7: import_tasks names no file"),
        ("- import_tasks: t.yml\n  loop: [1]", "p.yml:4:7: unknown keyword 'loop' of import_tasks"),
        ("- command: ls\n  tags: [{a: b}]", "p.yml:3:7: a tag must be a word"),
        ("- meta:", "p.yml:3:7: meta has nothing to do"),
    ],
)  # fmt: skip
def test_a_wrong_task(task: str, message: str, tmp_path: Path) -> None:
    found = errors(tmp_path, in_play(task), {"t.yml": "[]"})
    assert found[0].startswith(message)
    assert len(found) == 1
    assert message.count(";") or "did you mean" not in found[0]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("hosts: all\n", ["p.yml:1:1: a playbook is a list of plays"]),
        ("", ["p.yml: a playbook is a list of plays"]),
        ("- x\n", ["p.yml:1:3: a play must be a mapping with hosts and tasks"]),
        ("- tasks: []\n", ["p.yml:1:3: the play names no hosts; add hosts: all, a group, or a pattern"]),
        ("- hosts:\n", ["p.yml:1:3: the play names no hosts; add hosts: all, a group, or a pattern"]),
        ("- hosts: all\n  task: []\n", ["p.yml:2:3: unknown keyword 'task' of a play; did you mean 'tasks'?"]),
        ("- hosts: all\n  tasks: {command: ls}\n", ["p.yml:2:10: tasks must be a list"]),
        ("- hosts: all\n  tasks: 5\n", ["p.yml:2:3: tasks must be a list"]),
        ("- hosts: all\n  handlers: x\n", ["p.yml:2:13: handlers must be a list"]),
        ("- hosts: all\n  handlers: [x]\n", ["p.yml:2:14: a task must be a mapping with a module and its parameters"]),
        ("- hosts: all\n  strategy: fast\n", ["p.yml:2:13: strategy: fast is not one of linear, free"]),
        ("- hosts: all\n  order: random\n", ["p.yml:2:10: order: random is not one of inventory, reverse_inventory, "
                                             "sorted, reverse_sorted, shuffle"]),
        ("- hosts: all\n  vars: [a]\n  max_fail_percentage: x\n  force_handlers: perhaps\n",
         ["p.yml:2:9: vars: expected a mapping of names to values", "p.yml:3:24: max_fail_percentage: expected a number, "
          "not 'x'", "p.yml:4:19: force_handlers: expected a boolean, not 'perhaps'"]),
        ("- hosts: '{{ x'\n", ["p.yml:1:10: bad template: unexpected end of template, expected 'end of print statement'."]),
        ("- import_playbook: none.yml\n", ["p.yml:1:20: there is no file none.yml"]),
        ("- import_playbook: p.yml\n", ["p.yml:1:20: playbooks import each other in a circle"]),
        ("- hosts: all\n  tasks:\n  - name: a: b\n", ["p.yml:3:12: not YAML: mapping values are not allowed "]),
    ],
)  # fmt: skip
def test_a_wrong_play(text: str, messages: list[str], tmp_path: Path) -> None:
    found = errors(tmp_path, text)
    assert len(found) == len(messages)
    assert all(line.startswith(message) for line, message in zip(found, messages, strict=True)), found


def test_every_mistake_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    play = """- tasks:
    - comand: ls
    - file: {path: /x, onwer: a, gruop: b, mode: zzz}
    - block:
        - copy: {dst: /x, content: '{{ x | nofilter }}'}
          whn: a
      rescue:
        - import_tasks: sub/more.yml
  handlers:
    - name: h
      servce: x
- import_playbook: other.yml
"""
    files = {"sub/more.yml": "- debug: {msgg: 1}\n- import_tasks: again.yml\n", "sub/again.yml": "- pong:\n",
             "other.yml": "- hosts: all\n  tsks: []\n"}  # fmt: skip
    assert [line.partition(";")[0] for line in errors(tmp_path, play, files)] == [
        "p.yml:1:3: the play names no hosts",
        "p.yml:2:7: unknown module or keyword 'comand'",
        "p.yml:3:24: unknown parameter 'onwer' of file",
        "p.yml:3:34: unknown parameter 'gruop' of file",
        "p.yml:3:50: file: parameter 'mode': 'zzz' is not a mode",
        "p.yml:6:11: unknown keyword 'whn' of a task",
        "p.yml:5:18: unknown parameter 'dst' of copy",
        "p.yml:5:11: copy lacks the parameter 'dest'",
        "p.yml:5:36: bad template: No filter named 'nofilter'.",
        "sub/more.yml:1:11: unknown parameter 'msgg' of debug",
        "sub/again.yml:1:3: unknown module or keyword 'pong'",
        "p.yml:11:7: unknown module or keyword 'servce'",
        "other.yml:2:3: unknown keyword 'tsks' of a play",
    ]


def test_task_files_that_import_each_other_end(tmp_path: Path) -> None:
    found = errors(tmp_path, in_play("- import_tasks: t.yml"), {"t.yml": "- import_tasks: t.yml\n"})
    assert found == ["t.yml:1:17: task files import each other in a circle: t.yml"]


# --- what is understood ---


def only_task(folder: Path, task: str) -> Task:
    entry = parse(folder, in_play(task))[0].stages[1][0]
    assert isinstance(entry, Task)
    return entry


@pytest.mark.parametrize(
    ("task", "module", "args", "text"),
    [
        ("- command: ls -l", "command", {}, "ls -l"),
        ("- ansible.builtin.command: ls -l creates=/x", "command", {"creates": "/x"}, "ls -l"),
        ("- shell: ls\n  args: {chdir: /tmp}", "shell", {"chdir": "/tmp"}, "ls"),
        ("- command: {cmd: ls, creates: /x}", "command", {"cmd": "ls", "creates": "/x"}, None),
        ("- file: path=/x mode=0644", "file", {"path": "/x", "mode": "0644"}, None),
        ("- file: {dest: /x}", "file", {"dest": "/x"}, None),
        ("- ping:", "ping", {}, None),
        ("- action: file path=/x", "file", {"path": "/x"}, None),
        ("- action: {module: file, path: /x}", "file", {"path": "/x"}, None),
        ("- set_fact: {a: 1, b: '{{ a }}'}", "set_fact", {"a": 1, "b": "{{ a }}"}, None),
        ("- set_fact: a=1", "set_fact", {"a": "1"}, None),
        ("- meta: flush_handlers", "meta", {}, "flush_handlers"),
        ("- debug: msg='a b'", "debug", {"msg": "a b"}, None),
        ("- file: {path: /x, mode: '{{ m }}', state: '{{ s }}'}", "file", {"path": "/x", "mode": "{{ m }}", "state": "{{ s }}"}, None),
    ],
)  # fmt: skip
def test_modules_and_their_arguments(task: str, module: str, args: Any, text: str | None, tmp_path: Path) -> None:
    found = only_task(tmp_path, task)
    assert (found.module, dict(found.args), found.free_form) == (module, args, text)


@pytest.mark.parametrize(
    ("task", "loop"),
    [
        ("loop: [1, 2]", Loop([1, 2])),
        ("loop: '{{ x }}'", Loop("{{ x }}")),
        ("with_items: [1]", Loop([1], lookup="items")),
        ("with_dict: '{{ d }}'", Loop("{{ d }}", lookup="dict")),
        ("with_sequence: start=1 end=3", Loop("start=1 end=3", lookup="sequence")),
        ("with_first_found: [a]\n  loop_control: {loop_var: f, index_var: i, label: '{{ f }}', pause: 2, extended: yes}",
         Loop(["a"], "first_found", "f", "i", "{{ f }}", 2.0, True)),
        *((f"with_{name}: []", Loop([], lookup=name)) for name in ("list", "fileglob", "nested", "together", "subelements")),
    ],
)  # fmt: skip
def test_loops(task: str, loop: Loop, tmp_path: Path) -> None:
    assert only_task(tmp_path, f"- command: ls\n  {task}").loop == loop


def test_what_blocks_and_plays_hand_down(tmp_path: Path) -> None:
    text = """- hosts: all
  become: true
  become_user: deploy
  tags: play
  environment: {A: 1}
  vars: {v: play}
  ignore_errors: true
  tasks:
    - block:
        - command: one
          when: c
          tags: [task, more]
          become_user: other
          vars: {v: task}
          ignore_errors: false
      rescue:
        - command: two
      always:
        - import_tasks: t.yml
          when: d
      when: [a, b]
      tags: block
      vars: {v: block}
      notify: h
"""
    (play,) = parse(tmp_path, text, {"t.yml": "- command: three\n"})
    (block,) = play.stages[1]
    assert isinstance(block, Block)
    one, two, three = block.tasks()
    assert one.when == ("a", "b", "c")
    assert one.tags == {"play", "block", "task", "more"}
    assert (one.become.enabled, one.become.user) == (True, "other")
    assert [dict(layer) for layer in one.vars] == [{"v": "block"}, {"v": "task"}]
    assert (one.ignore_errors, two.ignore_errors) == (False, True)
    assert one.environment == ({"A": 1},)
    assert one.notify == ("h",)
    assert (two.when, two.become.user) == (("a", "b"), "deploy")
    assert (three.when, str(three.at).rpartition("/")[2]) == (("a", "b", "d"), "t.yml:1:3")


def test_retries_handlers_and_stages(tmp_path: Path) -> None:
    text = """- hosts: web
  pre_tasks: [{ping: }]
  tasks:
    - command: x
      until: r.rc == 0
      register: r
      retries: 5
      changed_when: false
      failed_when: [a, b]
  post_tasks: [{ping: }, {ping: }]
  handlers:
    - name: h
      listen: [topic, other]
      command: y
    - import_tasks: h.yml
"""
    (play,) = parse(tmp_path, text, {"h.yml": "- name: i\n  command: z\n  listen: topic\n"})
    assert [len(stage) for stage in play.stages] == [1, 1, 2]
    task = play.stages[1][0]
    assert isinstance(task, Task) and task.retry is not None
    assert (task.retry.until, task.retry.retries, task.retry.delay) == (("r.rc == 0",), 5, 5)
    assert (task.changed_when, task.failed_when, task.register) == ((False,), ("a", "b"), "r")
    assert [(handler.task.name, handler.listen) for handler in play.handlers] == [
        ("h", ("topic", "other")),
        ("i", ("topic",)),
    ]


def test_imports_see_extra_variables(tmp_path: Path) -> None:
    text = in_play("- import_tasks: '{{ which }}.yml'")
    (play,) = parse(tmp_path, text, {"b.yml": "- ping:\n"}, {"which": "b"})
    assert [task.module for task in play.tasks()] == ["ping"]
