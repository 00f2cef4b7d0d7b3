"""What is mounted and what shall be (fstab), as they are or as a preview would have left them."""

from __future__ import annotations

import os
from typing import List, Optional

from opsplay.agent.facts import text_of
from opsplay.agent.host import Host
from opsplay.agent.shadow import Node

# What this process sees mounted, see proc(5).
MOUNTINFO = "/proc/self/mountinfo"
# What both files write for the characters that would end a field: fstab(5), proc(5).
ESCAPES = (("\\", "\\134"), (" ", "\\040"), ("\t", "\\011"), ("\n", "\\012"))
# Sources that udev keeps links for, by the word in fstab.
LINKS = {
    "UUID": "/dev/disk/by-uuid/", "LABEL": "/dev/disk/by-label/", "PARTUUID": "/dev/disk/by-partuuid/",
    "PARTLABEL": "/dev/disk/by-partlabel/", "ID": "/dev/disk/by-id/",
}  # fmt: skip


def escaped(text: str) -> str:
    """A field as it is written."""
    for char, code in ESCAPES:
        text = text.replace(char, code)
    return text


def unescaped(text: str) -> str:
    """What a written field means."""
    for char, code in reversed(ESCAPES):
        text = text.replace(code, char)
    return text


class Entry:
    """A line of fstab."""

    __slots__ = ("source", "path", "kind", "options", "dump", "check")

    def __init__(
        self, source: str, path: str, kind: str, options: str = "defaults", dump: str = "0", check: str = "0"
    ) -> None:
        self.source = source
        self.path = path
        self.kind = kind
        self.options = options
        self.dump = dump
        self.check = check

    @classmethod
    def parse(cls, line: str) -> Optional["Entry"]:
        """The entry that a line holds; None for comments, empty lines and what libmount would not take either."""
        fields = [unescaped(field) for field in line.split()]
        if len(fields) < 3 or fields[0].startswith("#"):
            return None
        return cls(*fields[:6])

    def __str__(self) -> str:
        fields = (self.source, self.path, self.kind, self.options, self.dump, self.check)
        return " ".join(escaped(field) for field in fields)

    def is_place_of(self, other: "Entry") -> bool:
        """Whether both are for the same place. Swap has none: there the source tells."""
        if self.path in ("none", "swap") or other.path in ("none", "swap"):
            return self.kind == other.kind and self.source == other.source
        return self.path.rstrip("/") == other.path.rstrip("/")


class Fstab:
    """A file of entries. What is not edited stays as it is, comments and spaces too."""

    def __init__(self, host: Host, path: str) -> None:
        self.host = host
        self.path = host.real(path)
        self.lines: List[str] = []
        if host.exists(self.path):
            self.lines = host.read(self.path).decode("utf-8", "surrogateescape").split("\n")
        while self.lines and not self.lines[-1]:
            self.lines.pop()

    def find(self, wanted: Entry) -> Optional[Entry]:
        """The entry for the same place; the last one counts, as for `mount -a`."""
        found = None
        for line in self.lines:
            entry = Entry.parse(line)
            if entry is not None and entry.is_place_of(wanted):
                found = entry
        return found

    def put(self, wanted: Entry, backup: bool) -> bool:
        """See that just this entry is there for its place. Returns whether anything changed."""
        lines = [line for line in self.lines if not self._is_for(line, wanted)]
        places = [number for number, line in enumerate(self.lines) if self._is_for(line, wanted)]
        if len(places) == 1 and str(Entry.parse(self.lines[places[0]])) == str(wanted):
            return False
        lines.insert(places[0] if places else len(lines), str(wanted))
        return self._save(lines, backup)

    def drop(self, wanted: Entry, backup: bool) -> bool:
        """See that no entry is there for this place. Returns whether anything changed."""
        lines = [line for line in self.lines if not self._is_for(line, wanted)]
        return len(lines) != len(self.lines) and self._save(lines, backup)

    @staticmethod
    def _is_for(line: str, wanted: Entry) -> bool:
        entry = Entry.parse(line)
        return entry is not None and entry.is_place_of(wanted)

    def _save(self, lines: List[str], backup: bool) -> bool:
        self.lines = lines
        return self.host.write(self.path, "".join(line + "\n" for line in lines), backup=backup)


class Mount:
    """A mounted file system: the source that it was mounted from, and where."""

    __slots__ = ("source", "path", "kind")

    def __init__(self, source: str, path: str, kind: str) -> None:
        self.source = source
        self.path = path
        self.kind = kind


def mounted(host: Host, path: str) -> Optional[Mount]:
    """What is mounted at a path; of several on top of each other, the one that is seen."""
    real = host.real(path)
    found = None
    for line in host.read(MOUNTINFO).decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(" ")
        if len(fields) > 6 and unescaped(fields[4]) == real:
            rest = fields[fields.index("-") + 1 :]
            found = Mount(unescaped(rest[1]), real, rest[0])
    return found


def is_from(mount: Mount, source: str) -> bool:
    """Whether what is mounted comes from this source: by its name, its device, or as the same folder (bind)."""
    if device(mount.source) == device(source):
        return True
    try:
        return os.path.isabs(source) and os.path.samefile(source, mount.path)
    except OSError:
        return False


def device(source: str) -> str:
    """The device that a source means, or the file behind a loop device, links followed; others stay as they are."""
    word, equals, value = source.partition("=")
    if equals and word in LINKS:
        source = LINKS[word] + value.strip('"')
    if not os.path.isabs(source) or source.startswith("//"):
        return source.rstrip("/")
    source = os.path.realpath(source)
    return text_of("/sys/block/%s/loop/backing_file" % os.path.basename(source)).strip() or source


def pretend_mounted(host: Host, path: str, entry: Optional[Entry]) -> None:
    """In a preview: let the tasks that follow see this entry mounted at a path, or nothing."""
    if not host.check:
        return
    real = host.real(path)
    lines = host.read(MOUNTINFO).decode("utf-8", "surrogateescape").strip().split("\n")
    kept = [line for line in lines if unescaped(line.split(" ")[4]) != real]
    if entry is not None:
        kept.append("0 0 0:0 / %s rw - %s %s rw" % (escaped(real), entry.kind, escaped(entry.source)))
    host.pretend(MOUNTINFO, Node("file", 0o444, content="\n".join(kept).encode("utf-8", "surrogateescape")))
