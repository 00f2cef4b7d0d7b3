"""Let a running nginx read its files again, if it accepts them: for modules that change what it serves."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Params, Path
from opsplay.modules.web import _nginx

PARAMS = {
    "file": Path(required=True, help="What nginx must have read since it was written"),
    "force": Bool(default=False, help="It has just been written"),
}
CHECK = "exact"
# Clocks are set meanwhile, and start times are counted in ticks.
MARGIN = 2.0


def run(host: Host, params: Params) -> Dict[str, Any]:
    if host.which("nginx") is None:
        if not (host.check and host.shadow.brings_unknown_files):
            host.fail("nginx is not on this host; install the package nginx first, or do not ask for a reload")
        return host.outcome(reloaded=False)
    if not params.force and not is_behind(host, params.file):
        return host.outcome(reloaded=False)
    fault = None if host.check else _nginx.test(host)
    if fault is not None:
        host.fail("nginx was not reloaded, for it would refuse its configuration: %s" % fault)
    return host.outcome(reloaded=_nginx.reload(host))


def is_behind(host: Host, path: str) -> bool:
    """Whether a worker that takes connections is older than the file, so that it cannot have been read."""
    try:
        age = max(0.0, time.time() - os.stat(path).st_mtime)
    except OSError:
        return False
    state = _nginx.status(host)
    if state.get("ActiveState") != "active" or not os.path.exists(path):
        return False
    living = [pid for pid in _nginx.workers(int(state.get("MainPID") or 0)) if _nginx.accepts(pid)]
    return any(_nginx.age(pid) > age + MARGIN for pid in living)
