"""Which of two definitions of a variable wins, for every two levels of Ansible's list of precedence.

    python -m tests.oracle.precedence path/to/ansible-playbook

One playbook defines a variable of each pair at both of its levels, and writes down what each turned out to be:
under ansible-core into precedence.json, under opsplay for the unit tests.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

RECORD = Path(__file__).with_name("precedence.json")

# From weak to strong, by the numbers of Ansible's documentation; its first, options such as -u, are no variables.
LEVELS = (
    "02 role defaults", "03 inventory group", "04 inventory group_vars/all", "05 playbook group_vars/all",
    "06 inventory group_vars", "07 playbook group_vars", "08 inventory host", "09 inventory host_vars",
    "10 playbook host_vars", "11 facts", "12 play vars", "13 vars_prompt", "14 vars_files", "15 role vars",
    "16 block vars", "17 task vars", "18 include_vars", "19 set_fact", "20 role params", "21 include params",
    "22 extra vars",
)  # fmt: skip
FACTS = "11 facts"
# Facts that every host has, one for each other level.
FACT_NAMES = (
    "architecture", "distribution", "distribution_release", "distribution_version", "env", "fqdn", "hostname", "kernel",
    "machine", "nodename", "os_family", "pkg_mgr", "processor_vcpus", "python_version", "service_mgr", "system",
    "user_id", "user_uid", "memtotal_mb", "domain",
)  # fmt: skip
PAIRS = tuple(itertools.combinations(LEVELS, 2))


def variable(first: str, second: str) -> str:
    """The name of the variable that both levels define."""
    if FACTS in (first, second):
        other = second if first == FACTS else first
        return f"ansible_{FACT_NAMES[[level for level in LEVELS if level != FACTS].index(other)]}"
    return f"v_{first[:2]}_{second[:2]}"


def of_level(level: str) -> dict[str, str]:
    """What a level defines: each of its variables, with the level's name as the value."""
    return {variable(*pair): level for pair in PAIRS if level in pair}


def documents() -> dict[str, Any]:
    """The files by their paths."""
    role = "play/roles/levels"
    names = ", ".join(f"'{name}': {name}" for name in (variable(*pair) for pair in PAIRS))
    shown = {"content": f"{{{{ {{ {names} }} | to_json }}}}", "dest": "{{ playbook_dir }}/found.json"}
    block = {"block": [{"vars": of_level("17 task vars"), "copy": shown}], "vars": of_level("16 block vars")}
    group = {"hosts": {"h": of_level("08 inventory host")}, "vars": of_level("03 inventory group")}
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    prompts = [{"name": k, "prompt": k, "default": v} for k, v in of_level("13 vars_prompt").items()]
    play = {
        "hosts": "h", "vars": of_level("12 play vars"), "vars_prompt": prompts, "vars_files": ["vars_file.yml"],
        "roles": [{"role": "levels", **of_level("20 role params")}],
    }  # fmt: skip
    return {
        "inventory/hosts.yml": {"all": {"vars": local}, "g": group},
        "inventory/group_vars/all.yml": of_level("04 inventory group_vars/all"),
        "inventory/group_vars/g.yml": of_level("06 inventory group_vars"),
        "inventory/host_vars/h.yml": of_level("09 inventory host_vars"),
        "play/group_vars/all.yml": of_level("05 playbook group_vars/all"),
        "play/group_vars/g.yml": of_level("07 playbook group_vars"),
        "play/host_vars/h.yml": of_level("10 playbook host_vars"),
        "play/vars_file.yml": of_level("14 vars_files"),
        "play/extra.yml": of_level("22 extra vars"),
        "play/playbook.yml": [play],
        f"{role}/defaults/main.yml": of_level("02 role defaults"),
        f"{role}/vars/main.yml": of_level("15 role vars"),
        f"{role}/files/included.yml": of_level("18 include_vars"),
        f"{role}/tasks/main.yml": [
            {"include_vars": "{{ role_path }}/files/included.yml"},
            {"set_fact": of_level("19 set_fact")},
            {"include_tasks": "show.yml", "vars": of_level("21 include params")},
        ],
        f"{role}/tasks/show.yml": [block],
    }


def winners(command: Sequence[str], folder: Path) -> dict[str, str]:
    """Which level won for each pair, when a program runs the playbook in a folder."""
    for name, document in documents().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(document, sort_keys=False))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "OPSPLAY_", "XDG_"))}
    done = subprocess.run(
        [*command, "-i", str(folder / "inventory/hosts.yml"), "-e", "@extra.yml", "playbook.yml"],
        cwd=folder / "play", env={**kept, "HOME": str(folder)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    found = json.loads((folder / "play/found.json").read_text())
    values = {pair: found[variable(*pair)] for pair in PAIRS}
    return {" | ".join(pair): value if value in pair else FACTS for pair, value in values.items()}


def main() -> None:
    program = sys.argv[1]
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split("]")[0]
    with tempfile.TemporaryDirectory() as folder:
        found = winners([program], Path(folder))
    RECORD.write_text(json.dumps({"version": f"{version}]", "winners": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
