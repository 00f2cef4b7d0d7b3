"""Manage services, whatever init system runs them: systemd's, or scripts of System V."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Name, Params, Str
from opsplay.modules.services import _systemd, _sysv
from opsplay.modules.services._units import Manager, is_booted

PARAMS = {
    "name": Name(required=True, help="The service's name"),
    "state": Choice(
        "reloaded", "restarted", "started", "stopped",
        help="started and stopped act where needed; restarted and reloaded always; reloaded starts what does not run",
    ),
    "enabled": Bool(help="Whether the service starts with the host"),
    "sleep": Int(min=0, help="Seconds between stop and start of restarted; not with systemd"),
    "pattern": Str(help="A part of the service's command line, where its status cannot be asked; not with systemd"),
    "runlevel": Str(default="default", help="The runlevel, with OpenRC only"),
    "arguments": Str(default="", aliases=("args",), help="More words for the service's script; not with systemd"),
    "use": Str(default="auto", help="auto, systemd or sysvinit: who manages the service"),
}  # fmt: skip
CHECK = "exact"
_SYSTEMD = ("systemd", "systemd_service", "ansible.builtin.systemd", "ansible.builtin.systemd_service")
_SYSV = ("service", "sysvinit", "openrc", "ansible.builtin.sysvinit", "ansible.builtin.service")


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.state is None and params.enabled is None:
        host.fail("nothing is asked for: give state, enabled, or both")
    if params.use not in ("auto",) + _SYSTEMD + _SYSV:
        host.fail("use %r is not supported; it is one of auto, systemd, sysvinit" % params.use)
    systemd = params.use in _SYSTEMD or (params.use == "auto" and (is_booted() or not _has_scripts(host)))
    if not systemd:
        return host.outcome(**_sysv.manage(host, params))
    result = _systemd.manage(host, Manager(host), params.name, _systemd.Wish(params.state, params.enabled))
    result["name"] = params.name
    return host.outcome(**result)


def _has_scripts(host: Host) -> bool:
    return host.is_directory("/etc/init.d") and (host.which("service") is not None or host.which("systemctl") is None)
