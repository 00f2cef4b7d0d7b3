"""The library, on this machine without SSH and without root."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import opsplay
from opsplay import HostFailed, Inventory, Outcome, Playbook, TaskFailed, connect
from opsplay.errors import ConnectionFailed, Problems, UsageError
from opsplay.events import Event, TaskFinished

PLAYBOOK = """
- hosts: web
  gather_facts: false
  tasks:
    - {name: makes, copy: {dest: "{{ folder }}/{{ inventory_hostname }}", content: "{{ colour }}\\n"}}
    - {name: fails, command: "false", when: inventory_hostname == broken}
"""


@pytest.fixture
def hosts() -> Inventory:
    return Inventory.of({"web1": {"ansible_connection": "local"}, "web2": {"ansible_connection": "local"}})


def test_modules_are_methods(tmp_path: Path) -> None:
    with connect("localhost") as host:
        made = host.copy(dest=str(tmp_path / "f"), content="x {{ 7 * 7 }}\n")
        assert isinstance(made, Outcome)
        assert made.changed and made.module == "copy" and made.host == "localhost"
        assert made.checksum == made["checksum"]
        # What a program passes is data, never a template.
        assert (tmp_path / "f").read_text() == "x {{ 7 * 7 }}\n"
        assert not host.copy(dest=str(tmp_path / "f"), content="x {{ 7 * 7 }}\n").changed
        assert host.command(cmd="echo hello").stdout == "hello"
        assert host.stat(path=str(tmp_path)).stat["isdir"]
        host.setup(gather_subset=["!all"])
        assert host.facts["python"]["version"]["major"] == 3


def test_failures_are_exceptions_unless_they_are_ignored() -> None:
    with connect("localhost") as host:
        with pytest.raises(TaskFailed, match="localhost: command: non-zero return code") as failed:
            host.command(cmd="false")
        assert failed.value.outcome.rc == 1
        assert host.command(cmd="false", ignore_errors=True).failed
        with pytest.raises(AttributeError, match="returned no 'nosuch'"):
            host.command(cmd="true").nosuch  # noqa: B018
        with pytest.raises(AttributeError, match="did you mean 'copy'"):
            host.copyy()
        with pytest.raises(TaskFailed, match="unknown parameter 'dst'"):
            host.run_module("copy", {"dst": "/x"})
        with pytest.raises(UsageError, match="there is no module 'nosuch'"):
            host.run_module("nosuch", {})


def test_a_preview_changes_nothing(tmp_path: Path) -> None:
    with connect("localhost", check=True) as host:
        assert host.file(path=str(tmp_path / "d"), state="directory").changed
        assert host.copy(dest=str(tmp_path / "d" / "f"), content="x").changed
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("target", ["", "a:b:x", "host:port", "[::1"])
def test_a_target_that_is_none_is_refused(target: str) -> None:
    with pytest.raises((UsageError, opsplay.errors.OpsplayError)):
        connect(target).ping()


def test_a_host_that_is_not_there(tmp_path: Path) -> None:
    with connect("root@127.0.0.1:1", ansible_connection="ssh") as host, pytest.raises(ConnectionFailed):
        host.ping()


def test_a_playbook_with_a_progress_callback(tmp_path: Path, hosts: Inventory) -> None:
    path = tmp_path / "p.yml"
    path.write_text(PLAYBOOK.replace("hosts: web", "hosts: all"))
    seen: list[Event] = []
    playbook = Playbook.load(path, folder=str(tmp_path), colour="{{ 'blue' | upper }}", broken="none")
    foretold = playbook.run(hosts, check=True)
    assert foretold.ok and foretold.hosts["web1"].changed == 1
    assert not (tmp_path / "web1").exists()
    result = playbook.run(hosts, progress=seen.append)
    assert result.ok and result.raise_for_failures() is result
    assert (tmp_path / "web1").read_text() == "BLUE\n"
    ends = [event for event in seen if isinstance(event, TaskFinished) and event.module != "meta"]
    assert {(event.host, event.task, event.status) for event in ends} == {
        (host, task, status) for host in ("web1", "web2") for task, status in (("makes", "changed"), ("fails", "skipped"))
    }


def test_failed_hosts_are_named(tmp_path: Path, hosts: Inventory) -> None:
    path = tmp_path / "p.yml"
    path.write_text(PLAYBOOK.replace("hosts: web", "hosts: all"))
    result = Playbook.load(path, folder=str(tmp_path), colour="red", broken="web2").run(hosts, limit="web*")
    assert result.code == 2 and not result.ok
    with pytest.raises(HostFailed, match="web2: fails: non-zero return code"):
        result.raise_for_failures()


def test_wrong_files_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("- hosts: all\n  tasks: [{copyy: {}}, {copy: {dst: x}}]\n")
    with pytest.raises(Problems) as refused:
        Playbook.load(tmp_path / "p.yml")
    assert len(refused.value.errors) == 3


def test_hosts_of_an_inventory(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text("[web]\nweb[1:3]\n[db]\ndb1\n")
    found = Inventory.load(tmp_path / "hosts.ini")
    assert found.hosts("web:!web2") == ["web1", "web3"]
    assert found.hosts() == ["web1", "web2", "web3", "db1"]


def test_importing_opsplay_loads_nothing() -> None:
    code = "import sys, opsplay; sys.exit(len([m for m in sys.modules if m.startswith('opsplay.') or m == 'paramiko']))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_type_checkers_know_every_module(tmp_path: Path) -> None:
    good = tmp_path / "good.py"
    good.write_text(
        'from opsplay import connect\n'
        'with connect("root@db1") as host:\n'
        '    if host.copy(dest="/etc/motd", content="x").changed:\n'
        '        host.service(name="cron", state="restarted")\n'
    )
    bad = tmp_path / "bad.py"
    bad.write_text('from opsplay import connect\nconnect("x").file(path="/x", state="drectory")\nconnect("x").nosuch()\n')
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--ignore-missing-imports"]
    done = subprocess.run([*command, "--follow-imports=silent", str(good)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    done = subprocess.run([*command, "--follow-imports=silent", str(bad)], capture_output=True, text=True)
    assert done.stdout.count(": error:") == 2, done.stdout


@pytest.mark.parametrize("module", ["meta", "include_tasks", "add_host"])
def test_what_steers_a_run_is_refused(module: str) -> None:
    arguments = {"meta": {"_raw_params": "end_play"}, "include_tasks": {"file": "x.yml"}, "add_host": {"name": "x"}}
    with connect("localhost") as host, pytest.raises(UsageError, match="steers a run"):
        host.run_module(module, arguments[module])
