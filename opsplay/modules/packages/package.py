"""Install and remove packages with the package manager that the host has."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Params, Str
from opsplay.modules.packages import apt

PARAMS = dict(apt.PARAMS, use=Str(default="auto", help="The package manager: auto, or apt"))
CHECK = "partial"
# What a host may have instead, by the program that shows it.
_OTHERS = ("dnf5", "dnf", "yum", "apk", "zypper", "pacman", "pkg", "emerge", "brew")


def run(host: Host, params: Params) -> Dict[str, Any]:
    manager = params.pop("use").rpartition(".")[2]
    if manager == "auto":
        manager = _find(host)
    if manager != "apt":
        host.fail("the package manager %s is not supported yet: apt is" % manager, use=manager)
    return apt.run(host, params)


def _find(host: Host) -> str:
    if host.which("apt-get"):
        return "apt"
    for program in _OTHERS:
        if host.which(program):
            return program
    return host.fail("no package manager was found on this host; apt is supported, looked for apt-get")
