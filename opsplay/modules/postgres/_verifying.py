"""A backup that is there, looked at again: what its manifest says, what a reader finds, what a restore of it holds."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent import backups
from opsplay.agent.backups import Backup
from opsplay.agent.cipher import SUFFIXES, Decipher
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Tap, flow
from opsplay.agent.sizes import told_size
from opsplay.modules.postgres import _freshness, _restored
from opsplay.modules.postgres._dumping import ENDINGS
from opsplay.modules.postgres._reading import Reader, digest_file, read_file
from opsplay.modules.postgres._server import Server

KINDS = {ending: kind for kind, ending in ENDINGS.items()}


class Dump:
    """The dump of a backup: its main file or folder, without the suffix of its encryption."""

    __slots__ = ("kind", "folder", "name", "method", "entries")

    def __init__(self, folder: str, entries: List[Dict[str, Any]]) -> None:
        self.folder = folder
        self.entries = entries
        first = str(entries[0]["name"])
        self.method = next((method for method, suffix in SUFFIXES.items() if first.endswith(suffix)), "")
        first = first[: -len(SUFFIXES[self.method])] if self.method else first
        self.name = first.split("/")[0]
        self.kind = next((kind for ending, kind in KINDS.items() if self.name.endswith(ending)), "")


def dump_of(backup: Backup) -> Dump:
    """Raises Failed for a backup of another kind."""
    if not backup.files:
        raise Failed("its manifest names no file")
    found = Dump(backup.folder, backup.files)
    if not found.kind:
        raise Failed("%s is no dump of PostgreSQL" % found.name)
    return found


def lone_file(host: Host, path: str) -> Dump:
    """A dump without a manifest: what somebody else made. Raises Failed."""
    name = os.path.basename(path)
    found = Dump(os.path.dirname(path), [{"name": name}])
    if not found.kind:
        raise Failed("%s is named like no dump; known are %s" % (path, ", ".join(sorted(KINDS))))
    return found


def read(host: Host, server: Server, dump: Dump, level: str, decipher: Optional[Decipher], target: Any) -> None:
    """Read a dump at a level, and compare every hash that its manifest has. Raises Failed."""
    reader = Reader(server, dump.kind, level, target)
    if dump.kind == "directory":
        _read_folder(host, dump, reader, decipher)
        return
    entry = dump.entries[0]
    path = os.path.join(dump.folder, entry["name"])
    _same_size(path, entry)
    key = decipher.program() if decipher is not None else None
    whole = level != "list" or bool(dump.method)
    if dump.method and key is None:
        # Without the key only the cipher text can be compared.
        _same(path, entry, digest_file(host, path, "reading %s" % entry["name"]))
        return
    try:
        outer, inner = read_file(host, path, reader, whole, key)
    except Failed:
        _explain(host, path, entry, whole)
        raise
    if whole:
        _same(path, entry, outer)
        if key is not None:
            _same(path, {"sha256": entry.get("plain_sha256")}, inner)


def _explain(host: Host, path: str, entry: Dict[str, Any], whole: bool) -> None:
    """When a program fails over a file that is not the manifest's, that is the cause. Raises Failed."""
    if whole and entry.get("sha256"):
        _same(path, entry, digest_file(host, path))


def _same_size(path: str, entry: Dict[str, Any]) -> None:
    try:
        size = os.stat(path).st_size
    except OSError as problem:
        raise Failed("%s: %s" % (path, problem.strerror)) from None
    if entry.get("size") not in (None, size):
        raise Failed("%s has %d bytes, the manifest says %d: it is cut off or another" % (path, size, entry["size"]))


def _same(path: str, entry: Dict[str, Any], tap: Tap) -> None:
    if entry.get("sha256") and tap.sha256 != entry["sha256"]:
        raise Failed("%s is damaged: its sha256 is not the manifest's" % path)


def _read_folder(host: Host, dump: Dump, reader: Reader, decipher: Optional[Decipher]) -> None:
    """Encrypted, each file is decrypted into a folder in memory or beside, which goes when it is read."""
    for entry in dump.entries:
        path = os.path.join(dump.folder, entry["name"])
        _same_size(path, entry)
        _same(path, entry, digest_file(host, path, "reading %s" % entry["name"]))
    if dump.method and decipher is None:
        return
    folder = os.path.join(dump.folder, dump.name)
    hidden = ""
    try:
        if decipher is not None:
            hidden = folder = host.temporary.folder(os.path.dirname(dump.folder))
            for entry in dump.entries:
                name = os.path.basename(entry["name"])[: -len(SUFFIXES[dump.method])]
                path, target = os.path.join(dump.folder, entry["name"]), os.path.join(folder, name)
                plain = decipher.decrypt(path, target, "decrypting %s" % name)
                _same(path, {"sha256": entry.get("plain_sha256")}, plain)
        flow(host, reader.chain(folder), text="reading %s" % dump.name)
    finally:
        if hidden:
            host.temporary.discard(hidden)


# --- what the numbers must be ---


def wrong_numbers(backup: Optional[Backup], path: str, params: Any, previous: Optional[Backup]) -> List[str]:
    """What is wrong with size and age, each in words."""
    size = backup.size if backup is not None else os.stat(path).st_size
    age = time.time() - (backup.finished if backup is not None else os.stat(path).st_mtime)
    told = []
    if params.size_min and size < params.size_min:
        told.append("it has %s, less than size_min %s" % (told_size(size), told_size(params.size_min)))
    if params.size_max and size > params.size_max:
        told.append("it has %s, more than size_max %s" % (told_size(size), told_size(params.size_max)))
    if params.max_age and age > params.max_age * 3600:
        told.append("it is %.1f hours old, more than max_age %d" % (age / 3600, params.max_age))
    if params.delta_pct and previous is not None and previous.size:
        delta = abs(size - previous.size) * 100.0 / previous.size
        if delta > params.delta_pct:
            text = "its size differs by %.0f %% from that of %s, more than delta_pct %d"
            told.append(text % (delta, previous.stamp, params.delta_pct))
    return told


def wrong_tables(tables: List[Dict[str, Any]], params: Any, previous: Optional[Backup]) -> List[str]:
    """What is wrong with a dump's tables (as counted in a restore, or as its manifest has them), each in words."""
    here = {named(table): table.get("rows") for table in tables}
    told = ["the table %s is missing" % name for name in map(qualified, params.expect_tables) if name not in here]
    for name, least in sorted(params.min_rows.items()):
        rows = here.get(qualified(name))
        if qualified(name) not in here:
            told.append("the table %s is missing" % qualified(name))
        elif rows is None:
            told.append("the rows of %s are not known" % qualified(name))
        elif rows < least:
            told.append("%s has %d rows, less than min_rows %d" % (qualified(name), rows, least))
    if params.compare == "previous" and previous is not None:
        before = {named(table): table.get("rows") for table in (previous.data.get("database") or {}).get("tables", [])}
        told += ["the table %s of %s is gone" % (name, previous.stamp) for name in sorted(set(before) - set(here))]
        emptied = [name for name, rows in sorted(before.items()) if rows and here.get(name) == 0]
        told += ["%s is empty, and had %d rows in %s" % (name, before[name] or 0, previous.stamp) for name in emptied]
    return sorted(set(told), key=told.index)


def named(table: Dict[str, Any]) -> str:
    return "%s.%s" % (table["schema"], table["name"])


def qualified(name: str) -> str:
    return name if "." in name else "public." + name


def prove(host: Host, backup: Backup, level: str, tables: List[Dict[str, Any]], seconds: float) -> Dict[str, Any]:
    """Write beside a backup that a restore of it held what its manifest says."""
    proof = {
        "version": backups.VERSION, "at": backups.moment(), "by": os.uname().nodename, "opsplay": backups.OPSPLAY,
        "level": level, "seconds": round(seconds, 1), "tables": len(tables),
        "rows": sum(int(table.get("rows") or 0) for table in tables), "manifest_sha256": manifest_hash(host, backup),
    }  # fmt: skip
    host.write(backup.path(backups.PROOF), backups.encoded(proof), mode=0o600)
    return proof


def manifest_hash(host: Host, backup: Backup) -> str:
    return host.digest(backup.path(backups.MANIFEST), "sha256")


def restored(
    host: Host, server: Server, backup: Optional[Backup], dump: Dump, decipher: Optional[Decipher], params: Any
) -> Tuple[List[Dict[str, Any]], List[str]]:
    """Restore into a scratch cluster. Returns the counted tables and what differs. Raises Failed, SqlError."""
    database = (backup.data.get("database") if backup is not None else None) or {"name": "restored"}
    with _restored.Restored(host, server, database, params.scratch_dir or "") as drill:
        read(host, server, dump, "restore", decipher, drill.target)
        found = drill.counts()
        stale = _freshness.stale(drill.target, params.fresh)
    expected = database.get("tables") if params.compare == "manifest" else None
    return found, _restored.differences(found, expected or []) + stale
