"""The least that any agentless tool must do: connect with Paramiko, run one Python on every host, close.

    python benchmarks/floor.py ENDPOINTS.json

prints the seconds that it took, imports not counted. The file is one that `Endpoints` writes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import paramiko

_THREADS = 50
_COMMAND = "/usr/bin/python3 -I -S -c pass"


@dataclass(frozen=True)
class Endpoints:
    """The hosts that the floor is measured on: one account and key, one port, many addresses."""

    addresses: Sequence[str]
    port: int
    user: str
    private_key: str
    known_hosts: str

    def write(self, path: Path) -> None:
        """Write the file that the program reads."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Endpoints:
        """Read a file that `write` wrote."""
        return cls(**json.loads(path.read_text()))


def measure(endpoints: Endpoints) -> float:
    """Seconds to visit every host once; SSHException or OSError when one cannot be visited."""
    start = time.perf_counter()
    key = paramiko.Ed25519Key.from_private_key_file(endpoints.private_key)
    known = paramiko.HostKeys(endpoints.known_hosts)

    def visit(address: str) -> None:
        name = address if endpoints.port == 22 else f"[{address}]:{endpoints.port}"
        with paramiko.SSHClient() as client:
            for kind, host_key in (known.lookup(name) or {}).items():
                client.get_host_keys().add(name, kind, host_key)
            client.connect(
                address, endpoints.port, endpoints.user, pkey=key, allow_agent=False, look_for_keys=False, timeout=60
            )
            _, stdout, _ = client.exec_command(_COMMAND)
            if stdout.channel.recv_exit_status():
                raise OSError(f"{_COMMAND} failed on {address}")

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(visit, endpoints.addresses):
            pass
    return time.perf_counter() - start


if __name__ == "__main__":
    print(measure(Endpoints.read(Path(sys.argv[1]))))
