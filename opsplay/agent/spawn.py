"""Start a program: without a fork where Python can, in a session of its own, with the default answer to signals."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional


def start(argv: List[str], env: Dict[str, str], cwd: Optional[str], fds: List[int], children: Any) -> int:
    """Execute with `fds` as standard input, output and error, in a session of its own. Returns the pid.

    The pid is in `children` before an interruption can come. Raises OSError when the program cannot be executed.
    """
    import _signal

    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGUSR1,))
    try:
        if hasattr(os, "posix_spawn"):  # novm
            pid = _spawn_without_fork(argv, env, cwd, fds, before)
        else:  # Python 3.6 and 3.7
            pid = _fork(argv, env, cwd, fds, before)
        children.add(pid)
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
    return pid


def _spawn_without_fork(argv: List[str], env: Dict[str, str], cwd: Optional[str], fds: List[int], mask: Any) -> int:
    """posix_spawn shares memory with the child until it executes: half the cost of a fork of this process."""
    program = find_program(argv[0], env, cwd)
    actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(fds)]  # novm
    here = -1
    if cwd:
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.chdir(cwd)
        except OSError:
            os.close(here)
            raise
    try:
        return os.posix_spawn(  # novm
            program, argv, env, file_actions=actions, setsid=True, setsigmask=mask, setsigdef=default_signals()
        )
    finally:
        if here >= 0:
            os.fchdir(here)
            os.close(here)


def find_program(name: str, env: Dict[str, str], cwd: Optional[str]) -> str:
    """The path of a program, searched as execvp does. Raises OSError when there is none that can be executed."""
    if "/" in name:
        return name
    denied = False
    for folder in env.get("PATH", os.defpath).split(":"):
        path = os.path.join(cwd or "", folder, name) if not folder.startswith("/") else folder + "/" + name
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
        denied = denied or os.path.isfile(path)
    code = 13 if denied else 2
    raise OSError(code, os.strerror(code), name)


def _fork(argv: List[str], env: Dict[str, str], cwd: Optional[str], fds: List[int], mask: Any) -> int:
    """Fork and execute; the child reports over a pipe when it cannot."""
    report_out, report_in = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            _become(argv, env, cwd, fds, report_in, mask)
    finally:
        os.close(report_in)
    try:
        failure = os.read(report_out, 16)
    finally:
        os.close(report_out)
    if failure:
        os.waitpid(pid, 0)
        code = int(failure)
        raise OSError(code, os.strerror(code), cwd if cwd and not os.path.isdir(cwd) else argv[0])
    return pid


def _become(argv: List[str], env: Dict[str, str], cwd: Optional[str], fds: List[int], report: int, mask: Any) -> None:
    """In the child: become the program, or report why not and end."""
    try:
        os.setsid()
        for target, fd in enumerate(fds):
            os.dup2(fd, target)
        if cwd:
            os.chdir(cwd)
        reset_signals(mask)
        os.execvpe(argv[0], argv, env)
    except OSError as problem:
        os.write(report, b"%d" % (problem.errno or 0))
    finally:
        os._exit(127)


def default_signals() -> List[int]:
    """The signals that the agent ignores or handles, and a program shall not."""
    import _signal

    return [_signal.SIGINT, _signal.SIGHUP, _signal.SIGTERM, _signal.SIGPIPE, _signal.SIGUSR1]


def reset_signals(mask: Any) -> None:
    """Programs expect the default answer to signals; the agent ignores some, and Python ignores SIGPIPE."""
    import _signal

    for number in default_signals():
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
