"""Run opsplay as a user does, on a lab's hosts, and look at the hosts from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsplay.lab import Lab, LabHost
from tests import CACHE

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its exit code, what it printed, and its record."""

    code: int
    out: str
    err: str
    events: list[dict[str, Any]]

    def recap(self, host: str) -> dict[str, int]:
        """A host's counts."""
        for event in self.events:
            if event["event"] == "run_finished":
                tallies = {tally["host"]: tally for tally in event["tallies"]}
                return {name: value for name, value in tallies[host].items() if isinstance(value, int)}
        raise AssertionError(f"the run has no recap: {self.out}{self.err}")

    def results(self, host: str) -> dict[str, dict[str, Any]]:
        """A host's task results by the task's name."""
        return {e["task"]: e for e in self.events if e["event"] == "task_finished" and e["host"] == host}

    def changed(self) -> set[tuple[str, str]]:
        """(host, task) of everything that changed."""
        found = (e for e in self.events if e["event"] == "task_finished" and e["module"] != "meta")
        return {(e["host"], e["task"]) for e in found if e["data"].get("changed")}


class Driver:
    """Runs opsplay in a directory of its own with a home and state of its own."""

    def __init__(self, directory: Path, lab: Lab) -> None:
        self.directory = directory
        self.lab = lab
        self.inventory = directory / "hosts.yml"
        lab.write_inventory(self.inventory)
        self._started: list[subprocess.Popen[str]] = []

    def environment(self) -> dict[str, str]:
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ANSIBLE_", "OPSPLAY_"))
        }
        return {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(CACHE), "PYTHONPATH": str(ROOT)}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "opsplay", *arguments]

    def start(self, playbook: str | Path, *arguments: str) -> subprocess.Popen[str]:
        """Start a run and return the process."""
        argv = self.command("run", "-i", str(self.inventory), str(self.write(playbook)), *arguments)
        process = subprocess.Popen(
            argv, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.directory
        )
        self._started.append(process)
        return process

    def stop(self) -> None:
        """End what a failed test has left running, so that the next one finds the hosts at rest."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def write(self, playbook: str | Path) -> Path:
        """A playbook's file; its text may be given instead."""
        if isinstance(playbook, Path):
            return playbook
        path = self.directory / "playbook.yml"
        path.write_text(playbook)
        return path

    def run(self, playbook: str | Path, *arguments: str, timeout: float = 120) -> Outcome:
        """Run a playbook to its end."""
        before = set(self._runs())
        process = self.start(playbook, *arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
            raise AssertionError(f"the run took more than {timeout} s:\n{out}\n{err}") from None
        return Outcome(process.returncode, out, err, self._events(before))

    def _runs(self) -> list[Path]:
        return sorted((self.directory / "home/.local/state/opsplay/runs").glob("*/events.jsonl"))

    def _events(self, before: set[Path]) -> list[dict[str, Any]]:
        new = [path for path in self._runs() if path not in before]
        return [json.loads(line) for path in new for line in path.read_text().splitlines()]


def agents(host: LabHost) -> list[tuple[int, list[str]]]:
    """The agents, and what they started, that live on a host now."""
    return [
        (pid, argv) for pid, argv in host.processes() if "-I" in argv and "-S" in argv or "opsplay" in " ".join(argv)
    ]


def leftovers(host: LabHost) -> list[str]:
    """Temporary files that a task left on a host."""
    found = host.run(["find", "/", "-xdev", "-name", ".opsplay-*"], check=False).stdout
    return [line for line in found.splitlines() if line]


def wait_until(condition: Any, seconds: float, what: str) -> None:
    """Wait for a condition, at most so many seconds."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"not within {seconds} s: {what}"
        time.sleep(0.1)
