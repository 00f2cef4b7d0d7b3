"""What ansible-core makes of the expressions in templates.yml, recorded in templates.json for the unit tests.

    python -m tests.oracle.expressions path/to/ansible-playbook

The filters of ansible.utils and community.general need those collections and netaddr and jmespath beside ansible-core.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("templates.yml")
RECORD = Path(__file__).with_name("templates.json")

# What stands in the record for the folder that the files of a section lie in.
FOLDER = "/playbook/folder"


@dataclass(frozen=True)
class Section:
    """Expressions that share variables and files, which are given by their paths beside the playbook."""

    name: str
    variables: Mapping[str, Any]
    expressions: tuple[str, ...]
    files: Mapping[str, str]

    def write_files(self, folder: Path) -> None:
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)


def sections() -> list[Section]:
    """The table."""
    return [
        Section(
            row["name"],
            row.get("variables", {}),
            tuple(dict.fromkeys(line for line in row["expressions"].splitlines() if line)),
            row.get("files", {}),
        )
        for row in yaml.safe_load(TABLE.read_text())
    ]


def template_of(expression: str) -> str:
    """A line of the table as a template: it is one, or it is an expression."""
    return expression if re.search(r"{{.*}}|{%.*%}", expression) else "{{ " + expression + " }}"


def play_of(section: Section, output: Path) -> dict[str, Any]:
    """Each expression becomes a fact, unless it fails; then all facts are written down."""
    tasks: list[dict[str, Any]] = [
        {"set_fact": {f"recorded_{number}": template_of(expression)}, "ignore_errors": True}
        for number, expression in enumerate(section.expressions)
    ]
    facts = "{{ dict(names | zip(query('vars', *names))) | to_json }}"
    names = "{{ query('varnames', '^recorded_[0-9]+$') }}"
    tasks.append({"copy": {"dest": str(output), "content": facts}, "vars": {"names": names}})
    variables = {"folder": str(output.parent), **section.variables}
    variables["ansible_python_interpreter"] = "{{ ansible_playbook_python }}"
    return {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}


def record(program: str, section: Section) -> dict[str, Any]:
    """The value of each expression; null where it is refused, else a list with the value."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        section.write_files(folder)
        output = folder / "recorded.json"
        (folder / "play.yml").write_text(json.dumps([play_of(section, output)]))
        command = [program, "-i", "localhost,", "-c", "local", "play.yml"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if not output.exists():
            raise SystemExit(f"{section.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        facts = json.loads(output.read_text().replace(name, FOLDER))
    return {
        expression: [facts[f"recorded_{number}"]] if f"recorded_{number}" in facts else None
        for number, expression in enumerate(section.expressions)
    }


def version(program: str) -> str:
    found = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return re.findall(r"core ([0-9.]+)", found.stdout)[0]


def main(program: str, *wanted: str) -> None:
    """Record all sections, or only those that are named, and keep what is known of the others."""
    known = json.loads(RECORD.read_text())["sections"] if wanted else {}
    found = {
        section.name: known[section.name] if wanted and section.name not in wanted else record(program, section)
        for section in sections()
    }
    RECORD.write_text(written(version(program), found))


def written(version: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """The record as JSON with a line for each expression, so that a change is easy to read."""
    texts = []
    for name, values in found.items():
        lines = [f"   {text_of(expression)}: {text_of(value)}" for expression, value in values.items()]
        texts.append(f"  {text_of(name)}: {{\n" + ",\n".join(lines) + "\n  }")
    return f'{{\n "ansible-core": "{version}",\n "sections": {{\n' + ",\n".join(texts) + "\n }\n}\n"


def text_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
