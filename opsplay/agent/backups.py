"""Backups as they lie in their folder: one folder each, published by one rename, described by its manifest.

    DIR/NAME/20261128T020000Z/manifest.json     what it is, its files with their hashes, the rows it must hold
                              manifest.json.sig the manifest's signature, by the SSH host key of who made it
                              app.dump.age      the dump itself
                              proven.json       who restored it, when, and what was compared (once that was done)
    DIR/NAME/latest -> 20261128T020000Z         the newest whole one; emergency backups never become it
    DIR/NAME/.listing-20261128T020000Z          of a full set: its trees, for the increments that stand on it

NAME is the database, or what the caller names the set. A folder whose name begins with a dot is under way or was
abandoned, and is no backup. Times are UTC.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any, Dict, List, Optional

from opsplay.agent.files import place, remove_tree, sync_directory, sync_tree, write_new
from opsplay.agent.host import Host

MANIFEST = "manifest.json"
PROOF = "proven.json"
SIGNATURE = MANIFEST + ".sig"
LATEST = "latest"
# What the trees of a full set were, in a file beside it: names that an encrypted set must not tell stay on its host.
LISTING = ".listing-"
STAMP = "%Y%m%dT%H%M%SZ"
MOMENT = "%Y-%m-%dT%H:%M:%SZ"
VERSION = 1
# Who makes them: the version of opsplay, which does not travel by itself.
OPSPLAY = "0.1.0"
# The tag of a backup that is made in need: it never becomes `latest`, and nothing is pruned after it.
EMERGENCY = "emergency"
# The same, of the state that a restore replaces: chosen by its stamp alone, or a second run would bring it back.
BEFORE_RESTORE = "before-restore"
NEEDED = (EMERGENCY, BEFORE_RESTORE)
# How thoroughly a backup was looked at when it was made, from its table of contents to a restore.
LEVELS = ("list", "read", "restore")
# Seconds that an interruption waits for a backup to be put into place.
PUBLISHING = 60.0


class Backup:
    """One backup on disk. `data` is its manifest, `proof` what a restore of it has proven (None: nothing yet)."""

    __slots__ = ("folder", "data", "proof")

    def __init__(self, folder: str, data: Dict[str, Any], proof: Optional[Dict[str, Any]]) -> None:
        self.folder = folder
        self.data = data
        self.proof = proof

    @property
    def stamp(self) -> str:
        """When it was begun, as its folder is named: sorts by time."""
        return os.path.basename(self.folder)

    @property
    def files(self) -> List[Dict[str, Any]]:
        """Each file's name, size and sha256; plain_size and plain_sha256 besides where it is encrypted."""
        return list(self.data["files"])

    @property
    def finished(self) -> float:
        """When it was whole, in seconds since 1970."""
        return seconds_of(self.data["finished"])

    @property
    def tag(self) -> str:
        return str(self.data.get("tag") or "")

    @property
    def increment_of(self) -> Optional[Dict[str, Any]]:
        """Of an increment: the `stamp` of the full backup it stands on, and that one's `manifest_sha256`."""
        found = self.data.get("increment_of")
        return dict(found) if found else None

    @property
    def size(self) -> int:
        """Its bytes on disk."""
        return sum(int(entry["size"]) for entry in self.files)

    @property
    def level(self) -> str:
        """How it was verified: list, read, restore, or proven; empty if it was not."""
        return "proven" if self.proof else str((self.data.get("verified") or {}).get("level") or "")

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def describe(self) -> Dict[str, Any]:
        """What a catalog shows of it."""
        data = self.data
        return {
            "folder": self.folder,
            "stamp": self.stamp,
            "name": data["name"],
            "kind": data["kind"],
            "tag": self.tag,
            "finished": data["finished"],
            "size": self.size,
            "verified": (data.get("verified") or {}).get("level", ""),
            "proven": bool(self.proof),
            "increment_of": (self.increment_of or {}).get("stamp", ""),
            "encrypted": bool(data.get("encryption")),
            "signed": os.path.isfile(self.path(SIGNATURE)),
        }


class Unreadable(Exception):
    """A folder that looks like a backup and is none: `str()` says why."""


def load(folder: str) -> Backup:
    """A backup by its folder; `latest` is followed. Raises Unreadable."""
    from opsplay.agent import manifests

    folder = os.path.realpath(folder)
    data = _document(os.path.join(folder, MANIFEST))
    if data is None:
        raise Unreadable("%s holds no %s: it is no backup of opsplay" % (folder, MANIFEST))
    if data.get("version") != VERSION:
        found = data.get("version")
        raise Unreadable("%s: its manifest is of version %r, this opsplay reads %d" % (folder, found, VERSION))
    try:
        manifests.refuse(data)
    except manifests.Wrong as problem:
        raise Unreadable("%s is refused: %s" % (folder, problem)) from None
    return Backup(folder, data, _document(os.path.join(folder, PROOF)))


def backups_below(directory: str, refused: Optional[List[str]] = None) -> List[Backup]:
    """The backups of one name (DIR/NAME), oldest first. What cannot be read as one is left out; `refused` gets why."""
    found = []
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        folder = os.path.join(directory, name)
        if not name.startswith(".") and name != LATEST and os.path.isfile(os.path.join(folder, MANIFEST)):
            try:
                found.append(load(folder))
            except Unreadable as problem:
                if refused is not None:
                    refused.append(str(problem))
    return found


def names_below(directory: str) -> List[str]:
    """The names that have backups in DIR."""
    found = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    return [name for name in found if not name.startswith(".") and backups_below(os.path.join(directory, name))]


def latest(directory: str) -> Optional[Backup]:
    """The backup that `latest` of DIR/NAME leads to; None when there is none. Raises Unreadable."""
    path = os.path.join(directory, LATEST)
    return load(path) if os.path.lexists(path) else None


def folder_name(name: str) -> str:
    """A database's name as a folder's: what a path could misunderstand is written as its bytes, %2F for a slash."""
    quoted = ""
    for char in name:
        plain = char.isalnum() or char in "_+@-" or (char == "." and quoted)
        quoted += char if plain else "".join("%%%02X" % byte for byte in char.encode("utf-8", "surrogateescape"))
    return quoted


def moment(seconds: Optional[float] = None) -> str:
    """A time as manifests have it."""
    return time.strftime(MOMENT, time.gmtime(seconds))


def seconds_of(text: str) -> float:
    """Seconds since 1970 of a time in a manifest. Raises ValueError."""
    from calendar import timegm

    return float(timegm(time.strptime(text, MOMENT)))


def free_stamp(directory: str, seconds: float) -> str:
    """The name of a backup that began then, and that no other one bears."""
    while os.path.lexists(os.path.join(directory, time.strftime(STAMP, time.gmtime(seconds)))):
        seconds += 1
    return time.strftime(STAMP, time.gmtime(seconds))


def coming(directory: str, tag: str, level: str) -> Backup:
    """What a preview would have made."""
    stamp = free_stamp(directory, time.time())
    data = {"kind": "", "name": "", "files": [], "finished": moment(), "tag": tag, "verified": {"level": level}}
    return Backup(os.path.join(directory, stamp), data, None)


def make_folder(host: Host, directory: str) -> None:
    """Make DIR/NAME, and what is missing above it, for nobody else to look into. Raises OSError.

    It is no step that undo could take back: the backups in it would go, too.
    """
    if os.path.isdir(directory):
        host.permissions(directory, 0o700)
        return
    if not os.path.isdir(os.path.dirname(directory)):
        make_folder(host, os.path.dirname(directory))
    host.note("", "directory\n", directory)
    if not host.check:
        os.mkdir(directory, 0o700)
        sync_directory(os.path.dirname(directory))


def publish(
    host: Host, hidden: str, data: Dict[str, Any], began: float, mode: int = 0o600, sign: str = "auto"
) -> Backup:
    """Let a hidden folder in DIR/NAME that holds a backup's files become that backup. Raises OSError.

    Its manifest is written and signed, all is brought to the disk, and one rename gives it its name: when it was begun,
    or the next second that no other one bears. Fails where `sign` is required and cannot be.
    """
    from opsplay.agent import signatures

    directory = os.path.dirname(hidden)
    write_new(os.path.join(hidden, MANIFEST), encoded(data), mode)
    problem = signatures.sign(host, hidden, mode)
    if problem and sign == "required":
        host.fail("the backup %s cannot be signed: %s; it was not published" % (data["name"], problem))
    if problem:
        host.warn("the backup %s is not signed: %s" % (data["name"], problem))
    sync_tree(hidden)
    with host.critical(PUBLISHING):
        while True:
            final = os.path.join(directory, time.strftime(STAMP, time.gmtime(began)))
            try:
                os.rename(hidden, final)
                break
            except OSError as problem:
                # A folder with something in it is never replaced.
                if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            began += 1
        host.temporary.paths.discard(hidden)
        sync_directory(directory)
    return load(final)


def point_latest(host: Host, backup: Backup) -> None:
    """Let `latest` lead to a backup: a link beside, renamed, so that a reader always finds one. Raises OSError."""
    path = os.path.join(os.path.dirname(backup.folder), LATEST)
    with host.critical(PUBLISHING):
        place(host.temporary, path, lambda beside: os.symlink(backup.stamp, beside))


def withdraw(host: Host, backup: Backup) -> None:
    """Remove a backup: hidden by one rename, so that nobody finds a part of it, then deleted. Raises OSError."""
    directory = os.path.dirname(backup.folder)
    host.temporary.sweep(directory)
    hidden = host.temporary.name(directory)
    host.temporary.paths.add(hidden)
    os.rename(backup.folder, hidden)
    sync_directory(directory)
    remove_tree(hidden)
    host.temporary.paths.discard(hidden)
    listing = os.path.join(directory, LISTING + backup.stamp)
    if os.path.lexists(listing):
        os.unlink(listing)


def damage(host: Host, backup: Backup) -> List[str]:
    """What differs from the manifest: files that are missing, of another size or hash. Reads every byte."""
    found = []
    for entry in backup.files:
        path = backup.path(entry["name"])
        try:
            size = os.lstat(path).st_size
        except OSError:
            found.append("%s is missing" % path)
            continue
        if os.path.realpath(path) != path or not os.path.isfile(path):
            found.append("%s is no file of its own, or a link leads away from it" % path)
        elif size != entry["size"]:
            found.append("%s has %d bytes, the manifest says %d" % (path, size, entry["size"]))
        elif host.digest(path, "sha256") != entry["sha256"]:
            found.append("%s is damaged: its sha256 is not the manifest's" % path)
    return found


def encoded(data: Dict[str, Any]) -> bytes:
    """A manifest as it is written."""
    import json

    return (json.dumps(data, indent=2, sort_keys=True) + "\n").encode()


def _document(path: str) -> Optional[Dict[str, Any]]:
    """A JSON object of a file, None when there is no file. Raises Unreadable."""
    import json

    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise Unreadable("%s cannot be read: %s" % (path, problem)) from None
    if not isinstance(found, dict):
        raise Unreadable("%s holds no JSON object" % path)
    return found
