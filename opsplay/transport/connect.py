"""Choose the transport that serves a target."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opsplay.errors import ConnectionFailed, InventoryError
from opsplay.transport.base import Connection, Target

if TYPE_CHECKING:
    from opsplay.transport.ssh import Bastions

SSH_NAMES = ("ssh", "smart", "paramiko", "paramiko_ssh")
# Seconds before another attempt: none at first, then doubled each time up to this.
LONGEST_PAUSE = 30


class Connector:
    """Opens connections for one run; holds what they share."""

    def __init__(self) -> None:
        self._bastions: Bastions | None = None

    def connect(self, target: Target) -> Connection:
        """An open connection. Raises UnreachableError's kinds; InventoryError for an unknown connection type."""
        for attempt in range(target.retries):
            try:
                return self._attempt(target)
            except ConnectionFailed:
                time.sleep(min(2**attempt - 1, LONGEST_PAUSE))
        return self._attempt(target)

    def _attempt(self, target: Target) -> Connection:
        if target.connection == "local":
            from opsplay.transport.local import LocalConnection

            return LocalConnection(target)
        if target.connection == "openssh" or (target.connection in SSH_NAMES and self._beyond_paramiko(target)):
            from opsplay.transport.openssh import OpenSSHConnection

            return OpenSSHConnection(target)
        if target.connection not in SSH_NAMES:
            raise InventoryError(
                f"{target.name}: unknown connection type {target.connection!r}", hint="use ssh, openssh or local"
            )
        from opsplay.transport.ssh import Bastions, SSHConnection

        if self._bastions is None:
            self._bastions = Bastions()
        return SSHConnection(target, self._bastions)

    @staticmethod
    def _beyond_paramiko(target: Target) -> bool:
        from opsplay.transport import known_hosts, ssh_config

        if target.extra_arguments or target.program or ssh_config.needs_openssh(target.address) is not None:
            return True
        name = known_hosts.entry_name(target.address, target.port or 22)
        return any(known_hosts.load(file).has_authority(name) for file in ssh_config.known_hosts_files(target))

    def close(self) -> None:
        if self._bastions is not None:
            self._bastions.close()
