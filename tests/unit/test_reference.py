"""What is written down of the modules is what they declare."""

from __future__ import annotations

import ast

import pytest

from opsplay import reference

FILES = reference.files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_pages_and_stubs_are_up_to_date(path: reference.Path) -> None:
    assert path.read_text() == FILES[path], "run python -m opsplay.reference"


def test_no_page_is_left_of_a_module_that_is_no_more() -> None:
    assert set(reference.PAGES.glob("*.md")) == {path for path in FILES if path.suffix == ".md"}


def test_the_stub_is_python() -> None:
    ast.parse(reference.stub())
