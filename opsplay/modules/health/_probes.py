"""The checks of a suite that need no module of their own: units, ports, disks, memory, files, programs.

Each takes its parameters and gives a status and a sentence, or raises ModuleFailed, which counts as critical.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Float, Int, Param, Params, Path, Raw, Str
from opsplay.agent.spec import List as Listing

OK, WARNING, CRITICAL = "ok", "warning", "critical"
SAID_MOST = 300

SPECS: Dict[str, Dict[str, Param]] = {
    "unit": {"name": Listing(of=Str(), required=True), "failed": Bool(default=False)},
    "port": {"host": Str(default="127.0.0.1"), "port": Int(required=True, min=1, max=65535), "open": Bool(default=True),
             "timeout": Float(default=5)},
    "disk": {"path": Path(default="/"), "warn": Float(default=85), "critical": Float(default=95)},
    "inodes": {"path": Path(default="/"), "warn": Float(default=85), "critical": Float(default=95)},
    "memory": {"warn": Float(default=85), "critical": Float(default=95)},
    "load": {"warn": Float(default=2), "critical": Float(default=4)},
    "file_age": {"path": Path(required=True), "warn": Float(), "critical": Float()},
    "command": {"argv": Listing(of=Str(), required=True, split=False), "timeout": Float(default=30),
                "contains": Str(), "env": Raw(default={})},
}  # fmt: skip


def unit(host: Host, params: Params) -> Tuple[str, str]:
    """Whether systemd's units are active (and none of all is failed, where asked)."""
    done = host.query(["systemctl", "show", "-p", "Id,ActiveState,SubState,Result"] + params.name)
    if done.rc != 0:
        return CRITICAL, done.stderr.strip() or "systemctl ended with %d" % done.rc
    bad = []
    for block in done.stdout.strip().split("\n\n"):
        found = dict(line.partition("=")[::2] for line in block.split("\n"))
        if found.get("ActiveState") != "active":
            bad.append("%(Id)s is %(ActiveState)s (%(SubState)s, %(Result)s)" % found)
    return (CRITICAL, "; ".join(bad)) if bad else (OK, "%s active" % ", ".join(params.name))


def port(host: Host, params: Params) -> Tuple[str, str]:
    """Whether a TCP port takes connections; with `open: false`, that it takes none."""
    import socket

    where = "%s:%d" % (params.host, params.port)
    try:
        socket.create_connection((params.host, params.port), params.timeout).close()
    except OSError as problem:
        said = "no answer within %g s" % params.timeout if isinstance(problem, socket.timeout) else problem.strerror
        return (CRITICAL if params.open else OK), "%s is closed: %s" % (where, said or problem)
    return (OK if params.open else CRITICAL), "%s is open" % where


def disk(host: Host, params: Params) -> Tuple[str, str]:
    """How full a file system is, in percent of what ordinary accounts can use, as df says it."""
    found = os.statvfs(params.path)
    used = found.f_blocks - found.f_bfree
    share = 100.0 * used / max(used + found.f_bavail, 1)
    free = found.f_bavail * found.f_frsize / 2**30
    return above(share, params), "%s is %.0f %% full, %.1f GiB are free" % (params.path, share, free)


def inodes(host: Host, params: Params) -> Tuple[str, str]:
    """How many of a file system's inodes are used, in percent; some file systems have no limit."""
    found = os.statvfs(params.path)
    share = 100.0 * (found.f_files - found.f_ffree) / found.f_files if found.f_files else 0.0
    return above(share, params), "%.0f %% of the inodes of %s are used" % (share, params.path)


def memory(host: Host, params: Params) -> Tuple[str, str]:
    """How much memory is not available, in percent (MemAvailable of /proc/meminfo)."""
    with open("/proc/meminfo") as file:
        found = {line.partition(":")[0]: int(line.split()[1]) for line in file}
    share = 100.0 * (1 - float(found["MemAvailable"]) / found["MemTotal"])
    return above(share, params), "%.0f %% of the memory are used" % share


def load(host: Host, params: Params) -> Tuple[str, str]:
    """The load of five minutes for each processor."""
    each = os.getloadavg()[1] / (os.cpu_count() or 1)
    return above(each, params), "the load of 5 minutes is %.2f for each processor" % each


def file_age(host: Host, params: Params) -> Tuple[str, str]:
    """How long ago a file was written, in seconds."""
    try:
        age = time.time() - os.stat(params.path).st_mtime
    except OSError as problem:
        return CRITICAL, "%s: %s" % (params.path, problem.strerror)
    return above(age, params), "%s was written %.0f s ago" % (params.path, age)


def command(host: Host, params: Params) -> Tuple[str, str]:
    """Whether a program ends with 0, and says what it should."""
    env = {str(name): str(value) for name, value in params.env.items()}
    done = host.query(params.argv, timeout=params.timeout, env=env)
    said = " ".join((done.stdout + " " + done.stderr).split())[:SAID_MOST]
    if done.timed_out:
        return CRITICAL, "%s took longer than %g s" % (params.argv[0], params.timeout)
    if done.rc != 0:
        return CRITICAL, "%s ended with %d: %s" % (params.argv[0], done.rc, said or done.error)
    if params.contains and params.contains not in done.stdout:
        return CRITICAL, "%s does not say %r: %s" % (params.argv[0], params.contains, said)
    return OK, said or "%s ended with 0" % params.argv[0]


def above(value: float, params: Params) -> str:
    """The status of a value against its thresholds, either of which may be missing."""
    if params.critical is not None and value > params.critical:
        return CRITICAL
    return WARNING if params.warn is not None and value > params.warn else OK


PROBES = {"unit": unit, "port": port, "disk": disk, "inodes": inodes, "memory": memory, "load": load,
          "file_age": file_age, "command": command}  # fmt: skip


def kinds() -> List[str]:
    return sorted(PROBES)


def probe(host: Host, kind: str, given: Dict[str, Any]) -> Tuple[str, str]:
    """Run one of these checks. Raises ParameterError."""
    from opsplay.agent.spec import validate

    return PROBES[kind](host, validate(SPECS[kind], given))
