"""What a playbook asks for: names with versions, releases and wildcards, and what of it is there already."""

from __future__ import annotations

from typing import List, Optional, Tuple

from opsplay.agent.host import Host
from opsplay.modules.packages._dpkg import Database, Package

ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.:_~*?[]!")
OPERATORS = (">=", "==", "=")


class Wanted:
    """One entry of `name`: foo, foo=1.0*, foo>=1.0 or foo/bookworm-backports."""

    __slots__ = ("text", "name", "operator", "version", "release")

    def __init__(self, text: str) -> None:
        self.text = text
        self.name, self.operator, self.version = split_version(text)
        self.release = ""
        if not self.operator:
            self.name, _, self.release = text.partition("/")

    @property
    def has_wildcard(self) -> bool:
        return any(char in self.name for char in "*?[")

    def argument(self, version: str = "") -> str:
        """The entry as apt-get takes it."""
        version = version or self.version
        if version:
            return "%s=%s" % (self.name, version)
        return "%s/%s" % (self.name, self.release) if self.release else self.name


def split_version(text: str) -> Tuple[str, str, str]:
    """Name, operator and version of an entry; the last two empty when it has none."""
    for operator in OPERATORS:
        name, found, version = text.partition(operator)
        if found:
            return name.strip(), "=" if operator == "==" else operator, version.strip()
    return text, "", ""


def parse(host: Host, texts: List[str]) -> List[Wanted]:
    """The entries, each checked: apt-get would take a trailing minus as "remove", and other signs as patterns."""
    wanted = []
    for text in texts:
        entry = Wanted(text.strip())
        if not entry.name or entry.name[0] in "-+." or entry.name.endswith("-") or set(entry.name) - ALLOWED:
            host.fail("%r cannot be the name of a package; write foo, foo=1.0, foo>=1.0 or foo/release" % text)
        wanted.append(entry)
    return wanted


def expand(host: Host, wanted: List[Wanted], database: Database, known: bool) -> List[Wanted]:
    """Entries with wildcards replaced by the names that they match, among all that apt knows or what is installed."""
    if not any(entry.has_wildcard for entry in wanted):
        return wanted
    import fnmatch

    if known:
        names = sorted(host.query(["apt-cache", "pkgnames"]).stdout.split())
    else:
        names = sorted({package.name for package in database.installed()})
    result: List[Wanted] = []
    for entry in wanted:
        if not entry.has_wildcard:
            result.append(entry)
            continue
        matches = fnmatch.filter(names, entry.name)
        if not matches and known and not host.shadow.renewed_package_lists:
            host.fail("no package matches %r; check the pattern, or set update_cache: true" % entry.name)
        suffix = entry.text[len(entry.name) :]
        result += [Wanted(name + suffix) for name in matches]
    return result


def is_satisfied(host: Host, entry: Wanted, database: Database) -> bool:
    """Whether an entry asks for nothing that is not there. A release is apt's to judge."""
    package = find(host, entry, database)
    if package is None or not package.is_installed:
        return not entry.version and not entry.release and is_provided(host, entry.name, database)
    if entry.release:
        return False
    return not entry.version or version_fits(host, entry, package.version)


def find(host: Host, entry: Wanted, database: Database) -> Optional[Package]:
    """The package as it is, or as earlier tasks of a preview would have left it."""
    package = database.find(entry.name)
    pretended = host.shadow.packages.get(entry.name) if host.check else None
    if pretended is False:
        return None
    if pretended and (package is None or not package.is_installed):
        fields = {"Package": entry.name, "Status": "install ok installed", "Version": entry.version.rstrip("*")}
        return Package(fields)
    return package


def is_provided(host: Host, name: str, database: Database) -> bool:
    """Whether an installed package stands in for a virtual one, which cannot be installed itself."""
    providers = [found for found in database.providers(name) if host.shadow.packages.get(found) is not False]
    return bool(providers) and not candidate(host, name)


def candidate(host: Host, name: str) -> str:
    """The version that apt would install; empty for a virtual or unknown package."""
    for line in host.query(["apt-cache", "policy", name]).stdout.split("\n"):
        label, _, version = line.strip().partition(": ")
        if label == "Candidate":
            return "" if version == "(none)" else version
    return ""


def version_fits(host: Host, entry: Wanted, version: str) -> bool:
    """Whether a version is what an entry asks for."""
    if entry.operator == ">=":
        return host.query(["dpkg", "--compare-versions", version, "ge", entry.version]).rc == 0
    if not any(char in entry.version for char in "*?["):
        return version == entry.version
    import fnmatch

    return fnmatch.fnmatchcase(version, entry.version)


def argument_of(host: Host, entry: Wanted) -> str:
    """The entry for apt-get; a pattern or a least version becomes the newest version that fits."""
    if not entry.version or (entry.operator == "=" and not any(char in entry.version for char in "*?[")):
        return entry.argument()
    for line in host.query(["apt-cache", "madison", entry.name]).stdout.split("\n"):
        fields = [field.strip() for field in line.split("|")]
        if len(fields) > 2 and version_fits(host, entry, fields[1]):
            return entry.argument(fields[1])
    return entry.argument()
