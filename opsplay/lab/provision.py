"""What makes a host out of an image: its identity, keys, accounts, address, and the way to its packages."""

from __future__ import annotations

import os
import re
import secrets
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from opsplay.lab import apt, keys
from opsplay.lab.network import Network
from opsplay.lab.programs import call
from opsplay.lab.state import replace_file

ACCOUNTS = ("root", "admin", "ops", "plain")
# Generators of units that have nothing to generate in a container, and are started at every boot and daemon-reload.
_IDLE_GENERATORS = (
    "bless-boot", "cryptsetup", "debug", "factory-reset", "getty", "gpt-auto", "hibernate-resume", "integritysetup",
    "run", "ssh", "system-update", "tpm2", "veritysetup",
)  # fmt: skip
_BEGIN, _END = "# The hosts of this lab:", "# End of the lab's hosts."


def make_credentials(directory: Path, lab: str) -> None:
    """Make the lab's key pair and the password of `ops`, where they are missing (mode 0600)."""
    key = directory / "key"
    if not (key.exists() and key.with_suffix(".pub").exists()):
        keys.make(key, "ed25519", f"opsplay-lab-{lab}")
    if not (directory / "password").exists():
        replace_file(directory / "password", secrets.token_urlsafe(12) + "\n", 0o600)


def make_identity(root: Path, host: str, public_key: str, password: str) -> str:
    """Give a fresh root file system its name, machine id, host keys, and the accounts their credentials.

    Returns the host's public keys, a line each.
    """
    replace_file(root / "etc/hostname", host + "\n")
    replace_file(root / "etc/machine-id", uuid.uuid4().hex + "\n", 0o444)
    _mask_generators(root / "etc/systemd/system-generators")
    for account in ACCOUNTS:
        _authorize(root / ("root" if account == "root" else f"home/{account}"), public_key)
    call(["chroot", str(root), "chpasswd"], stdin=f"ops:{password}\n")
    return "".join(keys.make(root / f"etc/ssh/ssh_host_{kind}_key", kind, f"root@{host}") for kind in keys.KINDS)


def _mask_generators(directory: Path) -> None:
    # systemd.generator(7)
    directory.mkdir(parents=True, exist_ok=True)
    for name in _IDLE_GENERATORS:
        (directory / f"systemd-{name}-generator").symlink_to("/dev/null")


def _authorize(home: Path, public_key: str) -> None:
    owner = home.stat()
    directory = home / ".ssh"
    directory.mkdir(mode=0o700, exist_ok=True)
    replace_file(directory / "authorized_keys", public_key, 0o600)
    for path in (directory, directory / "authorized_keys"):
        os.chown(path, owner.st_uid, owner.st_gid)


def connect(root: Path, network: Network, number: int) -> None:
    """Write the host's address, name servers and apt settings, as the lab's network is now."""
    directory = root / "etc/systemd/network"
    directory.mkdir(parents=True, exist_ok=True)
    # It has to sort before 80-container-host0.network, which asks for DHCP.
    replace_file(
        directory / "10-host0.network",
        "[Match]\nName=host0\n\n[Network]\n"
        f"Address={network.address(number)}/24\nGateway={network.gateway}\nIPv6AcceptRA=no\n",
    )
    replace_file(root / "etc/resolv.conf", _resolver())
    if settings := apt.configuration(network.gateway):
        replace_file(root / "etc/apt/apt.conf.d/95lab", "\n".join(settings) + "\n")


def _resolver() -> str:
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            # A name server on this machine's loopback is out of the host's reach.
            lines = [line for line in lines if not re.match(r"\s*nameserver\s+(127\.|::1)", line)]
            if any(line.startswith("nameserver") for line in lines):
                return "\n".join(lines) + "\n"
    return ""


def introduce(root: Path, addresses: Mapping[str, str]) -> None:
    """Write all hosts of the lab into a host's /etc/hosts, and leave the other lines as they are."""
    path = root / "etc/hosts"
    kept = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    if path.exists() and _BEGIN in (text := path.read_text(encoding="utf-8", errors="replace")):
        kept = re.sub(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}\n?", "", text, flags=re.DOTALL)
    lines = [f"{address}\t{name}\n" for name, address in sorted(addresses.items())]
    replace_file(path, kept + _BEGIN + "\n" + "".join(lines) + _END + "\n")


def known_hosts(hosts: Iterable[tuple[str, str, str]]) -> str:
    """The lines of a known_hosts file, from (name, address, public keys) of each host."""
    lines = []
    for name, address, public in hosts:
        for key in public.splitlines():
            kind, blob = key.split()[:2]
            lines.append(f"{address},{name} {kind} {blob}\n")
    return "".join(lines)
