"""How problems are shown: as text with the line itself, as JSON, as SARIF; exit codes; and what `opsplay run` does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from opsplay.language.rules import RULES
from tests.unit.check.test_rules import ROOT, TREE, check

SCHEMA = json.loads((Path(__file__).parent / "sarif-2.1.0-part.json").read_text())

BROKEN = """- hosts: all
  tasks:
    - file: {path: /x, onwer: a}
    - debug: {msg: "日本語 \\a", "näme": 1}
    - command: ls
      when: false
"""
TEXT = """\
p.yml:3:24: error: unknown parameter 'onwer' of file [unknown-parameter]
 3 |     - file: {path: /x, onwer: a}
   |                        ^^^^^
   = did you mean 'owner'?

p.yml:4:30: error: unknown parameter 'näme' of debug [unknown-parameter]
 4 |     - debug: {msg: "日本語 \\a", "näme": 1}
   |                                 ^^^^^^

p.yml:6:7: warning: this condition never holds [constant-condition]
 6 |       when: false
   |       ^^^^

2 errors and 1 warning in 1 file
"""


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "opsplay", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_text_shows_the_line_and_marks_the_place(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(BROKEN)
    assert check("p.yml", folder=tmp_path) == (1, TEXT)


def test_what_could_steer_a_terminal_is_shown_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("- hosts: all\n  tasks:\n    - \"com\u202emand\u200b\": ls\n")
    code, text = check("p.yml", folder=tmp_path)
    assert code == 1
    assert "com\\u202emand\\u200b" in text
    assert not {"\u202e", "\u200b"} & set(text)


def test_a_long_line_is_cut_around_the_mark(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(f"- hosts: all\n  tasks: [{{file: {{path: /{'x' * 500}, onwer: a}}}}, {'y' * 500}]\n")
    lines = check("p.yml", folder=tmp_path)[1].splitlines()
    shown, mark = next((line, lines[number + 1]) for number, line in enumerate(lines) if "onwer: a" in line)
    assert len(shown) <= 120
    assert shown[mark.index("^") : mark.rindex("^") + 1] == "onwer"


@pytest.mark.parametrize(
    ("task", "words", "code"),
    [
        ("ping:", [], 0),
        ("comand: ls", [], 1),
        ("{ping: , when: true}", [], 0),
        ("{ping: , when: true}", ["--warnings-as-errors"], 1),
        ("ping:", ["--warnings-as-errors"], 0),
        ("{ping: , tags: a}", ["--tags", "a,never"], 0),
        ("{ping: , tags: a}", ["-t", "a", "-t", "b"], 1),
    ],
)
def test_exit_codes(task: str, words: list[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(f"- hosts: all\n  tasks:\n    - {task}\n")
    for form in ("text", "json", "sarif"):
        assert check("p.yml", "--format", form, *words, folder=tmp_path)[0] == code


def test_nothing_to_check(tmp_path: Path) -> None:
    assert check(folder=tmp_path) == (0, "no files to check\n")
    assert run(tmp_path, "check", "nosuch.yml").returncode == 1


def test_sarif_is_what_the_standard_says() -> None:
    log = json.loads(check(".", "-i", "inventories/good", "--tags", "wbe", "--format", "sarif", folder=TREE)[1])
    jsonschema.validate(log, SCHEMA, format_checker=jsonschema.FormatChecker())
    (only,) = log["runs"]
    rules = [rule["id"] for rule in only["tool"]["driver"]["rules"]]
    assert rules == list(RULES)
    assert len(only["results"]) == len(RULES)
    for result in only["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        for location in result.get("locations", ()):
            assert (TREE / location["physicalLocation"]["artifactLocation"]["uri"]).exists()


def test_rules_are_listed() -> None:
    code, text = check("--rules")
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()] == list(RULES)
    assert all(rule.summary in text for rule in RULES.values())


def page() -> str:
    rows = [f"| `{name}` | {rule.severity.value} | {rule.summary} |" for name, rule in RULES.items()]
    return "\n".join(["| rule | | what is wrong |", "|---|---|---|", *rows]) + "\n"


def test_the_documentation_lists_them_too() -> None:
    text = (ROOT / "docs/checking.md").read_text()
    assert text[text.index("| rule |") :] == page(), f"write this into docs/checking.md:\n\n{page()}"


# --- opsplay run ---


def test_a_run_is_refused_with_the_same_text(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("- hosts: all\n  tasks:\n    - comand: ls\n    - file: {onwer: a}\n")
    (tmp_path / "q.yml").write_text("- hosts: all\n  tasks:\n    - pong:\n      when: true\n")
    done = run(tmp_path, "run", "-i", "localhost,", "q.yml", "p.yml")
    assert done.returncode == 1
    assert done.stderr == """\
p.yml:3:7: error: unknown module or keyword 'comand' [unknown-module]
 3 |     - comand: ls
   |       ^^^^^^
   = did you mean 'command'?
p.yml:4:7: error: file lacks the parameter 'path' [missing-parameter]
 4 |     - file: {onwer: a}
   |       ^^^^
p.yml:4:14: error: unknown parameter 'onwer' of file [unknown-parameter]
 4 |     - file: {onwer: a}
   |              ^^^^^
   = did you mean 'owner'?
q.yml:3:7: error: unknown module or keyword 'pong' [unknown-module]
 3 |     - pong:
   |       ^^^^
   = did you mean 'ping'?
4 errors; nothing was done
"""


def test_warnings_stop_no_run_and_are_shown_when_more_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("- hosts: all\n  tasks:\n    - ping:\n      when: true\n")
    words = ("run", "-i", "localhost,", "p.yml", "--syntax-check")
    quiet, wordy = run(tmp_path, *words), run(tmp_path, *words, "-v")
    assert (quiet.returncode, quiet.stderr, quiet.stdout) == (0, "", "p.yml: well formed\n")
    assert (wordy.returncode, wordy.stdout) == (0, "p.yml: well formed\n")
    assert wordy.stderr.startswith("p.yml:4:7: warning: this condition always holds [constant-condition]\n")


@pytest.mark.parametrize("product", ["dmarc", "digital_signature", "dotmac", "privacyguard"])
@pytest.mark.parametrize(
    "playbook",
    ["harden", "tls", "security_audit", "incident_isolate", "incident_evidence", "pg_backup", "full_backup",
     "restore", "restore_full", "disaster_recover", "dr_drill"],
)  # fmt: skip
def test_the_products_inventories_fit_the_playbooks(product: str, playbook: str) -> None:
    """Nothing is wrong in them, but that the admin has yet to name the hosts."""
    argv = [sys.executable, "-m", "opsplay", "check", "--format", "json", "-i", f"inventories/{product}"]
    done = subprocess.run([*argv, f"playbooks/{playbook}.yml"], cwd=ROOT, capture_output=True, text=True)
    assert {problem["rule"] for problem in json.loads(done.stdout)["problems"]} <= {"unmatched-hosts"}, done.stdout
    assert done.returncode == 0
