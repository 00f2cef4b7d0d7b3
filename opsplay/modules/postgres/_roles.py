"""Roles as the server's catalog has them."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.modules.postgres import _sql
from opsplay.modules.postgres._connect import Connection, pretended

# Each column of pg_roles with the word that sets it; NO before the word takes it away.
WORDS = {
    "rolsuper": "SUPERUSER",
    "rolinherit": "INHERIT",
    "rolcreaterole": "CREATEROLE",
    "rolcreatedb": "CREATEDB",
    "rolcanlogin": "LOGIN",
    "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}
# What CREATE ROLE makes.
BLANK: Dict[str, Any] = {"rolconnlimit": -1, "until": None, "rolpassword": None, "member_of": []}
BLANK.update((column, column == "rolinherit") for column in WORDS)
# pg_authid holds the passwords, and only a superuser may read it.
LOOK = """SELECT %s, rolconnlimit, rolvaliduntil::text AS until, %s AS rolpassword,
 (SELECT coalesce(json_agg(g.rolname ORDER BY 1), '[]') FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
  WHERE m.member = r.oid) AS member_of
 FROM %s r WHERE rolname = %s"""
OWNED = """SELECT coalesce(d.datname, 'the server') AS db, count(*) AS n FROM pg_shdepend s
 LEFT JOIN pg_database d ON d.oid = coalesce(nullif(s.dbid, 0), CASE WHEN s.classid = 'pg_database'::regclass
 THEN s.objid END)
 WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = %s)
 GROUP BY 1 ORDER BY 1"""


def attributes(host: Host, given: List[str]) -> Dict[str, Any]:
    """Columns of pg_roles with what they shall be."""
    found: Dict[str, Any] = {}
    columns = {word: column for column, word in WORDS.items()}
    for name in given:
        word = name.strip().upper()
        bare = word[2:] if word.startswith("NO") else word
        if bare not in columns:
            host.fail("attributes: %r is none of %s, with NO before it or without" % (name, ", ".join(sorted(columns))))
        if found.get(columns[bare], word == bare) != (word == bare):
            host.fail("attributes: %s and NO%s cannot both be" % (bare, bare))
        found[columns[bare]] = word == bare
    return found


def look(conn: Any, name: str) -> Optional[Dict[str, Any]]:
    """A role, None when there is none. Raises SqlError."""
    readable = conn.value("SELECT has_table_privilege('pg_authid', 'select')")
    table, password = ("pg_authid", "rolpassword") if readable else ("pg_roles", "NULL")
    found: Optional[Dict[str, Any]] = conn.row(LOOK % (", ".join(WORDS), password, table, _sql.literal(name)))
    return found


def same_time(conn: Connection, now: Optional[str], wanted: str) -> bool:
    """Whether two moments are the same, however they are written. Raises SqlError for what is no moment."""
    current = _sql.literal(now or "infinity")
    return bool(conn.value("SELECT %s::timestamptz = %s::timestamptz AS same" % (current, _sql.literal(wanted))))


def join(host: Host, conn: Connection, params: Any, now: List[str]) -> None:
    """Make the role a member of those named, and with `exclusive` of no other."""
    member = _sql.identifier(params.name)
    for group in params.member_of:
        known = conn.value("SELECT count(*) AS n FROM pg_roles WHERE rolname = %s" % _sql.literal(group))
        if not known and not pretended(conn.server, "role", group):
            host.fail("member_of: there is no role %s" % group)
        if group not in now:
            what = "membership of role %s" % params.name
            conn.change("GRANT %s TO %s" % (_sql.identifier(group), member), what, "", group)
    for group in sorted(set(now) - set(params.member_of)) if params.exclusive else []:
        what = "membership of role %s" % params.name
        conn.change("REVOKE %s FROM %s" % (_sql.identifier(group), member), what, group, "")


def owned(conn: Connection, name: str) -> List[str]:
    """What keeps a role from being dropped, in words."""
    rows = conn.rows(OWNED % _sql.literal(name))
    return ["%d object%s or rights in %s" % (row["n"], "" if row["n"] == 1 else "s", row["db"]) for row in rows]
