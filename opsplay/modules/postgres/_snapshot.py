"""A database at one moment: a transaction that is held open, whose snapshot pg_dump takes over.

Row counts and the LSN come from that very transaction, so that writers do not make them differ from the dump.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from opsplay.modules.postgres._psql import Psql
from opsplay.modules.postgres._server import Server
from opsplay.modules.postgres._sql import identifier

# Counting may take long; a statement that gives no answer for a day is given up.
PATIENCE = 86400.0
# Tables that are counted in one statement.
BATCH = 20
# Ordinary tables that pg_dump dumps: without those of extensions, and temporary ones. Partitions are tables, too. Of an
# unlogged table a standby has the definition only, and so has its dump.
TABLES = """
SELECT n.nspname AS schema, c.relname AS name, pg_table_size(c.oid) AS bytes,
       c.relpersistence = 'p' OR NOT pg_is_in_recovery() AS counted
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND c.relpersistence IN ('p', 'u')
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2"""
# A server of a database that nobody has configured for long transactions would end ours.
SETTINGS = """
SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET row_security = off; SET lock_timeout = %d;
DO $$ BEGIN PERFORM set_config('transaction_timeout', '0', false) FROM pg_settings WHERE name = 'transaction_timeout';
END $$;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"""
SERVER = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       current_setting('data_checksums') = 'on' AS data_checksums"""
LSN = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text AS lsn,
       to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS snapshot_time"""
DATABASE = """
SELECT d.datname AS name, pg_get_userbyid(d.datdba) AS owner, pg_database_size(d.oid) AS size,
       pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype,
       coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') AS locale_provider,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
       d.datconnlimit AS connection_limit, d.datacl::text AS acl
FROM pg_database d WHERE d.datname = current_database()"""
DB_SETTINGS = """
SELECT coalesce(r.rolname, '') AS role, s.setconfig AS settings
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"""
EXTENSIONS = "SELECT extname AS name, extversion AS version FROM pg_extension ORDER BY 1"
ROLES = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
TABLESPACES = "SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_' ORDER BY 1"


class Snapshot:
    """`with Snapshot(server, "app") as held:` `held.identifier` is what pg_dump is given. Raises SqlError."""

    def __init__(self, server: Server, database: str, lock_seconds: float = 0) -> None:
        self._psql = Psql(server, database, PATIENCE)
        self._lock_seconds = lock_seconds
        self.identifier = ""

    def __enter__(self) -> "Snapshot":
        self._psql.__enter__()
        try:
            self._psql.execute(SETTINGS % int(self._lock_seconds * 1000))
            self.identifier = str(self._psql.value("SELECT pg_export_snapshot() AS id"))
        except BaseException:
            self._psql.__exit__()
            raise
        return self

    def __exit__(self, *exc: Any) -> None:
        self._psql.__exit__()

    def server(self) -> Dict[str, Any]:
        """The server's part of a manifest."""
        return dict(self._psql.row(SERVER) or {})

    def database(self) -> Dict[str, Any]:
        """The database's part of a manifest, without its tables."""
        found = dict(self._psql.row(DATABASE) or {})
        found.update(self._psql.row(LSN) or {})
        found["settings"] = self._psql.rows(DB_SETTINGS)
        found["extensions"] = self._psql.rows(EXTENSIONS)
        found["roles"] = [row["rolname"] for row in self._psql.rows(ROLES)]
        found["tablespaces"] = [row["spcname"] for row in self._psql.rows(TABLESPACES)]
        return found

    def tables(self) -> List[Dict[str, Any]]:
        """Schema, name and bytes of each table."""
        return self._psql.rows(TABLES)

    def count(self, tables: List[Dict[str, Any]], told: Callable[[int], None]) -> None:
        """Add the number of rows to each table that can be counted."""
        count_rows(self._psql, tables, told)


def count_rows(psql: Psql, tables: List[Dict[str, Any]], told: Callable[[int], None]) -> None:
    """Add `rows` to each table that can be counted, those of partitions apart. Raises SqlError."""
    known = [table for table in tables if table.pop("counted", True)]
    for start in range(0, len(known), BATCH):
        told(start)
        some = known[start : start + BATCH]
        counts = [
            "SELECT %d AS place, count(*) AS rows FROM ONLY %s" % (place, identifier(table["schema"], table["name"]))
            for place, table in enumerate(some)
        ]
        for row in psql.rows("\nUNION ALL ".join(counts)):
            some[row["place"]]["rows"] = row["rows"]
