"""SSH through the ssh program: for what Paramiko cannot do (certificates, FIDO keys, GSSAPI, unusual options)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping

from opsplay.errors import ConnectionFailed
from opsplay.transport import known_hosts, ssh_config
from opsplay.transport.base import Stream, Target
from opsplay.transport.pipes import PipeStream

CHECKING = {"yes": "yes", "accept-new": "accept-new", "no": "no"}


class OpenSSHConnection:
    """A host behind the ssh program. The first stream is the master that the others share."""

    def __init__(self, target: Target) -> None:
        if not shutil.which(target.program or "ssh"):
            message = f"{target.name}: the program {target.program or 'ssh'} is missing"
            raise ConnectionFailed(message, hint="install openssh-client")
        self._target = target
        self._directory = tempfile.mkdtemp(prefix="opsplay-")
        self._streams: list[PipeStream] = []

    def open(self, command: str) -> Stream:
        argv = [*program_and_options(self._target, self._master()), "--", self._target.address, command]
        stream = PipeStream(argv, self._target.name)
        self._streams.append(stream)
        return stream

    def _master(self) -> dict[str, str]:
        return {"ControlMaster": "auto", "ControlPath": f"{self._directory}/%C"}

    def close(self) -> None:
        for stream in reversed(self._streams):
            stream.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def program_and_options(target: Target, further: Mapping[str, str] = {}) -> list[str]:
    """The ssh program with the options that reach a host; its address and the command follow."""
    settings = {
        "BatchMode": "yes",
        **further,
        "ConnectTimeout": str(max(1, int(target.timeout))),
        "ConnectionAttempts": str(target.retries + 1),
        "StrictHostKeyChecking": CHECKING[ssh_config.host_key_checking(target)],
        **dict(target.options),
    }
    if target.key_port is not None:
        settings["HostKeyAlias"] = known_hosts.entry_name(target.address, target.key_port)
    if target.known_hosts:
        settings["UserKnownHostsFile"] = " ".join(target.known_hosts)
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    for flag, value in (("-l", target.user), ("-p", target.port), ("-i", target.private_key)):
        if value:
            options += [flag, str(value)]
    if target.jump:
        options += ["-J", ",".join(target.jump)]
    return [target.program or "ssh", *options, "-T", *target.extra_arguments]
