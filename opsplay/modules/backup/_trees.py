"""The files of an archive one by one: what they are now, what an archive holds of them, and what has changed between.

A name is that of tar's members with a slash before it. An entry says all by which a file is known again without being
read (size, both times to the nanosecond, inode, and what else a change would show in), and its sha256 if an archive's
content was read.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections import namedtuple
from typing import Any, Dict, Iterable, List, Optional, Set, Tuple

from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, flow

# kind is f, d, l or o (a device or pipe); links counts the names of the inode; extra is a hash of ACLs and attributes.
# `settled` tells that ctime was well before the look at it: within one tick of the clock a second change does not show.
# Nor does one through a mapping, as long as the page that it changes is still to be written from an earlier change.
Entry = namedtuple("Entry", "kind mode uid gid size mtime ctime inode links target extra settled sha256")
VERSION = 1
# Nanoseconds that a change must lie before the look at it. The coarsest file systems count two seconds.
SETTLED = 2500000000

# What reads an archive as it flows by: a line of JSON for each member. Contents are hashed, but those with holes.
READER = r"""
import hashlib, json, os, sys, tarfile
out = os.fdopen(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii")
KINDS = {tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.LNKTYPE: "h"}
options = {"bufsize": 1 << 18, "encoding": "utf-8", "errors": "surrogateescape"}
with tarfile.open(fileobj=sys.stdin.buffer, mode="r|", **options) as tar:
    for member in iter(tar.next, None):
        tar.members = []
        kind = "f" if member.isreg() else KINDS.get(member.type, "o")
        found = ""
        if kind == "f" and member.sparse is None:
            digest, file = hashlib.sha256(), tar.extractfile(member)
            while True:
                piece = file.read(1 << 20)
                if not piece:
                    break
                digest.update(piece)
            found = digest.hexdigest()
        # The name in the header of a file with holes is made up, where it needs an extended one.
        name = member.pax_headers.get("GNU.sparse.name", member.name)
        when = member.pax_headers.get("mtime", str(member.mtime))
        owner = [member.uname, member.gname, member.uid, member.gid]
        out.write(json.dumps([name, kind, member.mode, owner, member.size, when, member.linkname, found]) + "\n")
out.close()
while sys.stdin.buffer.read(1 << 20):
    pass
"""


def reader(path: str) -> Program:
    """What writes the members of the archive on its standard input to a new file."""
    return Program([sys.executable or "python3", "-I", "-S", "-c", READER, path])


class Member:
    """What an archive holds of one file. `link` is where a symbolic one leads, or the other name of a hard one."""

    __slots__ = ("kind", "mode", "owner", "size", "mtime", "link", "sha256")

    def __init__(self, told: List[Any]) -> None:
        self.kind, self.mode, self.owner, self.size, when, self.link, self.sha256 = told
        self.mtime = nanoseconds(when)


def members(path: str) -> Dict[str, Member]:
    """What a `reader` has written, by name. Raises OSError, ValueError."""
    import json

    with open(path, encoding="ascii") as file:
        return {absolute(told[0]): Member(told[1:]) for told in map(json.loads, file)}


def absolute(name: str) -> str:
    """A member's name as this file has them."""
    return "/" + os.path.normpath(name).strip("/") if name.strip("/") not in ("", ".") else "/"


def raw(name: str) -> bytes:
    """A name as the disk has it."""
    return name.encode("utf-8", "surrogateescape")


def nanoseconds(text: str) -> int:
    """A time of tar, as 1790000000.123456789, in nanoseconds."""
    whole, _, part = text.partition(".")
    below = int((part + "0" * 9)[:9])
    return int(whole) * 10**9 + (-below if whole.startswith("-") else below)


# --- as they are now ---


def names(host: Host, folder: str, words: List[str], tolerant: str) -> List[str]:
    """The names that tar would archive, told by itself: for /dev/null it reads no content. Raises Failed."""
    argv = ["tar", "--create", "--verbose", "--file=/dev/null", "--quoting-style=escape"] + words
    path = os.path.join(folder, ".names")
    target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        flow(host, [Program(["/bin/sh", "-c", tolerant, "tar"] + argv[1:] if tolerant else argv)], target=target)
        os.lseek(target, 0, os.SEEK_SET)
        with os.fdopen(os.dup(target), encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return [absolute(unescaped(line.rstrip("\n"))) for line in file]
    finally:
        os.close(target)
        os.unlink(path)


def unescaped(text: str) -> str:
    """A name as tar writes it with --quoting-style=escape, without its escapes."""
    if "\\" not in text:
        return text
    simple = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
    data, found, at = raw(text), bytearray(), 0
    while at < len(data):
        if data[at] != 92:
            found.append(data[at])
            at += 1
        elif data[at + 1 : at + 4].isdigit():
            found.append(int(data[at + 1 : at + 4], 8))
            at += 4
        else:
            found.append(simple.get(chr(data[at + 1]), data[at + 1]))
            at += 2
    return bytes(found).decode("utf-8", "surrogateescape")


def tree(path: str) -> List[Tuple[str, str]]:
    """Every file below a path with what it is: type, mode, owner, and where a link leads."""
    found = []
    pending = [path]
    while pending:
        name = pending.pop()
        there = os.lstat(name)
        kind = "d" if stat.S_ISDIR(there.st_mode) else "l" if stat.S_ISLNK(there.st_mode) else "f"
        if kind == "f" and not stat.S_ISREG(there.st_mode):
            kind = "o"
        target = os.readlink(name) if kind == "l" else ""
        found.append((name, "%s %o %d %d %s" % (kind, there.st_mode, there.st_uid, there.st_gid, target)))
        if kind == "d":
            pending += [os.path.join(name, below) for below in os.listdir(name)]
    return sorted(found)


def written_back(host: Host, found: Iterable[str]) -> int:
    """Have the kernel write what is dirty of the file systems of those files: from then on each change shows in ctime.

    Returns the moment before it (nanoseconds since 1970); 0, so that no ctime counts, when it could not be done.
    """
    began, places = int(time.time() * 10**9), {}  # type: int, Dict[int, str]
    for name in found:
        try:
            there = os.lstat(name)
        except OSError:
            continue
        if stat.S_ISDIR(there.st_mode) or stat.S_ISREG(there.st_mode):
            places.setdefault(there.st_dev, name)
    done = host.query(["sync", "--file-system", "--"] + sorted(places.values())) if places else None
    return began if done is None or done.rc == 0 else 0


def look(found: Iterable[str], began: Optional[int] = None) -> Dict[str, Entry]:
    """What those files are now. What has gone meanwhile is left out, and sockets, which no archive holds.

    A ctime is `settled` when it was well before `began` (nanoseconds since 1970), or before now.
    """
    began = int(time.time() * 10**9) if began is None else began
    entries = {}
    for name in found:
        try:
            there = os.lstat(name)
            target = os.readlink(name) if stat.S_ISLNK(there.st_mode) else ""
        except OSError:
            continue
        if not stat.S_ISSOCK(there.st_mode):
            entries[name] = entry_of(name, there, target, began)
    return entries


def entry_of(name: str, there: Any, target: str, began: int) -> Entry:
    kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}.get(stat.S_IFMT(there.st_mode), "o")
    size = there.st_size if kind == "f" else there.st_rdev if kind == "o" else 0
    links = there.st_nlink if kind != "d" else 1
    settled = there.st_ctime_ns < began - SETTLED
    return Entry(kind, stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid, size, there.st_mtime_ns,
                 there.st_ctime_ns, there.st_ino, links, target, attributes(name), settled, "")  # fmt: skip


def attributes(name: str) -> str:
    """A hash of what else a file carries, ACLs and extended attributes; empty for nothing."""
    try:
        known = sorted(os.listxattr(name, follow_symlinks=False))
    except OSError:
        return ""
    if not known:
        return ""
    import hashlib

    found = hashlib.sha256()
    for attribute in known:
        try:
            found.update(os.fsencode(attribute) + b"\0" + os.getxattr(name, attribute, follow_symlinks=False) + b"\0")
        except OSError:
            continue
    return found.hexdigest()[:16]


# --- what has changed ---


class Changes:
    """Between the trees of a full set and now: names that are `kept`, to be `stored`, `removed`; and of those kept
    whose content alone is the old one, the mode and mtime (`told`)."""

    def __init__(self, host: Host, was: Dict[str, Entry], now: Dict[str, Entry]) -> None:
        self.kept: Set[str] = set()
        self.told: List[List[Any]] = []
        self.stored: List[str] = []
        for name in sorted(now):
            entry = now[name]
            verdict = compare(host, name, was.get(name), entry) if entry.kind != "d" else None
            if verdict is None:
                self.stored.append(name)
            else:
                self.kept.add(name)
                self.told += [[name] + verdict] if verdict else []
        self.removed = sorted(name for name in was if name not in now)

    def size(self, now: Dict[str, Entry]) -> int:
        """Bytes of what is stored."""
        return sum(now[name].size for name in self.stored if now[name].kind == "f")


def compare(host: Host, name: str, was: Optional[Entry], now: Entry) -> Optional[List[int]]:
    """None when a file must be stored; an empty list when it is as it was; else the mode and mtime of old content."""
    if was is None or (was.kind, was.size, was.target) != (now.kind, now.size, now.target):
        return None
    if was.settled and was._replace(settled=True, sha256="") == now._replace(settled=True, sha256=""):
        return []
    # Times that differ, or that cannot be told apart: the content decides. Other names of it would come apart.
    same = (was.uid, was.gid, was.extra, was.links) == (now.uid, now.gid, now.extra, now.links) and now.links == 1
    if now.kind != "f" or not same or not was.sha256:
        return None
    try:
        if host.digest(name, "sha256") != was.sha256:
            return None
    except OSError:
        return None
    if (was.mode, was.mtime) == (now.mode, now.mtime):
        return []
    return None if now.extra else [now.mode, now.mtime]


# --- as they are kept ---


def with_contents(entries: Dict[str, Entry], archived: Dict[str, Member]) -> Dict[str, Entry]:
    """What an archive holds of those that were looked at before it was made, with the hashes of its contents."""
    blank = Entry("", 0, 0, 0, -1, 0, 0, 0, 0, "", "", False, "")
    return {name: entries.get(name, blank)._replace(sha256=member.sha256) for name, member in archived.items()}


def packed(document: Dict[str, Any]) -> bytes:
    """A document, compressed; the same for the same."""
    import json
    import zlib

    return zlib.compress(json.dumps(dict(document, version=VERSION), sort_keys=True).encode("ascii"), 3)


def unpacked(data: bytes) -> Dict[str, Any]:
    """Raises Failed for what is none of ours."""
    import json
    import zlib

    try:
        found = json.loads(zlib.decompress(data).decode("ascii"))
    except (zlib.error, ValueError) as problem:
        raise Failed("a list of files cannot be read: %s" % problem) from None
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise Failed("a list of files is of another version of opsplay")
    return found
