"""Checks of one relation, each of which may fail without ending the transaction that it is in."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.modules.postgres import _sql
from opsplay.modules.postgres._connect import Connection

# What a check finds, or why it failed, stands in a setting of the session afterwards. Each check ends with an error, so
# that its locks are free again. What says nothing about the data ends the task.
BODY = """DECLARE r text; BEGIN %s; RAISE EXCEPTION USING ERRCODE = 'OP001';
EXCEPTION WHEN SQLSTATE 'OP001' THEN PERFORM set_config('opsplay.said', coalesce(r, ''), false);
WHEN query_canceled OR insufficient_privilege OR admin_shutdown OR out_of_memory OR disk_full OR deadlock_detected
THEN RAISE; WHEN OTHERS THEN PERFORM set_config('opsplay.said', SQLERRM, false); END"""
HEAP = """r := (SELECT string_agg(format('block %%s, row %%s: %%s', blkno, offnum, msg), '; ')
 FROM (SELECT * FROM %s(%d::regclass) LIMIT 20) v)"""
# Blocks that were never written, or were emptied by something else than the server.
EMPTY = """r := (SELECT string_agg(b::text, ',') FROM (SELECT b FROM generate_series(0, (pg_relation_size(%(oid)d)
 / current_setting('block_size')::int - 1)::int) b
 WHERE (%(header)s(%(page)s(%(oid)d::regclass::text, 'main', b))).upper = 0 LIMIT 1000) e)"""
# Those of them that an index has rows in.
LOST = """r := (SELECT string_agg(DISTINCT (t::text::point)[0]::bigint::text, ', ') FROM generate_series(1,
 (pg_relation_size(%(oid)d) / current_setting('block_size')::int - 1)::int) b,
 LATERAL %(items)s(%(oid)d::regclass::text, b) i, unnest(coalesce(i.tids, ARRAY[i.htid])) t
 WHERE (%(stats)s(%(oid)d::regclass::text, b)).type = 'l' AND (t::text::point)[0]::bigint IN (%(blocks)s))"""
FUNCTIONS = {
    "header": "page_header",
    "page": "get_raw_page",
    "items": "bt_page_items",
    "stats": "bt_page_stats",
}
NEEDED = ("amcheck", "pageinspect")


def prepare(host: Host, conn: Connection) -> Dict[str, str]:
    """The schemas of amcheck's and pageinspect's functions, for this transaction."""
    look = "SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = %s"
    found = {}
    for name in NEEDED:
        schema = conn.value(look % _sql.literal(name))
        if not schema:
            if conn.value("SELECT pg_is_in_recovery() AS r"):
                host.fail("a standby cannot make the extension %s; make it on the primary with pg_ext" % name)
            conn.execute("CREATE SCHEMA IF NOT EXISTS opsplay_check; CREATE EXTENSION %s SCHEMA opsplay_check" % name)
        found[name] = str(schema or "opsplay_check")
    return found


def indexes_of(rows: List[Dict[str, Any]]) -> Dict[int, List[Dict[str, Any]]]:
    """The B-trees of each table, by its oid."""
    found: Dict[int, List[Dict[str, Any]]] = {}
    for row in rows:
        if row["kind"] == "i" and row["method"] == "btree":
            found.setdefault(row["heap"], []).append(row)
    return found


def problems(
    conn: Connection,
    params: Any,
    row: Dict[str, Any],
    version: int,
    schemas: Optional[Dict[str, str]],
    indexes: Dict[int, List[Dict[str, Any]]],
) -> List[str]:
    """What is wrong with a relation, in the server's words."""
    oid = row["oid"]
    if row["kind"] == "i":
        if schemas is None or row["method"] != "btree":
            return []
        heap = "true" if params.heapallindexed else "false"
        function = _sql.identifier(schemas["amcheck"], "bt_index_check")
        return attempt(conn, "PERFORM %s(%d::regclass, %s)" % (function, oid, heap), oid)
    found: List[str] = []
    if schemas is not None and version >= 140000 and row["method"] == "heap":
        found += attempt(conn, HEAP % (_sql.identifier(schemas["amcheck"], "verify_heapam"), oid), oid)
    if schemas is not None and not found and row["method"] == "heap":
        found += emptied(conn, schemas["pageinspect"], oid, indexes.get(oid, []))
    if params.read and row["kind"] in ("r", "m") and not found:
        copy = "COPY (SELECT * FROM ONLY %s) TO '/dev/null'" % _sql.identifier(row["schema"], row["name"])
        found += attempt(conn, "EXECUTE %s" % _sql.literal(copy), oid)
    return found


def emptied(conn: Connection, schema: str, oid: int, indexes: List[Dict[str, Any]]) -> List[str]:
    """Blocks that hold nothing where an index says that there are rows: no checksum and no reading tells those."""
    names = {short: _sql.identifier(schema, name) for short, name in FUNCTIONS.items()}
    said = attempt(conn, EMPTY % dict(names, oid=oid), oid)
    if not said or said[0].strip("0123456789,"):
        return said
    for index in indexes:
        lost = attempt(conn, LOST % dict(names, oid=index["oid"], blocks=said[0]), index["oid"])
        # An index that is damaged itself is reported as such when its turn comes.
        if lost and not lost[0].strip("0123456789, "):
            return ["block %s is empty, but index %s has rows in it" % (lost[0], index["name"])]
    return []


def attempt(conn: Connection, statement: str, oid: int) -> List[str]:
    """Run a statement of PL/pgSQL that may set `r`; what it found, or what the server says against it."""
    conn.execute("DO %s" % _sql.literal(BODY % statement))
    said = conn.value("SELECT current_setting('opsplay.said', true) AS said")
    # Who was dropped meanwhile is not damaged.
    there = not said or conn.value("SELECT count(*) AS n FROM pg_class WHERE oid = %d" % oid)
    return [str(said)] if said and there else []
