"""What command and shell share: conditions that spare the program, and the shape of its result."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Param, Params, Path, Str

# errno by the exit code with which a program that cannot be started is reported.
NOT_STARTED = {127: 2, 126: 13}

COMMON: Dict[str, Param] = {
    "_raw_params": Str(help="The command line, as it stands after the module's name", aliases=("free_form",)),
    "cmd": Str(help="The command line"),
    "chdir": Path(help="The directory in which it runs"),
    "creates": Path(help="A file, or a pattern of files: where one is there, nothing is run"),
    "removes": Path(help="A file, or a pattern of files: where none is there, nothing is run"),
    "stdin": Str(help="What the program reads as its standard input"),
    "stdin_add_newline": Bool(default=True, help="End the standard input with a newline"),
    "strip_empty_ends": Bool(default=True, help="Leave out line ends at the end of both outputs"),
}


def command_line(host: Host, params: Params) -> Optional[str]:
    """The command line, from cmd or the free form. Fails when both are given."""
    if params.cmd is not None and params._raw_params:
        host.fail("give the command line as cmd or as free form, not both", rc=256)
    given: Optional[str] = params.cmd if params.cmd is not None else params._raw_params
    return given or None


def execute(host: Host, params: Params, argv: List[str], shown: Any) -> Dict[str, Any]:
    """Run the program unless `creates` or `removes` spares it. `shown` is the command as results name it."""
    folder = host.expand(params.chdir) if params.chdir else None
    base: Dict[str, Any] = {"cmd": shown, "stdout": "", "stderr": "", "rc": 0}
    base.update(start=None, end=None, delta=None)
    if folder and not host.is_directory(folder) and not (host.check and host.shadow.brings_unknown_files):
        host.fail("Unable to change directory before execution: %s is no directory" % folder, **dict(base, rc=None))
    spared = why_spared(host, params, folder)
    if spared:
        message, said = spared
        return host.outcome(**dict(with_lines(dict(base, stdout=said)), changed=False, msg=message))
    if host.check:
        return predicted(host, params, base)
    text = params.stdin
    if text is not None and params.stdin_add_newline:
        text += "\n"
    data = text.encode("utf-8", "surrogateescape") if text is not None else b""
    started = time.time()
    done = host.run(argv, stdin=data, cwd=folder)
    return finished(host, params, dict(base, **timing(started, time.time())), done)


def finished(host: Host, params: Params, result: Dict[str, Any], done: Any) -> Dict[str, Any]:
    """The result of a program that has run. Fails the task when it did not end with 0."""
    result.update(rc=done.rc, stdout=done.stdout, stderr=done.stderr)
    if params.strip_empty_ends:
        result.update(stdout=done.stdout.rstrip("\r\n"), stderr=done.stderr.rstrip("\r\n"))
    if done.truncated:
        host.warn("the program said more than is kept: its output is cut off")
    if done.error:
        result.update(rc=NOT_STARTED.get(done.rc, done.rc), stdout="", stderr="")
        host.fail("cannot run the program: %s" % done.error, **with_lines(result))
    if done.rc != 0:
        host.fail("non-zero return code", **dict(with_lines(result), changed=True))
    return host.outcome(**dict(with_lines(result), msg=""))


def predicted(host: Host, params: Params, result: Dict[str, Any]) -> Dict[str, Any]:
    """Check mode: with `creates` or `removes` it is known that the program would run, else the task is skipped."""
    host.pretend_program()
    host.unknown("rc", "stdout", "stderr", "stdout_lines", "stderr_lines", "failed")
    if not host.reads_only:
        host.unknown("changed")
    result = dict(with_lines(result), msg="Command would have run if not in check mode")
    if params.creates or params.removes:
        return host.outcome(**dict(result, changed=True))
    return host.outcome(**dict(result, changed=False, skipped=True))


def with_lines(result: Dict[str, Any]) -> Dict[str, Any]:
    """The result with both outputs as lists of lines, too."""
    return dict(result, stdout_lines=result["stdout"].splitlines(), stderr_lines=result["stderr"].splitlines())


def why_spared(host: Host, params: Params, folder: Optional[str]) -> Any:
    """The message and the output of a program that need not run; None when it must."""
    verb = "Would not run" if host.check else "Did not run"
    if params.creates and is_there(host, params.creates, folder):
        path = params.creates
        return "%s command since '%s' exists" % (verb, path), "skipped, since %s exists" % path
    if params.removes and not is_there(host, params.removes, folder):
        path = params.removes
        return "%s command since '%s' does not exist" % (verb, path), "skipped, since %s does not exist" % path
    return None


def is_there(host: Host, pattern: str, folder: Optional[str]) -> bool:
    """Whether a file of this name or pattern exists, relative names seen from `folder`."""
    path = host.expand(os.path.join(folder, pattern) if folder and pattern[:1] not in "~$/" else pattern)
    if not any(char in path for char in "*?["):
        return host.stat(path) is not None
    # glob imports re: only a pattern is worth that.
    import glob

    return bool(glob.glob(path))


def timing(started: float, ended: float) -> Dict[str, str]:
    """start, end and delta as Python's datetime writes them, which costs more to import than this."""
    seconds, micros = divmod(int((ended - started) * 1e6), 1000000)
    delta = "%d:%02d:%02d.%06d" % (seconds // 3600, seconds // 60 % 60, seconds % 60, micros)
    if seconds >= 86400:
        days = seconds // 86400
        delta = "%d day%s, %d%s" % (days, "s" if days > 1 else "", seconds // 3600 % 24, delta[delta.index(":") :])
    return {"start": stamp(started), "end": stamp(ended), "delta": delta}


def stamp(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) + ".%06d" % (int(moment * 1e6) % 1000000)
