"""Changes that may cut access: done on the host, proven by a new connection, taken back when that does not come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from opsplay.actions.base import ActionFailed, Live, Prepared, Steps
from opsplay.agent.spec import Params
from opsplay.errors import BecomeFailed, UnreachableError
from opsplay.modules.firewall import _way_back

# Pause (s) between two tries of a new connection: what limits connections shall not take them for an attack.
PAUSE = 3.0
# How much longer (s) than its time a way back may take until the host answers again.
GRACE = 30.0

Lost = (UnreachableError, BecomeFailed)


def guarded(module: str, params: Params, ports: Callable[[Mapping[str, Any]], int | None] | None = None) -> Prepared:
    """Run a shipped module whose result may hold `way_back`: what was armed, and for how long.

    `ports` finds in the result at which port the host is reached from now on, None where that stays.
    """
    return Steps(lambda live: change(live, module, params, ports))


def change(
    live: Live, module: str, params: Params, ports: Callable[[Mapping[str, Any]], int | None] | None = None
) -> Mapping[str, Any]:
    """Do it and prove it. Raises ActionFailed when access was lost, after all was put back."""
    result = live.call(module, params)
    armed = result.pop("way_back", None)
    if armed is None or result.get("failed"):
        return result
    port = ports(result) if ports is not None else None
    name, deadline = str(armed["name"]), time.monotonic() + float(armed["seconds"])
    problem = prove(live, port, time.monotonic() + float(armed["seconds"]) / 2)
    if problem is None and confirm(live, name):
        if port is not None:
            live.use_port(port)
        return {**result, "proven": True}
    raise went_back(live, name, deadline, problem, result)


def prove(live: Live, port: int | None, until: float) -> Exception | None:
    """Connect anew until it works or the time is over; the last problem, None when it works."""
    while True:
        try:
            live.connect_anew(port, max(1.0, until - time.monotonic()))
            return None
        except Lost as problem:
            if time.monotonic() + PAUSE > until:
                return problem
        live.progress("waiting for a new connection to work")
        live.sleep(PAUSE)


def confirm(live: Live, name: str) -> bool:
    """Remove the way back; False when it has been taken meanwhile."""
    try:
        return bool(live.call(_way_back.__name__, {"name": name, "state": "proven"}).get("proven"))
    except Lost:
        live.disconnect()
        return bool(live.call(_way_back.__name__, {"name": name, "state": "proven"}).get("proven"))


def went_back(
    live: Live, name: str, deadline: float, problem: Exception | None, result: Mapping[str, Any]
) -> ActionFailed:
    """Have all put back, over the connection that is still open, else by the host's own clock; what to tell."""
    restored = False
    try:
        restored = bool(live.call(_way_back.__name__, {"name": name, "state": "taken"}).get("restored"))
    except Lost:
        live.disconnect()
        live.progress("waiting for the host to put back what cut the access")
        restored = wait_for_host(live, name, deadline + GRACE)
    told = {**result, "changed": False, "proven": False, "restored": restored}
    reason = f"a new connection failed: {problem}" if problem is not None else "the proof came too late"
    outcome = "what it replaced is back" if restored else "the host could not be asked whether what it replaced is back"
    return ActionFailed(f"this change would have cut the access to the host: {reason}; {outcome}", **told)


def wait_for_host(live: Live, name: str, until: float) -> bool:
    """Whether the host answers in time and says that it went back."""
    while time.monotonic() < until:
        live.sleep(PAUSE)
        try:
            if live.call(_way_back.__name__, {"name": name, "state": "looked"}).get("restored"):
                return True
        except Lost:
            live.disconnect()
    return False
