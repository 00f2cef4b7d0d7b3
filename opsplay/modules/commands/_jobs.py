"""Background jobs: a file each in the user's home, with the process that works on it and, at the end, its result."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

FOLDER = "~/.opsplay/async"
# Results that nobody asked for are removed after this many seconds.
KEPT = 7 * 24 * 3600


class JobFile:
    """One job by its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = os.path.join(os.path.expanduser(FOLDER), name)

    def note_start(self) -> None:
        self._write({"started": True, "finished": False, "pid": os.getpid(), "born": born(os.getpid())})

    def finish(self, result: Dict[str, Any]) -> None:
        self._write(dict(result, started=True, finished=True))

    def _write(self, state: Dict[str, Any]) -> None:
        import json

        beside = "%s.new" % self.path
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(dict(state, ansible_job_id=self.name), file)
        os.rename(beside, self.path)

    def read(self) -> Optional[Dict[str, Any]]:
        """What is known of the job; None when there is no such job."""
        import json

        try:
            with open(self.path) as file:
                state = json.load(file)  # type: Dict[str, Any]
        except (OSError, ValueError):
            return None
        if not state["finished"] and state.get("pid") and born(state["pid"]) != state["born"]:
            lost = "the job's process ended without a result"
            return {"failed": True, "msg": lost, "started": True, "finished": True, "ansible_job_id": self.name}
        return state

    def remove(self) -> bool:
        """Returns whether the job's file was there."""
        try:
            os.unlink(self.path)
        except OSError:
            return False
        return True


def create() -> JobFile:
    """A new job; results that are older than a week go."""
    import time
    from binascii import b2a_hex

    folder = os.path.expanduser(FOLDER)
    os.makedirs(folder, 0o700, exist_ok=True)
    os.chmod(folder, 0o700)
    limit = time.time() - KEPT
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.lstat(path).st_mtime < limit:
            os.unlink(path)
    job = JobFile("j%s.%d" % (b2a_hex(os.urandom(8)).decode(), os.getpid()))
    job._write({"started": True, "finished": False})
    return job


def born(pid: int) -> str:
    """When a process began, in ticks since the start of the system; empty when there is none."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
