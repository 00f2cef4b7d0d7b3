"""Where records lie: a folder for each run under the user's state directory."""

from __future__ import annotations

import os
from pathlib import Path


def state_directory() -> Path:
    """$XDG_STATE_HOME/opsplay, ~/.local/state/opsplay when that is not set."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "opsplay"


def run_directory(run_id: str) -> Path:
    """The folder of one run, made readable for its user alone. Raises OSError."""
    folder = state_directory() / "runs" / run_id
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
