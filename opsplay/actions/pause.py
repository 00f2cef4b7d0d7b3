"""Wait for a time, or until a person presses return."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opsplay.actions.base import ActionFailed, Control, Live, Prepared, Steps
from opsplay.agent.spec import Bool, Float, Params, Str

PARAMS = {
    "seconds": Float(help="How long to wait, in seconds"),
    "minutes": Float(help="How long to wait, in minutes"),
    "prompt": Str(help="What to show; without a time, a person must answer"),
    "echo": Bool(default=True, help="Whether what is typed is shown"),
}
CHECK = "exact"
EXCLUSIVE = (("seconds", "minutes"),)
# One host of the batch does it for all, as in Ansible.
ONCE = True
TICK = 1.0


def prepare(control: Control, params: Params) -> Prepared:
    if params.seconds is not None and params.minutes is not None:
        raise ActionFailed("seconds and minutes cannot both be given")
    return Steps(lambda live: wait(live, params))


def wait(live: Live, params: Params) -> Mapping[str, Any]:
    seconds = params.seconds if params.minutes is None else 60 * params.minutes
    begun, start = time.time(), time.monotonic()
    typed = _answer(live, params, seconds) if params.prompt or seconds is None else None
    if typed is None and seconds is not None:
        _sleep(live, seconds)
    took = time.monotonic() - start
    stamps = {"start": stamp(begun), "stop": stamp(time.time()), "delta": int(took)}
    unit, divisor = ("minutes", 60) if params.minutes is not None else ("seconds", 1)
    said = f"Paused for {round(took / divisor, 2)} {unit}"
    return {"changed": False, "stdout": said, "stderr": "", "rc": 0, "user_input": typed or "", "echo": params.echo,
            **stamps}  # fmt: skip


def _answer(live: Live, params: Params, seconds: float | None) -> str | None:
    """What a person typed; None when nobody is there and the pause has a time."""
    text = params.prompt or "Press enter to continue, Ctrl-C to interrupt"
    return live.ask(f"{text}: ", not params.echo, seconds)


def _sleep(live: Live, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        live.progress(f"pausing, {left:.0f} s left")
        live.sleep(min(TICK, left))


def stamp(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) + f".{int(moment % 1 * 1e6):06d}"
