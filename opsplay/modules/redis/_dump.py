"""An RDB file: looked at from outside, and read by Redis' own checker."""

from __future__ import annotations

import os
from typing import Any, Dict

from opsplay.agent.host import Host

MAGIC = b"REDIS"


class Damaged(Exception):
    """A file that no server would load: `str()` says why."""


def examine(host: Host, path: str) -> Dict[str, Any]:
    """What an RDB file holds: version, keys, and how it was looked at (read, or list where there is no checker).

    Raises Damaged.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError as problem:
        raise Damaged("%s cannot be read: %s" % (path, problem.strerror or problem)) from None
    if not head.startswith(MAGIC) or not head[5:].isdigit():
        raise Damaged("%s is no RDB file: it begins with %r" % (path, head))
    found: Dict[str, Any] = {"rdb_version": int(head[5:]), "keys": None, "expires": None, "level": "list"}
    program = host.which("redis-check-rdb")
    if program is None:
        return found
    done = host.query([program, path], cwd="/")
    if done.rc != 0:
        lines = [line for line in (done.stdout + "\n" + done.stderr).split("\n") if "error" in line.lower()]
        said = "; ".join(line.partition("] ")[2] or line for line in lines[:3]) or done.error or "rc %d" % done.rc
        raise Damaged("redis-check-rdb refuses %s: %s" % (path, said))
    for line in done.stdout.split("\n"):
        words = line.replace("[info] ", "").split()
        if words[1:] == ["keys", "read"] and words[0].isdigit():
            found["keys"] = int(words[0])
        elif words[1:] == ["expires"] and words[0].isdigit():
            found["expires"] = int(words[0])
    found["level"] = "read"
    return found


def place_of(settings: Dict[str, str]) -> str:
    """Where a server keeps its RDB file, from CONFIG GET."""
    return os.path.join(settings["dir"], settings["dbfilename"])
