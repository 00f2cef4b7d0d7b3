"""A role's password through a whole run: what reaches the host of it is a verifier."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.driver import Driver
from tests.lab.quick_lab import QuickLab

pytestmark = pytest.mark.lab

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: the role, pg_user: {name: app, password: "{{ secret }}"}}
"""
SECRET = "never-on-a-host-4711"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("role") as lab:
        lab.up({"db1": HostSpec(image="full")})
        yield lab


def stored(host: LabHost) -> str:
    ask = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'"
    return host.run(["runuser", "-u", "postgres", "--", "psql", "-XAtc", ask]).stdout.strip()


def test_only_a_verifier_is_sent(lab: Lab, tmp_path: Path) -> None:
    host, driver = lab.hosts["db1"], Driver(tmp_path, lab)
    host.run("systemctl start postgresql@15-main", timeout=60)
    preview = driver.run(PLAYBOOK, "--check", "-e", f"secret={SECRET}")
    assert preview.code == 0 and preview.recap("db1")["changed"] == 1 and stored(host) == "", preview.out + preview.err
    first = driver.run(PLAYBOOK, "-e", f"secret={SECRET}")
    assert first.code == 0 and first.recap("db1")["changed"] == 1, first.out + first.err
    verifier = stored(host)
    assert verifier.startswith("SCRAM-SHA-256$4096:")
    again = driver.run(PLAYBOOK, "-e", f"secret={SECRET}")
    assert again.recap("db1")["changed"] == 0 and stored(host) == verifier
    other = driver.run(PLAYBOOK, "-e", "secret=another")
    assert other.recap("db1")["changed"] == 1 and stored(host) != verifier
    assert SECRET not in str(first.events) and verifier not in str(first.events)
