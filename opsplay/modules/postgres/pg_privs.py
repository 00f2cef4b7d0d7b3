"""Rights of roles on databases, schemas, tables and sequences: given or taken, and those on tables to come.

Rights are read from the catalog first, so that a second run changes nothing. `ALL` stands for every right that the
server's version knows for that kind of object.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Params, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.postgres import _server, _sql
from opsplay.modules.postgres._connect import Connection, pretended

PARAMS = dict(
    _server.CONNECTION,
    db=Str(required=True, aliases=["login_db", "database"], help="The database that the objects are in"),
    roles=ListOf(of=Str(), required=True, aliases=["role"], help="Who gets the rights; PUBLIC is everybody"),
    privs=ListOf(of=Str(), required=True, aliases=["priv"], help="The rights, e.g. SELECT,INSERT, or ALL"),
    type=Choice("table", "sequence", "schema", "database", default="table", help="What the objects are"),
    objs=ListOf(
        of=Str(), aliases=["obj"], help="Their names, or ALL_IN_SCHEMA; of a database it is `db` itself"
    ),
    schema=Str(default="public", help="The schema of tables and sequences"),
    default=Bool(default=False, help="Also for tables or sequences that the speaking role makes there later"),
    state=Choice("present", "absent", default="present", help="Whether they have the rights"),
)  # fmt: skip
CHECK = "exact"
RIGHTS = {
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
    "schema": ("CREATE", "USAGE"),
    "database": ("CREATE", "CONNECT", "TEMPORARY"),
}
# The catalog of each kind, the column of its rights, the letter of acldefault(), and what an object's name is.
CATALOGS = {
    "table": ("pg_class c JOIN pg_namespace n ON n.oid = relnamespace", "relacl", "r", "relowner",
              "n.nspname = %s AND relkind IN ('r', 'p', 'v', 'm', 'f')", "relname"),
    "sequence": ("pg_class c JOIN pg_namespace n ON n.oid = relnamespace", "relacl", "s", "relowner",
                 "n.nspname = %s AND relkind = 'S'", "relname"),
    "schema": ("pg_namespace n", "nspacl", "n", "nspowner", "%s IS NOT NULL", "nspname"),
    "database": ("pg_database d", "datacl", "d", "datdba", "%s IS NOT NULL", "datname"),
}  # fmt: skip
LOOK = """SELECT %(name)s AS name, (SELECT coalesce(json_agg(DISTINCT x.privilege_type), '[]')
 FROM aclexplode(coalesce(%(acl)s, acldefault('%(letter)s', %(owner)s))) x WHERE x.grantee = %(role)s) AS rights
 FROM %(catalog)s WHERE %(where)s ORDER BY 1"""


def run(host: Host, params: Params) -> Dict[str, Any]:
    rights = wanted(host, params)
    server = _server.find_server(host, params)
    if server is None or pretended(server, "database", params.db):
        host.note("", "%s\n" % ", ".join(rights), "rights in database %s" % params.db)
        return host.outcome()
    with Connection(server, params.db) as conn:
        if not host.check:
            conn.execute("BEGIN")
        for role in params.roles:
            oid = role_oid(host, conn, role)
            for name, now in objects(host, conn, params, oid):
                settle(conn, params, role, name, [right for right in rights if differs(params, right, now)])
            if params.default:
                to_come(host, conn, params, role, oid, rights)
        if not host.check:
            conn.execute("COMMIT")
    return host.outcome()


def wanted(host: Host, params: Params) -> List[str]:
    """The rights by the catalog's names. Fails for one that the kind of object does not have."""
    known = RIGHTS[params.type]
    found = []
    for word in params.privs:
        name = word.strip().upper().replace("TEMP", "TEMPORARY").replace("TEMPORARYORARY", "TEMPORARY")
        if name not in known + ("ALL", "ALL PRIVILEGES"):
            host.fail("privs: a %s has no right %s; it has %s" % (params.type, word, ", ".join(known)))
        found += list(known) if name.startswith("ALL") else [name]
    if params.type in ("table", "sequence", "schema") and not params.objs:
        host.fail("objs: name the %ss%s" % (params.type, "" if params.type == "schema" else ", or ALL_IN_SCHEMA"))
    if params.default and params.type not in ("table", "sequence"):
        host.fail("default is for tables and sequences to come")
    return sorted(set(found), key=known.index)


def role_oid(host: Host, conn: Connection, role: str) -> int:
    """A role's number: 0 for everybody, -1 for one that a preview would have made."""
    if role.upper() == "PUBLIC":
        return 0
    found = conn.value("SELECT oid::bigint AS n FROM pg_roles WHERE rolname = %s" % _sql.literal(role))
    if found is None and pretended(conn.server, "role", role):
        return -1
    if found is None:
        host.fail("there is no role %s; make it with pg_user first" % role)
    return int(found)


def objects(host: Host, conn: Connection, params: Params, oid: int) -> List[Tuple[str, List[str]]]:
    """The objects with the rights that the role itself has on them."""
    catalog, acl, letter, owner, where, name = CATALOGS[params.type]
    fields = {"catalog": catalog, "acl": acl, "letter": letter, "owner": owner, "name": name, "role": oid}
    rows = conn.rows(LOOK % dict(fields, where=where % _sql.literal(params.schema)))
    found = {row["name"]: row["rights"] for row in rows}
    names = [params.db] if params.type == "database" else params.objs
    if names == ["ALL_IN_SCHEMA"]:
        names = sorted(found)
    missing = [one for one in names if one not in found]
    if missing:
        where = " in schema %s" % params.schema if params.type in ("table", "sequence") else ""
        host.fail("database %s has no %s %s%s" % (params.db, params.type, ", ".join(missing), where))
    return [(one, found[one]) for one in names]


def differs(params: Params, right: str, now: List[str]) -> bool:
    return bool((right in now) != (params.state == "present"))


def settle(conn: Connection, params: Params, role: str, name: str, rights: List[str]) -> None:
    if not rights:
        return
    full = _sql.identifier(params.schema, name) if params.type in ("table", "sequence") else _sql.identifier(name)
    on = "%s ON %s %s" % (", ".join(rights), params.type.upper(), full)
    change(conn, params, role, on, "%s %s" % (params.type, name), rights)


def change(conn: Connection, params: Params, role: str, on: str, what: str, rights: List[str]) -> None:
    who = "PUBLIC" if role.upper() == "PUBLIC" else _sql.identifier(role)
    verb, joint = ("GRANT", "TO") if params.state == "present" else ("REVOKE", "FROM")
    texts = ("", ", ".join(rights)) if params.state == "present" else (", ".join(rights), "")
    sql = "%s%s %s %s %s" % (prefix(params, on), verb, on, joint, who)
    conn.change(sql, "rights of %s on %s" % (role, what), *texts)


def prefix(params: Params, on: str) -> str:
    """What stands before GRANT for objects to come, which are named in the plural."""
    if not on.endswith((" TABLES", " SEQUENCES")):
        return ""
    return "ALTER DEFAULT PRIVILEGES IN SCHEMA %s " % _sql.identifier(params.schema)


def to_come(host: Host, conn: Connection, params: Params, role: str, oid: int, rights: List[str]) -> None:
    """The rights on what the speaking role makes in the schema later."""
    letter = {"table": "r", "sequence": "S"}[params.type]
    sql = """SELECT coalesce(json_agg(DISTINCT x.privilege_type), '[]') AS rights FROM pg_default_acl a
     JOIN pg_namespace n ON n.oid = defaclnamespace, aclexplode(defaclacl) x WHERE x.grantee = %d AND n.nspname = %s
     AND defaclobjtype = '%s' AND defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)"""
    now = conn.value(sql % (oid, _sql.literal(params.schema), letter)) or []
    left = [right for right in rights if differs(params, right, now)]
    if left:
        on = "%s ON %sS" % (", ".join(left), params.type.upper())
        change(conn, params, role, on, "%ss to come in %s" % (params.type, params.schema), left)
