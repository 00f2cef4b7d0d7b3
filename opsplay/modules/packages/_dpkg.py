"""What dpkg knows, read from its own database: faster than any program that would be asked for it."""

from __future__ import annotations

import os
from typing import Dict, Iterator, List, Optional

from opsplay.agent import files
from opsplay.agent.host import Host

STATUS = "/var/lib/dpkg/status"
# Changes that dpkg has not yet written into the status file, because it runs or was killed.
UPDATES = "/var/lib/dpkg/updates"
EXTENDED_STATES = "/var/lib/apt/extended_states"


class Package:
    """A package as dpkg knows it. `state` is the third word of its Status, e.g. installed or config-files."""

    __slots__ = ("name", "architecture", "version", "section", "state", "provides")

    def __init__(self, fields: Dict[str, str]) -> None:
        self.name = fields.get("Package", "")
        self.architecture = fields.get("Architecture", "")
        self.version = fields.get("Version", "")
        self.section = fields.get("Section", "")
        self.state = (fields.get("Status", "").split() or [""])[-1]
        self.provides = provided_names(fields.get("Provides", ""))

    @property
    def is_installed(self) -> bool:
        """Whether it is there and configured, perhaps waiting for a trigger."""
        return self.state in ("installed", "triggers-pending", "triggers-awaited")

    @property
    def has_configuration(self) -> bool:
        """Whether it is gone and only its configuration is left, which a purge would remove."""
        return self.state == "config-files"


class Database:
    """The status file, read once. Stanzas are only parsed when they are asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = b"\n" + content

    @classmethod
    def read(cls, host: Host) -> "Database":
        """The database of this host; through dpkg-query while the status file is not the whole truth."""
        try:
            unwritten = [name for name in os.listdir(UPDATES) if name.isdigit()]
        except OSError:
            unwritten = []
        if not unwritten:
            try:
                return cls(files.read_whole(STATUS))
            except FileNotFoundError:
                return cls(b"")
        fields = ("Package", "Status", "Architecture", "Version", "Section", "Provides")
        form = "".join("%s: ${%s}\n" % (field, field) for field in fields) + "\n"
        return cls(host.query(["dpkg-query", "-W", "-f", form]).out)

    def find(self, name: str) -> Optional[Package]:
        """A package by its name, perhaps with :architecture; an installed one before any other."""
        name, _, architecture = name.partition(":")
        found: Optional[Package] = None
        for stanza in self._stanzas(b"\nPackage: " + name.encode() + b"\n"):
            package = Package(parse_stanza(stanza))
            if architecture in ("", "any", package.architecture) and (found is None or package.is_installed):
                found = package
        return found

    def installed(self) -> Iterator[Package]:
        """All packages that are installed."""
        for stanza in self._stanzas(b"\nPackage: "):
            package = Package(parse_stanza(stanza))
            if package.is_installed:
                yield package

    def providers(self, name: str) -> List[str]:
        """The installed packages that provide a virtual one."""
        if name.encode() not in self.content:
            return []
        return [package.name for package in self.installed() if name in package.provides]

    def _stanzas(self, start: bytes) -> Iterator[bytes]:
        position = self.content.find(start)
        while position >= 0:
            end = self.content.find(b"\n\n", position)
            end = len(self.content) if end < 0 else end
            yield self.content[position + 1 : end]
            position = self.content.find(start, end)


def parse_stanza(stanza: bytes) -> Dict[str, str]:
    """The fields of one stanza (deb822(5)); lines that continue a field are left out."""
    fields: Dict[str, str] = {}
    for line in stanza.decode("utf-8", "replace").split("\n"):
        if line[:1] not in (" ", "\t", ""):
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    return fields


def provided_names(text: str) -> List[str]:
    """The names in a Provides field, without versions and architectures."""
    return [part.strip().partition(" ")[0].partition(":")[0] for part in text.split(",") if part.strip()]


def installed_automatically(names: List[str]) -> List[str]:
    """Those of the names that apt counts as installed for others' sake, so that autoremove may take them."""
    try:
        content = b"\n" + files.read_whole(EXTENDED_STATES)
    except OSError:
        return []
    found = []
    for name in names:
        start = content.find(b"\nPackage: " + name.partition(":")[0].encode() + b"\n")
        if start >= 0:
            end = content.find(b"\n\n", start)
            if b"\nAuto-Installed: 1" in content[start : end if end >= 0 else len(content)]:
                found.append(name)
    return found
