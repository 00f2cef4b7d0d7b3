"""Measure a recovery against its budget, phase by phase, in a file that outlives the run.

`state: started` begins the clock, or goes on with the one that an interrupted run has left: a recovery that is run
again is one recovery. `phase` ends the phase before it and begins its own. `finished` ends the last phase, and fails
when the whole took longer than its budget. Everything is on the control side; nothing is sent to a host.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from opsplay.actions._durations import seconds_of, shown
from opsplay.actions.base import ActionFailed, Answer, Control, Prepared
from opsplay.agent.spec import Choice, Name, Params, Str
from opsplay.agent.spec import Path as PathParam

PARAMS = {
    "name": Name(required=True, help="The recovery's name; its file is named after it"),
    "state": Choice("started", "phase", "finished", "query", default="phase", help="What happens to the clock"),
    "phase": Str(help="The phase that begins (state: phase)"),
    "budget": Str(help="How long the phase (or the whole, with state: started) may take, such as 30m or 4h"),
    "began": Str(help="When the outage began (ISO 8601 with zone), if that was before this run (state: started)"),
    "folder": PathParam(default="recovery", help="Where the file is kept, beside the playbook"),
    "overrun": Choice("fail", "warn", default="fail", help="What happens when the whole is over its budget at its end"),
}
CHECK = "exact"
# One host of the batch does it for all.
ONCE = True


def prepare(control: Control, params: Params) -> Prepared:
    base = Path(os.path.dirname(os.path.abspath(control.at.file)), os.path.expanduser(params.folder))
    path = base / f"{params.name}.json"
    now = time.time()
    try:
        budget = None if params.budget is None else seconds_of(params.budget)
        clock = read(path)
        before = json.dumps(clock)
        if control.check and (clock is None or clock["ended"]) and params.state != "started":
            # An earlier task of the preview would have started it.
            clock = fresh(params.name, now, None)
        clock = STATES[params.state](clock, params, budget, now)
        changed = json.dumps(clock) != before
        if changed and not control.check:
            write(path, clock)
    except (OSError, ValueError) as problem:
        raise ActionFailed(f"the clock {path}: {problem}", path=str(path)) from problem
    result = {"changed": changed, "path": str(path), **described(clock, now)}
    if params.state == "finished" and result["over"]:
        text = f"{params.name} took {shown(result['seconds'])}; its budget is {shown(clock['budget'])}"
        if params.overrun == "fail":
            raise ActionFailed(text, **result)
        result["warnings"] = [text]
    return Answer(result)


def started(clock: dict[str, Any] | None, params: Params, budget: float | None, now: float) -> dict[str, Any]:
    """A new clock, or the one of a run that was interrupted."""
    if clock is not None and not clock["ended"]:
        return clock
    began = now if params.began is None else moment_of(params.began)
    if began > now:
        raise ValueError(f"began lies in the future: {params.began}")
    return fresh(params.name, began, budget)


def fresh(name: str, began: float, budget: float | None) -> dict[str, Any]:
    return {"name": name, "began": began, "ended": None, "budget": budget, "phases": []}


def phase(clock: dict[str, Any] | None, params: Params, budget: float | None, now: float) -> dict[str, Any]:
    """The clock in its next phase; a phase that is named again goes on."""
    running = going(clock)
    if not params.phase:
        raise ValueError("give the phase that begins")
    phases = running["phases"]
    if phases and phases[-1]["name"] == params.phase and not phases[-1]["ended"]:
        return running
    closed = [{**one, "ended": one["ended"] or now} for one in phases]
    new = {"name": params.phase, "began": now, "ended": None, "budget": budget}
    return {**running, "phases": [*closed, new]}


def finished(clock: dict[str, Any] | None, params: Params, budget: float | None, now: float) -> dict[str, Any]:
    """The clock at rest."""
    if clock is not None and clock["ended"]:
        return clock
    running = going(clock)
    return {**running, "ended": now, "phases": [{**one, "ended": one["ended"] or now} for one in running["phases"]]}


def query(clock: dict[str, Any] | None, params: Params, budget: float | None, now: float) -> dict[str, Any]:
    """The clock as it is."""
    if clock is None:
        raise ValueError("it was never started")
    return clock


STATES = {"started": started, "phase": phase, "finished": finished, "query": query}


def going(clock: dict[str, Any] | None) -> dict[str, Any]:
    """The running clock. Raises ValueError when there is none."""
    if clock is None or clock["ended"]:
        raise ValueError("it does not run; begin it with state: started")
    return clock


def described(clock: Mapping[str, Any], now: float) -> dict[str, Any]:
    """What the task returns: all times in seconds, and which went over their budgets."""
    phases = [{"name": one["name"], **measured(one, now)} for one in clock["phases"]]
    ended = iso(clock["ended"]) if clock["ended"] else None
    began = {"began": iso(clock["began"]), "began_at": round(clock["began"], 1)}
    whole = {"name": clock["name"], **began, "ended": ended, **measured(clock, now)}
    return {**whole, "phases": phases}


def measured(part: Mapping[str, Any], now: float) -> dict[str, Any]:
    """How long a phase or the whole has taken, in seconds and for people, and whether that is over its budget."""
    seconds, budget = (part["ended"] or now) - part["began"], part["budget"]
    over = budget is not None and seconds > budget
    return {"seconds": round(seconds, 1), "shown": shown(seconds), "budget": budget, "over": over}


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def moment_of(text: str) -> float:
    """Seconds since 1970 of a time with its zone. Raises ValueError."""
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if found.tzinfo is None:
        raise ValueError(f"{text} has no zone; add one, such as +00:00")
    return found.timestamp()


def read(path: Path) -> dict[str, Any] | None:
    """The clock's file, None when there is none. Raises OSError, ValueError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if not isinstance(found, dict) or "phases" not in found:
        raise ValueError("it holds no clock")
    return found


def write(path: Path, clock: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(clock, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)
