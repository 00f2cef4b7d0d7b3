"""Random small playbooks under ansible-core and under opsplay, on three hosts without SSH: what differs is printed.

    bin/oracle --fuzz SECONDS [--seed N]     as many as the time allows; a difference is made small before it is shown

The playbooks are of what decides where a host goes on: blocks, rescue, always, includes with constant and with variable
files, roles, loops, handlers, run_once, conditions, failures of single hosts, tags, serial, any_errors_fatal.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tests.oracle.results import Results, differences

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOSTS = ("h1", "h2", "h3")
LOCAL = "ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'"
INVENTORY = "".join(f"{host} {LOCAL} own={number} few={number % 2}\n" for number, host in enumerate(HOSTS, 1))
TAGS = ("red", "blue")
OF_ALL = ("run_once", "any_errors_fatal", "max_fail_percentage")
TIMEOUT = 60
# A difference is made smaller for at most so many seconds.
PATIENCE = 120

Entry = dict[str, Any]


@dataclass
class Book:
    """A playbook with all its files, and the words of the command line."""

    files: dict[str, list[Any]]
    arguments: tuple[str, ...] = ()


class Maker:
    """Makes a playbook of a random number generator."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._files: dict[str, list[Any]] = {}
        self._count = 0
        self._handlers: list[str] = []
        self._free = False
        self._rescued = 0

    def book(self) -> Book:
        """A playbook of one play or two."""
        plays = [self._play() for _ in range(self._chance.choice((1, 1, 2)))]
        self._files["playbook.yml"] = plays
        words = self._chance.choice(((), (), (), (), ("--tags", "red"), ("--skip-tags", "blue"), ("--force-handlers",)))
        return Book(self._files, words)

    def _maybe(self, share: float) -> bool:
        return self._chance.random() < share

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{what}{self._count}"

    def _play(self) -> Entry:
        play: Entry = {"hosts": "all", "gather_facts": False}
        keywords: tuple[tuple[float, str, tuple[Any, ...]], ...] = (
            (0.25, "serial", (1, 2, [1, 2], "50%")), (0.12, "any_errors_fatal", (True,)),
            (0.08, "max_fail_percentage", (0, 30, 50)), (0.15, "force_handlers", (True,)),
            (0.07, "strategy", ("free",)), (0.05, "ignore_errors", (True,)),
        )  # fmt: skip
        for share, key, values in keywords:
            if self._maybe(share):
                play[key] = self._chance.choice(values)
        # What one host does to all depends on the moment where hosts do not wait for each other.
        self._free = "strategy" in play
        if self._free:
            play = {key: value for key, value in play.items() if key not in OF_ALL}
        self._handlers = [self._name("handler") for _ in range(self._chance.randrange(4))]
        if self._maybe(0.2):
            play["pre_tasks"] = self._tasks(1)
        if self._maybe(0.2):
            play["roles"] = [{"role": self._role()}]
        play["tasks"] = self._tasks(2, at_least=2)
        if self._maybe(0.2):
            play["post_tasks"] = self._tasks(1)
        play["handlers"] = [self._handler(number, name) for number, name in enumerate(self._handlers)]
        return play

    # --- tasks ---

    def _tasks(self, depth: int, at_least: int = 1) -> list[Entry]:
        return [self._task(depth) for _ in range(self._chance.randrange(at_least, at_least + 2))]

    def _task(self, depth: int) -> Entry:
        simple = (self._say, self._say, self._change, self._fail, self._fail, self._fact, self._loop, self._meta,
                  self._command, self._retry)  # fmt: skip
        nested = (self._block, self._block, self._include, self._include, self._include_loop, self._include_role,
                  self._import)  # fmt: skip
        if depth > 0 and self._maybe(0.45):
            return self._chance.choice(nested)(depth - 1)
        return self._with_keywords(self._chance.choice(simple)())

    def _with_keywords(self, task: Entry) -> Entry:
        if "meta" in task:
            return task
        if self._maybe(0.2):
            task.setdefault("when", self._condition())
        if self._maybe(0.1):
            task["run_once"] = True
        if self._maybe(0.06):
            task["any_errors_fatal"] = True
        if self._maybe(0.06):
            task["delegate_to"] = self._chance.choice(HOSTS)
        return self._with_tags(self._waited_for(task))

    def _waited_for(self, task: Entry) -> Entry:
        # Where a task that one host runs for all fails and is rescued, ansible-core loses the other hosts.
        left_out = OF_ALL if self._free else ("run_once",) if self._rescued else ()
        return {key: value for key, value in task.items() if key not in left_out}

    def _with_tags(self, task: Entry) -> Entry:
        if self._maybe(0.15):
            task["tags"] = self._chance.choice((*TAGS, "always", "never"))
        return task

    def _condition(self) -> Any:
        chosen = self._chance.sample(HOSTS, self._chance.choice((1, 2)))
        return self._chance.choice((True, False, f"inventory_hostname in {chosen}", "few == '1'", "few | int == 0"))

    def _some(self) -> str:
        """A condition that holds for some hosts."""
        return f"inventory_hostname in {self._chance.sample(HOSTS, self._chance.choice((1, 1, 2, 3)))}"

    def _say(self) -> Entry:
        name = self._name("say")
        shown = self._chance.choice((name, f"{name} {{{{ fact | default('none') }}}}"))
        return {"name": name, "debug": {"msg": shown}}

    def _change(self) -> Entry:
        task: Entry = {**self._say(), "changed_when": True}
        if self._handlers:
            task["notify"] = self._chance.choice((*self._handlers, "topic") if self._maybe(0.3) else self._handlers)
            if task["notify"] == "topic" and not self._handlers:
                del task["notify"]
        return task

    def _fail(self) -> Entry:
        task: Entry = {"name": self._name("fail"), "fail": {"msg": "as wanted"}, "when": self._some()}
        if self._maybe(0.3):
            task["ignore_errors"] = True
        return task

    def _fact(self) -> Entry:
        name = self._name("fact")
        return {"name": name, "set_fact": {"fact": f"{name} of {{{{ inventory_hostname }}}}"}}

    def _loop(self) -> Entry:
        name = self._name("loop")
        items = self._chance.choice(([1, 2], "{{ range(own | int) | list }}", "{{ [] }}", "{{ [own, 'x'] }}"))
        module = self._chance.choice(
            ({"debug": {"msg": f"{name} {{{{ item }}}}"}},
             {"fail": {"msg": name}, "when": f"item | string == '2' and {self._some()}"})
        )  # fmt: skip
        return {"name": name, **module, "loop": items}

    def _meta(self) -> Entry:
        action = self._chance.choice(("flush_handlers", "flush_handlers", "noop", "end_host", "end_play", "end_batch"))
        if self._free and action in ("end_play", "end_batch"):
            action = "end_host"
        if action in ("flush_handlers", "noop"):
            return {"meta": action}
        return {"name": self._name("meta"), "meta": action, "when": self._some()}

    def _command(self) -> Entry:
        name = self._name("command")
        fails = self._chance.choice((False, self._some()))
        return {"name": name, "command": "true", "register": name, "failed_when": fails}

    def _retry(self) -> Entry:
        name = self._name("retry")
        until = self._chance.choice((True, self._some()))
        return {"name": name, "debug": {"msg": name}, "register": name, "until": until, "retries": 1, "delay": 0}

    # --- what holds other tasks ---

    def _block(self, depth: int) -> Entry:
        rescued = self._maybe(0.6)
        self._rescued += rescued
        block: Entry = {"block": self._tasks(depth)}
        if rescued:
            block["rescue"] = self._tasks(depth)
        if self._maybe(0.4):
            block["always"] = self._tasks(depth)
        for share, key, value in ((0.15, "when", self._condition()), (0.1, "ignore_errors", True),
                                  (0.06, "any_errors_fatal", True), (0.03, "run_once", True)):  # fmt: skip
            if self._maybe(share):
                block[key] = value
        block = self._waited_for(block)
        self._rescued -= rescued
        return self._with_tags(block)

    def _file(self, depth: int) -> str:
        name = self._name("file") + ".yml"
        self._files[name] = self._tasks(depth)
        return name

    def _include(self, depth: int) -> Entry:
        """An include of one file for all, or of another one for each host."""
        task: Entry = {"name": self._name("include")}
        if self._maybe(0.5):
            task["include_tasks"] = self._file(depth)
        else:
            files = {host: self._file(depth) for host in HOSTS} if self._maybe(0.4) else self._two_files(depth)
            task["include_tasks"] = f"{{{{ {files}[inventory_hostname] }}}}"
        return self._with_include_keywords(task)

    def _two_files(self, depth: int) -> dict[str, str]:
        first, second = self._file(depth), self._file(depth)
        return {host: self._chance.choice((first, second)) for host in HOSTS}

    def _with_include_keywords(self, task: Entry) -> Entry:
        if self._maybe(0.2):
            task["when"] = self._condition()
        if self._maybe(0.1):
            task["ignore_errors"] = True
        if self._maybe(0.06):
            task["run_once"] = True
        if self._maybe(0.15):
            task["vars"] = {"fact": "given"}
        return self._with_tags(self._waited_for(task))

    def _include_loop(self, depth: int) -> Entry:
        name = self._name("include")
        items = self._chance.choice(([1, 2], "{{ range(own | int) | list }}", "{{ ['a', own] }}"))
        control = {"loop_var": f"item_of_{name}"}
        return self._with_include_keywords(
            {"name": name, "include_tasks": self._file(depth), "loop": items, "loop_control": control}
        )

    def _role(self, depth: int = 1) -> str:
        name = self._name("role")
        self._files[f"roles/{name}/tasks/main.yml"] = self._tasks(depth)
        if self._maybe(0.3):
            self._files[f"roles/{name}/tasks/main.yml"] += [
                {"name": self._name("leave"), "meta": "end_role", "when": self._some()}, self._say()
            ]  # fmt: skip
        return name

    def _include_role(self, depth: int) -> Entry:
        how = self._chance.choice(("include_role", "include_role", "import_role"))
        task: Entry = {"name": self._name("role"), how: {"name": self._role(depth)}}
        return self._with_tags(task) if how == "import_role" else self._with_include_keywords(task)

    def _import(self, depth: int) -> Entry:
        return self._with_tags({"import_tasks": self._file(depth)})

    def _handler(self, number: int, name: str) -> Entry:
        task = self._chance.choice((self._say, self._say, self._fail, self._loop, self._command))()
        if self._maybe(0.15):
            task = {"include_tasks": self._file(0)}
        elif self._maybe(0.2):
            task.update(changed_when=True, notify=self._chance.choice(self._handlers))
        if self._maybe(0.1) and "include_tasks" not in task:
            task["run_once"] = True
        # Somebody must listen to the topic, or naming it is an error.
        if number == 0 or self._maybe(0.3):
            task["listen"] = "topic"
        return self._waited_for({**task, "name": name})


class Bench:
    """Runs books under both."""

    def __init__(self, ansible: str) -> None:
        self._ansible = ansible

    def differences(self, book: Book) -> list[str]:
        """What is not the same; nothing where one of them refuses the book."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(book, folder)
            theirs, ours = self._run_ansible(book, folder), self._run_opsplay(book, folder)
        if theirs is None or ours is None:
            return []
        if "meta: end_" in yaml.safe_dump(book.files):
            # ansible-core forgets failures of hosts that are ended, and remembers those that were rescued.
            theirs.code = ours.code
        return differences(begun(theirs), begun(ours))

    def _run_ansible(self, book: Book, folder: Path) -> Results | None:
        written = folder / "results.jsonl"
        written.touch()
        settings = {"ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"), "ANSIBLE_CALLBACKS_ENABLED": "oracle",
                    "ORACLE_FILE": str(written), "ANSIBLE_DEPRECATION_WARNINGS": "0"}  # fmt: skip
        done = self._run((self._ansible, "-f", "10"), book, folder, settings)
        results = Results.of_ansible(done.returncode, written.read_text().splitlines())
        return results if results.recap else None

    def _run_opsplay(self, book: Book, folder: Path) -> Results | None:
        done = self._run((sys.executable, "-m", "opsplay", "run"), book, folder, {})
        records = (folder / ".local/state/opsplay/runs").glob("*/events.jsonl")
        events = [json.loads(line) for path in records for line in path.read_text().splitlines()]
        if done.returncode not in (0, 1, 2) or "Traceback" in done.stderr or (events and not done.stdout):
            return Results(-1, tasks={"opsplay": [[done.stdout[-2000:] + done.stderr[-4000:], "crashed", {}]]})
        return Results.of_opsplay(done.returncode, events) if events else None

    @staticmethod
    def _run(tool: tuple[str, ...], book: Book, folder: Path, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "XDG_", "OPSPLAY_"))}
        try:
            return subprocess.run(
                [*tool, "-i", "hosts.ini", "playbook.yml", *book.arguments], cwd=folder, stdin=subprocess.DEVNULL,
                env={**kept, "HOME": str(folder), "PYTHONPATH": str(ROOT), **more}, capture_output=True, text=True,
                timeout=TIMEOUT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(tool, -1, "", f"{tool[0]} did not end within {TIMEOUT} s")


def begun(results: Results) -> Results:
    """Without the hosts that have done nothing: ansible-core leaves them out of its recap."""
    return replace(results, recap={host: counts for host, counts in results.recap.items() if any(counts.values())})


def write(book: Book, folder: Path) -> None:
    (folder / "hosts.ini").write_text(INVENTORY)
    for name, document in book.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(document, sort_keys=False))


def smaller(book: Book) -> Iterator[Book]:
    """The book with one thing less, the largest things first."""
    if book.arguments:
        yield Book(book.files)
    for name in book.files:
        for path in sorted(places(book.files[name]), key=len):
            less = copy.deepcopy(book)
            inner: Any = less.files[name]
            for step in path[:-1]:
                inner = inner[step]
            del inner[path[-1]]
            yield less


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every entry and keyword of a document that could be left out."""
    entries = list(enumerate(value)) if isinstance(value, list) else list(value.items())
    for key, inner in reversed(entries):
        yield (*path, key)
        is_list_of_entries = isinstance(inner, list) and inner and isinstance(inner[0], dict)
        if is_list_of_entries or (isinstance(value, list) and isinstance(inner, dict)):
            yield from places(inner, (*path, key))


def shrink(bench: Bench, book: Book) -> Book:
    """A small book that still differs."""
    deadline = time.monotonic() + PATIENCE
    found = True
    while found:
        found = False
        for less in smaller(book):
            if time.monotonic() > deadline:
                return book
            if bench.differences(less):
                book, found = less, True
                break
    return book


def show(seed: int, book: Book, found: list[str]) -> None:
    print(f"\n--- seed {seed}: {' '.join(book.arguments)}", flush=True)
    used = yaml.safe_dump(book.files)
    for name, document in book.files.items():
        if name == "playbook.yml" or os.path.basename(name) in used or name.split("/")[1:2] != []:
            print(f"# {name}\n{yaml.safe_dump(document, sort_keys=False)}", end="")
    for line in found:
        print(f"    {line}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare random playbooks under opsplay and ansible-core.")
    parser.add_argument("ansible", help="the program ansible-playbook")
    parser.add_argument("--fuzz", type=float, default=60, metavar="SECONDS", help="how long")
    parser.add_argument("--seed", type=int, default=None, help="begin with this one")
    parser.add_argument("--whole", action="store_true", help="show differences without making them small")
    options = parser.parse_args()
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    bench, deadline, runs, failures = Bench(options.ansible), time.monotonic() + options.fuzz, 0, 0
    with ThreadPoolExecutor(2) as pool:
        while time.monotonic() < deadline:
            seeds = [first + runs, first + runs + 1]
            books = [Maker(random.Random(seed)).book() for seed in seeds]
            for seed, book, found in zip(seeds, books, pool.map(bench.differences, books), strict=True):
                if found:
                    failures += 1
                    less = book if options.whole else shrink(bench, book)
                    show(seed, less, found if less is book else bench.differences(less))
            runs += len(seeds)
    print(f"{runs} playbooks from seed {first} on, {failures} with differences")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
