"""Keys by a pattern: counted, listed, or deleted in small steps; queues of brokers are never deleted with a cache.

FLUSHDB and FLUSHALL take a broker's queues, sessions and rate limits along with the cache. This goes through the keys
with SCAN, which blocks nobody, and leaves alone what `protect` names.
"""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Int, Params, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.redis import _resp

PARAMS = dict(
    _resp.CONNECTION,
    pattern=Str(required=True, help="Which keys, e.g. cache:*"),
    action=Choice("count", "list", "length", "delete", default="count", help="length tells the size of lists and sets"),
    db=Int(default=0, min=0, help="The database's number"),
    protect=ListOf(
        of=Str(),
        default=["celery", "celery-*", "_kombu.*", "unacked*", "bull:*", "rq:*"],
        help="Patterns of keys that are never deleted",
    ),
    max=Int(min=0, help="Refuse to delete more than so many"),
    scan_count=Int(default=500, min=1, max=100000, help="How many keys the server looks at in one step"),
    limit=Int(default=1000, min=1, help="How many names are returned"),
)
CHECK = "exact"
LENGTHS = {"list": "LLEN", "set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "stream": "XLEN", "string": "STRLEN"}


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.action == "delete" and not params.pattern.strip("*?"):
        host.fail("the pattern %r would delete everything; name a prefix, such as cache:*" % params.pattern)
    try:
        with _resp.Client(params) as redis:
            redis.call("SELECT", params.db)
            keys = scan(redis, params)
            result: Dict[str, Any] = {"count": len(keys), "keys": keys[: params.limit]}
            if params.action == "length":
                result["lengths"] = {key: length(redis, key) for key in keys[: params.limit]}
            if params.action == "delete":
                delete(host, redis, params, keys)
    except _resp.RedisError as problem:
        if host.check and "cannot connect" in str(problem) and host.shadow.brings_unknown_files:
            host.unknown("count", "keys", "lengths")
            return host.outcome()
        host.fail(str(problem))
    return host.outcome(**result)


def scan(redis: _resp.Client, params: Params) -> List[str]:
    """The keys, sorted; those that are protected are left out of a deletion."""
    import fnmatch

    found, cursor = set(), "0"
    while True:
        cursor, keys = redis.call("SCAN", cursor, "MATCH", params.pattern, "COUNT", params.scan_count)
        found.update(keys)
        if cursor == "0":
            break
    if params.action == "delete":
        found = {key for key in found if not any(fnmatch.fnmatchcase(key, one) for one in params.protect)}
    return sorted(found)


def length(redis: _resp.Client, key: str) -> int:
    kind = redis.call("TYPE", key)
    return int(redis.call(LENGTHS[kind], key)) if kind in LENGTHS else 0


def delete(host: Host, redis: _resp.Client, params: Params, keys: List[str]) -> None:
    if params.max is not None and len(keys) > params.max:
        host.fail("%d keys match, max is %d; nothing was deleted" % (len(keys), params.max), count=len(keys))
    if not keys:
        return
    host.note("%d keys\n" % len(keys), "", "keys %s of database %d" % (params.pattern, params.db))
    for start in range(0, len(keys) if not host.check else 0, params.scan_count):
        redis.call("UNLINK", *keys[start : start + params.scan_count])
