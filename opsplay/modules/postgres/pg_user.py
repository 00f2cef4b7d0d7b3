"""Roles: their password as a SCRAM-SHA-256 verifier, attributes, limits and memberships.

The verifier is made on the control side; the password itself goes neither to the server nor to its log, and to the host
only for `verify_login`. A stored verifier is checked against the password, so that the same one again changes nothing.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Params, Raw, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.postgres import _roles, _scram, _server, _sql
from opsplay.modules.postgres._connect import Connection, pretend
from opsplay.modules.postgres._psql import Psql, SqlError

PARAMS = dict(
    _server.CONNECTION,
    name=Str(required=True, aliases=["user", "role"], help="The role"),
    state=Choice("present", "absent", default="present", help="Whether there is one; what owns something stays"),
    password=Str(secret=True, help="Its password, or a verifier as PostgreSQL stores it; empty takes it away"),
    update_password=Choice("always", "on_create", default="always", help="Whether a role that is there gets it, too"),
    attributes=ListOf(
        of=Str(), default=[], aliases=["role_attr_flags"], help="LOGIN, NOCREATEDB …; a new role gets LOGIN"
    ),
    conn_limit=Int(min=-1, aliases=["connection_limit"], help="Connections that it may have open; -1 for no limit"),
    valid_until=Str(aliases=["expires"], help="Until when its password is good, with zone; infinity for ever"),
    member_of=ListOf(of=Str(), aliases=["groups"], help="The roles that it is a member of"),
    exclusive=Bool(default=False, help="Take it out of all other roles"),
    verify_login=Bool(default=False, help="Log in over TCP with the password, and fail when that does not work"),
    verify_db=Str(default="postgres", help="The database for that"),
    verify_host=Str(default="127.0.0.1", help="The address for that"),
    _verifiers=Raw(help="What the control side has made of the password: with the stored salt, and with a new one"),
    _ask_salt=Bool(default=False, help="Only tell the salt that is stored"),
)  # fmt: skip
CHECK = "exact"
# Neither a log nor a table of statements shall keep a verifier; only a superuser may say so.
QUIET = ("log_statement = none", "log_min_duration_statement = -1", "log_min_error_statement = panic",
         "log_duration = off", "log_min_duration_sample = -1", "pg_stat_statements.track_utility = off")  # fmt: skip


def run(host: Host, params: Params) -> Dict[str, Any]:
    wanted = _roles.attributes(host, params.attributes)
    if params.verify_login and (not params.password or _scram.is_verifier(params.password)):
        host.fail("verify_login needs the password itself")
    server = _server.find_server(host, params)
    if params._ask_salt:
        return host.outcome(salt=stored_salt(server, params.name) if server else "")
    if server is None:
        if params.state == "present":
            host.note("", "role\n", "role " + params.name)
        return host.outcome(name=params.name)
    with Connection(server) as conn:
        found = _roles.look(conn, params.name)
        if params.state == "absent":
            if found is not None:
                drop(host, conn, params.name)
            pretend(server, "role", params.name, there=False)
            return host.outcome(name=params.name)
        if found is None:
            wanted.setdefault("rolcanlogin", True)
        settle(host, conn, params, wanted, found)
        pretend(server, "role", params.name)
    if params.verify_login and not host.check:
        verify(host, params)
    return host.outcome(name=params.name)


def settle(
    host: Host, conn: Connection, params: Params, wanted: Dict[str, Any], found: Optional[Dict[str, Any]]
) -> None:
    """Make or alter the role, all in one transaction."""
    if not host.check:
        conn.execute("BEGIN")
        if conn.value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
            conn.execute("\n".join("SET LOCAL %s;" % setting for setting in QUIET))
    name = _sql.identifier(params.name)
    if found is None:
        conn.change("CREATE ROLE %s" % name, "role " + params.name, "", "role")
    now = found or _roles.BLANK
    words = []
    for column, value in sorted(wanted.items()):
        if now[column] != value:
            words.append(_roles.WORDS[column] if value else "NO" + _roles.WORDS[column])
    if params.conn_limit is not None and now["rolconnlimit"] != params.conn_limit:
        words.append("CONNECTION LIMIT %d" % params.conn_limit)
    if params.valid_until is not None and not _roles.same_time(conn, now["until"], params.valid_until):
        words.append("VALID UNTIL %s" % _sql.literal(params.valid_until))
    if words:
        conn.change("ALTER ROLE %s %s" % (name, " ".join(words)), "role " + params.name, "", " ".join(words))
    set_password(conn, params, now["rolpassword"], found is not None)
    if params.member_of is not None:
        _roles.join(host, conn, params, now["member_of"])
    if not host.check:
        conn.execute("COMMIT")


def set_password(conn: Connection, params: Params, stored: Optional[str], is_there: bool) -> None:
    if params.password is None and not params._verifiers:
        return
    if is_there and params.update_password == "on_create":
        return
    same, new = params._verifiers or both(params.password, stored)
    if (stored or "") == new or (same and stored == same):
        return
    sql = "ALTER ROLE %s PASSWORD %s" % (_sql.identifier(params.name), _sql.literal(new or None))
    before, after = ("a password" if stored else "none"), ("another password" if new else "none")
    conn.change(sql, "password of role " + params.name, before, after)


def both(password: str, stored: Optional[str]) -> List[str]:
    """The verifier with the stored salt, and one to store otherwise."""
    if not password or _scram.is_verifier(password):
        return [password, password]
    return [_scram.again(password, stored), _scram.verifier(password)]


def stored_salt(server: _server.Server, name: str) -> str:
    """The head of a stored verifier, without what it proves: SCRAM-SHA-256$4096:salt$:"""
    try:
        with Psql(server) as conn:
            found = _roles.look(conn, name)
    except SqlError:
        # The real call says what is wrong.
        return ""
    stored = str((found or {}).get("rolpassword") or "")
    return stored.rpartition("$")[0] + "$:" if stored.startswith(_scram.METHOD) else ""


def drop(host: Host, conn: Connection, name: str) -> None:
    owned = _roles.owned(conn, name)
    if owned:
        hint = "give these to another role (REASSIGN OWNED) first"
        host.fail("role %s is not dropped: it still has %s; %s" % (name, ", ".join(owned), hint))
    conn.change("DROP ROLE %s" % _sql.identifier(name), "role " + name, "role", "")


def verify(host: Host, params: Params) -> None:
    """Log in as a client does."""
    login = Params(params, login_host=params.verify_host, login_user=params.name, login_password=params.password)
    server = _server.Server(host, login)
    try:
        with Psql(server, params.verify_db, seconds=30) as conn:
            conn.value("SELECT current_user")
    except SqlError as problem:
        host.fail("role %s is as declared, but cannot log in at %s: %s" % (params.name, params.verify_host, problem))
    finally:
        server.forget()
