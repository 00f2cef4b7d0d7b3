"""Search a database for damage: every index and table with amcheck, every row read whole, and the checksums' count.

The damaged relation is named with the server's own words; a healthy database gives none. Nothing is changed: where the
extension amcheck is not there, it is made in a transaction that is rolled back.
"""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Int, Params, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.postgres import _damage, _server
from opsplay.modules.postgres._connect import Connection, pretended

PARAMS = dict(
    _server.CONNECTION,
    db=Str(required=True, aliases=["login_db"], help="The database"),
    tables=ListOf(
        of=Str(), default=[], help="Only these with their indexes, as schema.table; without them all of all schemas"
    ),
    amcheck=Bool(default=True, help="Check indexes, and from PostgreSQL 14 on tables, with amcheck"),
    heapallindexed=Bool(default=True, help="See that each row is in its indexes, too"),
    read=Bool(default=True, help="Read each row whole, its large values included, as a dump does"),
    fail_on_damage=Bool(default=True, help="Fail when something is found; else only report it"),
    timeout=Int(default=3600, min=1, help="Seconds that one relation may take"),
)
CHECK = "exact"
# Tables, materialised views and their TOAST tables are checked as heaps; valid B-trees as indexes.
LOOK = """SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, a.amname AS method,
 i.indrelid::bigint AS heap,
 coalesce(tn.nspname || '.' || t.relname, n.nspname || '.' || c.relname) AS belongs
 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am a ON a.oid = c.relam
 LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class o ON o.reltoastrelid = coalesce(i.indrelid, c.oid)
 LEFT JOIN pg_class t ON t.oid = coalesce(o.oid, i.indrelid, c.oid) LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
 WHERE c.relkind IN ('r', 'm', 't', 'i') AND c.relpersistence = 'p' AND (i.indexrelid IS NULL OR i.indisvalid)
 ORDER BY c.relkind = 'i', n.nspname, c.relname"""
CHECKSUMS = """SELECT current_setting('data_checksums') AS enabled, coalesce(checksum_failures, 0) AS failures,
 checksum_last_failure::text AS last FROM pg_stat_database WHERE datname = current_database()"""


def run(host: Host, params: Params) -> Dict[str, Any]:
    server = _server.find_server(host, params)
    if server is None or pretended(server, "database", params.db):
        host.unknown("damage", "checked", "checksums")
        return host.outcome()
    with Connection(server, params.db, params.timeout + 30) as conn:
        if not conn.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
            host.fail("pg_check reads everything and needs a superuser; leave login_user out, or give one")
        version = int(conn.value("SELECT current_setting('server_version_num')::int AS v"))
        checksums = conn.row(CHECKSUMS) or {}
        relations = chosen(host, params, conn.rows(LOOK))
        conn.execute("SET statement_timeout = %d; BEGIN" % (params.timeout * 1000))
        schema = _damage.prepare(host, conn) if params.amcheck else None
        indexes = _damage.indexes_of(relations)
        damage: List[Dict[str, Any]] = []
        for number, row in enumerate(relations):
            host.progress("checking %s" % shown(row), number, len(relations))
            for problem in _damage.problems(conn, params, row, version, schema, indexes):
                damage.append({"relation": shown(row), "kind": kind(row), "problem": problem})
        conn.execute("ROLLBACK")
    if checksums.get("failures"):
        text = "%(failures)d pages had wrong checksums, the last at %(last)s" % checksums
        damage.append({"relation": "", "kind": "database", "problem": text})
    result = {"damage": damage, "checked": len(relations), "checksums": checksums.get("enabled") == "on"}
    if damage and params.fail_on_damage:
        first = "; ".join(("%(kind)s %(relation)s: %(problem)s" % one) for one in damage[:3])
        more = ", and %d more findings" % (len(damage) - 3) if len(damage) > 3 else ""
        host.fail("database %s is damaged: %s%s" % (params.db, first, more), **result)
    return host.outcome(**result)


def chosen(host: Host, params: Params, rows: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    if not params.tables:
        return rows
    names = {name if "." in name else "public." + name for name in params.tables}
    missing = names - {row["belongs"] for row in rows}
    if missing:
        host.fail("database %s has no table %s" % (params.db, ", ".join(sorted(missing))))
    return [row for row in rows if row["belongs"] in names]


def shown(row: Dict[str, Any]) -> str:
    name = "%s.%s" % (row["schema"], row["name"])
    return name if name == row["belongs"] else "%s of %s" % (name, row["belongs"])


def kind(row: Dict[str, Any]) -> str:
    return {"i": "index", "m": "materialised view"}.get(row["kind"], "table")
