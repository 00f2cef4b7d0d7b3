"""Run a command line over a connection without Python on the host, for the raw module."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from typing import Any

from opsplay.errors import BecomeFailed
from opsplay.session.bootstrap import Escalation, escalate
from opsplay.transport.base import Connection

TICK = 1.0


def run_raw(
    connection: Connection,
    command: str,
    become: Escalation | None,
    kept: int,
    deadline: float | None,
    on_wait: Callable[[], None],
) -> dict[str, Any]:
    """The command's result as Ansible's raw returns it; `deadline` is a monotonic time. Raises UnreachableError."""
    if become is not None:
        if become.password is not None:
            raise BecomeFailed(
                "raw cannot give a become password", hint="use command or shell, or sudo without password"
            )
        command = shlex.join(escalate(become, "", ["/bin/sh", "-c", command]))
    stream = connection.open(command)
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            try:
                data = stream.receive(TICK)
            except TimeoutError:
                on_wait()
                if deadline is not None and time.monotonic() > deadline:
                    return {
                        "failed": True,
                        "changed": True,
                        "rc": -1,
                        "msg": "the command timed out",
                        "stdout": "",
                        "stderr": "",
                    }
                continue
            if not data:
                break
            size += len(data)
            if size <= kept:
                parts.append(data)
        code = stream.finish()
        stderr = stream.errors()
    finally:
        stream.close()
    stdout = b"".join(parts).decode("utf-8", "replace")
    result: dict[str, Any] = {"changed": True, "rc": code, "stdout": stdout, "stderr": stderr}
    result.update(stdout_lines=stdout.splitlines(), stderr_lines=stderr.splitlines())
    if code != 0:
        result.update(failed=True, msg="non-zero return code")
    return result
