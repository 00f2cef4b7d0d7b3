"""Ask a Redis server how it is, and compare what it says with thresholds; an error reply is a failure.

`warn` and `critical` are compared with: memory in percent of maxmemory (of the host's memory where that is unlimited),
clients in percent of maxclients, keys as a count, save_age in seconds since the last snapshot, and hit_ratio in
percent, of which lower is worse.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Float, Int, Params, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.agent.spec import List as ListOf
from opsplay.modules.redis import _resp

PARAMS = dict(
    _resp.CONNECTION,
    sections=ListOf(of=Str(), default=["default"], help="The sections of INFO to return, or all"),
    timeout=Int(default=0, min=0, help="Seconds to wait for a server that starts or loads its data; 0 asks once"),
    expect_role=Choice("master", "slave", help="Fail when it has another role"),
    warn=DictOf(of=Float(), default={}, help="Where a number becomes a warning, e.g. memory: 90"),
    critical=DictOf(of=Float(), default={}, help="Where it becomes critical"),
    fail_on=Choice("never", "warning", "critical", default="critical", help="From where on the task fails"),
)
CHECK = "exact"
NUMBERS = ("memory", "clients", "keys", "save_age", "hit_ratio")
UNITS = {"keys": "", "save_age": " s"}


def run(host: Host, params: Params) -> Dict[str, Any]:
    for name in sorted(set(params.warn) | set(params.critical)):
        if name not in NUMBERS:
            host.fail("there is no number %s; there is %s" % (name, ", ".join(NUMBERS)))
    problem = _resp.await_ready(host, params, params.timeout)
    if problem:
        if host.check and "cannot connect" in problem and host.shadow.brings_unknown_files:
            host.unknown("info", "numbers", "status", "keys", "ping")
            return host.outcome()
        host.fail(problem)
    try:
        with _resp.Client(params) as redis:
            found = {"ping": redis.call("PING"), "info": typed(redis.info(*params.sections))}
            everything = redis.info("server", "clients", "memory", "stats", "persistence", "replication", "keyspace")
            settings = redis.config("maxclients")
    except _resp.RedisError as error:
        host.fail(str(error))
    found["keys"] = _resp.keys_of(everything)
    found["numbers"] = measure(everything, settings)
    if params.expect_role and everything.get("role") != params.expect_role:
        host.fail("Redis is a %s, expected was a %s" % (everything.get("role"), params.expect_role), **found)
    return judge(host, params, found)


def typed(info: Dict[str, str]) -> Dict[str, Any]:
    """Numbers as numbers."""
    found: Dict[str, Any] = {}
    for name, value in info.items():
        number = value.lstrip("-")
        found[name] = (
            int(value) if number.isdigit() else float(value) if number.replace(".", "", 1).isdigit() else value
        )
    return found


def measure(info: Dict[str, str], settings: Dict[str, str]) -> Dict[str, Optional[float]]:
    """The numbers that thresholds are for; None where there is nothing to divide by."""

    def ratio(part: float, whole: float) -> Optional[float]:
        return round(100.0 * part / whole, 2) if whole else None

    hits, misses = int(info.get("keyspace_hits", 0)), int(info.get("keyspace_misses", 0))
    memory = int(info.get("maxmemory", 0)) or int(info.get("total_system_memory", 0))
    limit = int(info.get("maxclients") or settings.get("maxclients") or 0)
    return {
        "memory": ratio(int(info["used_memory"]), memory),
        "clients": ratio(int(info["connected_clients"]), limit),
        "keys": float(sum(_resp.keys_of(info).values())),
        "save_age": max(0.0, round(time.time() - int(info["rdb_last_save_time"]), 1)),
        "hit_ratio": ratio(hits, hits + misses),
    }


def judge(host: Host, params: Params, found: Dict[str, Any]) -> Dict[str, Any]:
    """Compare, and fail where that is asked for."""
    problems: List[str] = []
    levels = []
    for name, number in found["numbers"].items():
        for level, limits in (("critical", params.critical), ("warning", params.warn)):
            limit = limits.get(name)
            if limit is None or number is None or not (number <= limit if name == "hit_ratio" else number >= limit):
                continue
            unit = UNITS.get(name, " %")
            problems.append("%s: %s is %.6g%s, the limit is %.6g%s" % (level, name, number, unit, limit, unit))
            levels.append(level)
            break
    status = "critical" if "critical" in levels else "warning" if levels else "ok"
    for problem in problems:
        host.warn(problem)
    if {"never": False, "warning": status != "ok", "critical": status == "critical"}[params.fail_on]:
        host.fail("; ".join(problems), status=status, problems=problems, **found)
    return host.outcome(status=status, problems=problems, **found)
