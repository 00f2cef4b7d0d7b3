"""What the README shows of the library runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from opsplay.lab import Lab
from tests.lab.driver import ROOT, Driver

pytestmark = pytest.mark.lab


def test_the_example_of_the_library(driver: Driver, lab: Lab) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    home = driver.directory / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/config").write_text(
        f"Host db1\n  HostName {lab.hosts['db1'].address}\n  IdentityFile {lab.private_key}\n"
        f"  UserKnownHostsFile {lab.known_hosts}\n"
    )
    (driver.directory / "hosts.ini").write_text("db1 ansible_user=root\n")
    (driver.directory / "site.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  tasks: [{file: {path: /root/readme, state: directory}}]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=driver.directory, env=driver.environment(), capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "up " in done.stdout and done.stdout.endswith("True 1\n")
    assert lab.hosts["db1"].run(["cat", "/etc/motd"]).stdout == "ready\n"
    assert lab.hosts["db1"].run(["test", "-e", "/root/readme"], check=False).returncode != 0
