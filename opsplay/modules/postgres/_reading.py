"""What reads a dump to find out whether it is whole: its table of contents, every byte of it, or a restore of it."""

from __future__ import annotations

import os
from typing import Any, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, Tap, flow, from_file, opened
from opsplay.modules.postgres._server import Server

UNPACKERS = {"plain.gz": ["gzip", "-dc"], "plain.zst": ["zstd", "-dcq"]}
# pg_dump and pg_dumpall write this at the end, and only there.
COMPLETE = (b"PostgreSQL database dump complete", b"PostgreSQL database cluster dump complete")
TRAILER = 2048


class Reader:
    """Reads one dump at a level. `target` is a scratch server, its database, and whether roles are there."""

    def __init__(self, server: Server, kind: str, level: str, target: Any = None) -> None:
        self._kind = kind
        self._level = level
        self._target = target
        self._restore = server.program("pg_restore") if kind in ("custom", "directory") else ""
        self._end: Optional[Tap] = None
        # The list of what SQL holds is the SQL itself: all that is cheap to learn is whether its last line is there.
        self.needs_end_only = kind == "plain" and level == "list" and target is None

    def chain(self, archive: str = "") -> List[Any]:
        """The programs that read the dump from their standard input, or the folder `archive`."""
        behind = [archive] if archive else []
        if not self._restore:
            self._end = Tap(keep=TRAILER, hashed=False)
            unpack = [Program(UNPACKERS[self._kind])] if self._kind in UNPACKERS else []
            return unpack + [self._end] + self._loading()
        if self._level == "list":
            return [Program([self._restore, "--list"] + behind, stops_early=True)]
        if self._target is None:
            return [Program([self._restore, "--file=/dev/null"] + behind)]
        # Whose roles are not known has no owners in the scratch cluster.
        less = [] if self._target[2] else ["--no-owner", "--no-privileges", "--no-tablespaces"]
        return [Program([self._restore, "--file=-"] + less + behind)] + self._loading()

    def look_at_end(self, path: str) -> None:
        """Keep the last bytes of a file, as `chain` does of a stream. Raises Failed."""
        self._end = Tap(hashed=False)
        fd = opened(path)
        try:
            self._end.kept = os.pread(fd, TRAILER, max(0, os.fstat(fd).st_size - TRAILER))
        finally:
            os.close(fd)

    def _loading(self) -> List[Program]:
        if self._target is None:
            return []
        scratch, database = self._target[:2]
        argv = scratch.command("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null")
        return [Program(argv, scratch.environment(database))]

    def judge(self) -> None:
        """What the programs themselves do not notice. Raises Failed."""
        if self._end is not None and not any(word in self._end.kept for word in COMPLETE):
            raise Failed("it is cut off: its last line is not that of a complete dump", "pg_dump")


def read_file(host: Host, path: str, reader: Reader, whole: bool, decrypt: Optional[Program] = None) -> Any:
    """Let a reader have a file. Returns the taps of the file and of what it decrypts to. Raises Failed.

    Without `whole` a program may stop reading, and the hash is not known.
    """
    outer, inner = Tap(), Tap()
    text = "reading %s" % os.path.basename(path)
    if decrypt is not None:
        inner.sides = [reader.chain()]
        from_file(host, path, [outer, decrypt, inner], text)
    elif whole:
        outer.sides = [reader.chain()]
        from_file(host, path, [outer], text)
    elif reader.needs_end_only:
        reader.look_at_end(path)
    else:
        from_file(host, path, reader.chain())
    reader.judge()
    return outer, inner


def digest_file(host: Host, path: str, text: str = "") -> Tap:
    """Size and hash of a file as it lies on the disk. Raises Failed."""
    tap = Tap()
    fd = opened(path, follow=False)
    try:
        flow(host, [tap], source=fd, text=text, total=os.fstat(fd).st_size)
    finally:
        os.close(fd)
    return tap
