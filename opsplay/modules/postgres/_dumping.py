"""A dump on its way into its hidden folder: made by the server's own program, hashed, encrypted, and read again."""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, List, Optional

from opsplay.agent.cipher import Cipher
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, Tap, flow, into_file
from opsplay.agent.sizes import tree_size
from opsplay.modules.postgres._reading import Reader, digest_file, read_file
from opsplay.modules.postgres._server import Server

# The file of each format, named after the database.
ENDINGS = {
    "custom": ".dump", "directory": ".dir", "plain": ".sql", "plain.gz": ".sql.gz", "plain.zst": ".sql.zst"
}  # fmt: skip
PACKERS = {"plain.gz": "gzip", "plain.zst": "zstd"}
# pg_dump takes the name of a method besides a level since this version.
METHODS_SINCE = 16


class Wish:
    """What is to be dumped, and how. `content` is all, schema or globals; `base` the file's name without its ending."""

    __slots__ = ("database", "content", "kind", "jobs", "compress", "base", "lock_timeout", "level")

    def __init__(self, database: str, content: str, base: str, params: Any) -> None:
        self.database = database
        self.content = content
        self.kind = "plain.zst" if params.format == "zstd" else params.format
        if content == "globals" and self.kind not in PACKERS:
            # pg_dumpall writes SQL and nothing else.
            self.kind = "plain"
        self.jobs = params.jobs
        self.compress = params.compress or ""
        self.base = base
        self.lock_timeout = params.lock_timeout
        self.level = params.verify

    @property
    def file(self) -> str:
        return self.base + ENDINGS[self.kind]


class Dumping:
    """One dump. `cipher` is made ready, `drill` is a Restored or None."""

    def __init__(self, host: Host, server: Server, wish: Wish, hidden: str, cipher: Optional[Cipher]) -> None:
        self._host = host
        self._server = server
        self._wish = wish
        self._hidden = hidden
        self._cipher = cipher
        self._path = os.path.join(hidden, wish.file)

    def make(self, snapshot: str, total: int, target: Any) -> List[Dict[str, Any]]:
        """Dump. Returns the files as a manifest has them; what is encrypted is read on its way. Raises Failed."""
        if self._wish.kind == "directory":
            return self._directory(snapshot, total, target)
        reader = self._reader(target)
        plain, written = Tap(), Tap()
        steps: List[Any] = [self._dump(snapshot)] + self._packer()
        path, end = self._path, [written]  # type: str, List[Any]
        if self._cipher is not None:
            plain.sides = [reader.chain()]
            end = [plain, self._cipher.program(), written]
            path += self._cipher.suffix
        into_file(self._host, path, steps + end, text="dumping %s" % self._wish.base, total=total)
        if self._cipher is not None:
            reader.judge()
        return [self._entry(path, written, plain if self._cipher is not None else None)]

    def read(self, files: List[Dict[str, Any]], target: Any) -> None:
        """Read what is not encrypted again, as it lies there. Raises Failed."""
        if self._cipher is not None:
            return
        if self._wish.kind == "directory":
            self._check_directory(target)
            return
        reader = self._reader(target)
        whole = self._wish.level != "list"
        outer, _ = read_file(self._host, self._path, reader, whole)
        if whole and outer.sha256 != files[0]["sha256"]:
            raise Failed("%s was changed while it was verified: its sha256 is another" % self._wish.file, "sha256")

    def _reader(self, target: Any) -> Reader:
        return Reader(self._server, self._wish.kind, self._wish.level, target)

    def _entry(self, path: str, written: Tap, plain: Optional[Tap]) -> Dict[str, Any]:
        found = {"name": os.path.relpath(path, self._hidden), "size": written.size, "sha256": written.sha256}
        if plain is not None:
            found.update(plain_size=plain.size, plain_sha256=plain.sha256)
        return found

    # --- the programs ---

    def _dump(self, snapshot: str, *more: str, third: Any = None) -> Program:
        wish, server = self._wish, self._server
        lock = ["--lock-wait-timeout=%d" % (wish.lock_timeout * 1000)] if wish.lock_timeout else []
        if wish.content == "globals":
            argv = server.command("pg_dumpall", "--globals-only", "--no-password", *lock)
        else:
            own = ["--no-password", "--format=%s" % wish.kind.partition(".")[0], "--snapshot=%s" % snapshot]
            own += ["--schema-only"] if wish.content == "schema" else []
            own += ["--compress=%s" % wish.compress] if wish.compress and wish.kind in ("custom", "directory") else []
            argv = server.command("pg_dump", *(own + lock + list(more)))
        return Program(argv, server.environment(wish.database), third)

    def _packer(self) -> List[Program]:
        if self._wish.kind not in PACKERS:
            return []
        level = ["-%s" % self._wish.compress] if self._wish.compress else []
        return [Program([PACKERS[self._wish.kind], "-c"] + (["-q"] if self._wish.kind == "plain.zst" else []) + level)]

    # --- a folder ---

    def _directory(self, snapshot: str, total: int, target: Any) -> List[Dict[str, Any]]:
        """pg_dump's own account writes into a folder below ours, which it could not reach by its path."""
        os.mkdir(self._path, 0o700)
        if self._server.account:
            os.chown(self._path, self._host.uid(self._server.account), -1)
        fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            jobs, where = "--jobs=%d" % self._wish.jobs, "--file=/proc/self/fd/3"
            program = self._dump(snapshot, jobs, where, "--no-sync", third=fd)
            text = "dumping %s" % self._wish.base
            flow(self._host, [program], text=text, total=total, tick=lambda: tree_size(self._path))
        finally:
            os.close(fd)
        own_again(self._path)
        if self._cipher is not None:
            self._check_directory(target)
        return [self._file(os.path.join(self._path, name)) for name in sorted(os.listdir(self._path))]

    def _file(self, path: str) -> Dict[str, Any]:
        """Hash a file of the folder; encrypted, it takes the place of what it was made from."""
        if self._cipher is None:
            return self._entry(path, digest_file(self._host, path), None)
        plain, written = Tap(), Tap()
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            text = "encrypting %s" % os.path.basename(path)
            steps = [plain, self._cipher.program(), written]
            into_file(self._host, path + self._cipher.suffix, steps, source=fd, text=text)
        finally:
            os.close(fd)
        os.unlink(path)
        return self._entry(path + self._cipher.suffix, written, plain)

    def _check_directory(self, target: Any) -> None:
        flow(self._host, self._reader(target).chain(self._path), text="reading %s" % self._wish.file)


def own_again(folder: str) -> None:
    """Give what another account has written to the agent's own, for nobody else to read. Raises Failed."""
    for path in [os.path.join(folder, name) for name in os.listdir(folder)] + [folder]:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            raise Failed("%s is a link, which pg_dump does not make" % path, "pg_dump")
        os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
        os.chmod(path, 0o700 if stat.S_ISDIR(found.st_mode) else 0o600)


def missing(host: Host, wish: Wish) -> str:
    """The program that this host lacks, in words; empty when all are there, or a preview cannot tell."""
    program = PACKERS.get(wish.kind, "")
    if not program or host.which(program) or (host.check and host.shadow.brings_unknown_files):
        return ""
    return "format %s needs %s, which is not on this host; install its package" % (wish.kind, program)


def refused(wish: Wish, major: int) -> str:
    """Why this cannot be dumped so; empty when it can."""
    if wish.jobs > 1 and wish.kind != "directory":
        return "jobs needs format directory: pg_dump writes the others with one job"
    if not wish.compress:
        return ""
    if wish.kind == "plain":
        return "compress has no meaning for format plain; use plain.gz or plain.zst"
    if wish.kind in PACKERS:
        most = 9 if wish.kind == "plain.gz" else 19
        fine = wish.compress.isdigit() and 1 <= int(wish.compress) <= most
        return "" if fine else "compress for %s is a level from 1 to %d" % (wish.kind, most)
    if wish.compress.isdigit() and int(wish.compress) <= 9:
        return ""
    if major and major < METHODS_SINCE:
        return "compress can be 0 to 9 with PostgreSQL %d; methods such as zstd:3 need %d" % (major, METHODS_SINCE)
    method = wish.compress.partition(":")[0]
    return "" if method in ("gzip", "lz4", "zstd", "none") else "compress: %r is none of gzip, lz4, zstd, none" % method
