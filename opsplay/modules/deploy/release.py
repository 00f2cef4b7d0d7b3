"""Put a release of a service into use by one atomic link, prove it, and go back by itself when it does not hold.

    PATH/releases/1.4.2/   what unarchive, git or synchronize brought there
    PATH/current  -> releases/1.4.2
    PATH/previous -> releases/1.4.1

Units are restarted behind the change of the link, then `checks` (as for health_suite) have to turn good. If they do
not, the link goes back, the units are restarted once more, and the task fails with what was wrong. `state: rolled_back`
goes back to the previous release, or to the one that is named.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.spec import Choice, Float, Int, Name, Params, Path, Raw
from opsplay.agent.spec import List as Listing

PARAMS = {
    "path": Path(required=True, help="The service's folder, with `releases` in it"),
    "version": Name(help="The release to put into use"),
    "state": Choice("present", "rolled_back", "query", default="present", help="Put into use, go back, or only tell"),
    "units": Listing(of=Name(), default=[], help="systemd units to restart behind the change"),
    "checks": Listing(of=Raw(), split=False, default=[], help="Checks of health_suite that prove the release"),
    "seconds": Float(default=60, help="How long the checks may take to turn good"),
    "keep": Int(min=1, default=5, help="How many releases stay, those in use and before besides"),
}
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    path = host.expand(params.path)
    current, previous = named(host, path, "current"), named(host, path, "previous")
    told = {"current": current, "previous": previous, "releases": releases(host, path)}
    if params.state == "query":
        return host.outcome(**told)
    wanted = params.version or (previous if params.state == "rolled_back" else "")
    if not wanted:
        known = ", ".join(told["releases"]) or "none"
        host.fail("which release? Give version; there are %s" % known)
    if wanted == current:
        return host.outcome(removed=[], **told)
    if not host.is_directory(folder(path, wanted)) and not (host.check and host.shadow.brings_unknown_files):
        known = ", ".join(told["releases"]) or "none"
        text = "there is no release %s in %s; unpack it there first; there are %s"
        host.fail(text % (wanted, os.path.join(path, "releases"), known))
    switch(host, path, wanted, current)
    problem = proven(host, params)
    if problem:
        go_back(host, params, path, current, previous)
        after = "release %s is back in use" % current if current else "no release is in use"
        host.fail("release %s does not hold: %s; %s" % (wanted, problem, after), **told)
    removed = prune(host, path, params.keep, [wanted, current])
    return host.outcome(current=wanted, previous=current, releases=releases(host, path), removed=removed)


def folder(path: str, version: str) -> str:
    return os.path.join(path, "releases", version)


def named(host: Host, path: str, link: str) -> str:
    """The release that a link leads to; empty when there is none."""
    target = host.link_target(os.path.join(path, link))
    return os.path.basename(target.rstrip("/")) if target else ""


def releases(host: Host, path: str) -> List[str]:
    """All that are there, oldest first."""
    above = os.path.join(path, "releases")
    found = [name for name in (host.names(above) if host.is_directory(above) else []) if not name.startswith(".")]
    return sorted(found, key=lambda name: (age(host, folder(path, name)), name))


def age(host: Host, path: str) -> float:
    found = host.stat(path)
    return float(getattr(found, "st_mtime", 0.0)) if found is not None else 0.0


def switch(host: Host, path: str, wanted: str, current: str) -> None:
    """Remember the release in use, then put the other one in its place."""
    if current:
        host.link(os.path.join(path, "previous"), "releases/%s" % current)
    host.link(os.path.join(path, "current"), "releases/%s" % wanted)


def proven(host: Host, params: Params) -> str:
    """Restart the units and run the checks; what is wrong, empty when all is well."""
    try:
        restart(host, params.units)
        if params.checks and not host.check:
            host.call("health.health_suite", checks=params.checks, retries=params.seconds, interval=1)
    except ModuleFailed as problem:
        return str(problem)
    finally:
        # The checks look only; what has changed is the link.
        host.changed = True
    return ""


def restart(host: Host, units: List[str]) -> None:
    for unit in units:
        host.call("services.systemd", name=unit, state="restarted")


def go_back(host: Host, params: Params, path: str, current: str, previous: str) -> None:
    """The links as they were, and the units with them."""
    for link, version in (("current", current), ("previous", previous)):
        if version:
            host.link(os.path.join(path, link), "releases/%s" % version)
        else:
            host.remove(os.path.join(path, link))
    if current:
        try:
            restart(host, params.units)
        except ModuleFailed as problem:
            host.warn("the old release is back, but: %s" % problem)


def prune(host: Host, path: str, keep: int, used: List[Optional[str]]) -> List[str]:
    """Remove the oldest releases that nobody uses."""
    spare = [name for name in releases(host, path) if name not in used]
    gone = spare[: max(0, len(spare) + len([name for name in used if name]) - max(keep, 2))]
    for name in gone:
        host.remove(folder(path, name))
    return gone
