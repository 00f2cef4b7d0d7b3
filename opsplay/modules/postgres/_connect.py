"""An open connection whose refusals end the task in the server's own words, and what a preview would have made."""

from __future__ import annotations

from typing import Any

from opsplay.agent.shadow import Node
from opsplay.modules.postgres._psql import Psql, SqlError
from opsplay.modules.postgres._server import Server

# Databases and roles that a preview would have made are remembered as paths that no host has.
PRETENDED = "/proc/opsplay/postgresql/%s/%s/%s"


class Connection(Psql):
    """A conversation with a server. What it refuses fails the task; a preview changes nothing."""

    def __enter__(self) -> "Connection":
        Psql.__enter__(self)
        return self

    def __exit__(self, kind: Any = None, error: Any = None, trace: Any = None) -> None:
        Psql.__exit__(self)
        if isinstance(error, SqlError):
            self._server.host.fail(self.explain(error))

    @property
    def server(self) -> Server:
        return self._server

    def explain(self, problem: SqlError) -> str:
        """A refusal in words: where, what the server said, and what it added."""
        where = "PostgreSQL %s, database %s" % (self._server.describe(), self._database)
        return "%s: %s" % (where, said(problem))

    def change(self, sql: str, what: str, before: str = "", after: str = "") -> None:
        """Run a statement that changes something, and record it as the difference of two texts."""
        host = self._server.host
        host.note(line(before), line(after), what)
        if not host.check:
            self.execute(sql)


def said(problem: SqlError) -> str:
    """The server's message with its detail and its hint."""
    parts = [str(problem)]
    for text in problem.details.split("\n"):
        for word in ("DETAIL:", "HINT:"):
            if word in text:
                parts.append(text.partition(word)[2].strip().rstrip("."))
    return "; ".join(parts)


def line(text: str) -> str:
    return text + "\n" if text else ""


def pretend(server: Server, kind: str, name: str, there: bool = True) -> None:
    """In a preview: let the tasks that follow see a database or a role (`kind`) that would be there, or gone."""
    if server.host.check:
        server.host.pretend(path(server, kind, name), Node("file" if there else "absent", content=b""))


def pretended(server: Server, kind: str, name: str) -> bool:
    """Whether an earlier task of this preview would have made it."""
    node = server.host.shadow.node(path(server, kind, name)) if server.host.check else None
    return node is not None and node.kind == "file"


def path(server: Server, kind: str, name: str) -> str:
    return PRETENDED % (server.describe().replace("/", "-"), kind, name.replace("/", "%2F"))
