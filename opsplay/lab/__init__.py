"""Throwaway fleets of real systemd hosts on this machine; building and booting them needs root.

    from opsplay.lab import HostSpec, Lab

    with Lab("drill") as lab:
        lab.up({"web1": HostSpec(), "db1": HostSpec(image="full", release="trixie")})
        lab.hosts["db1"].run(["systemctl", "is-active", "postgresql"])

A host is an image built by mmdebstrap, shared by overlayfs and booted by systemd-nspawn. `loopback` serves machines
without root.
"""

from opsplay.lab.fleet import Lab, labs
from opsplay.lab.host import LabHost
from opsplay.lab.machine import Power
from opsplay.lab.state import HostSpec

__all__ = ["HostSpec", "Lab", "LabHost", "Power", "labs"]
