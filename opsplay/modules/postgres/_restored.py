"""A dump restored into a scratch cluster, and compared with what its manifest says it holds."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.sizes import free_bytes, told_size
from opsplay.modules.postgres import _scratch, _snapshot
from opsplay.modules.postgres._psql import Psql, SqlError
from opsplay.modules.postgres._server import Server
from opsplay.modules.postgres._sql import identifier, literal

# Differences that a message names.
NAMED = 5


class Restored:
    """`with Restored(host, server, database) as drill:` restores go to `drill.target`, then `drill.differences()`.

    `database` is that part of a manifest; roles and tablespaces that it names are there, without any right.
    """

    def __init__(self, host: Host, server: Server, database: Dict[str, Any], parent: str = "") -> None:
        self._host = host
        self._server = server
        self._database = database
        self._parent = parent or place_for(server)
        self._scratch = _scratch.Scratch(host, server.folder, self._parent, account_for(server))
        self.target: Any = None

    def __enter__(self) -> "Restored":
        need = int(self._database.get("size") or 0)
        free = free_bytes(self._parent)
        if free < need:
            text = "%s has %s free, and a restore of %s needs %s; give scratch_dir another place"
            self._host.fail(text % (self._parent, told_size(free), self._database["name"], told_size(need)))
        running = self._scratch.__enter__()
        self.target = (running, self._database["name"], "roles" in self._database)
        try:
            self._prepare(running)
        except BaseException as problem:
            self._scratch.__exit__()
            if isinstance(problem, SqlError):
                self._host.fail("the scratch cluster is not fit for %s: %s" % (self._database["name"], problem))
            raise
        return self

    def __exit__(self, *exc: Any) -> None:
        self._scratch.__exit__()

    def _prepare(self, running: Any) -> None:
        """Roles, tablespaces and the empty database, with its locale where this host has it. Raises SqlError."""
        with Psql(running) as psql:
            for role in self._database.get("roles") or []:
                if psql.row("SELECT 1 AS x FROM pg_roles WHERE rolname = %s" % literal(role)) is None:
                    psql.execute("CREATE ROLE %s" % identifier(role))
            for number, space in enumerate(self._database.get("tablespaces") or []):
                folder = self._tablespace(running, number)
                psql.execute("CREATE TABLESPACE %s LOCATION %s" % (identifier(space), literal(folder)))
            name = identifier(self._database["name"])
            if self._database["name"] == "postgres":
                return
            try:
                psql.execute("CREATE DATABASE %s TEMPLATE template0%s" % (name, self._locale(running)))
                return
            except SqlError as problem:
                self._host.warn("restored for the proof with the locale C: %s" % problem)
        with Psql(running) as psql:
            psql.execute("CREATE DATABASE %s TEMPLATE template0%s" % (name, self._encoding()))

    def _tablespace(self, running: Any, number: int) -> str:
        folder = os.path.join(self._scratch.folder, "space-%d" % number)
        os.mkdir(folder, 0o700)
        if running.account:
            os.chown(folder, self._host.uid(running.account), -1)
        return folder

    def _encoding(self) -> str:
        return " ENCODING %s" % literal(self._database.get("encoding") or "UTF8")

    def _locale(self, running: Any) -> str:
        data = self._database
        text = self._encoding()
        for word, key in (("LC_COLLATE", "collate"), ("LC_CTYPE", "ctype")):
            text += " %s %s" % (word, literal(data[key])) if data.get(key) else ""
        if data.get("locale_provider") == "i" and data.get("locale"):
            text += " LOCALE_PROVIDER icu ICU_LOCALE %s" % literal(data["locale"])
        return text

    def counts(self) -> List[Dict[str, Any]]:
        """The tables that were restored, with their rows. Raises SqlError."""
        with Psql(self.target[0], self.target[1], _snapshot.PATIENCE) as psql:
            tables = psql.rows(_snapshot.TABLES)
            _snapshot.count_rows(psql, tables, lambda done: self._host.progress("counting rows", done, len(tables)))
        return tables

    def differences(self, expected: Optional[List[Dict[str, Any]]]) -> List[str]:
        """What was restored otherwise than `expected` (tables of a manifest). Raises SqlError."""
        return differences(self.counts(), expected or [])


def differences(found: List[Dict[str, Any]], expected: List[Dict[str, Any]]) -> List[str]:
    """Tables that are missing, too many, or of another number of rows, each in words."""
    here = {(table["schema"], table["name"]): table.get("rows") for table in found}
    told = []
    for table in expected:
        key = (table["schema"], table["name"])
        if key not in here:
            told.append("the table %s.%s is missing" % key)
        elif table.get("rows") is not None and here[key] != table["rows"]:
            told.append("%s.%s has %s rows, the manifest says %s" % (key + (here[key], table["rows"])))
        here.pop(key, None)
    told += ["the table %s.%s is not in the manifest" % key for key in here] if expected else []
    return told


def in_words(found: List[str]) -> str:
    """The first differences, and how many more there are."""
    more = len(found) - NAMED
    return "; ".join(found[:NAMED]) + ("; and %d more" % more if more > 0 else "")


def place_for(server: Server) -> str:
    """Where a scratch cluster has room and its account can get at it: beside the cluster's own data."""
    if server.cluster is not None and server.cluster.data:
        return os.path.dirname(os.path.realpath(server.cluster.data))
    return "/var/tmp"


def account_for(server: Server) -> str:
    """The account of a scratch cluster: the server's; never root, whom initdb refuses."""
    if os.geteuid() != 0:
        return ""
    owner = server.cluster.owner if server.cluster is not None else ""
    return owner if owner not in ("", "root") else "postgres"
