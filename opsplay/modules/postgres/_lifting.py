"""Single tables out of a dump: restored into a scratch cluster, written from there to files that \\copy reads."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, flow
from opsplay.modules.postgres._psql import Psql, SqlError
from opsplay.modules.postgres._restoring import differences, reader
from opsplay.modules.postgres._server import Server
from opsplay.modules.postgres._source import Source
from opsplay.modules.postgres._sql import identifier, literal

NAME = "lifted"
BARE = ["--no-owner", "--no-privileges", "--no-tablespaces"]
COLUMNS = """SELECT a.attname AS name FROM pg_attribute a WHERE a.attrelid = %s::regclass AND a.attnum > 0
  AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum"""
LEAVES = """SELECT n.nspname AS schema, c.relname AS name FROM pg_partition_tree(%s::regclass) t
  JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE t.isleaf"""


def lift(
    source: Source, scratch: Server, tables: List[Tuple[str, str]], where: str
) -> Dict[Tuple[str, str], Tuple[str, List[str]]]:
    """Each table's rows in a file, and its columns. Fails when a table is not in the dump or is not whole."""
    host = source.host
    with Psql(scratch) as db:
        db.execute("CREATE DATABASE %s" % NAME)
    said = _schema(source, scratch)
    with Psql(scratch, NAME, seconds=24 * 3600) as db:
        for table in tables:
            if db.value("SELECT to_regclass(%s) AS r" % literal(identifier(*table))) is None:
                why = "; %s" % said if said else ""
                host.fail("there is no table %s.%s in %s%s; nothing was touched" % (table + (source.path, why)))
            if source.format != "plain":
                _data(source, scratch, db, table)
        wanted = [entry for entry in source.tables if (entry["schema"], entry["name"]) in tables]
        wrong, _ = differences(db, wanted)
        if wrong:
            host.fail("the dump does not hold what its manifest says: %s; nothing was touched" % "; ".join(wrong))
        return {table: _written(scratch, db, table, place, where) for place, table in enumerate(tables)}


def _schema(source: Source, scratch: Server) -> str:
    """The tables' definitions, of plain SQL everything: what the programs said when something failed."""
    env = scratch.environment(NAME)
    if source.format == "plain":
        source.feed([Program(scratch.command("psql", "-X", "-w", "-q", "-o", os.devnull), env)])
        return ""
    try:
        _restore(source, scratch, ["--section=pre-data"] + BARE, env)
    except Failed as problem:
        # An extension that cannot be made here, say: the tables that are wanted may be there all the same.
        return str(problem)
    return ""


def _data(source: Source, scratch: Server, db: Psql, table: Tuple[str, str]) -> None:
    leaves = [(row["schema"], row["name"]) for row in db.rows(LEAVES % literal(identifier(*table)))]
    for schema, name in leaves or [table]:
        words = ["--data-only", "--exit-on-error", "--schema=%s" % schema, "--table=%s" % name] + BARE
        _restore(source, scratch, words, scratch.environment(NAME))


def _restore(source: Source, scratch: Server, words: List[str], env: Dict[str, str]) -> None:
    words = ["--no-password", "--dbname=%s" % NAME] + words
    text = "reading %s" % source.path
    if source.format == "directory":
        argv = reader(scratch, source.place, ["pg_restore"] + words + [source.place])
        flow(source.host, [Program(argv, env)], text=text)
    else:
        source.feed([Program(scratch.command("pg_restore", *words), env)], text)


def _written(scratch: Any, db: Psql, table: Tuple[str, str], place: int, where: str) -> Tuple[str, List[str]]:
    path = os.path.join(scratch.place, "rows-%d" % place)
    columns = [str(row["name"]) for row in db.rows(COLUMNS % literal(identifier(*table)))]
    names = ", ".join(identifier(name) for name in columns)
    chosen = " WHERE (%s)" % where if where else ""
    db.execute("\\copy (SELECT %s FROM %s%s) TO '%s'" % (names, identifier(*table), chosen.replace("\n", " "), path))
    return path, columns


def resolved(host: Host, db: Psql, names: List[str]) -> List[Tuple[str, str]]:
    """The tables by schema and name. Fails when one is not there or is no table."""
    found = []
    for name in names:
        try:
            row = db.row(
                """SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind FROM pg_class c
                JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)"""
                % literal(name)
            )
        except SqlError as problem:
            host.fail("%r is no table's name: %s" % (name, problem))
        if row is None or row["kind"] not in ("r", "p"):
            host.fail("there is no table %s in the database; a whole database comes back with pg_restore" % name)
        found.append((str(row["schema"]), str(row["name"])))
    return found
