"""What a manifest may say: whoever can write to a folder of backups, or to a store, can write one.

Everything that reads a manifest may rely on what is looked at here: names that stay within the set and are there once,
numbers that are numbers, times that can be read.
"""

from __future__ import annotations

from typing import Any, Dict, List, Set

from opsplay.agent import backups

# What lies beside the files of a set, in the set's own folder.
BESIDE = (backups.MANIFEST, backups.SIGNATURE, backups.PROOF)
HEX = frozenset("0123456789abcdef")


class Wrong(Exception):
    """What a manifest says cannot be: `str()` says which entry, and why."""


def refuse(data: Dict[str, Any]) -> None:
    """Raises Wrong for a manifest that cannot be one."""
    for field in ("kind", "name", "files", "started", "finished"):
        if field not in data:
            raise Wrong("its manifest has no %s" % field)
    for field in ("kind", "name"):
        if not isinstance(data[field], str):
            raise Wrong("its manifest has the %s %r, which is no text" % (field, cut(data[field])))
    for field in ("started", "finished"):
        try:
            backups.seconds_of(data[field])
        except (ValueError, TypeError, OverflowError):
            raise Wrong("its manifest has %r as %s, which is no time" % (cut(data[field]), field)) from None
    for field in ("verified", "database", "server", "encryption", "increment_of"):
        if data.get(field) is not None and not isinstance(data[field], dict):
            raise Wrong("its manifest has the %s %r, which is no object" % (field, cut(data[field])))
    reference = data.get("increment_of")
    if reference and not all(isinstance(reference.get(part), str) for part in ("stamp", "manifest_sha256")):
        raise Wrong("its manifest does not say what it is an increment of: %r" % (cut(reference),))
    if data.get("encryption") and not isinstance(data["encryption"].get("method"), str):
        raise Wrong("its manifest does not say by what it is encrypted: %r" % (cut(data["encryption"]),))
    for table in listed(data.get("database") or {}, "tables"):
        if not isinstance(table, dict) or not all(isinstance(table.get(part), str) for part in ("schema", "name")):
            raise Wrong("its manifest has the table %r, which is none" % (cut(table),))
    refuse_files(data["files"])
    refuse_parts(data.get("parts") or [])


def refuse_files(entries: Any) -> None:
    if not isinstance(entries, list):
        raise Wrong("its manifest has no list of files")
    names: Set[str] = set()
    folders: Set[str] = set()
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise Wrong("the entry %d of its files is %r, which is no object" % (number, cut(entry)))
        name: Any = entry.get("name")
        if not stays_within(name):
            raise Wrong("the entry %d of its files is named %r, which is no name within the set" % (number, cut(name)))
        if name in BESIDE:
            raise Wrong("its entry %s names what lies beside the files" % name)
        if name in names:
            raise Wrong("its entry %s is there twice" % name)
        names.add(name)
        folders.update(name[:at] for at, char in enumerate(name) if char == "/")
        for field, needed in (("size", True), ("plain_size", False)):
            value = entry.get(field)
            if not is_size(value) and (needed or value is not None):
                raise Wrong("its entry %s has the %s %r, which is no number of bytes" % (name, field, cut(value)))
        if not is_sha256(entry.get("sha256")):
            raise Wrong("its entry %s has the sha256 %r, which is none" % (name, cut(entry.get("sha256"))))
    both = sorted(names & folders)
    if both:
        raise Wrong("its entry %s is a file, and a folder of other ones" % both[0])


def refuse_parts(parts: Any) -> None:
    if not isinstance(parts, list):
        raise Wrong("its manifest has the parts %r, which are no list" % (cut(parts),))
    for number, part in enumerate(parts, 1):
        if not isinstance(part, dict) or not isinstance(part.get("kind"), str) or not stays_within(part.get("name")):
            raise Wrong("the part %d of it is %r, which is none" % (number, cut(part)))
        for folder in listed(part, "folders"):
            if not stays_within(folder):
                raise Wrong("its part %s has the folder %r, which is none within the set" % (part["name"], cut(folder)))
        for path in listed(part, "paths"):
            # Where an archive belongs on a host.
            if not isinstance(path, str) or not path.startswith("/") or ".." in path.split("/") or "\0" in path:
                raise Wrong("its part %s has the path %r, which is none" % (part["name"], cut(path)))


def listed(part: Dict[str, Any], field: str) -> List[Any]:
    found = part.get(field) or []
    if not isinstance(found, list):
        raise Wrong("its %s has %s %r, which are no list" % (cut(part.get("name")), field, cut(found)))
    return found


def stays_within(name: Any) -> bool:
    """Whether a name is one below a folder: relative, without a way up, in its shortest form."""
    if not isinstance(name, str) or "\0" in name:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def is_sha256(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and HEX.issuperset(value)


def cut(value: Any) -> Any:
    """As much of a value as a message takes."""
    return value if value is None or isinstance(value, (bool, int)) else str(value)[:80]
