"""A dump of a database as it is, before it is replaced: a whole backup, of a tag that no catalog ever chooses."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from opsplay.agent import backups
from opsplay.agent.files import sync_directory
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Program, from_file, into_file
from opsplay.modules.postgres._server import Server


def dump(host: Host, server: Server, folder: str, name: str, properties: Dict[str, Any]) -> str:
    """Dump a database into DIR/NAME/STAMP and return that folder; `latest` stays. Raises Failed, OSError."""
    began = time.time()
    base = backups.folder_name(name)
    parent = os.path.join(folder, base)
    if not os.path.isdir(parent):
        os.makedirs(parent, mode=0o700)
        for above in (folder, os.path.dirname(folder)):
            sync_directory(above)
    beside = host.temporary.folder(parent)
    path = os.path.join(beside, base + ".dump")
    argv = server.command("pg_dump", "--format=custom", "--no-password")
    program = Program(argv, server.environment(name))
    into_file(host, path, [program], text="dumping %s as it is now" % name)
    from_file(host, path, [Program([server.program("pg_restore"), "--list"])])
    entry = {"name": base + ".dump", "size": os.stat(path).st_size, "sha256": host.digest(path, "sha256")}
    return backups.publish(host, beside, described(name, properties, entry, began), began).folder


def described(name: str, properties: Dict[str, Any], entry: Dict[str, Any], began: float) -> Dict[str, Any]:
    """Its manifest. It has no row counts: nobody has compared anything."""
    return {
        "version": backups.VERSION,
        "kind": "pg_backup",
        "name": name,
        "tag": backups.EMERGENCY,
        "host": os.uname().nodename,
        "opsplay": backups.OPSPLAY,
        "started": backups.moment(began),
        "finished": backups.moment(),
        "database": {"name": name, "owner": properties["owner"], "size": properties["size"]},
        "content": "all",
        "format": "custom",
        "files": [entry],
        "encryption": None,
        "verified": {"level": "list", "at": backups.moment(), "seconds": 0},
    }
