"""Restart the host, and wait until it has really started again."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from typing import Any

from opsplay.actions.base import ActionFailed, Control, Live, Prepared, Steps
from opsplay.actions.wait_for_connection import until
from opsplay.agent.spec import Int, List, Params, Str, validate
from opsplay.errors import BecomeFailed, UnreachableError
from opsplay.modules.commands import shell

PARAMS = {
    "pre_reboot_delay": Int(default=0, help="How long the host waits before it restarts, in seconds; whole minutes"),
    "post_reboot_delay": Int(default=0, help="How long to wait before the first try to connect, in seconds"),
    "reboot_timeout": Int(default=600, help="How long restarting may take, and then the test command, in seconds"),
    "connect_timeout": Int(min=1, help="How long one try may take to connect, in seconds"),
    "test_command": Str(default="whoami", help="What must end well on the host before the playbook goes on"),
    "msg": Str(default="Reboot initiated by Ansible", help="What users who are logged in are told"),
    "search_paths": List(
        of=Str(), default=["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin"],
        help="Where the command that restarts the host is looked for",
    ),
    "boot_time_command": Str(
        default="cat /proc/sys/kernel/random/boot_id", help="What says something else after each start"
    ),
    "reboot_command": Str(help="What restarts the host, instead of shutdown; delays and msg do not count then"),
}  # fmt: skip
CHECK = "exact"
PAUSE = 1.0


def prepare(control: Control, params: Params) -> Prepared:
    return Steps(lambda live: reboot(live, params))


def reboot(live: Live, params: Params) -> Mapping[str, Any]:
    """Order it, then try until the host says that it has started anew. Raises ActionFailed."""
    if live.is_local:
        message = "Running reboot with local connection would reboot the control node."
        raise ActionFailed(message, rebooted=False, elapsed=0)
    if live.check:
        return {"changed": True, "rebooted": True, "elapsed": 0}
    started = time.monotonic()
    before = boot_time(live, params)
    if not before:
        raise ActionFailed(f"`{params.boot_time_command}` says nothing on the host; give another boot_time_command",
                           rebooted=False, elapsed=0)  # fmt: skip
    order(live, command_line(live, params))
    live.disconnect()
    if params.connect_timeout:
        live.patience(params.connect_timeout)
    rebooted = False
    try:
        live.sleep(0 if params.reboot_command else max(0, params.post_reboot_delay))
        until(live, params.reboot_timeout, PAUSE, lambda: boot_time(live, params) not in ("", before),
              "waiting for last boot time check")  # fmt: skip
        rebooted = True
        until(live, params.reboot_timeout, PAUSE, lambda: run(live, params.test_command).get("rc") == 0,
              "waiting for post-reboot test command")  # fmt: skip
    except ActionFailed as problem:
        elapsed = int(time.monotonic() - started)
        raise ActionFailed(problem.message, changed=True, rebooted=rebooted, elapsed=elapsed) from problem
    return {"changed": True, "rebooted": True, "elapsed": int(time.monotonic() - started)}


def run(live: Live, command: str) -> Mapping[str, Any]:
    """A shell's command line on the host, whatever its outcome."""
    return live.call(shell.__name__, validate(shell.PARAMS, {"cmd": command}))


def boot_time(live: Live, params: Params) -> str:
    """What tells this start of the host from any other; empty when it cannot be known yet."""
    done = run(live, params.boot_time_command)
    return str(done.get("stdout", "")) if done.get("rc") == 0 else ""


def command_line(live: Live, params: Params) -> str:
    """What restarts the host, with its full path. Raises ActionFailed when it is nowhere."""
    program, _, rest = (params.reboot_command or "shutdown").partition(" ")
    if not params.reboot_command:
        # shutdown(8) counts in minutes.
        rest = f"-r {max(0, params.pre_reboot_delay) // 60} {shlex.quote(params.msg)}"
    if program.startswith("/"):
        return f"{program} {rest}"
    places = " ".join(shlex.quote(f"{folder}/{program}") for folder in params.search_paths)
    look = f'for place in {places}; do if [ -f "$place" ] && [ -x "$place" ]; then echo "$place"; break; fi; done'
    found = str(run(live, look).get("stdout", "")).strip()
    if not found:
        folders = ", ".join(params.search_paths)
        raise ActionFailed(f'Unable to find command "{program}" in search paths: {folders}', rebooted=False, elapsed=0)
    return f"{shlex.quote(found)} {rest}"


def order(live: Live, command: str) -> None:
    """Restart the host. That the connection is lost is what was asked for. Raises ActionFailed."""
    try:
        done = run(live, command)
    except (UnreachableError, BecomeFailed):
        return
    # A host that goes down at once ends the command, too.
    if done.get("failed") and int(done.get("rc") or 0) > 0:
        said = f"{done.get('stdout', '')} {done.get('stderr', '')}".strip()
        raise ActionFailed(f"Reboot command failed. Error was: {said}", rebooted=False, elapsed=0)
