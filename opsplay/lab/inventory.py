"""A lab's hosts as an inventory that opsplay and Ansible read."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from opsplay.errors import LabError
from opsplay.lab.state import replace_file

_MARK = "# Written by `opsplay lab`"
_RESERVED = ("all", "ungrouped")


class Member(Protocol):
    """What an inventory needs to know about a host."""

    @property
    def name(self) -> str:
        """The inventory name."""

    @property
    def address(self) -> str:
        """Where its sshd listens."""

    @property
    def release(self) -> str:
        """The Debian release, for a group."""


def render(hosts: Iterable[Member], private_key: Path, known_hosts: Path) -> str:
    """The YAML inventory: every host, a group per release (`debian_bookworm`), and one per name without its number."""
    import yaml

    members = sorted(hosts, key=lambda host: _natural(host.name))
    variables = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(private_key),
        "ansible_ssh_common_args": f"-o {shlex.quote(f'UserKnownHostsFile={known_hosts}')}",
    }
    everything = {
        "vars": variables,
        "hosts": {host.name: {"ansible_host": host.address} for host in members},
        "children": {name: {"hosts": dict.fromkeys(names)} for name, names in groups(members).items()},
    }
    return yaml.safe_dump({"all": everything}, sort_keys=False)


def groups(hosts: Iterable[Member]) -> dict[str, list[str]]:
    """The names of the hosts in each group. A prefix that is a host's name makes no group: Ansible objects."""
    members = list(hosts)
    found: dict[str, list[str]] = {}
    for host in members:
        prefix = re.sub(r"[-\d]+$", "", host.name).replace("-", "_")
        for group in (f"debian_{host.release}", prefix):
            if group and group not in _RESERVED and group not in {member.name for member in members}:
                found.setdefault(group, []).append(host.name)
    return found


def write(path: Path, text: str) -> None:
    """Write an inventory. Raises LabError rather than overwrite what no lab wrote, or somebody has changed."""
    if path.exists() and not _is_ours(path):
        raise LabError(
            f"{path} is not as a lab wrote it, and stays",
            hint="move it away, or choose another directory with --inventory",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, f"{_MARK} (sha256 {_digest(text)}); `opsplay lab down` removes it unless it is changed.\n{text}")


def remove(paths: Iterable[Path]) -> list[Path]:
    """Remove inventories and their empty directories; returns those that stay, as somebody has changed them."""
    kept = []
    for path in paths:
        if not path.exists():
            continue
        if not _is_ours(path):
            kept.append(path)
            continue
        path.unlink()
        for directory in (path.parent, path.parent.parent):
            if "inventories" in (directory.name, directory.parent.name):
                with suppress(OSError):
                    directory.rmdir()
    return kept


def _is_ours(path: Path) -> bool:
    mark, _, text = path.read_text(encoding="utf-8", errors="replace").partition("\n")
    return mark.startswith(f"{_MARK} (sha256 {_digest(text)})")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
