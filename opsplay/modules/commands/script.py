"""Run a script of the control side on the host, with arguments."""

from __future__ import annotations

import os
from typing import Any, Dict

from opsplay.agent import files
from opsplay.agent.host import Blob, Host
from opsplay.agent.spec import Bool, Params, Path, Raw, Str
from opsplay.modules.commands._helpers import is_there, with_lines

INTERNAL = "set by the control side"

PARAMS = {
    "_raw_params": Str(aliases=("free_form",), help="The script and its arguments, as they stand after the name"),
    "cmd": Str(help="The script and its arguments; the shell of the host reads the arguments"),
    "chdir": Path(help="The directory in which it runs"),
    "creates": Path(help="A file, or a pattern of files: where one is there, nothing is run"),
    "removes": Path(help="A file, or a pattern of files: where none is there, nothing is run"),
    "executable": Path(help="The program that runs the script, in place of the one that its first line names"),
    "decrypt": Bool(default=True, help="Decrypt a script that is a vault file"),
    "_name": Str(default="script", help=INTERNAL),
    "_arguments": Str(help=INTERNAL),
    "_content": Raw(help=INTERNAL),
    "_blob": Raw(help=INTERNAL),
}
CHECK = "skipped"

# Where a script lies while it runs, under its own name in a folder that only its user may enter.
FOLDERS = ("/tmp", "/var/tmp", "/run", "~")


def run(host: Host, params: Params) -> Dict[str, Any]:
    folder = host.expand(params.chdir) if params.chdir else None
    if params.creates and is_there(host, params.creates, folder):
        return host.outcome(skipped=True, msg="%s exists, matching creates option" % params.creates)
    if params.removes and not is_there(host, params.removes, folder):
        return host.outcome(skipped=True, msg="%s does not exist, matching removes option" % params.removes)
    if host.check:
        host.shadow.ran_programs = True
        if params.creates or params.removes:
            return host.outcome(changed=True)
        return host.outcome(skipped=True, msg="the script would have been run")
    if folder and not host.is_directory(folder):
        host.fail("cannot run the script: chdir: %s is no directory" % folder, rc=2)
    hidden = host.temporary.folder(place_for(host, params.executable is None))
    try:
        path = os.path.join(hidden, params._name)
        blob = params._blob
        content = Blob(blob["sha256"], blob["size"]) if blob is not None else params._content
        files.overwrite(path, host.chunks(content))
        os.chmod(path, 0o700)
        return execute(host, params, path, folder)
    finally:
        host.temporary.discard(hidden)


def execute(host: Host, params: Params, path: str, folder: Any) -> Dict[str, Any]:
    """Run the script as a word of a command line: its arguments are the shell's to read."""
    quoted = "'%s'" % path.replace("'", "'\\''")
    line = " ".join(part for part in (params.executable, quoted, params._arguments) if part)
    done = host.run(["/bin/sh", "-c", line], cwd=folder)
    result = with_lines({"rc": done.rc, "stdout": done.stdout, "stderr": done.stderr})
    if done.truncated:
        host.warn("the script said more than is kept: its output is cut off")
    if done.rc != 0:
        host.fail("non-zero return code", **dict(result, changed=True))
    return host.outcome(**result)


def place_for(host: Host, is_executed: bool) -> str:
    """A folder for the script: one that may be written to, on a file system whose programs may run if need be."""
    folders = [folder for folder in map(host.expand, FOLDERS) if os.access(folder, os.W_OK | os.X_OK)]
    if is_executed:
        folders = [folder for folder in folders if not os.statvfs(folder).f_flag & os.ST_NOEXEC]
    if not folders:
        host.fail("there is no folder for the script: programs may run in none of %s" % ", ".join(FOLDERS))
    return folders[0]
