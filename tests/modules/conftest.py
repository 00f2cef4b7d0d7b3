"""Lab hosts for the modules' tests: one of each Debian release, shared by the session."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import pytest

from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.remote_module import ship

# Not a test module by its name; its assertions are to be explained all the same.
pytest.register_assert_rewrite("tests.modules.cases")

RELEASES = ("bullseye", "bookworm", "trixie")


@pytest.fixture(scope="session")
def fleet() -> Iterator[Mapping[str, LabHost]]:
    """One host of each release, by the release's name."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with Lab(f"mods-{os.getpid()}") as lab:
        hosts = lab.up({f"mods-{release}": HostSpec(release=release) for release in RELEASES})
        for host in hosts.values():
            ship(host)
        yield {host.release: host for host in hosts.values()}


@pytest.fixture(params=RELEASES)
def debian(fleet: Mapping[str, LabHost], request: pytest.FixtureRequest) -> LabHost:
    """Each release in turn."""
    return fleet[request.param]


@pytest.fixture
def bookworm(fleet: Mapping[str, LabHost]) -> LabHost:
    """The one release that a test is enough on."""
    return fleet["bookworm"]
