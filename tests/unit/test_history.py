"""The history of runs: written when a run ends, found when it was killed, shown by two commands."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from opsplay.errors import UsageError
from opsplay.events import RunFinished, Warned
from opsplay.record.history import History, HistoryUnusable
from opsplay.record.lines import JsonLines

ROOT = Path(__file__).resolve().parents[2]

PLAYBOOK = """
- hosts: all
  gather_facts: false
  handlers: [{name: reload, debug: {msg: reloaded}}]
  tasks:
    - {name: makes, copy: {dest: "{{ folder }}/{{ inventory_hostname }}", content: "{{ text }}\\n"}, notify: reload}
    - {name: fails on b, command: "false", when: inventory_hostname == 'b'}
    - {name: waits, command: "sleep {{ seconds | default(0) }}"}
"""


class Place:
    """A folder with a playbook, an inventory, and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.playbook = folder / "site.yml"
        self.playbook.write_text(PLAYBOOK)
        (folder / "hosts.ini").write_text("a ansible_connection=local\nb ansible_connection=local\n")
        self.state = folder / "state" / "opsplay"

    def start(self, *words: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "XDG_STATE_HOME": str(self.folder / "state"), "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, "-m", "opsplay", *words]
        return subprocess.Popen(
            argv, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def call(self, *words: str) -> tuple[int, str]:
        process = self.start(*words)
        out = process.communicate(timeout=60)[0]
        return process.returncode, out

    def run(self, text: str, *words: str) -> int:
        extra = ["-e", f"folder={self.folder}", "-e", f"text={text}"]
        return self.call("run", "-i", "hosts.ini", "site.yml", *extra, *words)[0]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_run_is_listed_and_shown(place: Place) -> None:
    assert place.run("one", "--check") == 0
    assert place.run("one", "--diff") == 2
    code, listed = place.call("history")
    assert code == 0
    newest, oldest = listed.splitlines()
    assert "failed" in newest and "site.yml" in newest and "2 hosts, 3 changed, 1 failed" in newest
    assert "check" in oldest
    code, shown = place.call("show", "last", "--diff")
    assert code == 0
    assert "+one" in shown and "b: ok=1 changed=1 failed=1  fails on b: non-zero return code" in shown
    assert "handlers that were notified and did not run\n  b: reload" in shown
    assert str(place.playbook) in shown
    code, of_a = place.call("show", newest.split()[0][:-3], "a")
    assert code == 0 and "makes" in of_a and "fails on b" not in of_a
    assert "waits" in place.call("show", "--slow")[1]
    assert place.call("history", "--host", "nosuch")[1] == "no runs yet\n"
    assert len(place.call("history", "--failed")[1].splitlines()) == 1


def test_results_hold_what_was_observed(place: Place) -> None:
    place.run("one")
    lines = [json.loads(line) for line in place.call("show", "last", "a", "--json")[1].splitlines()]
    made = next(line for line in lines if line["task"] == "makes")
    assert made["changed"] and made["seconds"] > 0
    (seen,) = made["observed"]
    found = (place.folder / "a").stat()
    assert (seen["path"], seen["kind"], seen["size"], seen["mode"]) == (
        str(place.folder / "a"), "file", found.st_size, found.st_mode & 0o7777
    )  # fmt: skip
    assert len(seen["sha256"]) == 64


def test_a_killed_run_is_found(place: Place) -> None:
    process = place.start("run", "-i", "hosts.ini", "site.yml", "-e", f"folder={place.folder} text=x seconds=30")
    limit = time.monotonic() + 20
    while not list(place.state.glob("runs/*/events.jsonl")) or not (place.folder / "a").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert "killed" in place.call("history")[1]
    assert place.call("history", "--failed")[1].count("killed") == 1


def test_the_commit_of_the_playbooks_is_kept(place: Place) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *identity, *words], cwd=place.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    git("add", "site.yml")
    git("commit", "-qm", "first")
    place.run("one", "--check")
    run = History(place.state).find("last")
    assert run.revision == git("rev-parse", "HEAD") and not run.dirty
    place.playbook.write_text(PLAYBOOK + "\n# changed\n")
    place.run("one", "--check")
    assert History(place.state).find("last").dirty


def test_values_of_extra_variables_are_not_kept(place: Place) -> None:
    place.run("hush-hush", "--check", "-e", '{"more": "hush-hush"}', "--extra-vars=third=hush-hush")
    with sqlite3.connect(place.state / "history.db") as database:
        (arguments,) = database.execute("select arguments from runs").fetchone()
    assert "hush" not in arguments and "folder=***" in arguments and "third=***" in arguments
    first = next(place.state.glob("runs/*/events.jsonl")).read_text().splitlines()[0]
    assert "hush" not in first
    assert (place.state / "history.db").stat().st_mode & 0o077 == 0


def test_a_history_that_cannot_be_written_fails_no_run(place: Place) -> None:
    place.state.mkdir(parents=True)
    (place.state / "history.db").write_text("this is no database, and long enough to be taken for one" * 30)
    code, out = place.call("run", "-i", "hosts.ini", "-l", "a", "site.yml", "-e", f"folder={place.folder} text=x")
    assert code == 0
    assert "could not be written into the history" in out


def started(name: str, at: float) -> dict[str, Any]:
    return {"event": "run_started", "at": at, "run_id": name, "user": "u", "playbooks": ["/p/site.yml"], "check": False}


def test_runs_are_found_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number, name in enumerate(("20260101T000000-aa", "20260101T000000-ab", "20260102T000000-aa")):
        history.add(name, [started(name, number)])
    assert history.find("last").id == history.find("20260102").id == "20260102T000000-aa"
    assert history.find("20260101T000000-ab").started == 1
    with pytest.raises(UsageError, match="2 runs begin with 20260101"):
        history.find("20260101")
    with pytest.raises(UsageError, match="there is no run 2027"):
        history.find("2027")
    assert len(history.runs(playbook="site.yml")) == 3 and not history.runs(playbook="other.yml")


def test_old_runs_are_forgotten(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number, name in enumerate(("old", "young")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        history.add(name, [started(name, 1000.0 * number)])
    assert history.forget(500.0) == 1
    assert [run.id for run in history.runs()] == ["young"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["young"]


def test_a_database_of_another_version_is_made_anew(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.add("r1", [started("r1", 1)])
    folder = tmp_path / "runs" / "r2"
    folder.mkdir(parents=True)
    (folder / "events.jsonl").write_text(json.dumps(started("r2", 2)) + '\n{"event": "play_sta')
    with sqlite3.connect(tmp_path / "history.db") as database:
        database.execute("pragma user_version = 99")
    # What has its JSON lines is there again, up to where a kill cut them off.
    assert [run.id for run in history.runs()] == ["r2"]
    assert history.runs()[0].code is None


def test_runs_at_the_same_time_are_all_written(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from opsplay.record.history import History\n"
        "for n in range(5):\n"
        "    name = sys.argv[2] + str(n)\n"
        "    History(Path(sys.argv[1])).add(name, [{'event': 'run_started', 'at': n, 'playbooks': []}])\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "abcd"]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0, 0]
    assert len(History(tmp_path).runs()) == 20


def test_a_history_that_is_no_database_is_an_error_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_text("this is no database, and long enough to be taken for one\n" * 100)
    with pytest.raises(HistoryUnusable, match=r"history\.db cannot be used"):
        History(tmp_path).runs()


def test_a_record_that_cannot_be_written_further_fails_no_run(tmp_path: Path) -> None:
    """On a disk that is full from the first byte on."""
    heard: list[str] = []
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    record = JsonLines(tmp_path, heard.append)
    for _ in range(1000):
        record.emit(Warned("a warning " * 20, None))
    record.emit(RunFinished(0, (), 1.0, False, {}))
    assert len(heard) == 1 and "the record of this run ends here" in heard[0]
