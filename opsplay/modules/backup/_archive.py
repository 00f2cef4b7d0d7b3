"""The parts of a backup set that are files: archives of tar, whole or of what has changed since a full set."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent import pipeline
from opsplay.agent.cipher import Cipher
from opsplay.agent.files import write_new
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program
from opsplay.agent.sizes import free_bytes, told_size, tree_size
from opsplay.agent.spec import Bool, Param, Path, validate
from opsplay.agent.spec import List as Listing
from opsplay.modules.backup import _trees
from opsplay.modules.backup._sealing import sealed
from opsplay.modules.backup._trees import Entry

ARCHIVE: Dict[str, Param] = {
    "paths": Listing(of=Path(), required=True, split=False),
    "optional": Listing(of=Path(), default=[], split=False),
    "exclude": Listing(default=[], split=False),
    "live": Bool(default=False),
}
# tar ends with 1 when a file has changed while it was read, which live data does.
TOLERANT = 'tar "$@"; status=$?; [ "$status" -le 1 ]'
# With a list of names it ends with 2 when one has gone meanwhile: the only cause that is let pass, by its own words.
FADING = r"""
exec 4>&1
said=$(LC_ALL=C tar "$@" 2>&1 >&4 4>&-); status=$?
[ -z "$said" ] || printf '%s\n' "$said" >&2
[ "$status" -le 1 ] && exit 0
printf '%s\n' "$said" | grep -vq -e ': No such file or directory$' -e ': File removed before we read it$' \
    -e ': file changed as we read it$' -e ': socket ignored$' \
    -e ': Exiting with failure status due to previous errors$' && exit 2
exit 0
"""


class Archive:
    """Files and folders as one archive of tar, with owners by name, modes, ACLs and extended attributes.

    With `listed`, `entries` is what it holds once it is made. With `was`, the entries of the full set's archive, it
    holds folders and what is not as it was there, with a list of the rest beside it.
    """

    def __init__(
        self,
        host: Host,
        name: str,
        given: Dict[str, Any],
        listed: bool = False,
        was: Optional[Dict[str, Entry]] = None,
    ) -> None:
        self.name = name
        self._host = host
        self._params = validate(ARCHIVE, given)
        self._was = was
        self._listed = listed
        self.entries: Dict[str, Entry] = {}
        self.missing: List[str] = []

    def paths(self) -> List[str]:
        """What goes in. Fails when a path is missing that is not optional."""
        optional = [self._host.expand(path) for path in self._params.optional]
        found = []
        self.missing = []
        for path in [self._host.expand(path) for path in self._params.paths] + optional:
            if self._host.stat(path) is not None:
                found.append(path)
            elif path in optional:
                self.missing.append(path)
            else:
                hint = "name it under `optional` if it may be missing"
                self._host.fail("%s: %s does not exist; %s" % (self.name, path, hint))
        return found

    def size(self) -> int:
        """The bytes of all files in it, links not followed; of an increment they are known when it is made."""
        return sum(tree_size(path) for path in self.paths()) if self._was is None else 0

    def fingerprint(self) -> str:
        """A hash of all names, modes, owners and contents: the same for the same state."""
        import hashlib

        found = hashlib.sha256()
        for path in self.paths():
            for name, told in _trees.tree(path):
                found.update(("%s\0%s\0" % (name, told)).encode("utf-8", "surrogateescape"))
                if told.startswith("f"):
                    found.update(self._host.digest(name, "sha256").encode())
        return found.hexdigest()

    def make(self, folder: str, crypt: Optional[Cipher]) -> Dict[str, Any]:
        """Write the archive, read it again on its way, and describe it. Raises Failed, OSError."""
        paths = self.paths()
        told = {"name": self.name, "kind": "archive", "paths": paths, "missing": self.missing}
        if self._was is not None:
            return dict(told, **self._increment(folder, crypt, paths))
        # What is there is looked at before it is read: what changes meanwhile is not as it was, the next time.
        before = self._now(folder, paths, True) if self._listed else {}
        entry, archived = self._archive(folder, crypt, self._whole(paths), TOLERANT if self._params.live else "")
        self.entries = _trees.with_contents(before, archived)
        return dict(told, files=[entry])

    def _increment(self, folder: str, crypt: Optional[Cipher], paths: List[str]) -> Dict[str, Any]:
        """Folders and what is not as it was, in an archive; what is, in a list. Raises Failed, OSError."""
        now = self._now(folder, paths)
        changes = _trees.Changes(self._host, self._was or {}, now)
        size, free = changes.size(now), free_bytes(folder)
        if size > free:
            raise Failed("%s needs up to %s, where %s are free" % (self.name, told_size(size), told_size(free)))
        listed = os.path.join(folder, ".stored")
        write_new(listed, b"".join(_trees.raw(name[1:] or ".") + b"\0" for name in changes.stored), 0o600)
        words = self._words() + ["--no-recursion", "--null", "--files-from=%s" % listed]
        entry, archived = self._archive(folder, crypt, words, FADING if self._params.live else "")
        os.unlink(listed)
        absent = [name for name in changes.stored if name not in archived and os.path.lexists(name)]
        if absent:
            raise Failed("tar has left out %s" % ", ".join(absent[:5]))
        document = {"kept": sorted(changes.kept), "told": changes.told, "removed": changes.removed}
        beside = self._list(folder, crypt, _trees.packed(document))
        counts = {"kept": len(changes.kept), "stored": len(archived), "removed": len(changes.removed)}
        return {"increment": dict(counts, bytes=size), "files": [entry, beside]}

    def _archive(self, folder: str, crypt: Optional[Cipher], words: List[str], tolerant: str) -> Any:
        """The archive as a manifest has it, and its members as they were read on its way (where they are needed)."""
        argv = ["/bin/sh", "-c", tolerant, "tar"] + words if tolerant else ["tar"] + words
        read = os.path.join(folder, ".members")
        wanted = self._listed or self._was is not None
        sides = [[Program(["tar", "--list", "--file=-"])]] + ([[_trees.reader(read)]] if wanted else [])
        text = "archiving %s" % self.name
        entry = sealed(self._host, folder, "%s.tar" % self.name, crypt, [Program(argv)], sides, text=text)
        if not wanted:
            return entry, {}
        archived = _trees.members(read)
        os.unlink(read)
        return entry, archived

    def _list(self, folder: str, crypt: Optional[Cipher], data: bytes) -> Dict[str, Any]:
        """The list of an increment: names that an encrypted set must not tell. Raises Failed, OSError."""
        path = os.path.join(folder, ".list")
        write_new(path, data, 0o600)
        source = pipeline.opened(path, follow=False)
        try:
            return sealed(self._host, folder, "%s.list" % self.name, crypt, [], [], source=source)
        finally:
            os.close(source)
            os.unlink(path)

    def _now(self, folder: str, paths: List[str], lasting: bool = False) -> Dict[str, Entry]:
        words = self._excluded() + ["--sort=name", "--directory=/"] + relative(paths)
        found = _trees.names(self._host, folder, words, TOLERANT if self._params.live else "")
        return _trees.look(found, _trees.written_back(self._host, found) if lasting else None)

    def _whole(self, paths: List[str]) -> List[str]:
        return self._words() + relative(paths)

    def _words(self) -> List[str]:
        words = ["--create", "--acls", "--xattrs", "--sort=name", "--sparse", "--directory=/", "--file=-"]
        return words + self._excluded()

    def _excluded(self) -> List[str]:
        return ["--exclude=%s" % pattern for pattern in self._params.exclude]


def relative(paths: List[str]) -> List[str]:
    """Paths as tar's last words, seen from /."""
    if not paths:
        # Without any, tar refuses to make an archive.
        return ["--files-from=/dev/null"]
    return ["--"] + [path.lstrip("/") or "." for path in paths]
