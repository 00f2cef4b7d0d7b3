"""Every rule on a tree of files with one mistake of each kind: found just where it was planted, and nothing else."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import opsplay
from opsplay.language.rules import RULES

ROOT = Path(opsplay.__file__).parents[1]
TREE = Path(__file__).parent / "tree"

# A comment below the line of a mistake: the mark is under the column, the rule behind it.
MARK = re.compile(r"#\s*(\^) ([a-z-]+)$")
# Mistakes where no comment can stand.
PLANTED_ELSEWHERE = {
    ("", 0, 0): "unknown-tag",
    ("broken.yml", 4, 15): "yaml-syntax",
    ("tabs.yml", 3, 1): "yaml-tab",
    ("group_vars/all.yml", 3, 1): "duplicate-key",
    ("group_vars/latin.yml", 0, 0): "unreadable-file",
    ("group_vars/secret.yml", 0, 0): "encrypted-file",
    ("host_vars/web1.yml", 1, 6): "yaml-tag",
    ("vars/two.yml", 4, 1): "several-documents",
    ("inventories/bad/hosts.ini", 2, 1): "inventory",
}


def check(*words: str | Path, folder: Path | None = None) -> tuple[int, str]:
    """The exit code and the output of `opsplay check`."""
    command = [sys.executable, "-m", "opsplay", "check", *map(str, words)]
    done = subprocess.run(command, cwd=folder or ROOT, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def problems(*words: str | Path, folder: Path | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(check(*words, "--format", "json", folder=folder)[1])["problems"]
    return found


def planted() -> Iterator[tuple[tuple[str, int, int], str]]:
    for path in sorted(TREE.rglob("*.yml")):
        if path.name == "latin.yml":
            continue
        marked = 0
        for number, line in enumerate(path.read_text().splitlines(), 1):
            mark = MARK.search(line)
            marked = marked if mark else number
            if mark:
                yield (str(path.relative_to(TREE)), marked, mark.start(1) + 1), mark.group(2)
    yield from PLANTED_ELSEWHERE.items()


def test_every_planted_mistake_is_found_and_nothing_else() -> None:
    found = problems(".", "-i", "inventories/good", "--tags", "web,wbe", folder=TREE)
    places = [((entry["file"] or "", entry["line"] or 0, entry["column"] or 0), entry["rule"]) for entry in found]
    assert sorted(places) == sorted(planted())


def test_every_rule_is_planted() -> None:
    assert {rule for _, rule in planted()} == set(RULES)
    assert len(list(planted())) == len(RULES) >= 50


def test_every_error_of_the_language_names_its_rule() -> None:
    """Read from the syntax trees: a problem without a rule could not be listed."""
    makers = ("LanguageError", "LanguageWarning", "DocumentError", "error")
    named: set[str] = {"unreadable-file", "inventory", "bad-template", "undefined-variable", "missing-role",
                       "unknown-filter", "unknown-test", "unknown-lookup", "register-name", "missing-source",
                       "yaml-tab"}  # fmt: skip
    for path in [*(ROOT / "opsplay/language").rglob("*.py"), *(ROOT / "opsplay/documents").glob("*.py"),
                 *(ROOT / "opsplay/cli").glob("*.py"), ROOT / "opsplay/templating/compiler.py"]:  # fmt: skip
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            rule = next((keyword.value for keyword in node.keywords if keyword.arg == "rule"), None)
            if isinstance(rule, ast.Constant):
                named.add(rule.value)
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            if called in makers[:2] and "language" in path.parts:
                assert rule is not None, f"{path}:{node.lineno}"
    assert named == set(RULES)


@pytest.mark.parametrize("path", ["playbooks", "tests/oracle/cases", "benchmarks/workload"])
def test_what_runs_has_no_errors(path: str) -> None:
    assert [entry for entry in problems(path) if entry["severity"] == "error"] == []


def test_the_tree_that_is_measured_has_no_problems() -> None:
    words = [sys.executable, "benchmarks/check.py", "--files", "60", "--runs", "1", "--ansible", ""]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("60 files")


# --- what is right, though it looks like a mistake ---

RIGHT = {
    "a loop's own text": "- debug: {var: item}\n  with_items: [a]\n- debug: {var: item}\n  with_fileglob: '*.txt'",
    "a variable that is called omit-like": "- copy: {src: '{{ a | default(omit) }}', content: '{{ b | default(omit) }}', dest: /x}",
    "what the host has": "- copy: {src: /etc/nosuch, dest: /x, remote_src: true}\n- unarchive: {src: 'https://a/b.tgz', dest: /x, remote_src: true}",
    "what a template names": "- template: {src: '{{ name }}.j2', dest: /x}\n- include_tasks: '{{ name }}.yml'",
    "what may be made first": "- fetch: {src: /etc/motd, dest: fetched/, flat: true}\n- copy: {src: fetched/motd, dest: /x}",
    "what may never be reached": "- include_tasks: nosuch.yml\n  when: a is defined",
    "what is rescued": "- block:\n    - include_tasks: nosuch.yml\n  rescue:\n    - debug:",
    "defaults in conditions": "- debug:\n  when: (a or 'b') == 'b' and (c | default('d')) is match('d')",
    "braces in conditions": "- debug:\n  when: \"'{{' in a or '}}' in a\"",
    "constants of results": "- command: ls\n  changed_when: false\n  failed_when: 'false'\n  until: true",
    "filters of collections": "- debug: {msg: \"{{ a | ansible.utils.ipaddr }} {{ b | community.general.json_query('c') }}\"}",
    "tests and filters by name": "- debug: {msg: \"{{ a | selectattr('b', 'defined') | map('upper') | map(attribute='c') | select('match', 'd') }}\"}",
    "backslashes": "- debug: {msg: \"{{ a | regex_replace('\\\\\\\\d+\\\\\\\\U', 'x') }}\"}",
    "names that templates make": "- set_fact: {'v_{{ a }}': 1}\n- debug:\n  register: _r1",
    "keywords that includes have": "- include_tasks: t.yml\n  loop: [1]\n  vars: {a: b}\n  tags: x\n  register: r\n  ignore_errors: true",
    "a user that a block becomes": "- block:\n    - command: id\n      become_user: a\n  become: true",
    "the loop that goes on": "- debug:\n  loop: '{{ [1] }}'\n  loop_control: {label: '{{ item }}', loop_var: item, break_when: item == 1}",
    "vaulted text": "- debug: {msg: !unsafe '{{ not a template'}",
    "braces of others": "- shell: docker ps --format '{% raw %}{{ .Names }}{% endraw %}'",
    "an expression": "- debug: {var: \"a['b'] | length\"}\n- assert: {that: [a == 1, \"'x' in y\"]}",
}  # fmt: skip


@pytest.mark.parametrize("task", RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_left_alone(task: str, tmp_path: Path) -> None:
    tasks = "".join(f"    {line}\n" for line in task.splitlines())
    (tmp_path / "p.yml").write_text(f"- hosts: all\n  tasks:\n{tasks}")
    (tmp_path / "t.yml").write_text("- debug:\n")
    assert [entry for entry in problems(tmp_path) if entry["severity"] == "error"] == []


BRACES = ["a == {{ b }}", "\"a == '{{ b }}'\"", "\"{{ a }} == 'x'\"", "'{{ a }} and {{ b }}'", "a and not {{ b }}"]


@pytest.mark.parametrize("condition", BRACES)
def test_braces_in_conditions(condition: str, tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(f"- hosts: all\n  tasks:\n    - debug:\n      when: {condition}\n")
    assert [entry["rule"] for entry in problems(tmp_path)] == ["condition-braces"]


HANDLERS = {
    "by name, topic and role": ("notify: [one, topic, 'r : three']", 0),
    "by a template": ("notify: 'restart {{ service }}'", 0),
    "a name that a template may give": ("notify: made x", 0),
    "a name that nothing gives": ("notify: maed x", 1),
    "several": ("notify: [one, {a: b}, five, six]", 3),
}


@pytest.mark.parametrize(("notify", "errors"), HANDLERS.values(), ids=HANDLERS)
def test_handlers_that_are_named(notify: str, errors: int, tmp_path: Path) -> None:
    (tmp_path / "roles/r/handlers").mkdir(parents=True)
    (tmp_path / "roles/r/handlers/main.yml").write_text("- name: three\n  debug:\n")
    (tmp_path / "p.yml").write_text(f"""- hosts: all
  roles: [r]
  tasks:
    - command: ls
      {notify}
  handlers:
    - {{name: one, debug: }}
    - {{name: two, debug: , listen: topic}}
    - {{name: "made {{{{ it }}}}", debug: }}
    - {{name: restart web, debug: }}
""")
    found = problems(tmp_path)
    assert [entry["rule"] for entry in found if entry["severity"] == "error"] == ["unknown-handler"] * errors


def test_nothing_is_said_of_handlers_where_not_all_is_known(tmp_path: Path) -> None:
    tasks = "- command: ls\n      notify: elsewhere\n    - include_tasks: '{{ some }}.yml'"
    (tmp_path / "p.yml").write_text(f"- hosts: all\n  tasks:\n    {tasks}\n  handlers: [{{name: h, debug: }}]\n")
    assert problems(tmp_path) == []


# --- trees ---


def test_roles_and_tasks_that_no_playbook_uses_are_checked(tmp_path: Path) -> None:
    for name, text in {
        "roles/a/tasks/main.yml": "- import_tasks: more.yml\n",
        "roles/a/tasks/more.yml": "- comand: one\n",
        "roles/a/tasks/other.yml": "- comand: two\n",
        "roles/a/handlers/main.yml": "- comand: three\n",
        "roles/a/defaults/main.yml": "a: '{{ b'\n",
        "roles/a/vars/Debian.yml": "a: '{{ c'\n",
        "roles/a/meta/main.yml": "dependencies: [nosuch]\n",
        "roles/a/templates/t.j2": "{% if %}",
        "roles/a/files/x.yml": "- comand: not ours\n",
        "tasks.yml": "- command: ls\n  wehn: x\n",
        "requirements.yml": "- src: git@example.org:a/b.git\n  version: main\n",
        "compose.yml": "services: {a: {image: b}}\n",
        "k8s.yml": "a: 1\n---\nb: 2\n",
        ".github/x.yml": "a: [",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [(entry["file"], entry["rule"]) for entry in problems(folder=tmp_path)] == [
        ("roles/a/defaults/main.yml", "bad-template"),
        ("roles/a/handlers/main.yml", "unknown-module"),
        ("roles/a/meta/main.yml", "missing-role"),
        ("roles/a/tasks/more.yml", "unknown-module"),
        ("roles/a/tasks/other.yml", "unknown-module"),
        ("roles/a/vars/Debian.yml", "bad-template"),
        ("tasks.yml", "unknown-keyword"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("site", "- hosts: all\n  tasks: [{comand: ls}]\n", "unknown-module"),
        ("notes.txt", "some text\n", "not-a-playbook"),
        ("anything.yml", "a-b: 1\n", "variable-name"),
        ("k8s.yml", "a: 1\n---\nb: 2\n", "several-documents"),
        ("prod.ini", "[a:childrn]\n", "inventory"),
        ("group_vars/web/all.json", '{"a": "{{ b"}', "bad-template"),
    ],
)
def test_a_file_that_is_named_is_for_us_whatever_it_is(name: str, text: str, rule: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    assert [entry["rule"] for entry in problems(name, folder=tmp_path)] == [rule]


def test_a_role_by_itself(tmp_path: Path) -> None:
    for name, text in {"tasks/main.yml": "- include_vars: gone.yml\n- include_vars: there.yml\n- copy: {src: a, dest: /a}\n",
                       "tasks/other.yml": "- template: {src: t.j2, dest: /t}\n", "vars/there.yml": "a: '{{ b'\n",
                       "templates/t.j2": "#jinja2: trim_blocks: False\n{% if a %}\n{{ a | nofilter }}\n{% endif %}\n",
                       "files/a": ""}.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [(entry["file"], entry["line"], entry["rule"], entry["severity"]) for entry in problems(folder=tmp_path)] == [
        ("tasks/main.yml", 1, "missing-file", "warning"),
        ("templates/t.j2", 3, "unknown-filter", "error"),
        ("vars/there.yml", 1, "bad-template", "error"),
    ]


def test_what_one_playbook_makes_another_one_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("- hosts: localhost\n  tasks: [{copy: {content: x, dest: made}}]\n")
    (tmp_path / "b.yml").write_text("- hosts: all\n  tasks: [{copy: {src: made, dest: /x}}]\n")
    assert [(entry["rule"], entry["severity"]) for entry in problems(folder=tmp_path)] == [("missing-source", "error")]
    words = [sys.executable, "-m", "opsplay", "run", "-i", "localhost,", "--syntax-check"]
    codes = [subprocess.run([*words, *names], cwd=tmp_path, capture_output=True, timeout=60).returncode
             for names in (["b.yml"], ["a.yml", "b.yml"])]  # fmt: skip
    assert codes == [1, 0]


def test_no_program_is_run(tmp_path: Path) -> None:
    script = tmp_path / "inventory/dynamic"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho '{{}}'\n")
    script.chmod(0o755)
    (tmp_path / "p.yml").write_text("- hosts: cloud\n  tasks: [{debug: {msg: \"{{ lookup('pipe', 'touch ran') }}\"}}]\n")
    assert problems(".", "-i", "inventory", folder=tmp_path) == []
    assert not (tmp_path / "ran").exists()


def test_encrypted_files_are_checked_with_their_password(tmp_path: Path) -> None:
    shutil.copy(TREE / "group_vars/all.yml", tmp_path / "password")
    folder = tmp_path / "group_vars"
    folder.mkdir()
    (folder / "all.yml").write_text("a: '{{ b'\n")
    words = [sys.executable, "-m", "opsplay", "vault", "encrypt", "--vault-password-file", "password"]
    subprocess.run([*words, "group_vars/all.yml"], cwd=tmp_path, check=True, timeout=60)
    assert [entry["rule"] for entry in problems(folder=tmp_path)] == ["encrypted-file"]
    (found,) = problems("--vault-password-file", "password", folder=tmp_path)
    assert (found["rule"], found["line"]) == ("bad-template", 1)
    code, text = check("--vault-password-file", "password", folder=tmp_path)
    assert code == 1 and "VAULT" not in text


def test_modules_of_other_systems_may_stand_where_no_host_comes(tmp_path: Path) -> None:
    """As in roles for several distributions: it is told, and the task fails where it is reached after all."""
    (tmp_path / "setup-RedHat.yml").write_text("- dnf: {name: httpd}\n- community.mysql.mysql_db: {name: x}\n")
    (tmp_path / "site.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - {include_tasks: setup-RedHat.yml, when: family == 'RedHat'}\n"
        "    - {import_tasks: setup-RedHat.yml, when: family == 'RedHat'}\n"
        "    - {zypper: {name: x}, when: family == 'Suse'}\n"
    )
    found = problems("site.yml", "-e", "family=Debian", folder=tmp_path)
    assert {(entry["rule"], entry["severity"]) for entry in found} == {("foreign-module", "warning")}
    assert len(found) == 3
    run = [sys.executable, "-m", "opsplay", "run", "-i", "localhost,", "-c", "local", "site.yml", "-e"]
    for family, code in (("Debian", 0), ("Suse", 2), ("RedHat", 2)):
        done = subprocess.run([*run, f"family={family}"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
    assert "opsplay has no module 'dnf'" in done.stdout
