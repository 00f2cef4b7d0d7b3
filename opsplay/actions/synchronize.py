"""Keep a folder the same as another one, with rsync."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from opsplay.actions.base import ActionFailed, Control, Live, Prepared, Steps
from opsplay.agent.spec import Bool, Choice, Int, List, Params, Path, Str

PARAMS = {
    "src": Str(required=True, help="What is copied; with a slash at its end, what lies in it"),
    "dest": Str(required=True, help="Where it goes"),
    "mode": Choice("push", "pull", default="push", help="push: from here to the host; pull: from the host to here"),
    "archive": Bool(default=True, help="Copy recursively, with links, permissions, times, owners and devices"),
    "recursive": Bool(help="Copy recursively, or with archive just not so"),
    "links": Bool(help="Copy links as links"),
    "copy_links": Bool(default=False, help="Copy what links lead to"),
    "perms": Bool(help="Keep permissions"),
    "times": Bool(help="Keep times"),
    "owner": Bool(help="Keep owners"),
    "group": Bool(help="Keep groups"),
    "dirs": Bool(default=False, help="Copy folders without what lies in them"),
    "checksum": Bool(default=False, help="Compare contents instead of times and sizes"),
    "compress": Bool(default=True, help="Compress on the way"),
    "delete": Bool(default=False, help="Remove from dest what is not in src"),
    "delay_updates": Bool(default=True, help="Rename all files into place at the end"),
    "existing_only": Bool(default=False, help="Make no new files"),
    "partial": Bool(default=False, help="Keep what an interrupted transfer has brought"),
    "link_dest": List(of=Path(), help="Folders to hard link files of that are the same"),
    "rsync_opts": List(of=Str(), default=[], help="Further options for rsync"),
    "rsync_path": Str(help="The rsync of the other side"),
    "rsync_timeout": Int(min=0, default=0, help="Seconds without data after which rsync gives up; 0 for never"),
    "dest_port": Int(min=1, max=65535, help="The port of ssh"),
    "private_key": Path(help="The private key for ssh"),
    "set_remote_user": Bool(default=True, help="Log in as the inventory's user, and not as ssh's own settings say"),
    "use_ssh_args": Bool(default=False, help="Accepted for Ansible's sake: the connection's own options always count"),
    "ssh_connection_multiplexing": Bool(default=False, help="Accepted for Ansible's sake"),
    "verify_host": Bool(default=False, help="Accepted for Ansible's sake: host keys are always verified"),
}
CHECK = "exact"
HELPER = "opsplay.modules.files._rsync"
MARK = "<<CHANGED>>"
# The parts of --archive that can be asked for or left out by themselves.
PARTS = ("recursive", "links", "perms", "times", "owner", "group")
FLAGS = ("compress", "checksum", "copy_links", "partial", "dirs")
INTERRUPT_EVERY = 0.2


def prepare(control: Control, params: Params) -> Prepared:
    return Steps(lambda live: synchronize(control, live, params))


def synchronize(control: Control, live: Live, params: Params) -> Mapping[str, Any]:
    """rsync, started here or on the host that the task is delegated to. Raises ActionFailed."""
    other = live.own() if live.is_delegated else live
    starts_here = live.is_local or not live.is_delegated
    argv = [*options(params, live.check), *places(control, live, other, params)]
    if starts_here:
        done = run_here(live, argv)
    else:
        done = live.call(HELPER, {"argv": argv})
    if done.get("rc") != 0:
        said = str(done.get("stderr") or done.get("msg") or "").strip()
        raise ActionFailed(said or f"rsync ended with {done.get('rc')}", rc=done.get("rc"), cmd=shlex.join(argv))
    lines = str(done["stdout"]).splitlines()
    text = "\n".join(line.removeprefix(MARK) for line in lines)
    changed = any(line.startswith(MARK) for line in lines)
    return {"changed": changed, "msg": text, "rc": 0, "cmd": shlex.join(argv), "stdout_lines": text.splitlines()}


def options(params: Params, check: bool) -> list[str]:
    """rsync and its options, but for those that concern the connection."""
    found = ["rsync", f"--out-format={MARK}%i %n%L", "-F"]
    if params.delay_updates and not {"--inplace", "--append"} & set(params.rsync_opts):
        found.append("--delay-updates")
    if params.archive:
        found.append("--archive")
        found += [f"--no-{part}" for part in PARTS if params[part] is False]
    else:
        found += [f"--{part}" for part in PARTS if params[part]]
    found += [f"--{flag.replace('_', '-')}" for flag in FLAGS if params[flag]]
    chosen = (
        (params.delete, "--delete-after"),
        (params.existing_only, "--existing"),
        (params.rsync_timeout, f"--timeout={params.rsync_timeout}"),
        (check, "--dry-run"),
        (params.link_dest, "--hard-links"),
    )
    found += [option for wish, option in chosen if wish]
    found += [f"--link-dest={folder}" for folder in params.link_dest or ()]
    return [*found, *params.rsync_opts]


def places(control: Control, live: Live, other: Live, params: Params) -> list[str]:
    """The options of the connection, then source and destination, one of them on the other host."""
    speaks_rsync = any(place.startswith("rsync://") or "::" in place for place in (params.src, params.dest))
    here = {"src": params.src, "dest": params.dest}
    far, near = ("dest", "src") if params.mode == "push" else ("src", "dest")
    if live.is_local or not live.is_delegated:
        here[near] = local_path(control, here[near], near == "src" and "://" not in here[near])
    if speaks_rsync or other.is_local or (live.is_delegated and live.host == other.host):
        return ["--", here["src"], here["dest"]]
    program = other.as_user([params.rsync_path or "rsync"])
    shell = shlex.join(shell_to(live, other, params))
    address = f"[{other.address}]" if ":" in other.address else other.address
    here[far] = f"{address}:{here[far]}"
    found = [f"--rsh={shell}"]
    if list(program) != ["rsync"]:
        # A command of several words goes to the other side's shell as it is written.
        found.append(f"--rsync-path={params.rsync_path if len(program) == 1 else shlex.join(program)}")
    return [*found, "--", here["src"], here["dest"]]


def shell_to(live: Live, other: Live, params: Params) -> Sequence[str]:
    """How rsync logs in to the other host: as opsplay does, or from another host with that host's own keys."""
    words = list(other.command_to())
    if live.is_delegated and not live.is_local:
        kept = [index for index, word in enumerate(words[:-1]) if word in ("-l", "-p")]
        words = ["ssh", "-o", "BatchMode=yes", *(word for index in kept for word in words[index : index + 2])]
    if not params.set_remote_user and "-l" in words:
        place = words.index("-l")
        del words[place : place + 2]
    if params.dest_port:
        # The first one counts.
        words[1:1] = ["-p", str(params.dest_port)]
    if params.private_key:
        words[1:1] = ["-i", os.path.expanduser(params.private_key)]
    return words


def local_path(control: Control, path: str, is_source: bool) -> str:
    """A path of this machine: a source is looked for beside the playbook, a destination lies beside it."""
    path = os.path.expanduser(path)
    if is_source and not os.path.isabs(path):
        return control.find_file("files", path)
    return path if "://" in path else os.path.join(os.path.dirname(os.path.abspath(control.at.file)), path)


def run_here(live: Live, argv: Sequence[str]) -> Mapping[str, Any]:
    """rsync on this machine, which Ctrl-C ends. Raises ActionFailed when it is not here."""
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError as problem:
        raise ActionFailed("the rsync program is missing here", hint="install rsync") from problem
    with process:
        try:
            while True:
                try:
                    stdout, stderr = process.communicate(timeout=INTERRUPT_EVERY)
                except subprocess.TimeoutExpired:
                    live.sleep(0)
                else:
                    return {"rc": process.returncode, "stdout": stdout, "stderr": stderr}
        except BaseException:
            process.terminate()
            raise
