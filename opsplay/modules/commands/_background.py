"""Start a module as a job that outlives the agent: what `async` asks for."""

from __future__ import annotations

import os
from typing import Any

from opsplay.agent.loop import Job
from opsplay.agent.outbox import Outbox
from opsplay.modules.commands import _jobs


def run(host: Any, params: Any) -> Any:
    if "_blob" in params["params"]:
        host.fail("async: this module's content is too large to be taken along; copy it first, without async")
    job = _jobs.create()
    pid = os.fork()
    if not pid:
        _detach(host, job, params)
    os.waitpid(pid, 0)
    return host.outcome(changed=True, ansible_job_id=job.name, results_file=job.path, started=True, finished=False)


def _detach(host: Any, job: Any, params: Any) -> None:
    """In the child: become nobody's child, and run the module there. Never returns."""
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        _leave_the_stream(host._agent)
        job.note_start()
        job.finish(_perform(host, params))
    finally:
        os._exit(0)


def _leave_the_stream(agent: Any) -> None:
    """Keep nothing open through which the control side or the login could be held."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in [0, 1, 2] + [fd for fd in (agent.in_fd, agent.out_fd) if fd > 2]:
        os.dup2(nothing, descriptor)
    for lane in agent.lanes.values():
        os.close(lane.in_fd)
        os.close(lane.out_fd)
    agent.lanes.clear()
    agent.outbox = Outbox(nothing, agent.mark, agent.own_lane)


def _perform(host: Any, params: Any) -> Any:
    import signal

    agent = host._agent
    signal.signal(signal.SIGALRM, lambda number, frame: host.interrupt("timed out"))
    signal.setitimer(signal.ITIMER_REAL, params["seconds"])
    options = {"diff": host.want_diff, "keep_undo": False, "window": -2, "on_fail": "continue", "environment": {}}
    return agent.run_item(Job(0, {"module": params["module"], "items": [], "options": options}), params["params"])
