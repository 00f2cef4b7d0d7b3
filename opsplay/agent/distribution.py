"""Which distribution this is, in the words that Ansible's facts use for it."""

from __future__ import annotations

import os
from typing import Any, Dict

# Names by the ID of os-release; other distributions go by their NAME.
NAMES = {
    "debian": "Debian", "ubuntu": "Ubuntu", "raspbian": "Debian", "linuxmint": "Linux Mint", "kali": "Kali",
    "devuan": "Devuan", "pop": "Pop!_OS", "neon": "KDE neon", "parrot": "Parrot", "deepin": "Deepin", "uos": "Uos",
    "rhel": "RedHat", "centos": "CentOS", "fedora": "Fedora", "rocky": "Rocky", "almalinux": "AlmaLinux",
    "ol": "OracleLinux", "amzn": "Amazon", "cloudlinux": "CloudLinux", "scientific": "Scientific",
    "virtuozzo": "Virtuozzo", "openEuler": "openEuler", "tencentos": "TencentOS", "miraclelinux": "MIRACLE",
    "sles": "SLES", "sled": "SLED", "sles_sap": "SLES_SAP", "opensuse": "openSUSE", "opensuse-leap": "openSUSE Leap",
    "opensuse-tumbleweed": "openSUSE Tumbleweed", "opensuse-microos": "openSUSE MicroOS", "sl-micro": "SL-Micro",
    "arch": "Archlinux", "manjaro": "Manjaro", "antergos": "Antergos", "alpine": "Alpine", "gentoo": "Gentoo",
    "funtoo": "Funtoo", "slackware": "Slackware", "altlinux": "Altlinux", "clear-linux-os": "Clear Linux OS",
    "nixos": "NixOS", "void": "Void", "openwrt": "OpenWrt", "flatcar": "Flatcar", "coreos": "Coreos",
}
FAMILIES = {
    "Debian": "debian ubuntu raspbian linuxmint kali devuan pop neon parrot deepin uos",
    "RedHat": "rhel centos fedora rocky almalinux ol amzn cloudlinux scientific virtuozzo openEuler tencentos "
              "miraclelinux",
    "Suse": "sles sled sles_sap opensuse opensuse-leap opensuse-tumbleweed opensuse-microos sl-micro",
    "Archlinux": "arch manjaro antergos",
    "Gentoo": "gentoo funtoo",
}
# A relative's family by what os-release says it is like.
LIKE = {"debian": "Debian", "ubuntu": "Debian", "rhel": "RedHat", "fedora": "RedHat", "suse": "Suse",
        "arch": "Archlinux"}
MANAGERS = (
    ("/usr/bin/apt-get", "apt"), ("/usr/bin/dnf5", "dnf5"), ("/usr/bin/dnf-3", "dnf"), ("/usr/bin/dnf", "dnf"),
    ("/usr/bin/microdnf", "dnf"), ("/usr/bin/yum", "yum"), ("/usr/bin/zypper", "zypper"), ("/sbin/apk", "apk"),
    ("/usr/bin/apk", "apk"), ("/usr/bin/pacman", "pacman"), ("/usr/bin/emerge", "portage"),
    ("/usr/bin/xbps-install", "xbps"), ("/usr/sbin/slackpkg", "slackpkg"), ("/usr/sbin/urpmi", "urpmi"),
    ("/bin/opkg", "opkg"), ("/run/current-system/sw/bin/nix", "nix"), ("/usr/sbin/swupd", "swupd"),
)
# Files beside os-release that tell the exact version; the path and the name that Ansible gives them.
RELEASE_FILES = {"RedHat": "/etc/redhat-release", "Alpine": "/etc/alpine-release", "Archlinux": "/etc/arch-release",
                 "Suse": "/etc/os-release"}


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as opened:
            return opened.read().strip()
    except OSError:
        return ""


def os_release() -> Dict[str, str]:
    """The values of /etc/os-release, empty where there is none."""
    found = {}
    for line in (read("/etc/os-release") or read("/usr/lib/os-release")).splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            if value[:1] in "\"'" and value[-1:] == value[:1]:
                value = value[1:-1].replace('\\"', '"').replace("\\$", "$").replace("\\\\", "\\")
            found[name.strip()] = value
    return found


def family_of(release: Dict[str, str]) -> str:
    """Debian, RedHat, Suse …; a distribution without a family is its own."""
    identity = release.get("ID", "")
    for family, members in FAMILIES.items():
        if identity in members.split():
            return family
    for like in release.get("ID_LIKE", "").split():
        if like in LIKE:
            return LIKE[like]
    return name_of(release)


def name_of(release: Dict[str, str]) -> str:
    identity = release.get("ID", "")
    if identity == "centos" and "Stream" in release.get("NAME", ""):
        return "CentOS"
    return NAMES.get(identity) or release.get("NAME") or os.uname().sysname


def distribution(release: Dict[str, str]) -> Dict[str, Any]:
    """ansible_distribution and its relatives, and ansible_os_family."""
    family, version = family_of(release), release.get("VERSION_ID", "NA")
    facts: Dict[str, Any] = {"distribution": name_of(release), "os_family": family}
    debian = read("/etc/debian_version") if release.get("ID") in ("debian", "raspbian") else ""
    if debian[:1].isdigit():
        version = debian
        if "." in version:
            facts["distribution_minor_version"] = version.split(".")[1]
    path = RELEASE_FILES.get(family, "/etc/os-release")
    path = path if os.path.exists(path) else "/etc/os-release"
    if family == "RedHat":
        version = redhat_version(read(path)) or version
    elif family == "Alpine":
        version = read(path) or version
    facts.update(
        distribution_version=version,
        distribution_major_version=version.split(".")[0],
        distribution_release=codename(release, family),
    )
    if os.path.exists(path):
        variety = "RedHat" if family == "RedHat" else "SUSE" if family == "Suse" else family
        facts.update(distribution_file_path=path, distribution_file_variety=variety, distribution_file_parsed=True)
    return facts


def redhat_version(text: str) -> str:
    """The version in a line such as "Rocky Linux release 9.3 (Blue Onyx)"."""
    after = text.partition(" release ")[2].split()
    return after[0] if after and after[0][:1].isdigit() else ""


def codename(release: Dict[str, str], family: str) -> str:
    """The release's name: bookworm, jammy, or what stands in brackets after the version."""
    name = release.get("VERSION_CODENAME") or release.get("UBUNTU_CODENAME")
    if name:
        return name
    text = read("/etc/redhat-release") if family == "RedHat" else release.get("VERSION", "")
    if "Stream" in text and release.get("ID") == "centos":
        return "Stream"
    if family == "Suse" and "." in release.get("VERSION_ID", ""):
        return release["VERSION_ID"].split(".")[1]
    return text.partition("(")[2].partition(")")[0] or "NA"


def package_manager(release: Dict[str, str]) -> str:
    """The package manager's name in ansible_pkg_mgr."""
    if os.path.exists("/run/ostree-booted"):
        return "atomic_container"
    family = family_of(release)
    for path, name in MANAGERS:
        # Debian packages dnf and others package apt: they are not what manages that host.
        if (name == "apt") != (family == "Debian") and family in ("Debian", "RedHat", "Suse"):
            continue
        if name == "dnf5" and os.path.basename(os.path.realpath("/usr/bin/dnf")) != "dnf5":
            continue
        if os.path.exists(path):
            return name
    return "unknown"


def lsb(release: Dict[str, str]) -> Dict[str, str]:
    """What lsb_release says, without running it; empty where the host has neither it nor /etc/lsb-release."""
    found = {}
    for line in read("/etc/lsb-release").splitlines():
        name, _, value = line.partition("=")
        found[name] = value.strip().strip("\"'")
    if not found and not os.path.exists("/usr/bin/lsb_release"):
        return {}
    version = found.get("DISTRIB_RELEASE") or release.get("VERSION_ID", "")
    if not version:
        return {}
    return {
        "id": found.get("DISTRIB_ID") or name_of(release),
        "description": found.get("DISTRIB_DESCRIPTION") or release.get("PRETTY_NAME", ""),
        "release": version,
        "major_release": version.split(".")[0],
        "codename": found.get("DISTRIB_CODENAME") or release.get("VERSION_CODENAME", ""),
    }
