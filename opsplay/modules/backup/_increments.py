"""What an increment stands on: a full set, with the list of its trees that its host has kept beside it.

The list tells names, so it is in no set that is encrypted: it stays on the host that made the set, mode 0600. The
set's manifest holds its hash. Without it an increment cannot tell what has changed, and a full set is made instead.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent import backups, chain, cipher
from opsplay.agent.backups import LISTING, Backup
from opsplay.agent.files import replace
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed
from opsplay.agent.spec import Params
from opsplay.modules.backup import _trees
from opsplay.modules.backup._archive import Archive
from opsplay.modules.backup._trees import Entry


class Unfit(Exception):
    """A set that no increment can stand on: `str()` says why."""


class Base:
    """A full set that an increment can stand on, and its trees by the archives' names."""

    def __init__(self, backup: Backup, trees: Dict[str, Any]) -> None:
        self.backup = backup
        self._trees = trees

    def entries(self, name: str) -> Dict[str, Entry]:
        """What its archive of that name holds; nothing where it has none."""
        return {path: Entry(*told) for path, told in self._trees.get(name, {}).items()}

    def described(self, host: Host, parts: List[Any]) -> Dict[str, Any]:
        """What an increment's manifest says of it. Raises Broken when it has changed since it was found."""
        now = backups.load(self.backup.folder)
        if now.data != self.backup.data:
            raise chain.Broken("%s has changed meanwhile" % self.backup.folder)
        whole = any(not isinstance(part, Archive) for part in parts)
        return {"increment_of": chain.reference(host, now), "databases": "full" if whole else "none"}


def stand(host: Host, backup: Backup) -> None:
    """Withdraw an increment whose base somebody has removed meanwhile. Raises Broken, OSError."""
    try:
        chain.base_of(host, backup)
    except chain.Broken:
        backups.withdraw(host, backup)
        raise


class Listing:
    """The trees of a full set, as they are kept."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def described(self) -> Dict[str, Any]:
        """As the set's manifest has it."""
        return {"sha256": digest(self._data)}

    def keep(self, host: Host, backup: Backup) -> None:
        """Write it beside the set, and remove those whose sets are gone. A failure is a warning: the set is whole."""
        directory = os.path.dirname(backup.folder)
        path = os.path.join(directory, LISTING + backup.stamp)
        try:
            replace(host.temporary, path, [self._data], 0o600, (-1, -1))
        except OSError as problem:
            host.warn("no increment can stand on %s: %s: %s" % (backup.stamp, path, problem.strerror))
        for name in os.listdir(directory):
            if name.startswith(LISTING) and not os.path.isdir(os.path.join(directory, name[len(LISTING) :])):
                os.unlink(os.path.join(directory, name))


def listing_of(parts: List[Any]) -> Listing:
    """What the archives of a full set hold, once they are made."""
    return Listing(_trees.packed({"trees": {part.name: part.entries for part in parts if isinstance(part, Archive)}}))


def find(host: Host, params: Params, directory: str) -> Optional[Base]:
    """The full set to stand on; None, with a warning, where there is none. Fails when `base` names an unfit one."""
    try:
        return chosen(host, params, directory)
    except Unfit as problem:
        if params.base:
            host.fail("base: %s" % problem)
        host.warn("%s; this set is a full one" % problem)
        return None


def chosen(host: Host, params: Params, directory: str) -> Base:
    """Raises Unfit."""
    known = [each for each in backups.backups_below(directory) if each.data.get("type") == "full" and each.level]
    if params.base:
        known = [backup for backup in known if backup.stamp == params.base]
    if not known:
        what = "verified full set %s" % params.base if params.base else "verified full set"
        raise Unfit("there is no %s in %s" % (what, directory))
    backup = known[-1]
    crypt = cipher.wanted(host, params.encrypt)
    wanted, had = (crypt.describe() if crypt is not None else {}), backup.data.get("encryption") or {}
    if had.get("method", "") != wanted.get("method", ""):
        told = "is encrypted by %s" % had["method"] if had else "lies in the clear"
        raise Unfit("the full set %s %s, and one key has to open both" % (backup.stamp, told))
    new = [recipient for recipient in wanted.get("recipients", []) if recipient not in had.get("recipients", [])]
    if new:
        text = "the full set %s is not encrypted to %s, and one key has to open both"
        raise Unfit(text % (backup.stamp, ", ".join(new)))
    for entry in backup.files:
        path = backup.path(entry["name"])
        if not os.path.isfile(path) or os.stat(path).st_size != entry["size"]:
            raise Unfit("the full set %s is not whole: %s" % (backup.stamp, path))
    return Base(backup, trees_of(backup))


def trees_of(backup: Backup) -> Dict[str, Any]:
    """The trees of a full set by their archives. Raises Unfit when their list is lost or another one."""
    path = os.path.join(os.path.dirname(backup.folder), LISTING + backup.stamp)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as problem:
        text = "what the full set %s holds is not known: %s: %s"
        raise Unfit(text % (backup.stamp, path, problem.strerror)) from None
    if digest(data) != (backup.data.get("listing") or {}).get("sha256"):
        raise Unfit("%s is not the list that the full set %s was made with" % (path, backup.stamp))
    try:
        return dict(_trees.unpacked(data)["trees"])
    except Failed as problem:
        raise Unfit("%s: %s" % (path, problem)) from None


def digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()
