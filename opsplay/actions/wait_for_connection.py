"""Wait until the host can be worked on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from opsplay.actions.base import ActionFailed, Control, Live, Prepared, Steps
from opsplay.agent.spec import Int, Params
from opsplay.errors import BecomeFailed, UnreachableError

PARAMS = {
    "timeout": Int(min=0, default=600, help="How long to wait at most, in seconds"),
    "delay": Int(min=0, default=0, help="How long to wait before the first try, in seconds"),
    "sleep": Int(min=0, default=1, help="The pause between two tries, in seconds"),
    "connect_timeout": Int(min=1, default=5, help="How long one try may take to connect, in seconds"),
}
CHECK = "skipped"
PING = "opsplay.modules.system.ping"


def prepare(control: Control, params: Params) -> Prepared:
    return Steps(lambda live: wait(live, params))


def wait(live: Live, params: Params) -> Mapping[str, Any]:
    if live.check:
        return {"skipped": True}
    started = time.monotonic()
    live.sleep(params.delay)
    live.patience(params.connect_timeout)
    # What is open may be dead without anybody knowing it yet.
    live.disconnect()
    try:
        until(live, params.timeout, params.sleep, lambda: answers(live), "waiting for a connection")
    except ActionFailed as problem:
        raise ActionFailed(problem.message, elapsed=int(time.monotonic() - started)) from problem
    return {"elapsed": int(time.monotonic() - started)}


def answers(live: Live) -> bool:
    return live.call(PING, {"data": "pong"}).get("ping") == "pong"


def until(live: Live, seconds: float, pause: float, works: Callable[[], bool], what: str) -> None:
    """Try until something works, each time over a new connection. Raises ActionFailed when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if works():
                return
            said = ""
        except (UnreachableError, BecomeFailed) as problem:
            said = f": {problem.message}"
        live.disconnect()
        left = deadline - time.monotonic()
        if left <= 0:
            raise ActionFailed(f"timed out {what} (timeout={seconds:g}){said}")
        live.progress(f"{what}, {left:.0f} s left")
        live.sleep(min(pause, left))
