"""Run a command line through a shell, with its pipes, redirections and variables."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Params, Path
from opsplay.modules.commands._helpers import COMMON, command_line, execute

PARAMS = dict(
    COMMON,
    executable=Path(help="The shell, by its full path; /bin/sh without it"),
)
CHECK = "skipped"


def run(host: Host, params: Params) -> Dict[str, Any]:
    line = command_line(host, params)
    if line is None or not line.strip():
        host.fail("no command given", rc=256)
    shell = host.expand(params.executable) if params.executable else "/bin/sh"
    return execute(host, params, [shell, "-c", line], line)
