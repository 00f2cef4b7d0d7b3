"""Make a temporary file or directory that only its maker may use."""

from __future__ import annotations

import os
from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.permissions import describe
from opsplay.agent.spec import Choice, Params, Path, Str

PARAMS = {
    "state": Choice("directory", "file", default="file", help="What is made"),
    "path": Path(help="The directory in which it is made; without it the system's own for temporary files"),
    "prefix": Str(default="ansible.", help="How its name begins"),
    "suffix": Str(default="", help="How its name ends"),
}
# A preview cannot know the name that a real run will take: the one it returns is an example.
CHECK = "partial"

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if "/" in params.prefix + params.suffix:
        host.fail("prefix and suffix are parts of a name: they cannot hold a slash")
    folder = host.expand(params.path) if params.path else default_folder()
    if not host.is_directory(folder):
        host.fail("cannot make a temporary %s: there is no directory %s" % (params.state, folder))
    path = os.path.join(folder, params.prefix + random_letters(8) + params.suffix)
    if params.state == "directory":
        host.directory(path, mode=0o700)
    else:
        host.write(path, b"", mode=0o600)
    return host.outcome(**dict(describe(host, path), path=path))


def default_folder() -> str:
    """The first directory that the environment or custom names, as Python's tempfile searches."""
    named = [os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP")]
    for folder in named + ["/tmp", "/var/tmp", "/usr/tmp"]:
        if folder and os.access(folder, os.W_OK | os.X_OK):
            return os.path.abspath(folder)
    return os.getcwd()


def random_letters(count: int) -> str:
    # 37 letters do not divide 256 evenly: that some come a little more often is no help to who would guess eight.
    return "".join(LETTERS[byte % len(LETTERS)] for byte in os.urandom(count))
