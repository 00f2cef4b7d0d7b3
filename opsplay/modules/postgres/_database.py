"""What a database is beside its tables: owner, place, locale, settings, privileges; and a second one made like it."""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.modules.postgres._psql import Psql
from opsplay.modules.postgres._server import Server
from opsplay.modules.postgres._sql import identifier, literal

# A name may have 63 bytes.
NAME_MOST = 63
# What a database bears as its comment while it is being restored; one that a killed run left is known by it.
UNDER_WAY = "opsplay: being restored, not yet in service"
# A moment within a name, as 20261128T101500.
STAMP_LENGTH = 15
# Settings whose values are lists of names, kept as they are written after SET (pg_dump's own list, by GUC_LIST_QUOTE).
LISTS = (
    "local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
    "temp_tablespaces", "unix_socket_directories",
)  # fmt: skip
# Columns of pg_database that came with a version.
LOCALE = {
    13: "'c' AS provider, NULL AS locale, NULL AS rules",
    15: "d.datlocprovider AS provider, d.daticulocale AS locale, NULL AS rules",
    16: "d.datlocprovider AS provider, d.daticulocale AS locale, d.daticurules AS rules",
    17: "d.datlocprovider AS provider, d.datlocale AS locale, d.daticurules AS rules",
}
QUERY = """SELECT d.oid::bigint AS oid, d.datname AS name, r.rolname AS owner,
  pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype,
  t.spcname AS tablespace, pg_tablespace_location(t.oid) AS place,
  d.datconnlimit AS connection_limit, d.datallowconn AS open, d.datacl IS NOT NULL AS has_acl,
  shobj_description(d.oid, 'pg_database') AS comment, pg_database_size(d.oid) AS size, %s
  FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba JOIN pg_tablespace t ON t.oid = d.dattablespace
  WHERE d.datname = %s"""
# What would be lost or would keep the old database from being renamed, and what to do about it.
OBSTACLES = (
    ("SELECT slot_name AS name FROM pg_replication_slots WHERE database = %s",
     "has the logical replication slot %s; drop it first, and make it again afterwards"),
    ("SELECT s.subname AS name FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = %s",
     "has the subscription %s; drop it first, and make it again afterwards"),
    ("SELECT gid AS name FROM pg_prepared_xacts WHERE database = %s",
     "has the prepared transaction %s; commit it or roll it back first"),
)  # fmt: skip


def version_of(db: Psql) -> int:
    """The server's major version."""
    return int(db.value("SELECT current_setting('server_version_num')::int / 10000 AS v"))


def properties(db: Psql, name: str) -> Any:
    """A database's properties, None when there is none of this name."""
    version = version_of(db)
    locale = LOCALE[max(known for known in LOCALE if known <= version)]
    return db.row(QUERY % (locale, literal(name)))


def obstacle(db: Psql, name: str) -> str:
    """Why a database cannot be replaced now; empty when it can."""
    if db.value("SELECT pg_is_in_recovery() AS r"):
        return "lies on a standby, which takes no writes; restore on the primary"
    for query, text in OBSTACLES:
        found = db.rows(query % literal(name))
        if found:
            return text % ", ".join(str(row["name"]) for row in found)
    return ""


def creation(name: str, like: Dict[str, Any]) -> str:
    """The statement that makes an empty database with the place and locale of another."""
    words = ["CREATE DATABASE %s TEMPLATE template0" % identifier(name)]
    if like.get("owner"):
        words.append("OWNER %s" % identifier(like["owner"]))
    for key, word in (("encoding", "ENCODING"), ("collate", "LC_COLLATE"), ("ctype", "LC_CTYPE")):
        if like.get(key):
            words.append("%s %s" % (word, literal(like[key])))
    if like.get("provider") == "i":
        words.append("LOCALE_PROVIDER icu ICU_LOCALE %s" % literal(like["locale"]))
        if like.get("rules"):
            words.append("ICU_RULES %s" % literal(like["rules"]))
    if like.get("provider") == "b":
        words.append("LOCALE_PROVIDER builtin BUILTIN_LOCALE %s" % literal(like["locale"]))
    if like.get("tablespace"):
        words.append("TABLESPACE %s" % identifier(like["tablespace"]))
    return " ".join(words)


def carried(db: Psql, old: Dict[str, Any], name: str) -> List[str]:
    """The statements that give `name` what the old database has: limit, comment, settings, privileges."""
    found = ["ALTER DATABASE %s CONNECTION LIMIT %d" % (identifier(name), old["connection_limit"])]
    found.append("COMMENT ON DATABASE %s IS %s" % (identifier(name), literal(old["comment"])))
    return found + settings(db, old, name) + privileges(db, old, name)


def settings(db: Psql, old: Dict[str, Any], name: str) -> List[str]:
    """ALTER DATABASE … SET and ALTER ROLE … IN DATABASE … SET."""
    query = """SELECT r.rolname AS role, unnest(s.setconfig) AS setting FROM pg_db_role_setting s
      LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = %d"""
    found = []
    for row in db.rows(query % old["oid"]):
        setting, _, value = row["setting"].partition("=")
        whose = "ALTER DATABASE %s" % identifier(name)
        if row["role"]:
            whose = "ALTER ROLE %s IN DATABASE %s" % (identifier(row["role"]), identifier(name))
        found.append("%s SET %s TO %s" % (whose, identifier(*setting.split(".")), setting_value(setting, value)))
    return found


def setting_value(name: str, value: str) -> str:
    """A setting's value as SET takes it."""
    if name.lower() in LISTS and value:
        return ", ".join(literal(word) for word in split_names(value))
    return literal(value)


def split_names(text: str) -> List[str]:
    """The names of a list such as `"$user", public`, without their quotes."""
    found: List[str] = []
    word, quoted, position = "", False, 0
    while position < len(text):
        char = text[position]
        if char == '"' and quoted and text[position + 1 : position + 2] == '"':
            word, position = word + '"', position + 1
        elif char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            found, word = found + [word], ""
        elif quoted or not char.isspace():
            word += char
        position += 1
    return found + [word]


def privileges(db: Psql, old: Dict[str, Any], name: str) -> List[str]:
    """REVOKE and GRANT, as pg_database's ACL says; nothing where it is the default."""
    if not old["has_acl"]:
        return []
    query = """SELECT CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END AS grantee,
      string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) AS what, a.is_grantable AS further
      FROM pg_database d, aclexplode(d.datacl) a WHERE d.oid = %d GROUP BY 1, 3 ORDER BY 1, 3"""
    on = "ALL ON DATABASE %s FROM" % identifier(name)
    found = ["REVOKE %s PUBLIC" % on, "REVOKE %s %s" % (on, identifier(old["owner"]))]
    for row in db.rows(query % old["oid"]):
        whom = identifier(row["grantee"]) if row["grantee"] else "PUBLIC"
        more = " WITH GRANT OPTION" if row["further"] and row["grantee"] != old["owner"] else ""
        found.append("GRANT %s ON DATABASE %s TO %s%s" % (row["what"], identifier(name), whom, more))
    return found


def short(name: str, behind: str) -> str:
    """A name with something behind it, cut so that PostgreSQL takes it whole."""
    room = NAME_MOST - len(behind.encode())
    return name.encode()[:room].decode("utf-8", "ignore") + behind


def sweep(host: Host, server: Server, db: Psql, name: str) -> None:
    """Remove what a killed run, or a power cut, has left of an earlier restore of this database; nobody was told of it.

    Others may be at work on other databases: theirs stay. One without the mark that holds something is only told of.
    """
    stem = short(name, "_new_" + "0" * STAMP_LENGTH)[:-STAMP_LENGTH]
    query = """SELECT datname AS name, shobj_description(oid, 'pg_database') AS mark FROM pg_database
      WHERE left(datname::text, %d) = %s AND substr(datname::text, %d) ~ '^[0-9]{8}T[0-9]{6}$'"""
    for row in db.rows(query % (len(stem), literal(stem), len(stem) + 1)):
        if row["mark"] != UNDER_WAY and not is_empty(server, row["name"]):
            text = "the database %s is named like one of a restore, and is not known to be one: it stays"
            host.warn(text % row["name"])
            continue
        db.execute("DROP DATABASE %s" % identifier(row["name"]))
        host.warn("the database %s, half restored by a run that was killed, was removed" % row["name"])


def is_empty(server: Server, name: str) -> bool:
    """Whether a database holds nothing but what every new one holds."""
    with Psql(server, name) as inside:
        # FirstNormalObjectId: what has a lower one came with the server.
        return not inside.value("SELECT count(*) AS n FROM pg_class WHERE oid >= 16384")
