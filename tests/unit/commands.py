"""Run opsplay's own command in a folder, as a user with a home of his own does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOREIGN = ("ANSIBLE_", "OPSPLAY_", "XDG_")


def opsplay(folder: Path, *words: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """What a command did; `text` is its standard input."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return subprocess.run(
        [sys.executable, "-m", "opsplay", *words],
        cwd=folder, env={**kept, "HOME": str(home), **environment}, input=text, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def succeed(folder: Path, *words: str, text: str = "", **environment: str) -> str:
    """What a command printed. Fails when the command does."""
    done = opsplay(folder, *words, text=text, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
