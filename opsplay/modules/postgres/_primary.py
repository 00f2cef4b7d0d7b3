"""What a primary needs for a standby: settings, a role, rules in pg_hba.conf, a slot."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.modules.postgres import _psql, _service
from opsplay.modules.postgres._sql import identifier, literal

# pg_rewind reads the other server's files through these.
FUNCTIONS = ("pg_ls_dir(text, boolean, boolean)", "pg_stat_file(text, boolean)", "pg_read_binary_file(text)",
             "pg_read_binary_file(text, bigint, bigint, boolean)")  # fmt: skip
# wal_keep_size (MB) lets pg_rewind find, on an old primary, the log since it parted from the new one.
LEAST = {"max_wal_senders": 5, "max_replication_slots": 5, "wal_keep_size": 512}
RELOADED = ("wal_keep_size", "synchronous_standby_names")
# A standby is told by its slot; synchronous_standby_names wants the name that it gives itself.
STREAMING = """
SELECT s.slot_name AS slot, r.application_name AS name
FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid WHERE r.state = 'streaming'"""


def prepare(host: Host, params: Any, server: Any, cluster: Any) -> Dict[str, Any]:
    """Make the server one that standbys can follow; whether it was, or would be, restarted."""
    with _psql.Psql(server) as db:
        if db.value("SELECT pg_is_in_recovery() AS r"):
            host.fail("%s is a standby; promote it with pg_promote first" % server.describe())
        _role(host, params, db)
        if params.slot:
            _slot(host, params.slot, db)
        changes = _settings(params, db)
        changes.update(_synchronous(host, params, db))
        _rules(host, params, server, cluster, db)
        if not changes:
            return {"restarted": False}
        for name, (old, new) in sorted(changes.items()):
            host.note("%s = %s\n" % (name, old), "%s = %s\n" % (name, new), name)
        needs = any(name not in RELOADED for name in changes)
        if host.check:
            return {"restarted": needs}
        kept = host.read(os.path.join(cluster.data, "postgresql.auto.conf"))
        for name, (_, new) in sorted(changes.items()):
            db.execute("ALTER SYSTEM SET %s = %s" % (name, literal(new)))
        db.execute("SELECT pg_reload_conf()")
    if needs:
        _service.restart_with(host, server, cluster, kept)
    return {"restarted": needs}


def _settings(params: Any, db: Any) -> Dict[str, Any]:
    """What must change, old and new."""
    now = {row["name"]: row["setting"] for row in db.rows("SELECT name, setting FROM pg_settings")}
    changes: Dict[str, Any] = {}
    if now["wal_level"] == "minimal":
        changes["wal_level"] = (now["wal_level"], "replica")
    if now["wal_log_hints"] == "off" and now["data_checksums"] == "off":
        changes["wal_log_hints"] = ("off", "on")
    if params.listen and now["listen_addresses"] != params.listen:
        changes["listen_addresses"] = (now["listen_addresses"], params.listen)
    for name, least in LEAST.items():
        if int(now[name]) < least:
            changes[name] = (now[name], str(least))
    return changes


def _synchronous(host: Host, params: Any, db: Any) -> Dict[str, Any]:
    """What makes commits wait for one of the named standbys, old and new; nothing when that is not to change."""
    if params.synchronous is None:
        return {}
    streaming = {row["slot"]: row["name"] for row in db.rows(STREAMING)}
    missing = [slot for slot in params.synchronous if slot not in streaming]
    if missing and not host.check:
        host.fail("the standby of slot %s is not streaming: commits would wait for it; synchronous was not changed"
                  % missing[0])  # fmt: skip
    names = [identifier(streaming.get(slot, slot)) for slot in params.synchronous]
    wanted = "ANY 1 (%s)" % ", ".join(names) if names else ""
    now = str(db.value("SELECT current_setting('synchronous_standby_names') AS s"))
    return {} if now == wanted else {"synchronous_standby_names": (now, wanted)}


def _role(host: Host, params: Any, db: Any) -> None:
    row = db.row("SELECT rolpassword AS verifier, rolreplication AS may FROM pg_authid WHERE rolname = %s"
                 % literal(params.user))  # fmt: skip
    if row and row["may"] and (not params.password or matches(row["verifier"] or "", params.password)):
        return
    host.note("" if row is None else "role with another password\n", "role that may replicate\n", params.user)
    if host.check:
        return
    words = "LOGIN REPLICATION" + (" PASSWORD %s" % literal(params.password) if params.password else "")
    verb = "CREATE" if row is None else "ALTER"
    grants = "".join("; GRANT EXECUTE ON FUNCTION %s TO %s" % (name, identifier(params.user)) for name in FUNCTIONS)
    db.execute("SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic';"
               " SET password_encryption = 'scram-sha-256'; %s ROLE %s %s%s"
               % (verb, identifier(params.user), words, grants))  # fmt: skip


def matches(verifier: str, password: str) -> bool:
    """Whether a SCRAM-SHA-256 verifier (RFC 5803) is of this password."""
    import hashlib
    import hmac
    from binascii import a2b_base64

    if not verifier.startswith("SCRAM-SHA-256$"):
        return False
    rounds, _, salt = verifier.split("$")[1].partition(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), a2b_base64(salt), int(rounds))
    stored = hashlib.sha256(hmac.new(salted, b"Client Key", "sha256").digest()).digest()
    return hmac.compare_digest(stored, a2b_base64(verifier.split("$")[2].partition(":")[0]))


def _slot(host: Host, slot: str, db: Any) -> None:
    if not db.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s" % literal(slot)):
        host.note("", "physical replication slot\n", slot)
        if not host.check:
            db.execute("SELECT pg_create_physical_replication_slot(%s, true)" % literal(slot))


def _rules(host: Host, params: Any, server: Any, cluster: Any, db: Any) -> None:
    """The standbys' way in, before all other rules; taken back when the server does not understand the file."""
    path = os.path.join(cluster.config, "pg_hba.conf")
    before = host.read(path).decode("utf-8", "surrogateescape")
    rules: List[str] = []
    for address in params.allow:
        for database in ("replication", "postgres"):
            rules.append("host %s %s %s scram-sha-256" % (database, params.user, address))
    new = [rule for rule in rules if rule not in before.split("\n")]
    if not new:
        return
    host.write(path, "\n".join(new) + "\n" + before)
    if host.check:
        return
    wrong = db.rows("SELECT line_number AS n, error FROM pg_hba_file_rules WHERE error IS NOT NULL")
    if wrong:
        host.write(path, before)
        host.fail("allow: %s; pg_hba.conf is as it was" % wrong[0]["error"])
    db.execute("SELECT pg_reload_conf()")
