"""Run the demo site under ansible-core and under opsplay on fresh hosts, and compare what they left.

    bin/oracle

ansible-core lives in a virtual environment of its own and is run as a program.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from opsplay.lab import HostSpec, Lab
from tests.lab.quick_lab import QuickLab
from tests.oracle.state import differences, snapshot

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "playbooks" / "site.yml"
RELEASES = {"web1": "bookworm", "web2": "bullseye", "db1": "trixie"}
OPSPLAY = [sys.executable, "-m", "opsplay", "run"]


def converge(tool: list[str], lab: Lab, directory: Path) -> str:
    """Run the site with a tool and return what it printed. Raises CalledProcessError."""
    inventory = directory / "hosts.yml"
    lab.write_inventory(inventory)
    environment = {**os.environ, "HOME": str(directory), "PYTHONPATH": str(ROOT), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [*tool, "-i", str(inventory), str(SITE)], env=environment, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        done.check_returncode()
    return done.stdout


def states(tool: list[str], name: str) -> dict[str, dict[str, str]]:
    """Every host's state after a tool's two runs; the second may change nothing."""
    with tempfile.TemporaryDirectory() as folder, QuickLab(f"oracle-{name}") as lab:
        hosts = lab.up({host: HostSpec(release=release) for host, release in RELEASES.items()})
        for host in hosts.values():
            # A young image's empty lists count as valid for ansible-core, which then finds no package.
            host.run(["apt-get", "update", "-qq"], timeout=120)
        converge(tool, lab, Path(folder))
        second = converge(tool, lab, Path(folder))
        recap = [line for line in second.splitlines() if " : ok=" in line]
        assert recap and all("changed=0 " in line for line in recap), second
        return {name: snapshot(host, {}) for name, host in lab.hosts.items()}


def main(ansible: str) -> int:
    """Compare and print; the exit code is 1 when something differs."""
    theirs = states([ansible], "ansible")
    ours = states(OPSPLAY, "opsplay")
    code = 0
    for host in RELEASES:
        found = differences(theirs[host], ours[host])
        print(f"{host}: {len(theirs[host])} things compared, {len(found)} differ")
        for line in found:
            code = 1
            print(f"  {line}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
