"""This machine as a host: the same agent over a pipe (`ansible_connection: local`)."""

from __future__ import annotations

from opsplay.transport.base import Stream, Target
from opsplay.transport.pipes import PipeStream


class LocalConnection:
    """Commands of this machine's own shell, as the user who runs opsplay."""

    def __init__(self, target: Target) -> None:
        self._name = target.name
        self._streams: list[PipeStream] = []

    def open(self, command: str) -> Stream:
        stream = PipeStream(["/bin/sh", "-c", command], self._name)
        self._streams.append(stream)
        return stream

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
