"""Runs of a timer's service: one now, awaited; the next one."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.modules.services._install import STAMPS
from opsplay.modules.services._units import Manager
from opsplay.modules.services._verify import ENVIRONMENT, SECONDS, program

TAIL = 20


def run_now(host: Host, manager: Manager, service: str, seconds: int) -> Dict[str, Any]:
    """Start a service and wait for its end. Fails when it fails, with the end of what it said."""
    host.note("", "run\n", service)
    if host.check:
        host.unknown("exit_status", "result", "journal")
    # Not foreseen: it may do whatever it likes.
    done = host.run(manager.argv + ["start", "--", service], env=manager.env, timeout=seconds)
    if done.skipped:
        return {}
    if done.timed_out:
        hint = "it goes on; allow a longer wait, or end it with `systemctl stop %s`" % service
        host.fail("%s has not ended within %d s; %s" % (service, seconds, hint), name=service)
    status = manager.show(service)
    said = journal(host, manager, service, status.get("InvocationID", ""))
    found = {"exit_status": number(status.get("ExecMainStatus")), "result": status.get("Result", ""), "journal": said}
    if done.rc != 0:
        reason = "%s, exit status %s" % (found["result"], found["exit_status"])
        shown = "; the end of its journal:\n%s" % "\n".join(said) if said else ": %s" % done.stderr.strip()
        host.fail("%s was run and has failed (%s)%s" % (service, reason, shown), name=service, **found)
    return found


def number(text: Any) -> int:
    return int(text) if str(text).isdigit() else -1


def journal(host: Host, manager: Manager, service: str, invocation: str) -> List[str]:
    """The last lines of one run in the journal."""
    reader = host.which("journalctl")
    if reader is None or not invocation:
        return []
    host.query([reader, "--sync"], env=manager.env, timeout=10)
    argv = [reader, "_SYSTEMD_INVOCATION_ID=" + invocation, "+", "INVOCATION_ID=" + invocation, "--no-pager", "--quiet"]
    done = host.query(argv + ["-n", str(TAIL), "-o", "short-iso"], env=manager.env, timeout=30)
    return [line for line in str(done.stdout).split("\n") if line]


def count_from_now(host: Host, timer: str) -> None:
    """Let a persistent timer count from now: with a new schedule it has missed nothing."""
    stamp = "%s/stamp-%s" % (STAMPS, timer)
    if not host.check and os.path.exists(stamp):
        # systemd's own note, and no state that anybody asked for: it is no change of its own.
        os.utime(stamp)


def next_monotonic(host: Host, manager: Manager, timer: str) -> List[float]:
    """When a timer that counts from events comes next, in seconds since 1970; empty when that is open."""
    text = manager.show(timer).get("NextElapseUSecMonotonic", "")
    if not text or text == "infinity" or text == "0":
        return []
    done = host.query([program(host), "timespan", "--", text], env=ENVIRONMENT, timeout=SECONDS)
    digits = [line.partition(":")[2].strip() for line in done.stdout.split("\n")]
    micros = next((int(word) for word in digits if word.isdigit()), 0)
    return [time.time() - time.monotonic() + micros / 1e6] if micros else []
