"""An OpenSSH server on loopback: real SSH for demos, quick tests and benchmarks, without root and without a lab.

`LoopbackSSHD` serves the user who starts it. See `loopback_fleet` for a thousand hosts at the cost of one process.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from opsplay.errors import LabError
from opsplay.lab.processes import descendants, terminate, wait_for
from opsplay.lab.programs import SEARCH_PATH, call

_START_SECONDS = 30.0
_STOP_SECONDS = 3.0
_PORT_ATTEMPTS = 3
# The server dies with whoever started it: its end of this pipe closes even when that process is killed.
_GUARD = """exec 3<&0
"$@" 3<&- & server=$!
{ read -r _; kill "$server"; } <&3 2>/dev/null & reader=$!
exec 3<&-
wait "$server"; status=$?
kill "$reader" 2>/dev/null
exit "$status"
"""


class LoopbackSSHD:
    """An OpenSSH server for one account, with keys of its own; a context manager.

    `directory` holds its keys, configuration and log, and stays; keys that it holds already are kept, so a server
    that is started again there is the same host. It must be readable by `user` (default: the current one).
    `port` None takes a free one, or 22 inside a `namespace` (of `ip netns`). `extra_config` are lines of sshd_config
    that replace ours. As root the directory /run/sshd, which sshd insists on, is made and stays.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        address: str = "127.0.0.1",
        namespace: str | None = None,
        user: str | None = None,
        extra_config: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.address = address
        self.namespace = namespace
        self.user = user or pwd.getpwuid(os.geteuid()).pw_name
        self._extra_config = dict(extra_config or {})
        self._wanted_port = port or (22 if namespace else None)
        self._port = self._wanted_port or 0
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The TCP port; known once the server has started."""
        return self._port

    @property
    def private_key(self) -> Path:
        """The client's Ed25519 key, mode 0600, without a passphrase."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The server's key: for `address`, for 127.* (OpenSSH alone reads that), and for all that `trust` was given."""
        return self.directory / "known_hosts"

    @property
    def log(self) -> Path:
        """What sshd says, of every start."""
        return self.directory / "sshd.log"

    @property
    def pid(self) -> int | None:
        """The listening process, None when it does not run."""
        try:
            return int(self._pid_file.read_text()) if self._guard and self._guard.poll() is None else None
        except (OSError, ValueError):
            return None

    @property
    def _pid_file(self) -> Path:
        return self.directory / "sshd.pid"

    def __enter__(self) -> LoopbackSSHD:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it listens. Raises LabError with the end of its log when it does not."""
        if self._guard:
            raise LabError(f"the SSH server in {self.directory} runs already")
        program = _sshd_program()
        self.directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._make_keys()
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._port = self._wanted_port or free_port(self.address)
            self._configure(program)
            if self._launch(program):
                break
            lost_the_port = self._wanted_port is None and "Address already in use" in self._log_tail()
            if attempt == _PORT_ATTEMPTS or not lost_the_port:
                raise LabError(f"sshd does not start at {self.address}:{self.port}", hint=self._log_tail())
        self.trust([self.address, "127.*"])

    def stop(self) -> None:
        """End the server and every session on it, within seconds. A stopped server may be started again."""
        guard = self._guard
        if guard is None:
            return
        processes = [guard.pid, *descendants(guard.pid)]
        if guard.stdin:
            guard.stdin.close()
        try:
            guard.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()
        terminate(processes)
        self._guard = None
        self._pid_file.unlink(missing_ok=True)

    def trust(self, addresses: Iterable[str], *, port: int | None = None) -> None:
        """Add the server's key to `known_hosts` for these addresses (Paramiko, unlike OpenSSH, knows no wildcards)."""
        key = (self.directory / "host_key.pub").read_text().strip()
        port = port or self.port
        known = self.known_hosts.read_text() if self.known_hosts.exists() else ""
        names = (address if port == 22 else f"[{address}]:{port}" for address in addresses)
        lines = (f"{name} {key}\n" for name in names)
        self.known_hosts.write_text(known + "".join(line for line in lines if line not in known))

    def _make_keys(self) -> None:
        for path in (self.private_key, self.directory / "host_key"):
            if not path.exists():
                _make_key(path)
        authorized = self.directory / "authorized_keys"
        shutil.copyfile(self.private_key.with_suffix(".pub"), authorized)
        authorized.chmod(0o644)  # sshd reads it as the user who logs in

    def _configure(self, program: str) -> None:
        lines = {
            "ListenAddress": self.address,
            "Port": str(self.port),
            "HostKey": f'"{self.directory}/host_key"',
            "PidFile": f'"{self._pid_file}"',
            "AuthorizedKeysFile": f'"{self.directory}/authorized_keys"',
            "AllowUsers": self.user,
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "StrictModes": "no",
            # Without PAM sshd refuses an account whose password is locked, as root's is on some systems.
            "UsePAM": "yes" if _is_locked(self.user) else "no",
            "UseDNS": "no",
            "PrintMotd": "no",
            "PrintLastLog": "no",
            "LogLevel": "VERBOSE",
            "MaxStartups": "2000",
            "MaxSessions": "200",
            "Subsystem": "sftp internal-sftp",
            **self._extra_config,
        }
        config = self.directory / "sshd_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        # OpenSSH 9.8 and later would shut out loopback after a few refused logins, which tests do on purpose.
        penalties = "PerSourcePenalties no"
        if call([program, "-t", "-f", str(config), "-o", penalties], check=False).returncode == 0:
            config.write_text(f"{config.read_text()}{penalties}\n")

    def _launch(self, program: str) -> bool:
        inside = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        server = [*inside, program, "-D", "-f", str(self.directory / "sshd_config"), "-E", str(self.log)]
        self._pid_file.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "opsplay-sshd", *server],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt at the terminal is for the caller to handle
            )
        guard = self._guard
        # sshd writes its pid once it listens, which can be seen from outside the namespace too.
        if wait_for(lambda: guard.poll() is not None or bool(self.pid), _START_SECONDS) and self.pid:
            return True
        self.stop()
        return False

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-500:].strip() if self.log.exists() else ""


def host_address(server: LoopbackSSHD, index: int) -> str:
    """The address of the fleet's host number `index` (from 1): its own 127.x.y.z where the server answers at all."""
    if server.address != "0.0.0.0":
        return server.address
    return f"127.{1 + index // 62500}.{index // 250 % 250}.{1 + index % 250}"


def write_inventory(
    path: Path, server: LoopbackSSHD, hosts: int, *, port: int | None = None, variables: Mapping[str, str] | None = None
) -> list[str]:
    """Write an Ansible inventory (INI) of h0001 ... and return the hosts' names; their keys become known.

    Every third host is in the group `db`, the others in `web`; both are in `fleet`. `port` is another way to the
    server, such as a proxy's. `variables` are added to those of `all`, as they stand.
    """
    port = port or server.port
    addresses = {f"h{index:04d}": host_address(server, index) for index in range(1, hosts + 1)}
    server.trust(sorted(set(addresses.values())), port=port)
    names = list(addresses)
    settings = {
        "ansible_port": str(port),
        "ansible_user": server.user,
        "ansible_ssh_private_key_file": str(server.private_key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={server.known_hosts}",
        "ansible_python_interpreter": "/usr/bin/python3",
        **(variables or {}),
    }
    sections = {
        "web": [f"{name} ansible_host={addresses[name]}" for at, name in enumerate(names) if at % 3 != 2],
        "db": [f"{name} ansible_host={addresses[name]}" for at, name in enumerate(names) if at % 3 == 2],
        "fleet:children": ["web", "db"],
        "all:vars": [f"{name}={value}" for name, value in settings.items()],
    }
    path.write_text("\n".join("\n".join([f"[{name}]", *lines, ""]) for name, lines in sections.items()))
    return names


def free_port(address: str) -> int:
    """A TCP port that nobody listens on now at `address`; somebody may by the time it is used."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _sshd_program() -> str:
    # sshd starts itself again for each connection, so it wants to be called by its full name.
    program = shutil.which("sshd", path=SEARCH_PATH)
    if program is None:
        raise LabError("no sshd on this machine", hint="apt-get install openssh-server")
    return os.path.abspath(program)


def _make_key(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.with_suffix(".pub").write_bytes(public + b"\n")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)


def _is_locked(user: str) -> bool:
    """Whether the account's password is locked; False where /etc/shadow cannot be read."""
    try:
        lines = Path("/etc/shadow").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith(f"{user}:!") for line in lines)


def main(arguments: list[str]) -> None:
    """`python -m opsplay.lab.loopback DIRECTORY`: serve until a signal, with an inventory of one host in hosts.ini."""
    directory = Path(arguments[0])
    with LoopbackSSHD(directory) as server:
        beside = directory / ".hosts.ini"
        write_inventory(beside, server, 1)
        beside.replace(directory / "hosts.ini")
        signal.sigwait({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


if __name__ == "__main__":
    main(sys.argv[1:])
