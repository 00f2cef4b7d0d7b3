"""Which definition of a variable wins, through the user's door, against what ansible-core gave for the same playbook."""

from __future__ import annotations

import json
import sys

import pytest

from tests.oracle.precedence import LEVELS, PAIRS, RECORD, winners

EXPECTED = json.loads(RECORD.read_text())["winners"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return winners([sys.executable, "-m", "opsplay", "run"], tmp_path_factory.mktemp("precedence"))


@pytest.mark.parametrize("level", LEVELS[1:])
def test_as_ansible_does(level: str, found: dict[str, str]) -> None:
    pairs = [" | ".join(pair) for pair in PAIRS if pair[1] == level]
    assert {pair: found[pair] for pair in pairs} == {pair: EXPECTED[pair] for pair in pairs}


def test_the_stronger_level_wins() -> None:
    """As Ansible documents it; the record says where it does otherwise."""
    assert {pair: winner for pair, winner in EXPECTED.items() if not pair.endswith(winner)} == {}


def test_the_record_is_whole() -> None:
    assert len(EXPECTED) == len(PAIRS) == 210
