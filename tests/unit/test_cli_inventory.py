"""`opsplay inventory` and what a run does to its inventory, through the real command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsplay.documents import vault
from tests.oracle.inventories import RECORD, Case, cases
from tests.unit.commands import opsplay, succeed
from tests.unit.test_inventory import write

HOSTS = {
    "hosts": "alone\n[web]\nw1 x=1\nw2\n[db]\nd1\n[site:children]\nweb\ndb\n[web:vars]\nkind=web\n[empty]\n",
    "group_vars/web.yml": "port: 80\n",
    "host_vars/d1.yml": "{size: 5, t: '{{ size }}', u: !unsafe '{{ size }}'}\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, HOSTS)
    return tmp_path


def shown(folder: Path, *words: str) -> Any:
    return json.loads(succeed(folder, "inventory", "-i", "hosts", *words))


def test_one_host(folder: Path) -> None:
    assert shown(folder, "--host", "w1") == {"x": 1, "kind": "web", "port": 80}
    assert shown(folder, "--host", "d1") == {"size": 5, "t": "{{ size }}", "u": {"__ansible_unsafe": "{{ size }}"}}
    assert shown(folder, "--host", "alone") == {}
    assert "did you mean 'w1'?" in opsplay(folder, "inventory", "-i", "hosts", "--host", "w11").stderr


def test_the_tree_of_one_group(folder: Path) -> None:
    assert succeed(folder, "inventory", "-i", "hosts", "--graph", "web").splitlines() == ["@web:", "  |--w1", "  |--w2"]
    assert "there is no group 'wed'" in opsplay(folder, "inventory", "-i", "hosts", "--graph", "wed").stderr


def test_yaml(folder: Path) -> None:
    text = succeed(folder, "inventory", "-i", "hosts", "--list", "--yaml")
    assert text == (
        "all:\n  children:\n    site:\n      children:\n"
        "        db:\n          hosts:\n            d1:\n              size: 5\n              t: '{{ size }}'\n"
        "              u: !unsafe '{{ size }}'\n"
        "        web:\n          hosts:\n            w1:\n              kind: web\n              port: 80\n"
        "              x: 1\n            w2:\n              kind: web\n              port: 80\n"
        "    ungrouped:\n      hosts:\n        alone: {}\n"
    )


def test_output(folder: Path) -> None:
    assert succeed(folder, "inventory", "-i", "hosts", "--list", "--output", "out.json") == ""
    assert json.loads((folder / "out.json").read_text())["site"] == {"children": ["web", "db"]}


def test_nothing_to_show(folder: Path) -> None:
    assert "give --list, --graph or --host NAME" in opsplay(folder, "inventory", "-i", "hosts").stderr


def test_vaults_stay_closed(folder: Path) -> None:
    sealed = vault.encrypt(b"text", b"password")
    document = {"_meta": {"hostvars": {"a": {"secret": {"__ansible_vault": sealed}}}}, "g": ["a"]}
    write(folder, {"hosts": f"#!/bin/sh\ncat <<'END'\n{json.dumps(document)}\nEND\n"})
    assert shown(folder, "--host", "a") == {"secret": {"__ansible_vault": sealed}}
    written = succeed(folder, "inventory", "-i", "hosts", "--list", "--yaml")
    (folder / "again.yml").write_text(written)
    assert "!vault |" in written
    read = json.loads(succeed(folder, "inventory", "-i", "again.yml", "--host", "a"))
    assert read["secret"] == {"__ansible_vault": sealed}


# A name that looks like a range, in a list of hosts, is one in YAML; with --export there are no hosts' variables.
READ_BACK = [case for case in cases() if case.name not in ("list", "export")]


@pytest.mark.parametrize("case", READ_BACK, ids=lambda case: case.name)
def test_our_yaml_is_read_back(case: Case, tmp_path: Path) -> None:
    expected = json.loads(RECORD.read_text())["inventories"][case.name]["list"]
    done = opsplay(case.folder, "inventory", *case.arguments, "--list", "--yaml", HOME=str(tmp_path))
    (tmp_path / "again.yml").write_text(done.stdout)
    found = json.loads(succeed(tmp_path, "inventory", "-i", "again.yml", "--list"))
    assert found["_meta"] == expected["_meta"]


# --- while a run goes on ---


def run(folder: Path, playbook: list[dict[str, Any]], *words: str) -> dict[str, Any]:
    """What a playbook wrote into its file `found.json`."""
    (folder / "play.yml").write_text(yaml.safe_dump(playbook))
    succeed(folder, "run", "-c", "local", "play.yml", *words)
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def play(hosts: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    return {"hosts": hosts, "gather_facts": False, "tasks": list(tasks)}


def keep(expression: str) -> dict[str, Any]:
    content = f"{{{{ ({expression}) | to_json }}}}"
    return {"copy": {"content": content, "dest": "{{ playbook_dir }}/found.json"}, "run_once": True}


def test_added_hosts_and_groups(tmp_path: Path) -> None:
    """The result is ansible-core's."""
    found = run(
        tmp_path,
        [
            play(
                "localhost",
                {"add_host": {"name": "n1:2222", "groups": ["ga", "gb"], "x": 1}},
                {"add_host": {"name": "[::1]:33"}},
                {"add_host": {"name": "n2", "groups": "ga,gc"}},
                {"add_host": {"name": "n1", "groups": "gd", "x": 2}},
            ),
            play(
                "ga",
                {"group_by": {"key": "by_{{ inventory_hostname }}"}},
                {"group_by": {"key": "k {{ x }}", "parents": ["p1", "p 2"]}, "when": "inventory_hostname == 'n1'"},
            ),
            play("all:!n2", keep("{'groups': groups, 'vars': hostvars.n1, 'hosts': ansible_play_hosts_all}")),
        ],
        "-i", "z,",
    )  # fmt: skip
    assert found["groups"] == {
        "all": ["n1", "::1", "n2", "z"], "ungrouped": ["z", "::1"], "ga": ["n1", "n2"], "gb": ["n1"], "gc": ["n2"],
        "gd": ["n1"], "by_n1": ["n1"], "by_n2": ["n2"], "k-2": ["n1"], "p1": ["n1"], "p-2": ["n1"],
    }  # fmt: skip
    assert (found["vars"]["ansible_ssh_port"], found["vars"]["x"]) == (2222, 2)
    assert found["hosts"] == ["n1", "::1", "z"]


def test_the_inventory_is_read_anew(tmp_path: Path) -> None:
    write(tmp_path, {"hosts": "[g]\na\n", "group_vars/all.yml": "x: 1\n"})
    change = {"copy": {"content": "[g]\na\nb\n", "dest": "{{ playbook_dir }}/hosts"}}
    change_vars = {"copy": {"content": "x: 2\n", "dest": "{{ playbook_dir }}/group_vars/all.yml"}}
    again = {"meta": "refresh_inventory"}
    found = run(
        tmp_path,
        [
            play("localhost", {"assert": {"that": "hostvars.a.x == 1"}}, change, change_vars, again),
            play("all", keep("{'hosts': ansible_play_hosts_all, 'x': x}")),
        ],
        "-i", "hosts", "-i", "z,",
    )  # fmt: skip
    assert found == {"hosts": ["z", "a", "b"], "x": 2}


def test_each_host_knows_its_file(tmp_path: Path) -> None:
    write(tmp_path, {"one/hosts": "a\n", "two/hosts": "a\nb\n"})
    shown = "{'a': hostvars.a.inventory_file, 'b': hostvars.b.inventory_dir, 'c': hostvars.c.inventory_file}"
    found = run(tmp_path, [play("localhost", keep(shown))], "-i", "one", "-i", "two/hosts", "-i", "c,")
    assert found == {"a": f"{tmp_path}/one/hosts", "b": f"{tmp_path}/two", "c": None}
