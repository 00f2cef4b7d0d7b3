"""Run a suite of health checks, each with a name and a severity, and fail when one of them is bad enough.

A check is a name and one kind with its parameters:

    - {name: API answers, http: {url: "http://127.0.0.1:8000/health", json: {status: healthy}}}
    - {name: database, postgres: {db: app, login_host: 127.0.0.1, login_user: app, login_password: "{{ secret }}"}}
    - {name: rows arrive, sql: {db: app, query: "SELECT count(*) > 0 FROM reports WHERE …", expect: true}}
    - {name: worker, unit: {name: [app-worker]}, severity: warning, tags: [quick]}
    - {name: disk, disk: {path: /var, warn: 85, critical: 95}}

All checks run, whatever those before them found; `soak` repeats the suite for a time and wants every round good.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.spec import Choice, Float, Params, Raw, Str
from opsplay.agent.spec import List as Listing
from opsplay.modules.health import _calls, _probes

PARAMS = {
    "checks": Listing(of=Raw(), required=True, split=False, help="The checks: name, one kind with its parameters, "
                      "severity (critical or warning), tags"),
    "only": Listing(of=Str(), default=[], help="Run the checks that have one of these tags; without it, all"),
    "fail_on": Choice("critical", "warning", "none", default="critical", help="From which status on the task fails"),
    "soak": Float(default=0, help="Go on for so many seconds, and want every round to be good"),
    "interval": Float(default=5, help="Seconds between two rounds of a soak"),
    "retries": Float(default=0, help="Seconds in which a bad round is tried again before it counts"),
}  # fmt: skip
CHECK = "exact"
RANKS = {"ok": 0, "warning": 1, "critical": 2}
FIELDS = ("name", "severity", "tags")


def run(host: Host, params: Params) -> Dict[str, Any]:
    suite = [one for one in (parsed(host, check) for check in params.checks) if chosen(one, params.only)]
    if not suite:
        host.fail("no check has one of the tags %s" % ", ".join(params.only) if params.only else "there are no checks")
    if host.check and host.shadow.brings_unknown_files:
        host.unknown("checks", "status", "counts")
        return host.outcome(msg="the checks run when earlier tasks have")
    began = time.monotonic()
    found, rounds = settled(host, suite, params), 1
    while not failed(found, params) and time.monotonic() - began < params.soak:
        host.progress("soaking", int(time.monotonic() - began), int(params.soak))
        time.sleep(max(0.05, min(params.interval, params.soak - (time.monotonic() - began))))
        found, rounds = examined(host, suite), rounds + 1
    result = described(found, rounds, time.monotonic() - began)
    bad = failed(found, params)
    if bad:
        text = "; ".join("%(name)s: %(message)s" % one for one in bad)
        host.fail("%d of %d checks failed: %s" % (len(bad), len(found), text), **result)
    return host.outcome(**result)


def parsed(host: Host, check: Any) -> Dict[str, Any]:
    """A check with its kind and parameters apart. Fails for one that is none."""
    if not isinstance(check, dict) or not check.get("name"):
        host.fail("a check needs a name and a kind: %r" % (check,))
    name, kinds = check["name"], [key for key in check if key not in FIELDS]
    if len(kinds) != 1 or kinds[0] not in _calls.KINDS:
        known = ", ".join(sorted(_calls.KINDS))
        host.fail("check %r: give one kind of %s; it has %s" % (name, known, ", ".join(kinds) or "none"))
    severity = check.get("severity", "critical")
    if severity not in ("critical", "warning"):
        host.fail("check %r: severity is critical or warning, not %r" % (name, severity))
    given = check[kinds[0]] or {}
    if not isinstance(given, dict):
        host.fail("check %r: %s needs parameters by their names" % (name, kinds[0]))
    return {"name": name, "kind": kinds[0], "given": given, "severity": severity, "tags": check.get("tags") or []}


def chosen(check: Dict[str, Any], only: List[str]) -> bool:
    return not only or any(tag in only for tag in check["tags"])


def settled(host: Host, suite: List[Dict[str, Any]], params: Params) -> List[Dict[str, Any]]:
    """The first round that is good, or the last one that was tried."""
    deadline = time.monotonic() + params.retries
    found = examined(host, suite)
    while failed(found, params) and time.monotonic() < deadline:
        host.progress("%(name)s: %(message)s" % failed(found, params)[0])
        time.sleep(min(params.interval, 1.0))
        found = examined(host, suite)
    return found


def examined(host: Host, suite: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The outcome of each check of one round."""
    outcomes = []
    for number, check in enumerate(suite, 1):
        host.progress(str(check["name"]), number, len(suite))
        began = time.monotonic()
        status, message = outcome_of(host, check)
        if RANKS[status] > RANKS[check["severity"]]:
            status = check["severity"]
        shown = {"name": check["name"], "kind": check["kind"], "status": status, "message": message}
        outcomes.append(dict(shown, seconds=round(time.monotonic() - began, 3)))
    return outcomes


def outcome_of(host: Host, check: Dict[str, Any]) -> Tuple[str, str]:
    """What one check found. What it cannot do for want of a right parameter fails the task."""
    from opsplay.agent.spec import ParameterError

    changed = host.changed
    try:
        return _calls.examine(host, check["kind"], check["given"])
    except ParameterError as problem:
        host.fail("check %r: %s: %s" % (check["name"], check["kind"], problem.message))
    except ModuleFailed as problem:
        return _probes.CRITICAL, str(problem.result.get("msg") or problem)
    except OSError as problem:
        return _probes.CRITICAL, "%s: %s" % (problem.filename or check["kind"], problem.strerror or problem)
    finally:
        # Looking changes nothing, whatever a module that was called says of itself.
        host.changed = changed


def failed(found: List[Dict[str, Any]], params: Params) -> List[Dict[str, Any]]:
    """The checks that make the task fail."""
    if params.fail_on == "none":
        return []
    return [one for one in found if RANKS[one["status"]] >= RANKS[params.fail_on]]


def described(found: List[Dict[str, Any]], rounds: int, seconds: float) -> Dict[str, Any]:
    """What the task returns."""
    counts = {status: sum(one["status"] == status for one in found) for status in RANKS}
    worst = max(found, key=lambda one: RANKS[one["status"]])["status"]
    return {"checks": found, "counts": counts, "status": worst, "rounds": rounds, "seconds": round(seconds, 2)}
