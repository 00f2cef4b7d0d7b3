"""The parts of a backup set: databases by their own modules, and paths as archives of tar."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent import backups, pipeline
from opsplay.agent.cipher import Cipher
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Program, Tap
from opsplay.agent.sizes import tree_size
from opsplay.agent.spec import Bool, Param, Path, validate
from opsplay.agent.spec import List as Listing

ARCHIVE: Dict[str, Param] = {
    "paths": Listing(of=Path(), required=True, split=False),
    "optional": Listing(of=Path(), default=[], split=False),
    "exclude": Listing(default=[], split=False),
    "live": Bool(default=False),
}
# tar ends with 1 when a file has changed while it was read, which live data does.
TOLERANT = 'tar "$@"; status=$?; [ "$status" -le 1 ]'


class Archive:
    """Files and folders as one archive of tar, with owners by name, modes, ACLs and extended attributes."""

    def __init__(self, host: Host, name: str, given: Dict[str, Any]) -> None:
        self.name = name
        self._host = host
        self._params = validate(ARCHIVE, given)
        self.missing: List[str] = []

    def paths(self) -> List[str]:
        """What goes in. Fails when a path is missing that is not optional."""
        optional = [self._host.expand(path) for path in self._params.optional]
        found = []
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
        """The bytes of all files in it; links are not followed."""
        return sum(tree_size(path) for path in self.paths())

    def fingerprint(self) -> str:
        """A hash of all names, modes, owners and contents: the same for the same state."""
        import hashlib

        found = hashlib.sha256()
        for path in self.paths():
            for name, told in tree(path):
                found.update(("%s\0%s\0" % (name, told)).encode("utf-8", "surrogateescape"))
                if told.startswith("f"):
                    found.update(self._host.digest(name, "sha256").encode())
        return found.hexdigest()

    def make(self, folder: str, crypt: Optional[Cipher]) -> Dict[str, Any]:
        """Write the archive, read it again on its way, and describe it. Raises Failed."""
        paths = self.paths()
        name = "%s.tar%s" % (self.name, crypt.suffix if crypt else "")
        words = ["--create", "--acls", "--xattrs", "--sort=name", "--sparse", "--directory=/", "--file=-"]
        words += ["--exclude=%s" % pattern for pattern in self._params.exclude]
        words += ["--"] + [path.lstrip("/") or "." for path in paths]
        argv = ["/bin/sh", "-c", TOLERANT, "tar"] + words if self._params.live else ["tar"] + words
        plain = Tap(sides=[[Program(["tar", "--list", "--file=-"])]])
        cipher = Tap()
        steps = [Program(argv), plain] + ([crypt.program(), cipher] if crypt else [])
        pipeline.into_file(self._host, os.path.join(folder, name), steps, text="archiving %s" % self.name)
        last = cipher if crypt else plain
        entry = {"name": name, "size": last.size, "sha256": last.sha256}
        if crypt:
            entry.update(plain_size=plain.size, plain_sha256=plain.sha256)
        return {"name": self.name, "kind": "archive", "paths": paths, "missing": self.missing, "files": [entry]}


class Nested:
    """A backup that another module makes within the set, whole by itself: it can be restored by itself, too."""

    def __init__(self, host: Host, name: str, kind: str, given: Dict[str, Any]) -> None:
        self.name = name
        self._host = host
        self._kind = kind
        self._given = given

    def size(self) -> int:
        return 0

    def preview(self, folder: str) -> None:
        """Let the module say what it would do. Fails with its words."""
        CALLS[self._kind](self._host, dict(self._given, dir=folder))

    def make(self, folder: str, crypt: Optional[Cipher]) -> Dict[str, Any]:
        """Make it below `folder`, and describe it."""
        done = CALLS[self._kind](self._host, dict(self._given, dir=folder))
        made = done.get("backups") or [done]
        parts, folders = [], []
        for each in made:
            backup = backups.load(each["folder"])
            inside = os.path.relpath(backup.folder, folder)
            folders.append(inside)
            # Its files were hashed as they were made, and are not read for it again.
            parts += [dict(entry, name=os.path.join(inside, entry["name"])) for entry in backup.files]
            parts.append(self._manifest(backup, inside))
            link = os.path.join(os.path.dirname(backup.folder), backups.LATEST)
            if os.path.lexists(link):
                os.unlink(link)
        return {"name": self.name, "kind": self._kind, "folders": sorted(folders), "files": parts}

    def _manifest(self, backup: backups.Backup, inside: str) -> Dict[str, Any]:
        """Its own manifest as a file of the set."""
        path = backup.path(backups.MANIFEST)
        size, sha256 = os.stat(path).st_size, self._host.digest(path, "sha256")
        return {"name": os.path.join(inside, backups.MANIFEST), "size": size, "sha256": sha256}


def pg_backup(host: Host, given: Dict[str, Any]) -> Dict[str, Any]:
    return host.call("postgres.pg_backup", **given)


def redis_backup(host: Host, given: Dict[str, Any]) -> Dict[str, Any]:
    return host.call("redis.redis_backup", **given)


CALLS = {"pg_backup": pg_backup, "redis_backup": redis_backup}


def tree(path: str) -> List[Tuple[str, str]]:
    """Every file below a path with what it is: type, mode, owner, and where a link leads."""
    import stat

    found = []
    pending = [path]
    while pending:
        name = pending.pop()
        there = os.lstat(name)
        kind = "d" if stat.S_ISDIR(there.st_mode) else "l" if stat.S_ISLNK(there.st_mode) else "f"
        if kind == "f" and not stat.S_ISREG(there.st_mode):
            kind = "o"
        target = os.readlink(name) if kind == "l" else ""
        found.append((name, "%s %o %d %d %s" % (kind, there.st_mode, there.st_uid, there.st_gid, target)))
        if kind == "d":
            pending += [os.path.join(name, below) for below in os.listdir(name)]
    return sorted(found)
