"""Send one item of evidence to the control side, as it is found; nothing is written on the host."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from opsplay.modules.evidence import _archive, _own, _plan

PIECE = 256 << 10


def run(host: Any, params: Any) -> Any:
    if params["step"] == "clock":
        return host.outcome(changed=False, time=time.time())
    if params["step"] == "plan":
        items = _plan.plan(host, params)
        return host.outcome(changed=False, items=items, user=os.geteuid())
    return collect(host, params["item"], params)


def collect(host: Any, item: Any, params: Any) -> Any:
    """Send an item's content. The result says what was done and when, by the host's clock, and the content's hash."""
    import hashlib

    digest, size = hashlib.sha256(), [0]

    def deliver(piece: bytes) -> None:
        # A message of the protocol has a bounded length.
        for start in range(0, len(piece), PIECE):
            host.deliver(piece[start : start + PIECE])
        digest.update(piece)
        size[0] += len(piece)

    told: Dict[str, Any] = {"started": time.time()}
    if item["kind"] == "run":
        told.update(program(host, item["argv"], params["timeout"], deliver))
    elif item["kind"] == "tar":
        paths = _plan.paths_of(item["what"], params["paths"])
        told["paths"] = [path for path in paths if os.path.lexists(path)]
        told.update(_archive.send(paths, params["most"], deliver, lambda path: host.progress("sending " + path)))
    else:
        told["source"] = "the kernel" if item["what"] not in ("changed", "set_id", "docker") else item["what"]
        for piece in _own.pieces(host, item["what"], params):
            deliver(piece)
    told.update(ended=time.time(), sha256=digest.hexdigest(), size=size[0])
    return host.outcome(changed=False, told=told)


def program(host: Any, argv: Any, seconds: int, deliver: Any) -> Dict[str, Any]:
    """Run a program, sending what it says. Which file it was, by its hash, is told as well."""
    path = os.path.realpath(host.which(argv[0]) or argv[0])
    done = host.query([host.which(argv[0]) or argv[0]] + list(argv[1:]), timeout=seconds, watch=deliver,
                      env={"LC_ALL": "C", "COLUMNS": "4096"})  # fmt: skip
    return {"argv": list(argv), "program": path, "program_sha256": host.digest(path, "sha256"), "rc": done.rc,
            "stderr": done.stderr[-2000:], "timed_out": done.timed_out}  # fmt: skip
