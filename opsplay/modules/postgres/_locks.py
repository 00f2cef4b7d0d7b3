"""The name of the lock that everything takes which dumps, verifies, restores, prunes or maintains a database."""

from __future__ import annotations

from opsplay.agent.backups import folder_name
from opsplay.modules.postgres._server import Server


def lock_name(server: Server, database: str) -> str:
    """For `host.lock`: one for each server and database."""
    return "pg-%s-%s" % (server.describe().strip("/").replace("/", "-"), folder_name(database))
