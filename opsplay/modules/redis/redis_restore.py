"""Bring a Redis server back to a backup, so that neither its last save nor its append-only file undoes it.

The server is stopped (what it saves then is kept, too), its files go into a dated folder beside, the backup takes their
place, and it is started without an append-only file, which is made anew from the data. When the number of keys is not
the backup's, or the server does not come up, the old files are put back. Needs systemd.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Optional

from opsplay.agent import backups, cipher, confirmation, pipeline, signatures
from opsplay.agent.cipher import KEY
from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.signatures import SIGNED_BY
from opsplay.agent.spec import Int, Name, Params, Path
from opsplay.modules.redis import _dump, _exchange, _resp

PARAMS = dict(
    _resp.CONNECTION,
    src=Path(required=True, help="The backup: its folder, `latest` of its name, or an RDB file"),
    service=Name(default="redis-server", help="The server's unit of systemd"),
    config=Path(help="The server's configuration file; without it the one that the server says it has read"),
    confirm=confirmation.parameter("restore redis"),
    timeout=Int(default=300, min=1, help="Seconds that the server may take to load the data"),
    lock_wait=Int(default=0, min=0, help="Seconds to wait for a backup or another restore to end"),
    signed_by=SIGNED_BY,
    **KEY,
)
CHECK = "partial"


def run(host: Host, params: Params) -> Dict[str, Any]:
    path, data = source(host, host.expand(params.src), params)
    try:
        found = _dump.examine(host, path)
    except _dump.Damaged as problem:
        host.fail("%s; nothing was touched" % problem)
    server = state(host, params)
    if server is None:
        host.note("", "the data of %s\n" % path, "Redis at %s" % params.login_host)
        host.unknown("keys", "old_files", "seconds")
        return host.outcome()
    refuse(host, server, data)
    confirmation.require(host, params.confirm, "restore redis")
    before = "%d keys\n" % server["keys"] if server["keys"] is not None else ""
    known = "%d keys" % found["keys"] if found["keys"] is not None else "the data"
    host.note(before, "%s of %s\n" % (known, path), "Redis at %s" % server["where"])
    if host.check:
        host.unknown("keys", "old_files", "seconds")
        return host.outcome()
    began = time.monotonic()
    with host.lock("redis-%d" % params.login_port, wait=params.lock_wait):
        exchange = _exchange.Exchange(host, params, server, path)
        result = restore(host, params, exchange, found)
    return host.outcome(seconds=round(time.monotonic() - began, 2), **result)


def source(host: Host, path: str, params: Params) -> Any:
    """The RDB file and its manifest (None for a file alone). Fails for what is damaged or cannot be decrypted."""
    if not os.path.isdir(path):
        signatures.refuse_lone(host, path, params.signed_by)
        return path, None
    try:
        backup = backups.load(path)
    except backups.Unreadable as problem:
        host.fail(str(problem))
    if backup.data["kind"] != "redis_backup":
        host.fail("%s is a %s, not a backup of Redis" % (path, backup.data["kind"]))
    if not backup.files:
        host.fail("%s: its manifest has no file; nothing was touched" % path)
    signatures.require(host, backup, params.signed_by)
    damage = backups.damage(host, backup)
    if damage:
        host.fail("%s; nothing was touched" % "; ".join(damage))
    if backup.data.get("encryption"):
        return decrypted(host, backup, params), backup.data
    return backup.path(backup.files[0]["name"]), backup.data


def decrypted(host: Host, backup: backups.Backup, params: Params) -> str:
    """The RDB file in a hidden folder that goes with the task. Fails with the program's words."""
    method = backup.data["encryption"]["method"]
    if not params.key:
        host.fail("%s is encrypted by %s; give its key" % (backup.folder, method))
    path = os.path.join(host.temporary.folder(os.path.dirname(backup.folder)), "dump.rdb")
    try:
        with cipher.Decipher(host, method, params.key, params.key_passphrase or "") as key:
            key.decrypt(backup.path(backup.files[0]["name"]), path)
    except pipeline.Failed as problem:
        host.fail("%s cannot be decrypted: %s; nothing was touched" % (backup.folder, problem))
    return path


def state(host: Host, params: Params) -> Optional[Dict[str, Any]]:
    """What the server says of itself, or its configuration file; None in the preview of a blank host."""
    config = host.expand(params.config) if params.config else ""
    try:
        with _resp.Client(params) as redis:
            info = redis.info("server", "replication", "keyspace")
            names = ("dir", "dbfilename", "appendonly", "appendfilename", "appenddirname")
            found: Dict[str, Any] = {"settings": redis.config(*names)}
            found["keys"] = sum(_resp.keys_of(info).values())
            found["role"], found["version"] = info.get("role"), info.get("redis_version", "")
            found["config"] = config or info.get("config_file", "")
    except _resp.RedisError as problem:
        if "cannot connect" not in str(problem):
            host.fail("%s; nothing was touched" % problem)
        config = config or "/etc/redis/redis.conf"
        if not os.path.isfile(config):
            if host.check and host.shadow.brings_unknown_files:
                return None
            host.fail("%s, and there is no %s; nothing was touched" % (problem, config))
        found = {"settings": _exchange.read_config(config), "keys": None, "role": None, "version": "", "config": config}
    found["where"] = "%s:%d" % (params.login_host, params.login_port)
    return found


def refuse(host: Host, server: Dict[str, Any], data: Optional[Dict[str, Any]]) -> None:
    if server["role"] == "slave":
        host.fail("Redis at %s is a replica: restore its master; nothing was touched" % server["where"])
    if not os.path.isdir(server["settings"].get("dir", "")):
        host.fail("the data folder %s is not on this host; run this where Redis runs" % server["settings"].get("dir"))
    if not server["config"] or not os.path.isfile(server["config"]):
        host.fail(
            "Redis at %s has no configuration file, so its settings would not last; give config" % server["where"]
        )
    made = (data or {}).get("server", {}).get("version", "")
    if made and server["version"] and _exchange.numbers(made) > _exchange.numbers(server["version"]):
        text = "the backup was made by Redis %s; this is %s, which may not read it; nothing was touched"
        if int(made.partition(".")[0]) > int(server["version"].partition(".")[0]):
            host.fail(text % (made, server["version"]))
        host.warn(text.replace("; nothing was touched", "") % (made, server["version"]))


def restore(host: Host, params: Params, exchange: _exchange.Exchange, found: Dict[str, Any]) -> Dict[str, Any]:
    """Exchange, prove, and go back if that fails."""
    exchange.prepare()
    with host.critical(params.timeout + 60):
        try:
            exchange.swap()
            keys = exchange.prove(found)
            exchange.append_only()
        except (_resp.RedisError, OSError, ModuleFailed) as problem:
            state = exchange.go_back()
            host.fail("the restore failed: %s; %s" % (_exchange.words_of(problem), state))
    return {"keys": keys, "old_files": exchange.kept}
