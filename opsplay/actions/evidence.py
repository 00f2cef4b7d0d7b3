"""Collect evidence of an incident, what is lost first at first, and send it off the host as it is found.

Each collection has a folder of its own on the control side, DEST/HOST/NUMBER-TIME, that only its owner may enter.
Processes, sockets, open files and mounts come first, read from the kernel besides what the host's programs say; then
accounts, keys, crontabs, timers, packages, changed files and logs, as archives that keep times and owners. Nothing is
written on the host. `index.json` tells which command gave what and when, by the host's clock, how that differs from the
control side's, and the hashes of the programs that were run. `sha256sum -c manifest.sha256` proves the set; note the
manifest's own hash down elsewhere. What could not be collected is in the index with the reason, and the others go on.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsplay.actions._evidence_set import EvidenceSet
from opsplay.actions.base import ActionFailed, Control, Live, Prepared, Steps
from opsplay.agent.spec import Choice, Int, List, Params, Raw, Str
from opsplay.agent.spec import Path as PathParam
from opsplay.errors import OpsplayError
from opsplay.modules.evidence import _collect, _plan

PARAMS = {
    "dest": Str(default="evidence", help="The folder here, beside the playbook; each host has its own in it"),
    "parts": List(of=Choice(*_plan.PARTS), default=list(_plan.PARTS), help="What is collected; without it, everything"),
    "paths": List(of=PathParam(), split=False, default=[], help="Further files and folders"),
    "environments": List(
        of=Str(), default=[], help="Processes whose environment is kept: numbers, or parts of command lines"
    ),
    "queries": List(
        of=Raw(), split=False, default=[],
        help="Rows of PostgreSQL, such as those of an audit table: name (the file's), db, sql, and port if not 5432",
    ),
    "days": Int(min=1, default=7, help="How many days back the journal and the list of changed files go"),
    "max_mib": Int(min=1, default=4096, help="The size (MiB) of files that one archive takes; the rest is named"),
    "timeout": Int(min=1, default=300, help="Seconds that one program may take"),
    "reason": Str(default="", help="Why, for those who read it later"),
}
CHECK = "partial"


def prepare(control: Control, params: Params) -> Prepared:
    base = os.path.join(os.path.dirname(os.path.abspath(control.at.file)), os.path.expanduser(params.dest))
    if "/" in control.host or control.host.startswith("."):
        raise ActionFailed(f"{control.host} cannot be the name of a folder")
    return Steps(lambda live: collect(live, params, Path(base), control.host))


def collect(live: Live, params: Params, base: Path, host: str) -> Mapping[str, Any]:
    """Plan on the host, then item after item. Raises ActionFailed with where the part is that came."""
    known = {"parts": params.parts, "days": params.days, "environments": params.environments, "paths": params.paths,
             "queries": queries_of(params), "most": params.max_mib << 20, "timeout": params.timeout}  # fmt: skip
    began = time.time()
    found = live.call(_collect.__name__, {"step": "plan", **known})
    if found.get("failed"):
        return found
    names = [item["file"] for item in found["items"]]
    if live.check:
        return {"changed": True, "items": names, "_unknown": ["folder", "manifest_sha256", "failed_items", "complete"]}
    try:
        kept = EvidenceSet.begin(base, host)
    except OSError as problem:
        raise ActionFailed(f"cannot make a folder below {base}: {problem}") from problem
    kept.index.update(about(live, params), began=moment(began), user_on_host=found["user"], clock=clock(live))
    complete, manifest = False, ""
    try:
        for number, item in enumerate(found["items"], 1):
            live.progress(f"{item['file']} ({number} of {len(names)})")
            take(live, kept, item, known)
        complete = True
    except OpsplayError as problem:
        raise ActionFailed(f"{problem}; what came before is in {kept.folder}", folder=str(kept.folder)) from problem
    finally:
        kept.index["ended"] = moment(time.time())
        manifest = kept.finish(complete)
    failed = [entry["file"] for entry in kept.index["items"] if entry.get("problem")]
    return {"changed": True, "folder": str(kept.folder), "manifest_sha256": manifest, "items": names,
            "failed_items": failed, "complete": complete}  # fmt: skip


def queries_of(params: Params) -> list[Mapping[str, Any]]:
    """The questions to databases. Raises ActionFailed for one that is none."""
    for query in params.queries:
        name = str(query.get("name")) if isinstance(query, Mapping) and query.get("sql") else ""
        if not re.fullmatch(r"[\w-]+", name):
            raise ActionFailed(f"a query needs sql and a name (letters, digits, - and _): {query!r}")
    return list(params.queries)


def about(live: Live, params: Params) -> Mapping[str, Any]:
    """Who collected, where and why."""
    collector = {"user": getpass.getuser(), "machine": platform.node()}
    return {"reason": params.reason, "address": live.address, "collector": collector}


def clock(live: Live) -> Mapping[str, Any]:
    """The host's clock against this one's; the host looked at it at some time between question and answer."""
    before = time.time()
    there = float(live.call(_collect.__name__, {"step": "clock"})["time"])
    after = time.time()
    return {
        "host": moment(there),
        "host_is_ahead_seconds": round(there - (before + after) / 2, 3),
        "uncertain_by_seconds": round((after - before) / 2, 3),
    }


def take(live: Live, kept: EvidenceSet, item: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Receive one item into its file, and note down how it came about."""
    with kept.file(item["file"]) as writer:
        result = live.call(_collect.__name__, {"step": "item", "item": item, **known}, writer.write)
    told = dict(result.get("told") or {})
    problem = ""
    if result.get("failed"):
        problem = str(result.get("msg"))
    elif told["sha256"] != writer.digest.hexdigest():
        problem = "what came is not what the host has sent"
    elif told.get("rc") or told.get("timed_out"):
        problem = "took too long" if told["timed_out"] else f"ended with {told['rc']}"
    for key in ("started", "ended"):
        if key in told:
            told[key] = moment(told[key])
    entry = {"file": item["file"], "part": item["part"], "kind": item["kind"], "size": writer.size}
    kept.add({**entry, **told, **({"problem": problem} if problem else {})})


def moment(seconds: float) -> str:
    """The time in UTC, to the millisecond."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
