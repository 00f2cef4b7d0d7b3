"""Rows of a backup into a table in use: what is missing, what differs, and the statements that bring it back."""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.modules.postgres._psql import Psql
from opsplay.modules.postgres._sql import identifier, literal

SALVAGE = "opsplay_salvage"
LOCK_SECONDS = 60
FIELDS = ("inserted", "updated", "deleted", "different", "conflicting")
KEY = """SELECT a.attname AS name FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k(n, o)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
  WHERE i.indrelid = %s::regclass AND i.indisprimary ORDER BY k.o"""
# Foreign keys that one of the tables has, or that lead to it.
FOREIGN = """SELECT c.conname AS name, c.conrelid::regclass::text AS child, c.confrelid::regclass::text AS parent,
  c.confmatchtype AS match, (SELECT json_agg(json_build_array(a.attname, b.attname)) FROM unnest(c.conkey, c.confkey)
  k(x, y) JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.x
  JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.y) AS pairs
  FROM pg_constraint c WHERE c.contype = 'f' AND c.convalidated AND c.conparentid = 0
  AND (c.conrelid = %(table)s::regclass OR c.confrelid = %(table)s::regclass)"""
SEQUENCES = """SELECT s.oid::regclass::text AS sequence, a.attname AS column FROM pg_depend d
  JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_attribute a ON a.attrelid = d.refobjid
  AND a.attnum = d.refobjsubid WHERE d.refobjid = %s::regclass AND d.deptype IN ('a', 'i')"""


class Move:
    """One table: its rows of the backup lie in a temporary table of the same conversation."""

    def __init__(self, host: Host, db: Psql, params: Any, table: Any, place: int) -> None:
        self.host = host
        self.db = db
        self.params = params
        self.table = identifier(*table)
        self.label = "%s.%s" % tuple(table)
        self.plain_name = table[1]
        self.stage = "pg_temp.stage_%d" % place
        self.columns: List[str] = []
        self.key: List[str] = []

    def take(self, path: str, columns: List[str]) -> None:
        """Read the backup's rows. Raises SqlError."""
        there = [
            str(row["name"])
            for row in self.db.rows(
                """SELECT attname AS name FROM pg_attribute WHERE attnum > 0
            AND attrelid = %s::regclass AND NOT attisdropped AND attgenerated = ''"""
                % literal(self.table)
            )
        ]
        gone = [name for name in columns if name not in there]
        self.columns = [name for name in columns if name in there]
        wanted = list(self.params.key or [])
        self.key = wanted or [str(row["name"]) for row in self.db.rows(KEY % literal(self.table))]
        unknown = [name for name in self.key if name not in self.columns]
        if unknown or (not self.key and self.params.mode != "replace"):
            why = (
                "has no column %s" % ", ".join(unknown) if unknown else "has no primary key; name its columns in `key`"
            )
            self.host.fail("the table %s %s; nothing was touched" % (self.label, why))
        self.db.execute("CREATE TEMP TABLE %s AS SELECT %s FROM %s WITH NO DATA" % (
            self.stage.partition(".")[2], self._names(self.columns), self.table))  # fmt: skip
        for name in gone:
            self.host.warn("%s has no column %s any more; the backup's values are left out" % (self.label, name))
            self.db.execute("ALTER TABLE %s ADD COLUMN %s text" % (self.stage, identifier(name)))
        self.db.execute("\\copy %s (%s) FROM '%s'" % (self.stage, self._names(columns), path))
        if self.key:
            stage = self.stage.partition(".")[2]
            self.db.execute("CREATE INDEX ON %s (%s); ANALYZE %s" % (stage, self._names(self.key), stage))

    def counted(self) -> Dict[str, int]:
        """What would be done: rows that are missing, that differ, that would go."""
        found = dict.fromkeys(FIELDS, 0)
        stage = int(self.db.value("SELECT count(*) AS n FROM %s" % self.stage))
        if self.key:
            found["inserted"] = int(
                self.db.value("SELECT count(*) AS n FROM %s s WHERE %s" % (self.stage, self._absent()))
            )
            differs = "ROW(%s)::text IS DISTINCT FROM ROW(%s)::text" % (self._of("s"), self._of("t"))
            found["different"] = int(self.db.value("SELECT count(*) AS n FROM %s s JOIN %s t ON %s WHERE %s" % (
                self.stage, self.table, self._match(), differs)))  # fmt: skip
        if self.params.mode == "upsert":
            found["updated"] = found["different"]
        if self.params.mode == "replace":
            found["deleted"] = int(self.db.value("SELECT count(*) AS n FROM %s%s" % (self.table, self._where())))
            same = stage == found["deleted"] and self.key and not found["inserted"] and not found["different"]
            found["inserted"] = 0 if same else stage
            found["deleted"] = 0 if same else found["deleted"]
        return found

    def apply(self, stamp: str) -> Dict[str, int]:
        """Bring the rows back, in the transaction that is open. Raises SqlError."""
        found = self.counted()
        if self.params.mode != "missing_only" and self.params.salvage:
            kept = identifier(SALVAGE, "%s_%s" % (self.plain_name[:40], stamp))
            self.db.execute("CREATE SCHEMA IF NOT EXISTS %s; CREATE TABLE %s AS TABLE %s" % (SALVAGE, kept, self.table))
        names = self._names(self.columns)
        insert = "INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s s" % (
            self.table, names, self._of("s"), self.stage)  # fmt: skip
        if self.params.mode == "replace":
            self.db.execute("DELETE FROM %s%s" % (self.table, self._where()))
            self.db.execute(insert)
        elif self.params.mode == "upsert":
            others = [name for name in self.columns if name not in self.key]
            sets = ", ".join("%s = EXCLUDED.%s" % (identifier(name), identifier(name)) for name in others)
            differs = "ROW(%s)::text IS DISTINCT FROM ROW(%s)::text" % (self._of("t"), self._of("EXCLUDED"))
            action = "UPDATE SET %s WHERE %s" % (sets, differs) if others else "NOTHING"
            insert = insert.replace(" (%s) OVERRIDING" % names, " AS t (%s) OVERRIDING" % names, 1)
            self.db.execute("%s ON CONFLICT (%s) DO %s" % (insert, self._names(self.key), action))
        else:
            missing = "WITH i AS (%s WHERE %s ON CONFLICT DO NOTHING RETURNING 1) SELECT count(*) FROM i"
            came = int(self.db.execute(missing % (insert, self._absent())))
            found["conflicting"], found["inserted"] = found["inserted"] - came, came
        self._raise_sequences()
        return found

    def broken_keys(self) -> List[str]:
        """Foreign keys that do not hold now."""
        found = []
        for key in self.db.rows(FOREIGN % {"table": literal(self.table)}):
            pairs = [(identifier(a), identifier(b)) for a, b in key["pairs"]]
            word = " OR " if key["match"] == "f" else " AND "
            given = word.join("c.%s IS NOT NULL" % a for a, _ in pairs)
            match = " AND ".join("p.%s = c.%s" % (b, a) for a, b in pairs)
            query = "SELECT count(*) AS n FROM %s c WHERE (%s) AND NOT EXISTS (SELECT FROM %s p WHERE %s)"
            rows = int(self.db.value(query % (key["child"], given, key["parent"], match)))
            if rows:
                found.append("%d rows of %s have nothing in %s (%s)" % (rows, key["child"], key["parent"], key["name"]))
        return found

    def _raise_sequences(self) -> None:
        for row in self.db.rows(SEQUENCES % literal(self.table)):
            words = {"seq": row["sequence"], "name": literal(row["sequence"]), "col": identifier(row["column"]),
                     "table": self.table}  # fmt: skip
            self.db.execute("SELECT setval(%(name)s, m) FROM (SELECT max(%(col)s) AS m FROM %(table)s) q, %(seq)s s"
                            " WHERE m > s.last_value OR (m = s.last_value AND NOT s.is_called)" % words)  # fmt: skip

    def _where(self) -> str:
        return " WHERE (%s)" % self.params.where if self.params.where else ""

    def _names(self, names: List[str]) -> str:
        return ", ".join(identifier(name) for name in names)

    def _of(self, alias: str) -> str:
        return ", ".join("%s.%s" % (alias, identifier(name)) for name in self.columns)

    def _match(self) -> str:
        return " AND ".join("t.%s = s.%s" % (identifier(name), identifier(name)) for name in self.key)

    def _absent(self) -> str:
        return "NOT EXISTS (SELECT FROM %s t WHERE %s)" % (self.table, self._match())
