"""Manage systemd units: services, timers, sockets and the others."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Name, Params
from opsplay.modules.services._systemd import Wish, manage
from opsplay.modules.services._units import Manager

ALIASES = ("systemd_service",)
PARAMS = {
    "name": Name(aliases=("service", "unit"), help="The unit; without a suffix it is a service"),
    "state": Choice(
        "reloaded", "restarted", "started", "stopped",
        help="started and stopped act where needed; restarted and reloaded always; reloaded starts what does not run",
    ),
    "enabled": Bool(help="Whether the unit starts with the host"),
    "force": Bool(help="Replace links that are in the way when enabling or masking"),
    "masked": Bool(help="Whether the unit is made impossible to start"),
    "daemon_reload": Bool(
        default=False, aliases=("daemon-reload",), help="Let systemd first read its unit files again"
    ),
    "daemon_reexec": Bool(default=False, aliases=("daemon-reexec",), help="Execute systemd itself again first"),
    "scope": Choice(
        "system", "user", "global", default="system",
        help="The system's manager, that of the user who runs the task, or the files of all users' managers",
    ),
    "no_block": Bool(default=False, help="Do not wait until the unit has changed its state"),
}  # fmt: skip
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.name is None:
        for key in ("state", "enabled", "masked"):
            if params[key] is not None:
                host.fail("%s needs name: the unit that it is for" % key)
        if not (params.daemon_reload or params.daemon_reexec):
            host.fail("nothing is asked for: give daemon_reload, daemon_reexec, or name with state, enabled or masked")
    manager = Manager(host, params.scope)
    _reload(host, manager, params)
    result: Dict[str, Any] = {}
    if params.name is not None:
        wish = Wish(params.state, params.enabled, params.masked, bool(params.force), params.no_block)
        result = manage(host, manager, params.name, wish)
        result["name"] = params.name
    else:
        result.update(name=None, status={})
    return host.outcome(**result)


def _reload(host: Host, manager: Manager, params: Params) -> None:
    """Reading unit files again changes nothing by itself: it does not count as a change, as in Ansible."""
    if host.check or not manager.is_running:
        return
    for wanted, verb in ((params.daemon_reexec, "daemon-reexec"), (params.daemon_reload, "daemon-reload")):
        if wanted:
            done = manager.query(verb)
            if done.rc != 0:
                host.fail("systemctl %s failed: %s" % (verb, done.stderr.strip() or done.error), rc=done.rc)
