"""What holds for all tests."""

from __future__ import annotations

import os
import signal

import pytest

from tests.lab import quick_lab

# A shell ignores Ctrl-C for what it starts in the background, and programs inherit that: those that the tests start and
# interrupt must not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Once, not in each worker."""
    if os.geteuid() == 0 and not hasattr(session.config, "workerinput"):
        quick_lab.sweep()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: one worker is busy with it while the others do all the rest."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/oracle/"))
