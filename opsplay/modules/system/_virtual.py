"""Whether this host is a guest or a container, and of what, or itself runs guests."""

from __future__ import annotations

import os
from typing import Any, Dict, Set

from opsplay.agent.facts import text_of

DMI = "/sys/devices/virtual/dmi/id/"
# Words in the firmware's names, with the hypervisor that writes them.
PRODUCTS = (
    ("KVM", "kvm"), ("KVM Server", "kvm"), ("Bochs", "kvm"), ("AHV", "kvm"), ("OpenStack", "openstack"),
    ("RHEV", "RHEV"), ("oVirt", "oVirt"), ("VMware", "VMware"), ("VirtualBox", "virtualbox"), ("HVM domU", "xen"),
    ("Virtual Machine", "VirtualPC"), ("Parallels", "parallels"), ("Google Compute Engine", "kvm"),
    ("Standard PC", "kvm"),
)
VENDORS = (
    ("QEMU", "kvm"), ("Amazon EC2", "kvm"), ("Google", "kvm"), ("DigitalOcean", "kvm"), ("Hetzner", "kvm"),
    ("Nutanix", "kvm"), ("OpenStack", "openstack"), ("oVirt", "oVirt"), ("Red Hat", "kvm"), ("Xen", "xen"),
    ("VMware", "VMware"), ("innotek", "virtualbox"), ("Parallels", "parallels"),
)


def virtual(host: Any) -> Dict[str, Any]:
    """All facts of the virtual subset."""
    guest: Set[str] = set()
    first = ""
    for kind in (container(guest), hypervisor(guest)):
        first = first or kind
    above = hosting()
    facts: Dict[str, Any] = {"virtualization_type": "NA", "virtualization_role": "NA"}
    if first:
        facts.update(virtualization_type=first, virtualization_role="guest")
    elif above:
        facts.update(virtualization_type=sorted(above)[0], virtualization_role="host")
    return dict(facts, virtualization_tech_guest=sorted(guest), virtualization_tech_host=sorted(above))


def container(guest: Set[str]) -> str:
    """The kind of container this is, empty for none."""
    named = ""
    for variable in text_of("/proc/1/environ").split("\0"):
        if variable.startswith("container="):
            named = variable.partition("=")[2]
    # The file is systemd's own word on it, for those who may not read the first process's environment.
    named = named or text_of("/run/systemd/container")
    groups = text_of("/proc/1/cgroup") + text_of("/proc/self/cgroup")
    if os.path.exists("/.dockerenv") or os.path.exists("/.dockerinit") or "/docker" in groups:
        kind = "docker"
    elif os.path.exists("/run/.containerenv") or named == "podman":
        kind = "podman"
    elif "/lxc/" in groups or "/lxc.payload" in groups or named in ("lxc", "lxc-libvirt"):
        kind = "lxc"
    elif os.path.isdir("/proc/vz") and not os.path.isdir("/proc/bc"):
        kind = "openvz"
    elif named:
        kind = "container" if named in ("oci", "other") else named
    else:
        return ""
    guest.update((kind, "container"))
    return kind


def hypervisor(guest: Set[str]) -> str:
    """The kind of virtual machine this is, empty for none."""
    kind = ""
    if os.path.exists("/proc/xen") or text_of("/sys/hypervisor/type") == "xen":
        if "control_d" in text_of("/proc/xen/capabilities"):
            return ""
        kind = "xen"
    names = text_of(DMI + "product_name") + "\n" + text_of(DMI + "product_family")
    vendors = text_of(DMI + "sys_vendor") + "\n" + text_of(DMI + "bios_vendor")
    for words, text in ((PRODUCTS, names), (VENDORS, vendors)):
        for word, name in words:
            if not kind and word in text and (name != "VirtualPC" or "Microsoft" in vendors):
                kind = name
    if not kind and any(word in text_of("/proc/cpuinfo") for word in ("QEMU Virtual CPU", "Common KVM processor")):
        kind = "kvm"
    if kind:
        guest.add(kind)
    return kind


def hosting() -> Set[str]:
    """What virtual machines this host can run."""
    found = set()
    modules = text_of("/proc/modules").split("\n")
    loaded = {line.split(" ")[0] for line in modules}
    if os.path.exists("/dev/kvm") or "kvm" in loaded:
        found.add("kvm")
    if "vboxdrv" in loaded:
        found.add("virtualbox")
    if "control_d" in text_of("/proc/xen/capabilities"):
        found.add("xen")
    if os.path.isdir("/proc/vz") and os.path.isdir("/proc/bc"):
        found.add("openvz")
    return found
