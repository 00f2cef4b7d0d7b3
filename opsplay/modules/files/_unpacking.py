"""Reading archives: what they hold, as entries that are alike for tar, zip and a folder that tar has unpacked."""

from __future__ import annotations

import os
import stat
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from opsplay.agent import files
from opsplay.agent.host import Host
from opsplay.agent.looking import number_of

CHUNK = 1 << 20
HANDLERS = {b"\x1f\x8b": "TgzArchive", b"BZ": "TarBzipArchive", b"\xfd7": "TarXzArchive", b"\x28\xb5": "TarZstdArchive"}
# The extra field of a zip member that holds its times in seconds since 1970.
ZIP_TIMES = 0x5455


class NotAnArchive(Exception):
    """The file is no archive, or is damaged."""


class Entry:
    """A member of an archive. `kind` is file, directory, link, hard (another name of the member `target`) or special.

    `owner` and `group` are numbers, None where the archive has none; `mode` None is what a new file gets, `mtime` None
    a time that does not count.
    """

    __slots__ = ("name", "kind", "mode", "owner", "group", "mtime", "size", "target", "source")

    def __init__(
        self, name: str, kind: str, mode: Optional[int], mtime: Optional[float], size: int = 0, target: str = ""
    ) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.mtime = mtime
        self.size = size
        self.target = target
        self.owner: Optional[int] = None
        self.group: Optional[int] = None
        self.source: Any = None


class Tar:
    """A tar archive, compressed or not."""

    def __init__(self, file: Any, handler: str) -> None:
        import tarfile

        self.handler = handler
        self._numbers: Dict[Tuple[str, str], Optional[int]] = {}
        try:
            self._archive = tarfile.open(fileobj=file, mode="r:*")  # noqa: SIM115 (its caller closes the file)
            members = self._archive.getmembers()
        except (tarfile.TarError, EOFError, OSError, ValueError, ArithmeticError) as problem:
            raise NotAnArchive(str(problem))
        except Exception as problem:
            # Each way of compressing has an exception of its own for a damaged stream.
            if type(problem).__module__ not in ("zlib", "_lzma"):
                raise
            raise NotAnArchive(str(problem))
        self.entries = [self._entry(member) for member in members]

    def _entry(self, member: Any) -> Entry:
        kind = "special"
        for name, is_kind in (
            ("file", member.isreg()), ("directory", member.isdir()), ("link", member.issym()), ("hard", member.islnk()),
        ):  # fmt: skip
            kind = name if is_kind else kind
        entry = Entry(member.name, kind, member.mode & 0o7777, member.mtime, member.size, member.linkname)
        entry.owner = self._owner("user", member.uname, member.uid)
        entry.group = self._owner("group", member.gname, member.gid)
        entry.source = member
        return entry

    def _owner(self, kind: str, name: str, number: int) -> int:
        """The owner's number on this host, by its name where that is known here, as tar does."""
        if (kind, name) not in self._numbers:
            self._numbers[kind, name] = number_of(kind, name) if name else None
        found = self._numbers[kind, name]
        return number if found is None else found

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        return pieces(self._archive.extractfile(entry.source))


class Zip:
    """A zip archive."""

    handler = "ZipArchive"

    def __init__(self, file: Any) -> None:
        import zipfile

        try:
            self._archive = zipfile.ZipFile(file)
            members = self._archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError) as problem:
            raise NotAnArchive(str(problem))
        self.entries = [self._entry(member) for member in members]

    def _entry(self, member: Any) -> Entry:
        bits = member.external_attr >> 16
        mode = bits & 0o777 or None
        if member.filename.endswith("/"):
            return Entry(member.filename, "directory", mode, zip_time(member))
        if stat.S_ISLNK(bits):
            target = self._archive.read(member).decode("utf-8", "surrogateescape")
            return Entry(member.filename, "link", mode, zip_time(member), 0, target)
        entry = Entry(member.filename, "file", mode, zip_time(member), member.file_size)
        entry.source = member
        return entry

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        return pieces(self._archive.open(entry.source))


class Folder:
    """What a program has unpacked into a folder."""

    def __init__(self, host: Host, top: str, handler: str) -> None:
        self.handler = handler
        self.entries = [self._entry(top, path, found) for path, found in walk(host, top)]

    def _entry(self, top: str, path: str, found: Any) -> Entry:
        name, mode = path[len(top) + 1 :], stat.S_IMODE(found.st_mode)
        entry = Entry(name, "special", mode, found.st_mtime, found.st_size)
        if stat.S_ISDIR(found.st_mode):
            # It may be one that the archive does not name, made a moment ago.
            entry.kind, entry.mtime = "directory", None
        elif stat.S_ISLNK(found.st_mode):
            entry.kind, entry.target = "link", os.readlink(path)
        elif stat.S_ISREG(found.st_mode):
            entry.kind = "file"
        entry.owner, entry.group, entry.source = found.st_uid, found.st_gid, path
        return entry

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        return files.read_chunks(entry.source)


def open_archive(host: Host, file: Any) -> Any:
    """The archive in an open file. Raises NotAnArchive."""
    start = file.read(4)
    file.seek(0)
    if start.startswith(b"PK"):
        return Zip(file)
    handler = HANDLERS.get(start[:2], "TarArchive")
    if handler == "TarZstdArchive":
        file = without_zstd(host, file)
    return Tar(file, handler)


def without_zstd(host: Host, file: Any) -> Any:
    """The content of a file that zstd has compressed, by the program. Raises NotAnArchive."""
    plain = unnamed_file()
    done = host.query(["/bin/sh", "-c", 'exec zstd -dqc <"$1" >"$2"', "sh", path_of(file), path_of(plain)])
    if done.rc:
        raise NotAnArchive("zstd cannot unpack it: %s" % done.stderr.strip())
    return plain


def unnamed_file() -> Any:
    """An open file that bears no name, so that nothing of it can be left; on the disk, for what may be large."""
    import tempfile

    return tempfile.TemporaryFile(dir="/var/tmp" if os.access("/var/tmp", os.W_OK) else None)


def path_of(file: Any) -> str:
    """A path by which a program of this user finds an open file."""
    return "/proc/%d/fd/%d" % (os.getpid(), file.fileno())


def pieces(file: Any) -> Iterator[bytes]:
    with file:
        while True:
            data = file.read(CHUNK)
            if not data:
                return
            yield data


def walk(host: Host, top: str) -> Iterator[Tuple[str, Any]]:
    for name in host.names(top):
        path = os.path.join(top, name)
        found = os.lstat(path)
        yield path, found
        if stat.S_ISDIR(found.st_mode):
            for entry in walk(host, path):
                yield entry


def zip_time(member: Any) -> float:
    """When a member was changed: by its extra field in UTC, else by local time to two seconds."""
    import struct

    extra: bytes = member.extra
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        if kind == ZIP_TIMES and length >= 5 and extra[4] & 1:
            return float(struct.unpack("<i", extra[5:9])[0])
        extra = extra[4 + length :]
    return time.mktime(tuple(member.date_time) + (0, 0, -1))


def names(entries: List[Entry]) -> List[str]:
    """The names as tar lists them: directories with a slash at their end."""
    return [entry.name.rstrip("/") + "/" if entry.kind == "directory" else entry.name for entry in entries]
