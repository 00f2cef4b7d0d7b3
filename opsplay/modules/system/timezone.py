"""Set the host's time zone, and whether its hardware clock runs in UTC."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.spec import Choice, Params, Str

PARAMS = {
    "name": Str(help="The time zone, e.g. Europe/Paris; without it the zone stays"),
    "hwclock": Choice("UTC", "local", aliases=("rtc",), help="What the hardware clock shows; without it that stays"),
}
CHECK = "exact"
ZONES = "/usr/share/zoneinfo/"
LOCALTIME = "/etc/localtime"
# Debian before 13 keeps the zone's name here, too; where the file is, it must agree.
TIMEZONE = "/etc/timezone"
ADJTIME = "/etc/adjtime"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.name is None and params.hwclock is None:
        host.fail("one of the following is required: name, hwclock")
    if params.name is not None:
        set_zone(host, params.name)
    if params.hwclock is not None:
        set_clock(host, params.hwclock)
    return host.outcome()


def set_zone(host: Host, name: str) -> None:
    """Let /etc/localtime lead to the zone, as localtime(5) asks; systemd and libc look there."""
    path = os.path.normpath(ZONES + name)
    if not path.startswith(ZONES) or not is_zone(host, path):
        host.fail("given timezone %r is not available: there is no zone %s; is tzdata installed?" % (name, path))
    if current_zone(host) != name:
        host.link(LOCALTIME, os.path.relpath(path, os.path.dirname(LOCALTIME)))
    if host.exists(TIMEZONE):
        host.write(TIMEZONE, name + "\n")


def is_zone(host: Host, path: str) -> bool:
    """Whether a file holds the rules of a zone (tzfile(5)); the folder has tables and leap seconds, too."""
    try:
        return host.read(path)[:4] == b"TZif"
    except OSError:
        return host.check and host.shadow.brings_unknown_files


def current_zone(host: Host) -> str:
    """The zone's name as the link says it; empty when there is no link."""
    target = os.path.join(os.path.dirname(LOCALTIME), host.link_target(LOCALTIME) or "")
    path = os.path.normpath(target)
    return path[len(ZONES) :] if path.startswith(ZONES) else ""


def set_clock(host: Host, wanted: str) -> None:
    """Change what the hardware clock shows. Its own tools do that: they set the clock as well."""
    current = "local" if clock_line(host) == "LOCAL" else "UTC"
    if current == wanted:
        return
    host.note("hardware clock in %s\n" % current, "hardware clock in %s\n" % wanted, "hardware clock")
    host.must_run(clock_command(host, wanted), foreseen=True)
    if host.check:
        content = "0.0 0 0.0\n0\n%s\n" % wanted.upper()
        host.pretend(ADJTIME, Node("file", 0o644, content=content.encode()))


def clock_line(host: Host) -> str:
    """LOCAL or UTC as the third line of /etc/adjtime says; without the file it is UTC (hwclock(8))."""
    try:
        lines = host.read(ADJTIME).decode("utf-8", "replace").split("\n")
    except OSError:
        return "UTC"
    return lines[2].strip() if len(lines) > 2 else "UTC"


def clock_command(host: Host, wanted: str) -> List[str]:
    if os.path.isdir("/run/systemd/system") and host.which("timedatectl"):
        return ["timedatectl", "set-local-rtc", "yes" if wanted == "local" else "no"]
    if not host.which("hwclock"):
        host.fail("neither timedatectl nor hwclock is on this host; install util-linux-extra (or util-linux) first")
    return ["hwclock", "--systohc", "--localtime" if wanted == "local" else "--utc"]
