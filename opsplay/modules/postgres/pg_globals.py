"""Bring roles with their passwords, memberships and settings, and tablespaces, back from a backup of content globals.

Roles that are there get what the backup says of them; none is removed. The backup's statements are those of pg_dumpall:
that a role exists already is no failure, everything else that the server refuses is one.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List

from opsplay.agent import backups, pipeline, signatures
from opsplay.agent.cipher import KEY, Decipher
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, Tap
from opsplay.agent.signatures import SIGNED_BY
from opsplay.agent.spec import Path
from opsplay.modules.postgres import _psql, _server

PARAMS = dict(
    _server.CONNECTION,
    src=Path(required=True, help="The backup's folder, or a `latest` link"),
    signed_by=SIGNED_BY,
    **KEY,
)
CHECK = "partial"
# All that pg_dumpall's statements can change, as one text to compare.
STATE = """
SELECT md5(coalesce(string_agg(line, chr(10) ORDER BY line), '')) AS state FROM (
  SELECT row(rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
             rolconnlimit, rolpassword, rolvaliduntil)::text AS line FROM pg_authid
  UNION ALL SELECT row(r.rolname, m.rolname, a.admin_option)::text FROM pg_auth_members a
            JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
  UNION ALL SELECT row(setrole::regrole, setconfig)::text FROM pg_db_role_setting WHERE setdatabase = 0
  UNION ALL SELECT row(spcname, spcowner::regrole, spcoptions)::text FROM pg_tablespace
) q(line)
"""

ROLES = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"


def run(host: Host, params: Any) -> Dict[str, Any]:
    server = _server.find_server(host, params)
    try:
        backup = backups.load(host.expand(params.src))
    except backups.Unreadable as problem:
        if not (host.check and host.shadow.brings_unknown_files):
            host.fail(str(problem))
        server = None
    if server is None:
        host.changed = True
        host.unknown("roles")
        return host.outcome()
    signatures.require(host, backup, params.signed_by)
    problems = backups.damage(host, backup)
    entry = globals_file(host, backup)
    if problems:
        host.fail("the backup is refused: %s" % "; ".join(problems))
    try:
        with _psql.Psql(server) as db:
            before = db.value(STATE)
            if host.check:
                host.changed = True
                host.unknown("roles")
                return host.outcome()
            load(host, server, params, backup, backup.path(entry["name"]))
            host.changed = db.value(STATE) != before
            roles = [row["rolname"] for row in db.rows(ROLES)]
    except (Failed, _psql.SqlError) as problem:
        host.fail("the roles of %s were not all restored: %s" % (backup.folder, problem))
    return host.outcome(roles=roles)


def globals_file(host: Host, backup: backups.Backup) -> Dict[str, Any]:
    """The file of a backup that holds the statements. Fails when there is none."""
    found = [entry for entry in backup.files if os.path.basename(entry["name"]).startswith("globals.sql")]
    if not found:
        what = backup.data.get("content") or backup.data["kind"]
        host.fail("%s holds no roles: it is a backup of %s" % (backup.folder, what))
    return found[0]


def load(host: Host, server: Any, params: Any, backup: backups.Backup, path: str) -> None:
    """Feed the statements to psql. Raises Failed for what the server refuses."""
    # Statements that are logged would show the verifiers of passwords.
    quiet = "-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic"
    env = dict(server.environment(), PGOPTIONS=quiet)
    argv = server.command("psql", "-X", "-q", "-w", "-f", "-")
    # psql says what it could not do on its standard error, and goes on.
    psql = Program(["/bin/sh", "-c", 'exec "$@" 2>&1', "psql"] + argv, env=env)
    said = Tap(keep=1 << 20, hashed=False)
    encryption = backup.data.get("encryption")
    if encryption and not params.key:
        host.fail("the backup %s is encrypted by %s; give its key" % (backup.folder, encryption["method"]))
    source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if encryption:
            with Decipher(host, encryption["method"], params.key, params.key_passphrase or "") as key:
                pipeline.flow(host, [key.program(), psql, said], source=source)
        else:
            pipeline.flow(host, [psql, said], source=source)
    finally:
        os.close(source)
    refused = refusals(said.kept.decode("utf-8", "replace"))
    if refused:
        raise Failed("; ".join(refused[:5]), "psql")


def refusals(said: str) -> List[str]:
    """What the server refused, without roles and tablespaces that exist already."""
    lines = [line.partition("ERROR:")[2].strip() for line in said.split("\n") if "ERROR:" in line]
    lines += [line for line in said.split("\n") if "FATAL:" in line or "connection" in line and "error" in line]
    return [line for line in lines if not line.endswith("already exists")]
