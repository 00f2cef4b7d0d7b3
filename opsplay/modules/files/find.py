"""List the files below some directories that meet conditions: name, kind, age, size, mode, content."""

from __future__ import annotations

import os
import stat as bits
import time
from typing import Any, Callable, Dict, FrozenSet, Iterator, Tuple
from typing import List as ListOf

from opsplay.agent import files
from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.spec import Bool, Choice, Int, List, Mode, Params, Path, Str
from opsplay.modules.files._inode import inode_facts

PARAMS = {
    "paths": List(of=Path(), required=True, aliases=("name", "path"), help="The directories in which to look"),
    "patterns": List(of=Str(), aliases=("pattern",), default=[], help="Patterns of which the name must meet one"),
    "excludes": List(of=Str(), aliases=("exclude",), help="Patterns that the name must not meet"),
    "use_regex": Bool(default=False, help="The patterns are regular expressions for the whole name"),
    "file_type": Choice("any", "directory", "file", "link", default="file", help="The kind of what is listed"),
    "recurse": Bool(default=False, help="Look into the directories below, too"),
    "depth": Int(help="How many levels to look into when recursing"),
    "follow": Bool(default=False, help="Look into directories that links lead to"),
    "hidden": Bool(default=False, help="List names that begin with a dot, too"),
    "age": Str(help="At least this old, as in 2d; at most when negative. Units: s, m, h, d, w"),
    "age_stamp": Choice("atime", "ctime", "mtime", default="mtime", help="The time that age is counted from"),
    "size": Str(help="At least this large, as in 10m; at most when negative. Units: b, k, m, g, t"),
    "mode": Mode(help="Permission bits that it must have"),
    "exact_mode": Bool(default=True, help="The mode must be just that; otherwise further bits may be set"),
    "contains": Str(help="A regular expression that a line must begin with, or the whole file hold"),
    "read_whole_file": Bool(default=False, help="Search the file as a whole, not line by line"),
    "encoding": Str(help="The encoding of the files for contains"),
    "get_checksum": Bool(default=False, help="Return the checksums of regular files"),
    "checksum_algorithm": Choice(
        "md5", "sha1", "sha224", "sha256", "sha384", "sha512",
        default="sha1", aliases=("checksum", "checksum_algo"), help="How the checksums are made",
    ),  # fmt: skip
    "limit": Int(min=1, help="Stop when so many are found"),
}
CHECK = "exact"

AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SIZES = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
KINDS = {"file": bits.S_ISREG, "directory": bits.S_ISDIR, "link": bits.S_ISLNK}


class Walk:
    """The walk through the directories: what it has met, and what it could not look into."""

    def __init__(self, host: Host, params: Params) -> None:
        self.host = host
        self.follow = params.follow
        self.depth = (params.depth or 0) if params.recurse else 1
        self.hidden = params.hidden
        self.examined = 0
        self.skipped: Dict[str, str] = {}

    def below(
        self, top: str, level: int = 1, above: FrozenSet[str] = frozenset()
    ) -> Iterator[Tuple[str, str, Any]]:
        """Path, name and stat result of all below a directory, what it holds before what lies deeper."""
        if self.follow:
            real = self.host.real(top)
            if real in above:
                # A link back to where the walk comes from.
                return
            above = above | {real}
        try:
            names = self.host.names(top)
        except OSError as problem:
            self.skipped[top] = str(problem)
            return
        directories = []
        for name in names:
            path = os.path.join(top, name)
            found = self.host.stat(path)
            self.examined += 1
            if found is None:
                continue
            if self.hidden or not name.startswith("."):
                yield path, name, found
            is_link = bits.S_ISLNK(found.st_mode)
            if bits.S_ISDIR(found.st_mode) or (self.follow and is_link and self.host.is_directory(path)):
                directories.append(path)
        for path in directories if not self.depth or level < self.depth else ():
            for entry in self.below(path, level + 1, above):
                yield entry


def run(host: Host, params: Params) -> Dict[str, Any]:
    walk = Walk(host, params)
    found: ListOf[Dict[str, Any]] = []
    for facts in matches(host, params, walk):
        found.append(facts)
        if len(found) == params.limit:
            break
    message = "Not all paths examined, check warnings for details" if walk.skipped else "All paths examined"
    counts = {"matched": len(found), "examined": walk.examined, "skipped_paths": walk.skipped}
    return host.outcome(files=found, msg=message, changed=False, **counts)


def matches(host: Host, params: Params, walk: Walk) -> Iterator[Dict[str, Any]]:
    """The facts of all that meets the conditions."""
    tests = conditions(host, params)
    for given in params.paths:
        top = host.expand(given)
        if not host.is_directory(top):
            walk.skipped[given] = "'%s' is not a directory" % top
            host.warn("Skipped '%s' path due to this access issue: %s" % (given, walk.skipped[given]))
            continue
        for path, name, found in walk.below(top):
            if all(test(path, found) for test in tests) and wanted_name(host, params, name):
                yield facts_of(host, params, path, found)


def facts_of(host: Host, params: Params, path: str, found: Any) -> Dict[str, Any]:
    facts = inode_facts(path, found)
    if params.get_checksum and bits.S_ISREG(found.st_mode) and host.knows(path):
        facts["checksum"] = host.digest(path, params.checksum_algorithm)
    return facts


def conditions(host: Host, params: Params) -> ListOf[Callable[[str, Any], bool]]:
    """What the task asks for, but for the name: each tells whether what lies at a path meets it."""
    tests: ListOf[Callable[[str, Any], bool]] = []
    if params.file_type != "any":
        kind = KINDS[params.file_type]
        tests.append(lambda path, found: kind(found.st_mode))
    if params.age is not None:
        tests.append(limit_of(host, params, "age", AGES, age_of(params.age_stamp)))
    if params.size is not None and params.file_type != "directory":
        at_least = limit_of(host, params, "size", SIZES, lambda found: found.st_size)
        tests.append(lambda path, found: bits.S_ISDIR(found.st_mode) or at_least(path, found))
    if params.mode is not None:
        tests.append(mode_test(params.mode, params.exact_mode))
    if params.contains is not None and params.file_type in ("file", "any"):
        tests.append(content_test(host, params))
    return tests


def wanted_name(host: Host, params: Params, name: str) -> bool:
    """Whether a name meets a pattern and none of the excludes."""
    return (not params.patterns or meets(host, params, params.patterns, name)) and not (
        params.excludes and meets(host, params, params.excludes, name)
    )


def meets(host: Host, params: Params, patterns: ListOf[str], name: str) -> bool:
    import re
    from fnmatch import fnmatch

    try:
        return any(re.match(p, name) if params.use_regex else fnmatch(name, p) for p in patterns)
    except re.error as problem:
        host.fail("patterns or excludes hold no regular expression: %s" % problem)


def age_of(stamp: str) -> Callable[[Any], float]:
    now = time.time()
    return lambda found: now - getattr(found, "st_" + stamp)


def limit_of(
    host: Host, params: Params, name: str, units: Dict[str, int], of: Callable[[Any], float]
) -> Callable[[str, Any], bool]:
    """At least so much, or for a negative number at most. Fails with the parameter's name when it is no quantity."""
    text = params[name].strip().lower()
    unit = text[-1:] if text[-1:] in units else ""
    try:
        limit = int(text[: len(text) - len(unit)]) * units.get(unit, 1)
    except ValueError:
        host.fail("failed to process %s" % name, **{name: params[name]})
    if text.startswith("-"):
        return lambda path, found: of(found) <= -limit
    return lambda path, found: of(found) >= limit


def mode_test(mode: Any, exact: bool) -> Callable[[str, Any], bool]:
    def test(path: str, found: Any) -> bool:
        current = bits.S_IMODE(found.st_mode)
        wanted = files.apply_mode(mode, 0, bits.S_ISDIR(found.st_mode))
        return current == wanted if exact else current & wanted == wanted

    return test


def content_test(host: Host, params: Params) -> Callable[[str, Any], bool]:
    """Whether a regular file holds what `contains` finds; one that cannot be read does not."""
    import re

    encoding = params.encoding or "utf-8"
    try:
        pattern = re.compile(params.contains)
    except re.error as problem:
        host.fail("contains is not a regular expression: %s: %s" % (problem, params.contains))

    def test(path: str, found: Any) -> bool:
        if not bits.S_ISREG(found.st_mode):
            return False
        try:
            if params.read_whole_file:
                return bool(pattern.search(host.read(path).decode(encoding, "surrogateescape")))
            return any(pattern.match(line) for line in lines_of(host, path, encoding))
        except (OSError, ModuleFailed, UnicodeError):
            return False

    return test


def lines_of(host: Host, path: str, encoding: str) -> Iterator[str]:
    """A file's lines; what a preview would have made is in memory, everything else is read as it is asked for."""
    import io

    if host.check:
        return iter(io.TextIOWrapper(io.BytesIO(host.read(path)), encoding, "surrogateescape"))
    return iter(io.open(path, encoding=encoding, errors="surrogateescape"))
