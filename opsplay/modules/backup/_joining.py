"""An archive of an increment on its way back: what the base's archive still holds of it, and then its own."""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, List, Optional

from opsplay.agent import backups, files
from opsplay.agent.cipher import Decipher
from opsplay.agent.host import Host
from opsplay.agent.looking import number_of
from opsplay.agent.pipeline import Failed
from opsplay.modules.backup import _trees
from opsplay.modules.backup._trees import Member
from opsplay.modules.backup._unpacking import LIST_MOST, Unpacking, archives_of, found_in


class Joining(Unpacking):
    """One archive of an increment. `kept` are the names whose content is that of the base; `told` mode and mtime of
    those of them that have new ones."""

    def __init__(
        self, host: Host, backup: backups.Backup, base: backups.Backup, part: Dict[str, Any], key: Optional[Decipher]
    ) -> None:
        Unpacking.__init__(self, host, backup, part, key)
        self._list = found_in(backup, self.name + ".list")
        there = archives_of(base).get(self.name)
        self._base = Unpacking(host, base, there, key) if there else None
        self._held: Dict[str, Member] = {}
        self._stored: Dict[str, Member] = {}
        self._kept: List[str] = []
        self._told: Dict[str, Any] = {}
        self._numbers: Dict[Any, int] = {}

    def differences(self) -> List[str]:
        """What is not as base and increment have it together, by name. Raises Failed."""
        self._read()
        found = []
        together = {name: self._held[name] for name in self._kept}
        together.update(self._stored)
        for name in sorted(together):
            member = together[name]
            if member.kind == "h":
                other = together.get(_trees.absolute(member.link))
                if other is None:
                    raise Failed("the archive %s names %s, which is not in it" % (self.name, member.link))
                member = other
            found += ["%s: %s" % (name[1:], word) for word in self._unlike(name, member)]
        for path in self.paths:
            if os.path.lexists(path):
                found += ["%s: not in the archive" % name for name, _ in _trees.tree(path) if name not in together]
        return found

    def unpack(self, path: str, hidden: str) -> None:
        """Raises Failed, OSError."""
        below = [name for name in self._kept if within(name, path)]
        if below and self._base is not None:
            self._base.unpack(path, hidden)
            self._prune(hidden + path, path, set(below))
        if any(within(name, path) for name in self._stored):
            Unpacking.unpack(self, path, hidden)
        missing = [name for name in below if not os.path.lexists(hidden + name)]
        if missing:
            raise Failed("the base does not hold %s" % ", ".join(missing[:5]))
        for name in below:
            if name in self._told:
                mode, mtime = self._told[name]
                os.chmod(hidden + name, mode)
                os.utime(hidden + name, ns=(mtime, mtime))

    # --- what the two hold ---

    def _read(self) -> None:
        """Raises Failed."""
        try:
            document = _trees.unpacked(self.decrypted(self._list, [], LIST_MOST))
            self._kept = [str(name) for name in document["kept"]]
            self._told = {str(name): (int(mode), int(mtime)) for name, mode, mtime in document["told"]}
        except (KeyError, TypeError, ValueError) as problem:
            raise Failed("%s is no list of what an increment keeps: %r" % (self._list, problem)) from None
        self._stored = self.members()
        self._held = self._base.members() if self._base is not None and self._kept else {}
        missing = [name for name in self._kept if name not in self._held]
        if missing:
            raise Failed("the base does not hold %s" % ", ".join(missing[:5]))
        for name, (mode, mtime) in self._told.items():
            self._held[name].mode, self._held[name].mtime = mode, mtime

    def _unlike(self, name: str, member: Member) -> List[str]:
        """In what a file differs from what it was."""
        try:
            there = os.lstat(name)
        except OSError:
            return ["is missing"]
        kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}.get(stat.S_IFMT(there.st_mode), "o")
        if kind != member.kind:
            return ["File type differs"]
        found = []
        if kind != "l" and stat.S_IMODE(there.st_mode) != member.mode:
            found.append("Mode differs")
        user, group, uid, gid = member.owner
        if there.st_uid != self._number("user", user, uid):
            found.append("Uid differs")
        if there.st_gid != self._number("group", group, gid):
            found.append("Gid differs")
        if kind == "l":
            return found + ([] if os.readlink(name) == member.link else ["Symlink differs"])
        if kind == "f" and there.st_mtime_ns != member.mtime:
            found.append("Mod time differs")
        if kind == "f" and there.st_size != member.size:
            found.append("Size differs")
        elif kind == "f" and member.sha256 and self._host.digest(name, "sha256") != member.sha256:
            found.append("Contents differ")
        return found

    def _number(self, kind: str, name: str, number: int) -> int:
        """The number of an owner as tar finds it here: by name, else by the number."""
        if (kind, name, number) not in self._numbers:
            found = number_of(kind, name) if name else None
            self._numbers[kind, name, number] = number if found is None else found
        return self._numbers[kind, name, number]

    def _prune(self, place: str, name: str, kept: Any) -> None:
        """Remove below a path that was unpacked what the increment does not keep of it. Raises OSError."""
        if not os.path.lexists(place):
            return
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            if name not in kept:
                os.unlink(place)
            return
        now = self._stored.get(name)
        if now is None or now.kind != "d":
            files.remove_tree(place)
            return
        # The folder's own ACLs and attributes come with the increment.
        for attribute in os.listxattr(place, follow_symlinks=False):
            try:
                os.removexattr(place, attribute, follow_symlinks=False)
            except OSError:
                continue
        for below in os.listdir(place):
            self._prune(os.path.join(place, below), os.path.join(name, below), kept)


def within(name: str, path: str) -> bool:
    return name == path or name.startswith(path.rstrip("/") + "/")


def chosen(
    host: Host, backup: backups.Backup, base: Optional[backups.Backup], wanted: List[str], key: Optional[Decipher]
) -> List[Unpacking]:
    """The archives to restore. Fails for a name that the set does not have."""
    there = archives_of(backup)
    unknown = [name for name in wanted if name not in there]
    if unknown:
        known = ", ".join(sorted(there)) or "none"
        host.fail("the set %s has no archive %s; it has %s" % (backup.stamp, ", ".join(unknown), known))
    parts = [there[name] for name in wanted or sorted(there)]
    if base is None:
        return [Unpacking(host, backup, part, key) for part in parts]
    return [Joining(host, backup, base, part, key) for part in parts]
