"""What holds for all tests."""

from __future__ import annotations

import signal

import pytest

# A shell ignores Ctrl-C for what it starts in the background, and programs inherit that: those that the tests start and
# interrupt must not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: one worker is busy with it while the others do all the rest."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/oracle/"))
