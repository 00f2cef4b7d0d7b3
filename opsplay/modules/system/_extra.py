"""Facts of the admin's own (*.fact files), and a few that belong to no larger subset."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict
from typing import List as ListOf

from opsplay.agent.facts import text_of

FACT_PATH = "/etc/ansible/facts.d"


def local(host: Any, folder: str) -> Dict[str, Any]:
    """The admin's own facts: each *.fact file is JSON or INI, or a program that prints one of them."""
    if not os.path.isdir(folder):
        return {"local": {}}
    found = sorted(name for name in os.listdir(folder) if name.endswith(".fact"))
    return {"local": {name[:-5]: local_fact(host, os.path.join(folder, name)) for name in found}}


def local_fact(host: Any, path: str) -> Any:
    from json import loads

    if os.access(path, os.X_OK) and os.path.isfile(path):
        done = host.query([path])
        if done.rc != 0:
            host.warn("the fact program %s failed: %s" % (path, (done.stderr or done.error).strip()))
            return "error loading facts from %s: it ended with %d" % (path, done.rc)
        text = done.stdout
    else:
        text = text_of(path)
    try:
        return loads(text)
    except ValueError:
        pass
    from configparser import ConfigParser, Error

    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except Error as problem:
        host.warn("the fact file %s is neither JSON nor INI: %s" % (path, problem))
        return "error loading facts from %s: it is neither JSON nor INI" % path
    return {section: dict(parser.items(section)) for section in parser.sections()}


def chroot(host: Any) -> Dict[str, Any]:
    if os.environ.get("debian_chroot"):  # noqa: SIM112 (it is written so)
        return {"is_chroot": True}
    own = os.stat("/")
    try:
        first = os.stat("/proc/1/root/.")
    except OSError:
        # The root of ext4 has inode 2, of XFS 128, of btrfs 256.
        return {"is_chroot": own.st_ino not in (2, 128, 256)}
    return {"is_chroot": (own.st_ino, own.st_dev) != (first.st_ino, first.st_dev)}


def loadavg(host: Any) -> Dict[str, Any]:
    one, five, fifteen = os.getloadavg()
    return {"loadavg": {"1m": one, "5m": five, "15m": fifteen}}


def storage_names(host: Any) -> Dict[str, Any]:
    """How this host is known to block storage over a network."""
    initiator = ""
    for line in text_of("/etc/iscsi/initiatorname.iscsi").splitlines():
        if line.startswith("InitiatorName="):
            initiator = line.partition("=")[2].strip()
            break
    nqn = text_of("/etc/nvme/hostnqn")
    return {"iscsi_iqn": initiator, "hostnqn": nqn if nqn.startswith("nqn.") else "", "fibre_channel_wwn": ports()}


def ports() -> ListOf[str]:
    folder = "/sys/class/fc_host"
    if not os.path.isdir(folder):
        return []
    names = [text_of("%s/%s/port_name" % (folder, name)) for name in sorted(os.listdir(folder))]
    return [name[2:] if name.startswith("0x") else name for name in names if name]


def systemd(host: Any) -> Dict[str, Any]:
    """systemd's version and features: only systemctl tells, so they are gathered only when they are named."""
    if not os.path.isdir("/run/systemd/system"):
        return {}
    lines = host.query(["systemctl", "--version"]).stdout.splitlines()
    version = lines[0].split()[1] if lines and len(lines[0].split()) > 1 else "0"
    features = " ".join(lines[1:])
    return {"systemd": {"version": int(version) if version.isdigit() else version, "features": features}}


def nothing(host: Any) -> Dict[str, Any]:
    """Facts of other programs (facter, ohai) are not gathered; playbooks exclude them by name."""
    return {}


EXTRA: Dict[str, Callable[[Any], Dict[str, Any]]] = {
    "chroot": chroot,
    "iscsi": storage_names,
    "loadavg": loadavg,
    "facter": nothing,
    "ohai": nothing,
}
WHEN_NAMED: Dict[str, Callable[[Any], Dict[str, Any]]] = {"systemd": systemd}
