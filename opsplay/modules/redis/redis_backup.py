"""Back a Redis server up: a snapshot that was really made now, copied, read whole by Redis' checker, with a manifest.

The snapshot's end is told by LASTSAVE, not by the reply to BGSAVE. The backup lies in DIR/NAME/STAMP with its sha256
and the number of keys that it holds, and gets its name by one rename when all is proven; `latest` leads to it then.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from opsplay.agent import backups, cipher, pipeline
from opsplay.agent.cipher import ENCRYPT
from opsplay.agent.host import Host
from opsplay.agent.signatures import SIGN
from opsplay.agent.sizes import free_bytes, told_size
from opsplay.agent.spec import Bool, Int, Mode, Name, Params, Path, Str
from opsplay.modules.redis import _dump, _resp

PARAMS = dict(
    _resp.CONNECTION,
    name=Name(default="redis", help="The name of its backups, a folder of `dir`"),
    dir=Path(required=True, help="The folder of all backups"),
    tag=Str(default="", help="What it is for; an emergency backup never becomes `latest`"),
    latest_link=Bool(default=True, help="Let `latest` lead to it"),
    encrypt=ENCRYPT,
    sign=SIGN,
    mode=Mode(default=0o600, help="The permissions of its files; folders are 0700"),
    timeout=Int(default=600, min=1, help="Seconds that the snapshot may take"),
    lock_wait=Int(default=0, min=0, help="Seconds to wait for another backup or restore to end"),
)
CHECK = "partial"
FILE = "dump.rdb"


def run(host: Host, params: Params) -> Dict[str, Any]:
    directory = os.path.join(host.expand(params.dir), backups.folder_name(params.name))
    if host.check:
        return preview(host, params, directory)
    try:
        with host.lock("redis-%d" % params.login_port, wait=params.lock_wait), _resp.Client(params) as redis:
            host.directory(directory, mode=0o700)
            began = time.time()
            source = snapshot(host, params, redis)
            return keep(host, params, redis, directory, source, began)
    except _resp.RedisError as problem:
        host.fail("%s; no backup was made, the older ones are untouched" % problem)
    except OSError as problem:
        where = problem.filename or directory
        host.fail("cannot back up to %s: %s; the older ones are untouched" % (where, problem.strerror or problem))


def preview(host: Host, params: Params, directory: str) -> Dict[str, Any]:
    """A server that is not there now may be started by an earlier task; one that refuses would refuse the run, too."""
    try:
        with _resp.Client(params) as redis:
            redis.call("PING")
    except _resp.RedisError as problem:
        if "cannot connect" not in str(problem) or not host.shadow.brings_unknown_files:
            host.fail("%s; no backup would be made" % problem)
    host.note("", "a backup\n", directory)
    host.unknown("folder", "size", "sha256", "keys", "seconds")
    return host.outcome()


def snapshot(host: Host, params: Params, redis: _resp.Client) -> str:
    """Have the server write its RDB file now; the path. Raises RedisError."""
    settings = redis.config("dir", "dbfilename")
    if "dbfilename" not in settings:
        raise _resp.RedisError("Redis at %s does not tell where its files are (CONFIG GET dir)" % redis.where())
    deadline = time.monotonic() + params.timeout
    await_saved(host, redis, 0, deadline)
    last = redis.call("LASTSAVE")
    # LASTSAVE counts seconds: two snapshots within one could not be told apart.
    while int(redis.call("TIME")[0]) <= last:
        time.sleep(0.1)
    redis.call("BGSAVE", "SCHEDULE")
    await_saved(host, redis, last, deadline)
    path = _dump.place_of(settings)
    if not os.path.isfile(path):
        raise _resp.RedisError("Redis at %s has saved, but %s is not on this host; run this where it runs"
                               % (redis.where(), path))  # fmt: skip
    return path


def await_saved(host: Host, redis: _resp.Client, last: int, deadline: float) -> None:
    """Wait until no snapshot is being made and the last one is younger than `last`. Raises RedisError."""
    while True:
        info = redis.info("persistence")
        busy = info.get("rdb_bgsave_in_progress") == "1" or info.get("aof_rewrite_in_progress") == "1"
        if not busy and int(info["rdb_last_save_time"]) > last:
            return
        if not busy and last and info.get("rdb_last_bgsave_status") == "err":
            raise _resp.RedisError("Redis at %s could not write its snapshot; its log says why (often a full disk, or "
                                   "vm.overcommit_memory)" % redis.where())  # fmt: skip
        if time.monotonic() > deadline:
            raise _resp.RedisError("the snapshot of Redis at %s was not ready in time" % redis.where())
        host.progress("waiting for the snapshot of Redis")
        time.sleep(0.1)


def keep(host: Host, params: Params, redis: _resp.Client, directory: str, source: str, began: float) -> Dict[str, Any]:
    """Copy it, prove the copy, describe it, and give it its name. Raises OSError and RedisError."""
    size, free = os.stat(source).st_size, free_bytes(directory)
    if free < size * 1.05 + (1 << 20):
        text = "it needs %s, and there is %s" % (told_size(size), told_size(free))
        raise OSError(28, text, directory)
    hidden = host.temporary.folder(directory)
    path = os.path.join(hidden, FILE)
    # The file that is open stays whole, whatever the server saves meanwhile.
    with open(source, "rb") as file, host.staged(path) as new:
        while True:
            chunk = file.read(1 << 20)
            if not chunk:
                break
            new.write(chunk)
            host.progress("copying", new.size, size)
        sha256 = new.sha256
        new.install(path, params.mode, (-1, -1))
    try:
        found = _dump.examine(host, path)
    except _dump.Damaged as problem:
        raise _resp.RedisError(str(problem)) from None
    server = redis.info("server", "replication", "persistence")
    data = manifest(params, server, found, began)
    data["files"] = [{"name": FILE, "size": os.stat(path).st_size, "sha256": sha256}]
    if params.encrypt:
        data["encryption"], data["files"] = encrypted(host, params, path, data["files"][0])
    backup = backups.publish(host, hidden, data, began, params.mode, params.sign)
    if params.latest_link and params.tag != backups.EMERGENCY:
        backups.point_latest(host, backup)
    host.note("", "a backup\n", directory)
    told = {"folder": backup.folder, "size": backup.size, "sha256": sha256, "keys": found["keys"]}
    return host.outcome(seconds=round(time.time() - began, 2), manifest=data, **told)


def encrypted(host: Host, params: Params, path: str, plain: Dict[str, Any]) -> Any:
    """Put the cipher text in place of the copy; how it was encrypted, and the file. Raises OSError, RedisError."""
    crypt = cipher.wanted(host, params.encrypt)
    assert crypt is not None
    source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with crypt:
            tap = pipeline.Tap()
            pipeline.into_file(host, path + crypt.suffix, [crypt.program(), tap], source=source)
            described = crypt.describe()
    except pipeline.Failed as problem:
        raise _resp.RedisError("the backup could not be encrypted: %s" % problem) from None
    finally:
        os.close(source)
    os.unlink(path)
    told = {"plain_size": plain["size"], "plain_sha256": plain["sha256"]}
    return described, [dict(told, name=FILE + crypt.suffix, size=tap.size, sha256=tap.sha256)]


def manifest(params: Params, info: Dict[str, str], found: Dict[str, Any], began: float) -> Dict[str, Any]:
    """What the backup is, in the fields that all backups have."""
    version = info.get("redis_version", "")
    return {
        "version": backups.VERSION,
        "kind": "redis_backup",
        "name": params.name,
        "tag": params.tag,
        "host": os.uname().nodename,
        "opsplay": backups.OPSPLAY,
        "started": backups.moment(began),
        "finished": backups.moment(),
        "server": {
            "version": version,
            "major": int(version.partition(".")[0] or 0),
            "run_id": info.get("run_id", ""),
            "role": info.get("role", ""),
            "appendonly": info.get("aof_enabled") == "1",
            "rdb_version": found["rdb_version"],
        },
        "database": {"name": params.name, "keys": found["keys"], "expires": found["expires"]},
        "content": "all",
        "format": "rdb",
        "encryption": None,
        "verified": {"level": found["level"], "at": backups.moment(), "seconds": round(time.time() - began, 1)},
    }
