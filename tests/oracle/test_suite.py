"""Every case under opsplay against what ansible-core gave; each day another tenth is run under ansible-core as well."""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.quick_lab import QuickLab
from tests.oracle.results import Results, differences
from tests.oracle.suite import Bench, Case, cases

pytestmark = pytest.mark.lab

# A case counts once bin/oracle has written down what ansible-core gives.
ALL = [case for case in cases() if case.record.exists()]
TENTH = datetime.date.today().toordinal() % 10


def program() -> str | None:
    """ansible-core's own program, where `bin/test` has installed it."""
    beside = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opsplay/oracle/bin/ansible-playbook"
    return os.environ.get("OPSPLAY_ORACLE") or (str(beside) if beside.exists() else shutil.which("ansible-playbook"))


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("oracle") as lab:
        yield Bench.up(lab)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_as_ansible_does(case: Case, bench: Bench) -> None:
    found = differences(Results.load(case.record), bench.run(case))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("case", ALL[TENTH::10], ids=lambda case: case.name)
def test_the_record_is_what_ansible_does_today(case: Case, bench: Bench) -> None:
    ansible = program()
    assert ansible, "ansible-core is missing: bin/test installs it"
    found = differences(Results.load(case.record), bench.run(case, ansible))
    assert not found, "\n".join(found)
