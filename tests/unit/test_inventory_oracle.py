"""Every inventory of the oracle as ansible-core reads it: what is in it, in which order, and how it is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from opsplay.cli import cli
from opsplay.inventory.patterns import select
from opsplay.inventory.sources import load
from tests.oracle.inventories import RECORD, Case, cases

ANSWERS: dict[str, Any] = json.loads(RECORD.read_text())["inventories"]


def ask(case: Case, *words: str) -> str:
    done = CliRunner().invoke(cli, ["inventory", *words, *case.arguments], catch_exceptions=False, standalone_mode=False)
    return done.output


@pytest.fixture(params=cases(), ids=lambda case: case.name)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    found: Case = request.param
    monkeypatch.chdir(found.folder)
    return found


def test_the_list(case: Case) -> None:
    assert json.loads(ask(case, "--list")) == ANSWERS[case.name]["list"]


def test_the_order_of_hosts(case: Case) -> None:
    assert select("all", load(case.sources())) == ANSWERS[case.name]["hosts"]


def test_the_tree(case: Case) -> None:
    assert ask(case, "--graph", "--vars").splitlines() == ANSWERS[case.name]["graph"]


def test_every_case_is_recorded() -> None:
    assert {found.name for found in cases()} == set(ANSWERS)
    assert len(ANSWERS) >= 30
