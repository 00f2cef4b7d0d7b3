"""Return a file's content, encoded as base64."""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Params, Path

PARAMS = {"src": Path(required=True, aliases=("path",), help="The file; its content travels in memory, not in pieces")}
CHECK = "exact"

# A result must fit into one message of the protocol, where base64 takes four bytes for three.
LIMIT = 40 << 20


def run(host: Host, params: Params) -> Dict[str, Any]:
    path = host.expand(params.src)
    found = host.stat(path, follow=True)
    if not host.knows(path) or (found is None and host.check and host.shadow.brings_unknown_files):
        return host.outcome(skipped=True, msg="what %s holds is known when an earlier task has run" % path)
    if found is None:
        host.fail("File not found: %s" % path)
    if host.is_directory(path):
        host.fail("source is a directory and must be a file: %s" % path)
    if found.st_size > LIMIT:
        host.fail("%s has %d bytes; slurp takes at most %d: use fetch" % (path, found.st_size, LIMIT))
    try:
        content = host.read(path)
    except PermissionError:
        host.fail("file is not readable: %s" % path)
    return host.outcome(content=b2a_base64(content, newline=False).decode("ascii"), source=path, encoding="base64")
