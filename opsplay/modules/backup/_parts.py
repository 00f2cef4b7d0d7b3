"""The parts of a backup set that other modules make: databases, each a backup by itself."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from opsplay.agent import backups
from opsplay.agent.cipher import Cipher
from opsplay.agent.host import Host


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
            parts += [self._described(backup, inside, name) for name in (backups.MANIFEST, backups.SIGNATURE)
                      if os.path.exists(backup.path(name))]  # fmt: skip
            link = os.path.join(os.path.dirname(backup.folder), backups.LATEST)
            if os.path.lexists(link):
                os.unlink(link)
        return {"name": self.name, "kind": self._kind, "folders": sorted(folders), "files": parts}

    def _described(self, backup: backups.Backup, inside: str, name: str) -> Dict[str, Any]:
        """Its own manifest, or that one's signature, as a file of the set."""
        path = backup.path(name)
        size, sha256 = os.stat(path).st_size, self._host.digest(path, "sha256")
        return {"name": os.path.join(inside, name), "size": size, "sha256": sha256}


def pg_backup(host: Host, given: Dict[str, Any]) -> Dict[str, Any]:
    return host.call("postgres.pg_backup", **given)


def redis_backup(host: Host, given: Dict[str, Any]) -> Dict[str, Any]:
    return host.call("redis.redis_backup", **given)


CALLS = {"pg_backup": pg_backup, "redis_backup": redis_backup}
