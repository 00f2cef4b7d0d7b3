"""How ansible-core reads the inventories in `inventories`, recorded in inventories.json for the unit tests.

    python -m tests.oracle.inventories path/to/ansible-inventory

A case is a folder; its file `arguments`, where there is one, holds the words of the command line, else they are
`-i hosts`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RECORD = HERE / "inventories.json"


@dataclass(frozen=True)
class Case:
    """One set of sources, and how they are named on the command line."""

    name: str

    @property
    def folder(self) -> Path:
        return HERE / "inventories" / self.name

    @property
    def arguments(self) -> list[str]:
        file = self.folder / "arguments"
        return file.read_text().splitlines() if file.exists() else ["-i", "hosts"]

    def sources(self) -> list[str]:
        """The inventories among the arguments."""
        words = self.arguments
        return [source for flag, source in zip(words, words[1:], strict=False) if flag == "-i"]


def cases() -> list[Case]:
    return [Case(path.name) for path in sorted((HERE / "inventories").iterdir())]


def environment() -> dict[str, str]:
    """Without settings of the user's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "OPSPLAY_"))}
    return {**kept, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0"}


def ask(command: list[str], case: Case) -> str:
    done = subprocess.run(command, cwd=case.folder, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{case.name}: {done.stderr}")
    return done.stdout


def answers(program: str, case: Case) -> dict[str, Any]:
    """What ansible-core makes of a case: everything, the order of its hosts, and the tree."""
    sources = [word for source in case.sources() for word in ("-i", source)]
    hosts = ask([str(Path(program).with_name("ansible")), "all", *sources, "--list-hosts"], case)
    return {
        "list": json.loads(ask([program, "--list", *case.arguments], case)),
        "hosts": [line.strip() for line in hosts.splitlines()[1:]],
        "graph": ask([program, "--graph", "--vars", *case.arguments], case).splitlines(),
    }


def main() -> None:
    program = sys.argv[1]
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split("]")[0]
    found = {case.name: answers(program, case) for case in cases()}
    RECORD.write_text(json.dumps({"version": f"{version}]", "inventories": found}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
