"""How far standbys are behind: bytes and seconds that are never NULL, and 0 where nothing is missing."""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.modules.postgres._psql import Psql

# The time of the last replayed commit grows on an idle primary though nothing is missing: it only counts when there is
# something to replay.
STANDBY = """SELECT pg_last_wal_receive_lsn()::text AS received, pg_last_wal_replay_lsn()::text AS replayed,
  coalesce(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0)::bigint AS bytes,
  CASE WHEN pg_last_wal_receive_lsn() IS NOT DISTINCT FROM pg_last_wal_replay_lsn() THEN 0
       ELSE greatest(0, coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0))::float8
  END AS seconds,
  coalesce((SELECT status FROM pg_stat_wal_receiver), 'none') AS receiver, pg_is_wal_replay_paused() AS paused"""
PRIMARY = """SELECT coalesce(nullif(application_name, ''), client_addr::text, 'socket') AS name, state,
  sync_state AS sync, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::bigint AS bytes,
  coalesce(extract(epoch FROM replay_lag), 0)::float8 AS seconds FROM pg_stat_replication
  WHERE state <> 'backup' ORDER BY 1"""
SLOTS = """SELECT slot_name AS name, active, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
  AS kept_bytes FROM pg_replication_slots ORDER BY 1"""


def measured(db: Psql) -> Dict[str, Any]:
    """Role, standbys with their lag, and slots of a primary; the lag of a standby."""
    if db.value("SELECT pg_is_in_recovery() AS r"):
        found: Any = db.row(STANDBY)
        return dict(found, role="standby", standbys=[], slots=[])
    standbys = db.rows(PRIMARY)
    most = {key: max([row[key] for row in standbys] or [0]) for key in ("bytes", "seconds")}
    return dict(most, role="primary", standbys=standbys, slots=db.rows(SLOTS))


def problems(found: Dict[str, Any], most_bytes: Any, most_seconds: Any, standbys: int) -> List[str]:
    """What is beyond the limits."""
    said = []
    if found["role"] == "standby" and found["receiver"] != "streaming":
        said.append("it receives nothing from its primary (the receiver is %s)" % found["receiver"])
    if found["role"] == "standby" and found["paused"]:
        said.append("its replay is paused")
    streaming = [row for row in found["standbys"] if row["state"] == "streaming"]
    if found["role"] == "primary" and len(streaming) < standbys:
        said.append("%d standbys stream, %d should" % (len(streaming), standbys))
    for key, most, unit in (("bytes", most_bytes, "bytes"), ("seconds", most_seconds, "s")):
        if most is not None and found[key] > most:
            said.append("the lag is %d %s, the limit %d" % (found[key], unit, most))
    return said
