"""Playbooks that are run under ansible-core and under opsplay on lab hosts, and compared in all that they do.

    bin/oracle                 runs all under ansible-core and writes down what they gave
    bin/oracle --compare NAME  runs those of a name (a shell pattern) under both, writes down, prints what differs

A case is a folder of `cases`: `playbook.yml` with all it needs, and, where it wants them, `arguments` (words for the
command line, a line each) and `groups.ini` (a further inventory).
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from opsplay.lab import HostSpec, Lab, LabHost
from tests import CACHE
from tests.lab.quick_lab import QuickLab
from tests.oracle.results import Results, differences
from tests.oracle.state import snapshot

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CASES, RECORD = HERE / "cases", HERE / "record"
RELEASES = {"web1": "bookworm", "web2": "bullseye", "db1": "trixie"}
OPSPLAY = (sys.executable, "-m", "opsplay", "run")
TIMEOUT = 600
# The folder of a host that cases work in.
WORKPLACE = "/srv"

T = TypeVar("T")
State = dict[str, str]


@dataclass(frozen=True)
class Case:
    """One playbook with all it needs."""

    name: str

    @property
    def folder(self) -> Path:
        return CASES / self.name

    @property
    def record(self) -> Path:
        return RECORD / f"{self.name}.json"

    @property
    def needs(self) -> list[str]:
        """Packages that the hosts must have before it: its file `needs`, a name a line."""
        path = self.folder / "needs"
        return path.read_text().split() if path.exists() else []

    def command(self, tool: tuple[str, ...], inventory: Path, folder: Path) -> list[str]:
        groups, arguments = folder / "groups.ini", folder / "arguments"
        further = ["-i", str(groups)] if groups.exists() else []
        words = arguments.read_text().splitlines() if arguments.exists() else []
        return [*tool, "-i", str(inventory), *further, str(folder / "playbook.yml"), *words]


def cases(pattern: str = "*") -> Iterator[Case]:
    for path in sorted(CASES.glob("*/playbook.yml")):
        if fnmatch.fnmatch(path.parent.name, pattern):
            yield Case(path.parent.name)


class Bench:
    """A lab on which cases run one after the other: each is judged by what it changed."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._before: dict[str, State] = {}
        self._units: dict[str, str] = {}

    @staticmethod
    def up(lab: Lab) -> Bench:
        """With the lab's hosts."""
        hosts = lab.up({name: HostSpec(release=release) for name, release in RELEASES.items()})
        for host in hosts.values():
            # A young image's empty lists count as valid for ansible-core, which then finds no package.
            host.run(["apt-get", "update", "-qq"], timeout=120)
        return Bench(lab)

    def run(self, case: Case, ansible: str | None = None) -> Results:
        """Under opsplay, or under ansible-core's program."""
        if case.needs:
            self._install(case.needs)
        self._clear()
        with TemporaryDirectory() as home:
            folder = copy_of(case.folder, Path(home) / "case")
            inventory = self.lab.write_inventory(Path(home) / "hosts.yml")
            results = run_ansible(case, ansible, inventory, folder) if ansible else run_opsplay(case, inventory, folder)
            after = self._look()
            results.state = {host: changes(self._before[host], after[host], home) for host in after}
            results.tasks = json.loads(self._without_places(json.dumps(results.tasks), home))
        self._before = after
        return results

    def _install(self, packages: list[str]) -> None:
        """What is there before a case is no change of it."""
        install = ["apt-get", "install", "-qy", "--no-install-recommends", *packages]
        self._everywhere(lambda host: host.run(["env", "DEBIAN_FRONTEND=noninteractive", *install], timeout=300))
        self._before = {}

    def _clear(self) -> None:
        """What earlier cases left in the folder that cases work in would make a result depend on their order."""
        self._everywhere(lambda host: host.run(["find", WORKPLACE, "-mindepth", "1", "-delete"]))
        self._before = self._before or self._look()
        for state in self._before.values():
            for name in [name for name in state if name.startswith(f"file {WORKPLACE}/")]:
                del state[name]

    def _without_places(self, text: str, home: str) -> str:
        """Without what this run's folder and the lab's network happen to be called."""
        for name, host in self.lab.hosts.items():
            text = text.replace(f"{host.address}", f"ADDRESS-OF-{name}")
        return text.replace(home, "HOME")

    def _look(self) -> dict[str, State]:
        return self._everywhere(lambda host: snapshot(host, self._units))

    def _everywhere(self, work: Callable[[LabHost], T]) -> dict[str, T]:
        """Do it on all hosts side by side."""
        with ThreadPoolExecutor(len(RELEASES)) as pool:
            hosts: Mapping[str, LabHost] = self.lab.hosts
            return dict(zip(hosts, pool.map(work, hosts.values()), strict=True))


def copy_of(source: Path, target: Path) -> Path:
    """A case's folder with the modes of a checkout under the usual umask, whatever this one's was."""
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    return target


def changes(before: State, after: State, home: str) -> State:
    """What is not as it was: the new value, or `gone`."""
    names = before.keys() | after.keys()
    return {name: after.get(name, "gone") for name in sorted(names) if before.get(name) != after.get(name)}


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "XDG_", "OPSPLAY_"))}
    return {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(CACHE), "PYTHONPATH": str(ROOT),
            "ANSIBLE_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1", "ORACLE_VALUE": "of the environment"}  # fmt: skip


def run_ansible(case: Case, program: str, inventory: Path, folder: Path) -> Results:
    written = folder.parent / "results.jsonl"
    written.touch()
    settings = {"ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"), "ANSIBLE_CALLBACKS_ENABLED": "oracle",
                "ORACLE_FILE": str(written), "ANSIBLE_DEPRECATION_WARNINGS": "0"}  # fmt: skip
    done = subprocess.run(
        case.command((program,), inventory, folder),
        env={**environment(folder.parent), **settings}, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    results = Results.of_ansible(done.returncode, written.read_text().splitlines())
    if not results.tasks and done.returncode not in (1, 4):
        raise AssertionError(f"{case.name}: ansible-core gave nothing:\n{done.stdout}\n{done.stderr}")
    return results


def run_opsplay(case: Case, inventory: Path, folder: Path) -> Results:
    done = subprocess.run(
        case.command(OPSPLAY, inventory, folder),
        env=environment(folder.parent), cwd=folder, capture_output=True, text=True, timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    records = (folder.parent / ".local/state/opsplay/runs").glob("*/events.jsonl")
    events = [json.loads(line) for path in records for line in path.read_text().splitlines()]
    if not events and done.returncode != 1:
        raise AssertionError(f"{case.name}: opsplay gave nothing:\n{done.stdout}\n{done.stderr}")
    return Results.of_opsplay(done.returncode, events)


def version_of(ansible: str) -> str:
    return subprocess.run([ansible, "--version"], capture_output=True, text=True, check=True).stdout.split("]")[0] + "]"


def record_all(ansible: str, pattern: str) -> int:
    """Run cases under ansible-core and write down what they gave."""
    version = version_of(ansible)
    with QuickLab("oracle") as lab:
        bench = Bench.up(lab)
        for case in cases(pattern):
            bench.run(case, ansible).save(case.record, version)
            print(f"recorded {case.name}", flush=True)
    return 0


def compare(ansible: str | None, pattern: str) -> int:
    """Run cases under both, write down what the oracle gave, and print what differs; or compare with the record."""
    code = 0
    with QuickLab("oracle-a") as first, QuickLab("oracle-b") as second:
        benches = Bench.up(first) if ansible else None, Bench.up(second)
        for case in cases(pattern):
            if benches[0] is not None and ansible:
                theirs = benches[0].run(case, ansible)
                theirs.save(case.record, version_of(ansible))
            else:
                theirs = Results.load(case.record)
            found = differences(theirs, benches[1].run(case))
            print(f"{case.name}: {'the same' if not found else f'{len(found)} differences'}", flush=True)
            for line in found:
                code = 1
                print(f"    {line}", flush=True)
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare opsplay with ansible-core.")
    parser.add_argument("ansible", help="the program ansible-playbook")
    parser.add_argument("pattern", nargs="?", default="*", help="the cases, as a shell pattern")
    parser.add_argument("--compare", action="store_true", help="run under both, and print what differs")
    parser.add_argument("--check", action="store_true", help="run under opsplay, against what was written down")
    options = parser.parse_intermixed_args()
    if options.compare or options.check:
        return compare(None if options.check else options.ansible, options.pattern)
    return record_all(options.ansible, options.pattern)


if __name__ == "__main__":
    sys.exit(main())
