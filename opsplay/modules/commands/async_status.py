"""Ask how a background job stands, or remove its result."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent.spec import Choice, Str
from opsplay.modules.commands._jobs import JobFile

PARAMS = {
    "jid": Str(required=True, help="The job: ansible_job_id of the task that started it"),
    "mode": Choice("status", "cleanup", default="status", help="Whether to ask for the job or to remove its file"),
}
CHECK = "exact"


def no_such_job(job: JobFile) -> Dict[str, Any]:
    return {"failed": True, "msg": "could not find job", "ansible_job_id": job.name, "started": True, "finished": True}


def run(host: Any, params: Any) -> Any:
    if "/" in params.jid or params.jid.startswith("."):
        host.fail("%r cannot be the name of a job" % params.jid)
    job = JobFile(params.jid)
    if params.mode == "cleanup":
        removed = not host.check and job.remove()
        return host.outcome(changed=False, ansible_job_id=job.name, erased=job.path if removed else None)
    state = job.read() or no_such_job(job)
    for name in ("pid", "born"):
        state.pop(name, None)
    state.setdefault("changed", False)
    for name, empty in (("stdout", ""), ("stderr", ""), ("stdout_lines", []), ("stderr_lines", [])):
        state.setdefault(name, empty)
    return dict(state, results_file=job.path)
