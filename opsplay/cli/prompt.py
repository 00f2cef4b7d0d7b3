"""Ask the person at the terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

TICK = 0.2


class Prompter:
    """Asks on standard input while nothing else is drawn; `paused` gives the terminal up, `check` may end a wait."""

    def __init__(self, paused: Callable[[], AbstractContextManager[None]], check: Callable[[], None]) -> None:
        self._paused = paused
        self._check = check

    def ask(self, text: str, hidden: bool, seconds: float | None) -> str | None:
        """A line; empty when the time is over first, None when standard input is no terminal."""
        if not sys.stdin.isatty():
            return None
        with self._paused(), hidden_input(hidden):
            sys.stdout.write(text)
            sys.stdout.flush()
            line = self._line(None if seconds is None else time.monotonic() + seconds)
            if hidden or line is None:
                sys.stdout.write("\n")
        return line or ""

    def _line(self, deadline: float | None) -> str | None:
        while deadline is None or time.monotonic() < deadline:
            self._check()
            if select.select([sys.stdin], [], [], TICK)[0]:
                return os.read(sys.stdin.fileno(), 65536).decode("utf-8", "replace").rstrip("\r\n")
        return None


@contextlib.contextmanager
def hidden_input(hidden: bool) -> Iterator[None]:
    """What is typed is not shown."""
    if not hidden:
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
