"""Make a database, keep its owner and limits as declared, or drop it after a phrase that names it.

What a database cannot change later (encoding, collation) is compared, and a difference fails the task. It is dropped
from another database, with its sessions ended only where `force` says so.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.agent import confirmation
from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Params, Str
from opsplay.modules.postgres import _server, _sql
from opsplay.modules.postgres._connect import Connection, pretend, pretended

PARAMS = dict(
    _server.CONNECTION,
    name=Str(required=True, aliases=["db"], help="The database"),
    state=Choice("present", "absent", default="present", help="Whether there is one"),
    owner=Str(help="The role that owns it; without it the role that makes it"),
    encoding=Str(help="Its encoding, e.g. UTF8; only set when it is made"),
    template=Str(help="What it is copied from; template0 where encoding or collation differ from the server's"),
    lc_collate=Str(help="Its collation, e.g. C.UTF-8; only set when it is made"),
    lc_ctype=Str(help="Its character classes; without it as lc_collate"),
    tablespace=Str(help="Its tablespace; only set when it is made"),
    conn_limit=Int(min=-1, aliases=["connection_limit"], help="Connections that roles may have open; -1 for no limit"),
    comment=Str(help="Its comment; empty for none"),
    maintenance_db=Str(default="postgres", help="The database to speak to meanwhile"),
    confirm=confirmation.parameter("drop NAME"),
    force=Bool(default=False, help="End the sessions that are connected to a database that is dropped"),
)
CHECK = "exact"
FIXED = ("encoding", "lc_collate", "lc_ctype", "tablespace")
LOOK = """SELECT d.oid, pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding,
 datcollate AS lc_collate, datctype AS lc_ctype, datconnlimit AS conn_limit, datistemplate, spcname AS tablespace,
 coalesce(shobj_description(d.oid, 'pg_database'), '') AS comment, pg_database_size(d.oid) AS size
 FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = %s"""
SESSIONS = "SELECT pid, usename, application_name FROM pg_stat_activity WHERE datname = %s"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.name in ("postgres", "template0", "template1") and params.state == "absent":
        host.fail("%s belongs to the server itself and is not dropped" % params.name)
    server = _server.find_server(host, params)
    if server is None:
        if params.state == "present":
            host.note("", "database\n", "database " + params.name)
        return host.outcome(name=params.name)
    with Connection(server, params.maintenance_db) as conn:
        found = conn.row(LOOK % _sql.literal(params.name))
        if params.state == "absent":
            drop(host, conn, params, found)
        elif found is not None:
            alter(host, conn, params, found)
        elif not pretended(server, "database", params.name):
            create(host, conn, params)
            pretend(server, "database", params.name)
        if params.state == "absent":
            pretend(server, "database", params.name, there=False)
    return host.outcome(name=params.name)


def create(host: Host, conn: Connection, params: Params) -> None:
    refuse_unknown_owner(host, conn, params.owner)
    words = ["CREATE DATABASE %s" % _sql.identifier(params.name)]
    template = params.template
    if template is None and (params.encoding or params.lc_collate or params.lc_ctype):
        template = "template0"
    options = {"owner": params.owner, "template": template, "tablespace": params.tablespace}
    words += ["%s %s" % (key.upper(), _sql.identifier(value)) for key, value in options.items() if value]
    options = {"encoding": params.encoding, "lc_collate": params.lc_collate}
    options["lc_ctype"] = params.lc_ctype or params.lc_collate
    words += ["%s %s" % (key.upper(), _sql.literal(value)) for key, value in options.items() if value]
    if params.conn_limit is not None:
        words.append("CONNECTION LIMIT %d" % params.conn_limit)
    conn.change(" ".join(words), "database " + params.name, "", "database")
    if params.comment:
        comment(conn, params.name, "", params.comment)


def alter(host: Host, conn: Connection, params: Params, found: Dict[str, Any]) -> None:
    wrong = [name for name in FIXED if params[name] and plain(params[name]) != plain(found[name])]
    if wrong:
        seen = ", ".join("%s is %s, not %s" % (name, found[name], params[name]) for name in wrong)
        hint = "it cannot change: dump it, and restore the dump into a database made anew"
        host.fail("database %s is there, but its %s; %s" % (params.name, seen, hint))
    name = _sql.identifier(params.name)
    if params.owner and params.owner != found["owner"]:
        refuse_unknown_owner(host, conn, params.owner)
        sql = "ALTER DATABASE %s OWNER TO %s" % (name, _sql.identifier(params.owner))
        conn.change(sql, "owner of database " + params.name, found["owner"], params.owner)
    if params.conn_limit is not None and params.conn_limit != found["conn_limit"]:
        sql = "ALTER DATABASE %s CONNECTION LIMIT %d" % (name, params.conn_limit)
        before = str(found["conn_limit"])
        conn.change(sql, "connection limit of database " + params.name, before, str(params.conn_limit))
    if params.comment is not None and params.comment != found["comment"]:
        comment(conn, params.name, found["comment"], params.comment)


def comment(conn: Connection, name: str, before: str, after: str) -> None:
    sql = "COMMENT ON DATABASE %s IS %s" % (_sql.identifier(name), _sql.literal(after or None))
    conn.change(sql, "comment on database " + name, before, after)


def refuse_unknown_owner(host: Host, conn: Connection, owner: Optional[str]) -> None:
    """A preview is to foretell that the owner is missing, too."""
    if owner and not role_is_known(conn, owner):
        host.fail("there is no role %s to own it; make it with pg_user first" % owner)


def role_is_known(conn: Connection, name: str) -> bool:
    if conn.value("SELECT count(*) AS n FROM pg_roles WHERE rolname = %s" % _sql.literal(name)):
        return True
    return pretended(conn.server, "role", name)


def plain(name: str) -> str:
    """An encoding's or a locale's name in one spelling: C.UTF-8 and C.utf8, UTF8 and utf-8 are the same."""
    return name.lower().replace("-", "")


def drop(host: Host, conn: Connection, params: Params, found: Optional[Dict[str, Any]]) -> None:
    if found is None:
        return
    if found["datistemplate"]:
        host.fail("database %s is a template; take that from it first" % params.name)
    confirmation.require(host, params.confirm, "drop " + params.name)
    sessions: List[Dict[str, Any]] = conn.rows(SESSIONS % _sql.literal(params.name))
    if sessions and not params.force:
        who = ", ".join("%s (%s, pid %d)" % (one["usename"], one["application_name"] or "-", one["pid"])
                        for one in sessions[:5])  # fmt: skip
        text = "%d sessions are connected to database %s: %s; end them, or give force: true"
        host.fail(text % (len(sessions), params.name, who))
    force = " WITH (FORCE)" if params.force else ""
    conn.change("DROP DATABASE %s%s" % (_sql.identifier(params.name), force), "database " + params.name, "database", "")
