"""One lab of three hosts for the tests of the engine, shared by a worker's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsplay.lab import HostSpec, Lab
from tests.lab.driver import Driver
from tests.lab.quick_lab import QuickLab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """web1 (Debian 12), web2 (Debian 11) and db1 (Debian 13)."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("test") as fleet:
        releases = {"web1": "bookworm", "web2": "bullseye", "db1": "trixie"}
        fleet.up({name: HostSpec(release=release) for name, release in releases.items()})
        yield fleet


@pytest.fixture
def driver(lab: Lab, tmp_path: Path) -> Iterator[Driver]:
    running = Driver(tmp_path, lab)
    yield running
    running.stop()
