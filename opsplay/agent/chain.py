"""Increments and the full backups that they stand on: found by stamp, recognised by the hash of their manifest.

An increment always refers to a full backup of the same folder, never to another increment, so that two are enough to
restore from, and the loss of one increment harms no other.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent import backups
from opsplay.agent.backups import Backup
from opsplay.agent.host import Host


class Broken(Exception):
    """What an increment stands on is missing, cut short, or another one: `str()` says which."""


def reference(host: Host, base: Backup) -> Dict[str, str]:
    """How an increment's manifest names its base. Raises OSError."""
    return {"stamp": base.stamp, "manifest_sha256": host.digest(base.path(backups.MANIFEST), "sha256")}


def base_of(host: Host, backup: Backup) -> Optional[Backup]:
    """The full backup that an increment stands on, None for one that stands by itself. Raises Broken.

    The sizes of its files are compared, not their contents: `damage` does that.
    """
    wanted = backup.increment_of
    if wanted is None:
        return None
    folder = os.path.join(os.path.dirname(backup.folder), backups.folder_name(str(wanted.get("stamp"))))
    what = "the increment %s stands on %s" % (backup.stamp, folder)
    try:
        base = backups.load(folder)
        found = reference(host, base)
    except (backups.Unreadable, OSError) as problem:
        raise Broken("%s, which is not there: %s" % (what, problem)) from None
    if found != wanted:
        raise Broken("%s, whose manifest is another one (sha256 %s)" % (what, found["manifest_sha256"])) from None
    for entry in base.files:
        try:
            size = os.stat(base.path(entry["name"])).st_size
        except OSError:
            raise Broken("%s, where %s is missing" % (what, entry["name"])) from None
        if size != entry["size"]:
            raise Broken("%s, where %s has %d bytes and not %d" % (what, entry["name"], size, entry["size"]))
    return base


def damage(host: Host, backup: Backup) -> List[str]:
    """What differs from the manifests, in a backup and in what it stands on. Reads every byte of both."""
    found = backups.damage(host, backup)
    try:
        base = base_of(host, backup)
    except Broken as problem:
        return found + [str(problem)]
    return found + (backups.damage(host, base) if base is not None else [])


def stands(host: Host, backup: Backup) -> bool:
    """Whether a backup is not an increment whose base is missing, cut short, or another one."""
    try:
        base_of(host, backup)
    except Broken:
        return False
    return True


def based(known: List[Backup]) -> List[Backup]:
    """Those of one name's backups that stand by themselves, or on one that is among them."""
    stamps = {backup.stamp for backup in known}
    return [backup for backup in known if (backup.increment_of or {}).get("stamp", backup.stamp) in stamps]


def wanted_by(known: List[Backup], kept: Any) -> List[str]:
    """The stamps of the bases that those of `known` stand on whose stamps are in `kept`."""
    found: List[str] = []
    for backup in known:
        reference: Optional[Dict[str, Any]] = backup.increment_of
        if reference is not None and backup.stamp in kept:
            found.append(str(reference.get("stamp")))
    return found
