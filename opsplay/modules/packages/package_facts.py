"""Return which packages the host has installed, and their versions."""

from __future__ import annotations

from typing import Any, Dict
from typing import List as ListOf

from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, List, Params, Str
from opsplay.modules.packages import _dpkg
from opsplay.modules.packages._origins import origins

PARAMS = {
    "manager": List(of=Str(), default=["auto"], help="The package managers to ask: auto, or apt"),
    "strategy": Choice("first", "all", default="first", help="Ask the first manager that is there, or all of them"),
}
# The versions of packages that a preview would install cannot be known.
CHECK = "partial"
_OTHERS = ("rpm", "dnf", "dnf5", "yum", "zypper", "apk", "pacman", "pkg", "pkg5", "pkgng", "pkg_info", "openbsd_pkg",
           "portage")  # fmt: skip


def run(host: Host, params: Params) -> Dict[str, Any]:
    for name in params.manager:
        if name in _OTHERS:
            host.warn("the package manager %s is not supported yet: apt is" % name)
        elif name not in ("auto", "apt"):
            host.fail("there is no package manager %r; there are auto, apt" % name, manager=params.manager)
    if not {"auto", "apt"} & set(params.manager) or not host.exists(_dpkg.STATUS):
        host.fail("Could not detect a supported package manager from the following list: %s" % params.manager)
    packages = installed(host)
    for name, is_there in host.shadow.packages.items() if host.check else ():
        foresee(packages, name, is_there)
    return host.outcome(ansible_facts={"packages": packages})


def installed(host: Host) -> Dict[str, ListOf[Dict[str, Any]]]:
    """What dpkg has installed, by name; a package may be there for several architectures."""
    found = list(_dpkg.Database.read(host).installed())
    native = next((package.architecture for package in found if package.name == "dpkg"), "")
    publishers = origins(host, ["%s:%s" % (package.name, package.architecture) for package in found])
    packages: Dict[str, ListOf[Dict[str, Any]]] = {}
    for package in found:
        # As apt writes names: those of another architecture with it.
        foreign = package.architecture not in ("all", native)
        name = "%s:%s" % (package.name, package.architecture) if foreign else package.name
        fields = {"name": name, "version": package.version, "arch": package.architecture, "source": "apt"}
        fields.update(category=package.section, origin=publishers.get(name, ""))
        packages.setdefault(name, []).append(fields)
    return packages


def foresee(packages: Dict[str, ListOf[Dict[str, Any]]], name: str, is_there: bool) -> None:
    """Let a preview's facts say what earlier tasks would have installed or removed."""
    if not is_there:
        packages.pop(name, None)
    elif name not in packages:
        packages[name] = [{"name": name, "version": None, "source": "apt"}]
