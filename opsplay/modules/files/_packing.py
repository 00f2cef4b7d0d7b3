"""Packing files so that the same files always give the same bytes: sorted, and without the moment of packing."""

from __future__ import annotations

import os
import stat
import time
from typing import Any, List

from opsplay.agent import files
from opsplay.agent.host import Host

# The earliest moment that a zip file can hold.
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


class Member:
    """A file, link or directory that goes into an archive under `name`."""

    __slots__ = ("path", "name", "found")

    def __init__(self, path: str, name: str, found: Any) -> None:
        self.path = path
        self.name = name
        self.found = found

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.found.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.found.st_mode)


class Packing:
    """Packs in one format; names in the archive are relative to `root`."""

    def __init__(self, host: Host, form: str, root: str, patterns: List[str]) -> None:
        self.host = host
        self.form = form
        self.root = root
        self.patterns = patterns

    def members(self, paths: List[str], excluded: List[str], dest: str) -> List[Member]:
        """All that lies at and below the paths, sorted, each once, without the archive itself."""
        found: List[Member] = []
        for path in paths:
            self._add(path, set(excluded) | {dest}, found)
        return sorted({member.name: member for member in found}.values(), key=lambda member: member.name)

    def _add(self, path: str, left_out: Any, found: List[Member]) -> None:
        plain = path.rstrip("/")
        name = plain[len(self.root) :]
        status = self.host.stat(plain)
        if status is None or plain in left_out or self._is_unwanted(name):
            return
        member = Member(plain, name, status)
        if name:
            found.append(member)
        if member.is_directory:
            for inner in self.host.names(plain):
                self._add(os.path.join(plain, inner), left_out, found)

    def _is_unwanted(self, name: str) -> bool:
        from fnmatch import fnmatch

        base = name.rpartition("/")[2]
        return bool(name) and any(fnmatch(name, pattern) or fnmatch(base, pattern) for pattern in self.patterns)

    def archive(self, into: Any, members: List[Member]) -> None:
        """Write an archive of these. Raises OSError."""
        if self.form == "zip":
            self._zip(into, members)
        elif self.form == "tar":
            self._tar(into, members)
        else:
            with compressor(self.form, into) as packed:
                self._tar(packed, members)

    def compress(self, into: Any, path: str) -> None:
        """Write one compressed file. Raises OSError."""
        with compressor(self.form, into) as packed:
            for chunk in files.read_chunks(path):
                packed.write(chunk)

    def _tar(self, into: Any, members: List[Member]) -> None:
        import tarfile

        with tarfile.open(fileobj=into, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for number, member in enumerate(members):
                self.host.progress("packing " + member.name, number, len(members))
                info = archive.gettarinfo(member.path, member.name)
                if info is None:
                    # A socket: no archive holds one.
                    continue
                if info.isreg():
                    with open(member.path, "rb") as file:
                        archive.addfile(info, file)
                else:
                    archive.addfile(info)

    def _zip(self, into: Any, members: List[Member]) -> None:
        import zipfile

        with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            for number, member in enumerate(members):
                self.host.progress("packing " + member.name, number, len(members))
                moment = max(time.localtime(member.found.st_mtime)[:6], ZIP_EPOCH)
                info = zipfile.ZipInfo(member.name + ("/" if member.is_directory else ""), moment)
                info.external_attr = (member.found.st_mode & 0xFFFF) << 16 | (0x10 if member.is_directory else 0)
                if stat.S_ISLNK(member.found.st_mode):
                    archive.writestr(info, os.readlink(member.path))
                elif member.is_directory:
                    archive.writestr(info, b"")
                elif member.is_file:
                    info.compress_type = zipfile.ZIP_DEFLATED
                    with archive.open(info, "w", force_zip64=member.found.st_size > 1 << 30) as packed:
                        for chunk in files.read_chunks(member.path):
                            packed.write(chunk)


def compressor(form: str, into: Any) -> Any:
    """A file object that compresses what is written to it; a context."""
    if form == "gz":
        import gzip

        return gzip.GzipFile("", "wb", 6, into, mtime=0)
    if form == "bz2":
        import bz2

        return bz2.BZ2File(into, "wb")
    import lzma

    return lzma.LZMAFile(into, "wb")
