"""Give a file's content to the control side, unless it has it already."""

from __future__ import annotations

import stat
from typing import Any

# A fetched file travels in pieces of this size (bytes).
PIECE = 256 << 10


def run(host: Any, params: Any) -> Any:
    path = host.real(params["src"])
    found = host.stat(path, follow=True)
    if found is None:
        host.fail("the remote file does not exist: %s" % params["src"], missing=True)
    if not stat.S_ISREG(found.st_mode):
        host.fail("%s is not a file; fetch takes files only" % params["src"])
    checksum = host.digest(path, "sha1")
    wanted = params["known"] not in ("any", checksum)
    if wanted:
        _send(host, path, found.st_size)
    return host.outcome(changed=False, sent=wanted, checksum=checksum)


def _send(host: Any, path: str, size: int) -> None:
    done = 0
    with open(path, "rb") as file:
        while True:
            piece = file.read(PIECE)
            if not piece:
                return
            host.deliver(piece)
            done += len(piece)
            host.progress("fetching", done, size)
