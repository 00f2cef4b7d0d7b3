"""Lab hosts for the modules' tests: one of each Debian release, shared by the session."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping

import pytest

from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.quick_lab import QuickLab
from tests.lab.remote_module import ship
from tests.modules import DEEP, RELEASES, SOAK, redis_host

# Not a test module by its name; its assertions are to be explained all the same.
pytest.register_assert_rewrite("tests.modules.cases")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tables of cases: each case on one release, in turn."""
    elsewhere = [] if SOAK else [item for item in items if is_for_another(item)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        dropped = set(elsewhere)
        items[:] = [item for item in items if item not in dropped]


def is_for_another(item: pytest.Item) -> bool:
    """Whether it is the turn of another release than the one of this item."""
    indices: Mapping[str, int] = getattr(getattr(item, "callspec", None), "indices", {})
    release = indices.get("debian", indices.get("release"))
    return release is not None and "case" in indices and indices["case"] % len(RELEASES) != release


@pytest.fixture(scope="session")
def modules_lab() -> Iterator[Lab]:
    """The lab of the modules' tests, which hosts are added to when a test asks for them."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("mods") as lab:
        yield lab


@pytest.fixture(scope="session")
def fleet(modules_lab: Lab) -> Mapping[str, LabHost]:
    """One host of each release, by the release's name."""
    hosts = modules_lab.up({f"mods-{release}": HostSpec(release=release) for release in RELEASES})
    return {release: shipped(hosts[f"mods-{release}"]) for release in RELEASES}


@pytest.fixture(scope="session")
def full(modules_lab: Lab) -> Callable[[str], LabHost]:
    """The host of a release with web server, databases, certbot and the rest: booted when it is first asked for."""

    @functools.cache
    def boot(release: str) -> LabHost:
        name = f"full-{release}"
        return shipped(modules_lab.up({name: HostSpec(release=release, image="full")})[name])

    return boot


# test_versions.py is a look at PostgreSQL and Redis on the other releases.
@pytest.fixture(scope="module", params=DEEP)
def pg(full: Callable[[str], LabHost], request: pytest.FixtureRequest) -> LabHost:
    """A host of each release with its PostgreSQL, running: 13, 15 and 17."""
    host: LabHost = full(request.param)
    return with_postgresql(host)


@pytest.fixture(scope="session")
def pg15(full: Callable[[str], LabHost]) -> LabHost:
    """A host with PostgreSQL 15, for what does not depend on the version."""
    return with_postgresql(full("bookworm"))


def with_postgresql(host: LabHost) -> LabHost:
    host.run(
        "for c in $(pg_lsclusters -h | awk '{print $1\"-\"$2}'); do systemctl start postgresql@$c; done", timeout=60
    )
    return host


@pytest.fixture(params=DEEP)
def redis(full: Callable[[str], LabHost], request: pytest.FixtureRequest) -> Iterator[LabHost]:
    """A host of each release with its Redis, empty; its files and settings are as they were afterwards."""
    yield from redis_host.fresh(full(request.param))


@pytest.fixture
def redis7(full: Callable[[str], LabHost]) -> Iterator[LabHost]:
    """The one for what does not depend on the version."""
    yield from redis_host.fresh(full("bookworm"))


def shipped(host: LabHost) -> LabHost:
    ship(host)
    return host


@pytest.fixture(params=RELEASES)
def debian(fleet: Mapping[str, LabHost], request: pytest.FixtureRequest) -> LabHost:
    """Each release in turn."""
    return fleet[request.param]


@pytest.fixture
def bookworm(fleet: Mapping[str, LabHost]) -> LabHost:
    """The one release that a test is enough on."""
    return fleet["bookworm"]
