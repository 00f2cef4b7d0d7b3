"""Answer: the host is reached and runs modules."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Params, Str

PARAMS = {
    "data": Str(default="pong", help='What is returned as "ping"; the word crash raises an exception'),
}
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.data == "crash":
        raise Exception("boom")
    return host.outcome(ping=params.data)
