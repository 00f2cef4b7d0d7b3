"""Extensions of a database: there in a version and a schema, or gone.

An extension that has to be loaded when the server starts is told with a warning where it is not.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Params, Str
from opsplay.modules.postgres import _server, _sql
from opsplay.modules.postgres._connect import Connection, pretended

PARAMS = dict(
    _server.CONNECTION,
    name=Str(required=True, aliases=["ext"], help="The extension, e.g. pg_stat_statements"),
    db=Str(required=True, aliases=["login_db"], help="The database"),
    state=Choice("present", "absent", default="present", help="Whether it is there"),
    version=Str(
        help="Its version, or latest for the newest that the server has; without it a new one gets the default"
    ),
    schema=Str(help="The schema of its objects; made when it is missing"),
    cascade=Bool(default=False, help="Bring the extensions that it needs; when it goes, what needs it goes, too"),
)
CHECK = "exact"
# These do nothing unless shared_preload_libraries names them.
PRELOADED = ("pg_stat_statements", "pg_cron", "timescaledb", "pgaudit", "pg_wait_sampling", "pg_stat_kcache",
             "pg_qualstats", "citus", "set_user", "pg_squeeze")  # fmt: skip
LOOK = """SELECT a.name, default_version, installed_version, n.nspname AS schema,
 (SELECT json_agg(version) FROM pg_available_extension_versions v WHERE v.name = a.name) AS versions
 FROM pg_available_extensions a LEFT JOIN pg_extension e ON e.extname = a.name
 LEFT JOIN pg_namespace n ON n.oid = e.extnamespace WHERE a.name = %s"""


def run(host: Host, params: Params) -> Dict[str, Any]:
    server = _server.find_server(host, params)
    if server is None or pretended(server, "database", params.db):
        if params.state == "present":
            host.note("", "extension\n", what(params))
        return host.outcome(name=params.name)
    with Connection(server, params.db) as conn:
        found = conn.row(LOOK % _sql.literal(params.name))
        if params.state == "absent":
            if found and found["installed_version"]:
                cascade = " CASCADE" if params.cascade else ""
                sql = "DROP EXTENSION %s%s" % (_sql.identifier(params.name), cascade)
                conn.change(sql, what(params), found["installed_version"], "")
            return host.outcome(name=params.name)
        version = present(host, conn, params, found)
        if params.name in PRELOADED:
            warn_unless_loaded(host, conn, params.name)
    return host.outcome(name=params.name, version=version)


def what(params: Params) -> str:
    return "extension %s in %s" % (params.name, params.db)


def present(host: Host, conn: Connection, params: Params, found: Optional[Dict[str, Any]]) -> str:
    """See that it is there; its version."""
    if found is None:
        if host.check and host.shadow.brings_unknown_files:
            host.note("", "extension\n", what(params))
            return ""
        host.fail("this server has no extension %s; install the package that brings it" % params.name)
    wanted = found["default_version"] if params.version == "latest" else params.version
    if wanted and wanted not in found["versions"] and wanted != found["installed_version"]:
        there = ", ".join(sorted(found["versions"]))
        host.fail("extension %s has no version %s; this server has %s" % (params.name, wanted, there))
    name, now = _sql.identifier(params.name), found["installed_version"]
    if not now:
        make_schema(conn, params.schema)
        words = ["CREATE EXTENSION %s" % name]
        words += ["SCHEMA %s" % _sql.identifier(params.schema)] if params.schema else []
        words += ["VERSION %s" % _sql.literal(wanted)] if wanted else []
        words += ["CASCADE"] if params.cascade else []
        made = wanted or found["default_version"]
        conn.change(" ".join(words), what(params), "", made)
        return str(made)
    if wanted and wanted != now:
        conn.change("ALTER EXTENSION %s UPDATE TO %s" % (name, _sql.literal(wanted)), what(params), now, wanted)
    if params.schema and params.schema != found["schema"]:
        make_schema(conn, params.schema)
        sql = "ALTER EXTENSION %s SET SCHEMA %s" % (name, _sql.identifier(params.schema))
        conn.change(sql, "schema of " + what(params), found["schema"], params.schema)
    return str(wanted or now)


def make_schema(conn: Connection, schema: Optional[str]) -> None:
    if schema and not conn.value("SELECT count(*) AS n FROM pg_namespace WHERE nspname = %s" % _sql.literal(schema)):
        conn.change("CREATE SCHEMA %s" % _sql.identifier(schema), "schema " + schema, "", "schema")


def warn_unless_loaded(host: Host, conn: Connection, name: str) -> None:
    row = conn.row("SELECT current_setting('shared_preload_libraries') AS loaded") or {}
    if name not in [part.strip(' "') for part in str(row.get("loaded", "")).split(",")]:
        hint = "set it with pg_settings and restart the server"
        host.warn("%s only works when shared_preload_libraries names it; %s" % (name, hint))
