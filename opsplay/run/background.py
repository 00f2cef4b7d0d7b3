"""`async`: start a task that outlives its connection, and ask for it until it is done or its time is over."""

from __future__ import annotations

import time
from typing import Any

from opsplay.actions.base import Remote
from opsplay.errors import UnreachableError
from opsplay.run.live import LiveHost

# Asking costs one frame, so a quick job is not kept waiting for a slow poll: seconds before the first question.
FIRST_POLL = 0.2

START, STATUS = "opsplay.modules.commands._background", "opsplay.modules.commands.async_status"


def run_in_background(live: LiveHost, prepared: Remote, seconds: float, poll: float) -> dict[str, Any]:
    """Start the module as a job; with `poll` wait for its end, over lost connections.

    Raises UnreachableError's kinds when the job cannot be started.
    """
    job = {"module": prepared.module, "params": dict(prepared.params), "seconds": seconds}
    started = live.call(START, job, also=(prepared.module,), timeout=0)
    if started.get("failed") or not poll:
        return started
    return _wait(live, str(started["ansible_job_id"]), time.monotonic() + seconds, poll)


def _wait(live: LiveHost, job: str, deadline: float, poll: float) -> dict[str, Any]:
    pause = min(FIRST_POLL, poll)
    while True:
        live.sleep(pause)
        pause = min(pause * 2, poll)
        found = _ask(live, job)
        if found is not None and found.get("finished"):
            live.call(STATUS, {"jid": job, "mode": "cleanup"})
            return found
        if time.monotonic() > deadline:
            message = "async task did not complete within the requested time"
            state = {"ansible_job_id": job, "async_result": found or {}, "started": True, "finished": False}
            return {"failed": True, "changed": False, "msg": message, **state}
        live.progress(f"job {job} is running")


def _ask(live: LiveHost, job: str) -> dict[str, Any] | None:
    """How a job stands; None while the host cannot be asked, for the job itself may have cut the connection."""
    try:
        return live.call(STATUS, {"jid": job, "mode": "status"})
    except UnreachableError:
        live.disconnect()
        return None
