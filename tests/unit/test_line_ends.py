"""Line ends at the end of a templated value, as ansible-core keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from opsplay.documents.values import Template
from opsplay.templating.environment import missing
from opsplay.templating.templar import Templar

# Template, value: seen under ansible-core 2.19.
CASES = [
    ("{{ [1, 2] }}\n", [1, 2]),
    ("{{ 5 }}\n", 5),
    ("{{ 'a' }}\n", "a\n"),
    ("a {{ 1 }}\n", "a 1\n"),
    ("a {{ 1 }}\n\n", "a 1\n\n"),
    ("{% if true %}\nyes\n{% endif %}\n", "yes\n"),
    ("a {{ 1 }}", "a 1"),
]


@pytest.mark.parametrize(("source", "value"), CASES)
def test_line_ends(source: str, value: Any) -> None:
    assert Templar(lambda name: missing).render(Template(source)) == value
