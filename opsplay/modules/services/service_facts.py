"""Return which services the host has, whether they run, and whether they start with it."""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Param, Params
from opsplay.modules.services._units import Manager, is_booted

PARAMS: Dict[str, Param] = {}
CHECK = "exact"
# A unit that cannot be loaded, or has failed, has that for its status.
BAD = ("not-found", "masked", "failed")


def run(host: Host, params: Params) -> Dict[str, Any]:
    services = scripts(host)
    if is_booted() and host.which("systemctl"):
        services.update(units(Manager(host)))
    for name, known in host.shadow.units.items() if host.check else ():
        foresee(services, name, known)
    return host.outcome(ansible_facts={"services": services})


def scripts(host: Host) -> Dict[str, Any]:
    """The services of System V, by what their own scripts say; those that cannot tell are left out."""
    services: Dict[str, Any] = {}
    if not host.which("service") or not host.is_directory("/etc/init.d"):
        return services
    for line in host.query(["service", "--status-all"], env={"LC_ALL": "C"}).stdout.split("\n"):
        mark, bracket, name = line.strip().partition("]")
        sign = mark.strip("[ ")
        if bracket and sign in ("+", "-"):
            state = "running" if sign == "+" else "stopped"
            services[name.strip()] = {"name": name.strip(), "state": state, "source": "sysv"}
    return services


def units(manager: Manager) -> Dict[str, Any]:
    """The services of systemd: those that it has loaded, then those that only have a file."""
    services: Dict[str, Any] = {}
    for fields in listed(manager, "list-units", "--all"):
        name, load, active, sub = fields[:4]
        status = next((word for word in (load, active) if word in BAD), active)
        services[name] = entry(name, "running" if sub == "running" else "stopped", status)
    unloaded = {}
    for fields in listed(manager, "list-unit-files"):
        name, status = fields[:2]
        if name not in services:
            unloaded[name] = status
        elif services[name]["status"] not in BAD:
            services[name]["status"] = status
    states = active_states(manager, list(unloaded))
    services.update({name: entry(name, states.get(name, "unknown"), status) for name, status in unloaded.items()})
    return services


def entry(name: str, state: str, status: str) -> Dict[str, str]:
    return {"name": name, "state": state, "status": status, "source": "systemd"}


def listed(manager: Manager, *words: str) -> List[List[str]]:
    """The lines of one of systemctl's lists, in words."""
    done = manager.query(*words, "--type=service", "--plain", "--no-legend")
    return [line.split() for line in done.stdout.split("\n") if len(line.split()) > 1]


def active_states(manager: Manager, names: List[str]) -> Dict[str, str]:
    """What systemd says of units that it has not loaded. Templates are no units, and have no state."""
    names = [name for name in names if "@." not in name]
    if not names:
        return {}
    blocks = manager.query("show", "--property=ActiveState", "--", *names).stdout.strip().split("\n\n")
    states = [block.strip().partition("=")[2] for block in blocks]
    return {name: states[place] for place, name in enumerate(names)} if len(states) == len(names) else {}


def foresee(services: Dict[str, Any], name: str, known: Dict[str, Any]) -> None:
    """Let a preview's facts say what earlier tasks would have made of a unit."""
    service = services.setdefault(name, entry(name, "unknown", "unknown"))
    if "ActiveState" in known:
        service["state"] = "running" if known["ActiveState"] == "active" else "stopped"
    if "UnitFileState" in known:
        service["status"] = known["UnitFileState"]
    if "running" in known:
        service["state"] = "running" if known["running"] else "stopped"
