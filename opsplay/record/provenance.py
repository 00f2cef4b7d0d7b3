"""Which state of the playbooks a run was made with."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

# Seconds that git may take; a run does not wait longer for it.
PATIENCE = 2.0


@dataclass(frozen=True)
class Revision:
    """The commit that was checked out, and whether files differed from it."""

    commit: str | None = None
    dirty: bool = False


class RevisionOf:
    """Asks git beside the run's own start, so that nobody waits for it."""

    def __init__(self, playbook: str) -> None:
        folder = str(Path(playbook).resolve().parent)
        command = ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        try:
            self._process: subprocess.Popen[str] | None = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            self._process = None

    def wait(self) -> Revision:
        """What git said; nothing outside of a repository, or when it takes too long."""
        if self._process is None:
            return Revision()
        try:
            said = self._process.communicate(timeout=PATIENCE)[0].strip()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            return Revision()
        commit = said.removesuffix("-dirty")
        return Revision(commit or None, said.endswith("-dirty"))
