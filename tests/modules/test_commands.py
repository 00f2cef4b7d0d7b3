"""command and shell: what they run, what they return, and when they need not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.modules.harness import Case, play, run

COMMANDS = [
    Case(
        "words",
        {"cmd": "echo a 'b  c'"},
        result={"stdout": "a b  c", "rc": 0, "cmd": ["echo", "a", "b  c"]},
        again=True,
    ),
    Case("free form", {"_raw_params": "echo hi"}, result={"stdout_lines": ["hi"]}, again=True),
    Case("list", {"argv": ["echo", "a b", "*"]}, result={"stdout": "a b *"}, again=True),
    Case("no shell", {"cmd": "echo a | b > c"}, after={"c": ...}, result={"stdout": "a | b > c"}, again=True),
    Case("directory", {"cmd": "pwd", "chdir": "@"}, result={"stdout": "@"}, again=True),
    Case("input", {"cmd": "cat", "stdin": "x"}, result={"stdout": "x"}, again=True),
    Case("ends kept", {"cmd": "cat", "stdin": "x", "strip_empty_ends": False}, result={"stdout": "x\n"}, again=True),
    Case("creates", {"cmd": "touch @/f", "creates": "@/f"}, {"f": ""}, changed=False, result={"rc": 0}),
    Case("creates, from its directory", {"cmd": "touch f", "chdir": "@", "creates": "f"}, after={"f": ""}),
    Case("creates a pattern", {"cmd": "touch @/f", "creates": "@/g*"}, {"g1": ""}, {"f": ...}, changed=False),
    Case("removes", {"cmd": "rm @/f", "removes": "@/f"}, {"f": ""}, {"f": ...}),
    Case("fails", {"cmd": "false"}, fails="non-zero return code"),
    Case("no such program", {"cmd": "no-such-program"}, fails="No such file or directory: no-such-program"),
    Case("no such directory", {"cmd": "pwd", "chdir": "@/d"}, fails="Unable to change directory"),
    Case("nothing to run", {"cmd": " "}, fails="no command given"),
    Case("both forms", {"cmd": "a", "argv": ["b"]}, fails="only command or argv"),
    Case("open quotation", {"cmd": "echo 'a"}, fails="No closing quotation"),
]
SHELLS = [
    Case("pipe", {"cmd": "echo a | tr a b"}, result={"stdout": "b", "cmd": "echo a | tr a b"}, again=True),
    Case("other shell", {"cmd": "echo $0", "executable": "/bin/bash"}, result={"stdout": "/bin/bash"}, again=True),
    Case("fails", {"cmd": "echo out; echo err >&2; exit 3"}, fails="non-zero return code"),
    Case("creates", {"cmd": "echo x > @/f", "creates": "@/f"}, after={"f": "x\n"}),
]


@pytest.mark.parametrize("case", COMMANDS, ids=lambda case: case.name)
def test_command(case: Case, tmp_path: Path) -> None:
    play("commands.command", case, tmp_path)


@pytest.mark.parametrize("case", SHELLS, ids=lambda case: case.name)
def test_shell(case: Case, tmp_path: Path) -> None:
    play("commands.shell", case, tmp_path)


def test_failure_returns_all_that_was_said() -> None:
    result = run("commands.shell", {"cmd": "echo out; echo err >&2; exit 3"})
    assert (result["rc"], result["stdout"], result["stderr"], result["changed"]) == (3, "out", "err", True)
    assert result["start"] < result["end"] and result["delta"].startswith("0:00:00.")


def test_check_mode_skips_and_predicts(tmp_path: Path) -> None:
    skipped = run("commands.command", {"cmd": f"touch {tmp_path}/f"}, check=True)
    assert skipped["skipped"] and not skipped["changed"]
    predicted = run("commands.command", {"cmd": f"touch {tmp_path}/f", "creates": f"{tmp_path}/f"}, check=True)
    assert predicted["changed"] and not predicted.get("skipped")
    assert not list(tmp_path.iterdir())


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSPLAY_WORD", "value")
    assert (
        run("commands.command", {"cmd": "echo $OPSPLAY_WORD ${OPSPLAY_WORD}s $NO_SUCH"})["stdout"]
        == "value values $NO_SUCH"
    )
    plain = run("commands.command", {"cmd": "echo $OPSPLAY_WORD", "expand_argument_vars": False})
    assert plain["stdout"] == "$OPSPLAY_WORD"


def test_host_output_is_data_not_options() -> None:
    assert run("commands.command", {"_raw_params": "echo chdir=/nonexistent"})["stdout"] == "chdir=/nonexistent"
