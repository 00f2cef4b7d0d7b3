"""SSH through the ssh program: for what Paramiko cannot do (certificates, FIDO keys, GSSAPI, unusual options)."""

from __future__ import annotations

import shutil
import tempfile

from opsplay.errors import ConnectionFailed
from opsplay.transport.base import Stream, Target
from opsplay.transport.pipes import PipeStream

CHECKING = {"yes": "yes", "accept-new": "accept-new", "no": "no"}


class OpenSSHConnection:
    """A host behind the ssh program. The first stream is the master that the others share."""

    def __init__(self, target: Target) -> None:
        if not shutil.which("ssh"):
            raise ConnectionFailed(f"{target.name}: the ssh program is missing", hint="install openssh-client")
        self._target = target
        self._directory = tempfile.mkdtemp(prefix="opsplay-")
        self._streams: list[PipeStream] = []

    def open(self, command: str) -> Stream:
        argv = ["ssh", *self._options(), "--", self._target.address, command]
        stream = PipeStream(argv, self._target.name)
        self._streams.append(stream)
        return stream

    def _options(self) -> list[str]:
        target = self._target
        settings = {
            "BatchMode": "yes",
            "ControlMaster": "auto",
            "ControlPath": f"{self._directory}/%C",
            "ConnectTimeout": str(max(1, int(target.timeout))),
            "StrictHostKeyChecking": CHECKING[target.host_key_checking],
            **dict(target.options),
        }
        if target.known_hosts:
            settings["UserKnownHostsFile"] = " ".join(target.known_hosts)
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        for flag, value in (("-l", target.user), ("-p", target.port), ("-i", target.private_key)):
            if value:
                options += [flag, str(value)]
        if target.jump:
            options += ["-J", ",".join(target.jump)]
        return [*options, "-T", *target.extra_arguments]

    def close(self) -> None:
        for stream in reversed(self._streams):
            stream.close()
        shutil.rmtree(self._directory, ignore_errors=True)
