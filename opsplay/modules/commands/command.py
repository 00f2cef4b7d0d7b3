"""Run a program, without a shell: pipes, redirections and patterns have no meaning here."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent import words
from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, List, Params, Path, Str
from opsplay.modules.commands._helpers import COMMON, command_line, execute

PARAMS = dict(
    COMMON,
    argv=List(of=Str(), split=False, help="The program and its arguments as a list, instead of a command line"),
    expand_argument_vars=Bool(default=True, help="Replace $NAME and a leading ~ in the arguments"),
    executable=Path(help="Not used: it is accepted for old playbooks, with a warning"),
)
CHECK = "skipped"


def run(host: Host, params: Params) -> Dict[str, Any]:
    line = command_line(host, params)
    if params.argv and line:
        host.fail("only command or argv can be given, not both", rc=256, cmd=line)
    if not params.argv and not (line and line.strip()):
        host.fail("no command given", rc=256)
    if params.executable:
        host.warn("command uses no shell: executable (%s) has no effect; the shell module takes it" % params.executable)
    try:
        argv = list(params.argv or words.split(line or ""))
    except ValueError as problem:
        host.fail("cannot split the command line: %s: %s" % (problem, line), rc=256, cmd=line)
    shown = argv
    if params.expand_argument_vars:
        argv = [words.expand_user(word) for word in argv]
    return execute(host, params, argv, shown)
