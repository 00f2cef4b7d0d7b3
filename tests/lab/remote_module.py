"""Run one shipped module inside a lab host with the host's own Python: the modules' tests need no engine for it.

Parameters go in and the result comes out as JSON. Calls in sequence share one Host, as the tasks of a run do, so
that what a preview pretends is seen by the next call.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opsplay.lab import LabHost
from opsplay.session.strip import strip

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "/opt/opsplay-modules"

# The agent's part: what the loop does with a call, without its stream.
_DRIVER = '''
import json, os, signal, sys, time
sys.path.insert(0, "%(folder)s")
from opsplay.agent.host import Cancelled, Host, ModuleFailed
from opsplay.agent.loop import crash_report, run_module
from opsplay.agent.spec import validate

class Agent:
    def __init__(self):
        self.said = []
    def flush(self):
        pass

    def send(self, kind, number, payload):
        self.said.append(json.loads(payload.decode()))

agent = Agent()
host = Host(agent)
results = []
signal.signal(signal.SIGALRM, lambda number, frame: host.interrupt("cancelled"))
for number, call in enumerate(json.load(sys.stdin)):
    del agent.said[:]
    host.begin(number, {"check": call["check"], "diff": call["diff"], "keep_undo": True})
    started = time.monotonic()
    name = "opsplay.modules." + call["module"]
    try:
        signal.setitimer(signal.ITIMER_REAL, call["interrupt_after"])
        __import__(name)
        result = run_module(host, name, validate(sys.modules[name].PARAMS, call["params"]))
    except ModuleFailed as problem:
        result = problem.result
    except Cancelled as problem:
        result = {"failed": True, "msg": str(problem), "cancelled": True}
    except Exception as problem:
        result = crash_report(name, problem)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        host.clean_up()
    result = host.finish(result)
    result["_seconds"] = time.monotonic() - started
    result["_progress"] = [said["text"] for said in agent.said]
    results.append(result)
json.dump(results, sys.stdout)
'''


class Call:
    """A module with its parameters, really run or only previewed; interrupted after some seconds unless 0."""

    def __init__(
        self,
        module: str,
        params: Mapping[str, Any],
        check: bool = False,
        diff: bool = True,
        interrupt_after: float = 0,
    ) -> None:
        self.module = module
        self.params = dict(params)
        self.check = check
        self.diff = diff
        self.interrupt_after = interrupt_after


def ship(host: LabHost) -> None:
    """Copy the agent and the modules of this checkout into a host, stripped as they travel."""
    target = host.root / FOLDER.lstrip("/")
    for area in ("agent", "modules"):
        shutil.copytree(
            ROOT / "opsplay" / area, target / "opsplay" / area, copy_function=copy_stripped,
            ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True,
        )  # fmt: skip
    (target / "opsplay/__init__.py").write_text("")


def copy_stripped(source: str, target: str) -> None:
    Path(target).write_text(strip(Path(source).read_text()))


def run_calls(host: LabHost, calls: Sequence[Call], timeout: float = 240) -> list[dict[str, Any]]:
    """Run calls one after the other in one process of the host; their results."""
    done = host.run(command(), stdin=request(calls), timeout=timeout)
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def command() -> list[str]:
    """What runs calls in a host, for tests that watch it from beside; it reads a `request`."""
    return ["python3", "-I", "-S", "-c", _DRIVER % {"folder": FOLDER}]


def request(calls: Sequence[Call]) -> str:
    return json.dumps([vars(call) for call in calls])


def run_module(host: LabHost, module: str, params: Mapping[str, Any], check: bool = False) -> dict[str, Any]:
    """Run one module once."""
    return run_calls(host, [Call(module, params, check)])[0]
