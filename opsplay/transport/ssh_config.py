"""The user's and the system's ssh configuration, with what it includes, as Paramiko can read it."""

from __future__ import annotations

import functools
import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from opsplay.transport.base import Target

if TYPE_CHECKING:
    from paramiko import SSHConfig

FILES = ("~/.ssh/config", "/etc/ssh/ssh_config")
DEEPEST = 16
USER_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
SYSTEM_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts",)

# Options that Paramiko cannot serve: such hosts are reached through the ssh program.
BEYOND_PARAMIKO = frozenset(
    ("certificatefile", "pkcs11provider", "securitykeyprovider", "knownhostscommand", "hostkeyalias", "revokedhostkeys")
)


@functools.cache
def load() -> SSHConfig:
    """Both files in their order (the first value wins), read once."""
    from paramiko import SSHConfig

    text = "\n".join(read(Path(name).expanduser(), 0) for name in FILES)
    return SSHConfig.from_text(text)


def read(path: Path, depth: int) -> str:
    """A file's text with every Include replaced by what it names; what cannot be read is empty."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    out: list[str] = []
    for line in lines:
        words = line.replace("=", " ", 1).split()
        if words and words[0].lower() == "include" and depth < DEEPEST:
            out += [read(found, depth + 1) for word in words[1:] for found in included(word, path)]
        else:
            out.append(line)
    # A file's last Host block must not go on into the next file.
    return "\n".join([*out, "Host *"]) if depth == 0 else "\n".join(out)


def included(pattern: str, origin: Path) -> list[Path]:
    """The files an Include names: relative to ~/.ssh, or to /etc/ssh for the system's file."""
    folder = "/etc/ssh" if str(origin).startswith("/etc/") else os.path.expanduser("~/.ssh")
    full = os.path.join(folder, os.path.expanduser(pattern.strip('"')))
    return [Path(name) for name in sorted(glob.glob(full))]


@functools.cache
def lookup(host: str) -> dict[str, str | list[str]]:
    """The options for a host, by their lower-case name."""
    return dict(load().lookup(host))


def known_hosts_files(target: Target) -> tuple[str, ...]:
    """Where the keys of a host are looked for, the first being written to: the inventory's files, else the
    configuration's UserKnownHostsFile and GlobalKnownHostsFile, else the usual ones."""
    if target.known_hosts:
        return target.known_hosts
    options = lookup(target.address)
    named = [
        (options.get("userknownhostsfile"), USER_KNOWN_HOSTS),
        (options.get("globalknownhostsfile"), SYSTEM_KNOWN_HOSTS),
    ]
    return tuple(
        file
        for value, usual in named
        for file in (value.replace("%h", target.address).split() if isinstance(value, str) else usual)
        if file != "none"
    )


def host_key_checking(target: Target) -> str:
    """yes, accept-new or no: what is asked for, else the configuration's StrictHostKeyChecking."""
    configured = str(lookup(target.address).get("stricthostkeychecking", "")).lower()
    if target.host_key_checking != "yes":
        return target.host_key_checking
    return {"no": "no", "off": "no", "accept-new": "accept-new"}.get(configured, "yes")


def needs_openssh(host: str) -> str | None:
    """The option that only the ssh program can serve, if this host has one."""
    for name in lookup(host):
        if name in BEYOND_PARAMIKO:
            return name
    return None
