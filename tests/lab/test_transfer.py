"""What travels from the control side and back through the web, on real hosts: previewed, done, done again."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.lab.driver import Driver, agents, leftovers

HOSTS = ("web1", "web2", "db1")
PLAYBOOK = r"""
- hosts: all
  gather_facts: false
  vars: {top: /srv/transfer}
  tasks:
    - {name: folders, file: {path: "{{ top }}/{{ item }}", state: directory}, loop: [conf, out, back]}
    - {name: fragments, copy: {content: "{{ item }}\n", dest: "{{ top }}/conf/{{ item }}"}, loop: [one, two]}
    - {name: assemble here, assemble: {src: "{{ top }}/conf", dest: "{{ top }}/out/joined", delimiter: "#"}}
    - {name: assemble ours, assemble: {src: parts, dest: "{{ top }}/out/ours", remote_src: false, mode: "0640"}}
    - {name: option, community.general.ini_file: {path: "{{ top }}/out/i.ini", section: s, option: a, value: 1}}
    - {name: unpack, unarchive: {src: app.tgz, dest: "{{ top }}/out", owner: daemon, list_files: true}}
    - {name: pack, archive: {path: "{{ top }}/conf", dest: "{{ top }}/out/conf.tar.xz", format: xz}}
    - {name: unpack again, unarchive: {src: "{{ top }}/out/conf.tar.xz", dest: "{{ top }}/back", remote_src: true}}
    - name: serve
      shell: "cd {{ top }}; setsid python3 -m http.server 8123 --bind 127.0.0.1 >/dev/null 2>&1 & echo $! > /run/web"
    - {name: wait, wait_for: {port: 8123, timeout: 20}}
    - {name: fetch, get_url: {url: "http://127.0.0.1:8123/conf/one", dest: "{{ top }}/out/", mode: "0600"}}
    - {name: ask, uri: {url: "http://127.0.0.1:8123/conf/two", return_content: true}}
    - {name: run, script: greet.sh "a b" $((1 + 1))}
    - {name: read, slurp: {src: "{{ top }}/out/joined"}}
    - {name: find, find: {paths: "{{ top }}/back", recurse: true}}
    - {name: stop, shell: "kill $(cat /run/web)"}
    - {name: gone, wait_for: {port: 8123, state: stopped, timeout: 20}}
"""
REPEATED = {"serve", "run", "stop"}


def write_files(folder: Path) -> None:
    """What the playbook takes from the control side."""
    parts = folder / "files/parts"
    parts.mkdir(parents=True)
    (parts / "1").write_text("alpha")
    (parts / "2").write_text("beta\n")
    (folder / "files/greet.sh").write_text('#!/bin/sh\necho "$1, $2"\n')
    (folder / "large").write_bytes(bytes(range(256)) * (16 << 10))
    with tarfile.open(folder / "files/app.tgz", "w:gz") as archive:
        archive.add(folder / "large", "app/large")


def test_transfer(driver: Driver) -> None:
    write_files(driver.directory)
    preview = driver.run(PLAYBOOK, "--check")
    assert preview.code == 0, preview.out + preview.err
    for name in HOSTS:
        assert not (driver.lab.hosts[name].root / "srv/transfer").exists()
    first = driver.run(PLAYBOOK)
    assert first.code == 0, first.out + first.err
    foretold = {task for _, task in preview.changed()} | REPEATED
    assert foretold == {task for _, task in first.changed()}
    again = driver.run(PLAYBOOK)
    assert {task for _, task in again.changed()} == REPEATED
    for name in HOSTS:
        check_host(driver, name, first.results(name))


def check_host(driver: Driver, name: str, results: dict[str, dict[str, object]]) -> None:
    """What has come of it on one host."""
    host = driver.lab.hosts[name]
    top = host.root / "srv/transfer"
    assert (top / "out/joined").read_text() == "one\n#\ntwo\n"
    assert (top / "out/ours").read_text() == "alpha\nbeta\n"
    assert (top / "out/i.ini").read_text() == "[s]\na = 1\n"
    assert (top / "out/app/large").stat().st_uid == 1 and (top / "out/app/large").stat().st_size == 4 << 20
    assert (top / "back/conf/one").read_text() == (top / "out/one").read_text() == "one\n"
    data = {task: result["data"] for task, result in results.items()}
    assert data["ask"]["content"] == "two\n" and data["run"]["stdout"] == "a b, 2\n"  # type: ignore[index]
    assert data["find"]["matched"] == 2 and data["unpack"]["files"] == ["app/large"]  # type: ignore[index]
    assert leftovers(host) == [] and agents(host) == []
