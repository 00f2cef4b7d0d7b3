"""redis_info, redis_config and redis_keys on real servers."""

from __future__ import annotations

from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.redis import redis_config
from tests.lab.remote_module import Call
from tests.modules.cases import Case, one, previews, prove
from tests.modules.pg import calls, refusals
from tests.modules.redis_host import PASSWORD, cli, until_up

INFO, CONFIG, KEYS = "redis.redis_info", "redis.redis_config", "redis.redis_keys"


def test_how_it_is(redis: LabHost) -> None:
    cli(redis, "mset", "a", "1", "b", "2")
    cli(redis, "get", "a")
    cli(redis, "get", "none")
    cli(redis, "config", "set", "maxmemory", "100mb")
    result, *_ = calls(redis, INFO, [{"sections": ["server", "memory"], "expect_role": "master"}])
    assert result["ping"] == "PONG" and result["keys"] == {"db0": 2} and not result["changed"], result
    assert result["info"]["tcp_port"] == 6379 and result["info"]["maxmemory"] == 100 << 20
    assert result["numbers"]["hit_ratio"] == 50 and 0 < result["numbers"]["memory"] < 10 and result["status"] == "ok"
    limits: list[tuple[dict[str, Any], str]] = [
        ({"critical": {"keys": 2}}, "critical: keys is 2, the limit is 2"),
        ({"warn": {"hit_ratio": 60}, "fail_on": "warning"}, "warning: hit_ratio is 50 %, the limit is 60 %"),
        ({"expect_role": "slave"}, "Redis is a master, expected was a slave"),
        ({"warn": {"none": 1}}, "there is no number none"),
        ({"login_port": 6390}, "cannot connect to Redis at 127.0.0.1:6390: Connection refused"),
    ]
    refusals(redis, INFO, limits)


def test_an_error_reply_is_a_failure(redis: LabHost) -> None:
    """`redis-cli ping` without the password prints NOAUTH and ends with 0."""
    cli(redis, "config", "set", "requirepass", PASSWORD)
    assert redis.run("redis-cli ping").returncode == 0
    refusals(redis, INFO, [({"timeout": 20}, "NOAUTH Authentication required"), ({"login_password": "x"}, "WRONGPASS")])
    [result] = calls(redis, INFO, [{"login_password": PASSWORD}])
    assert result["ping"] == "PONG" and PASSWORD not in str(result)
    other = one(
        redis, Call(INFO, {"login_port": 22 if redis.run("ss -lnt | grep ':22 '", check=False).stdout else 6379})
    )
    assert "no Redis" in other["msg"] or "NOAUTH" in other["msg"] or "closed" in other["msg"]


def test_a_server_that_starts_is_waited_for(redis7: LabHost) -> None:
    redis7.run(
        "systemctl stop redis-server; systemd-run --collect --on-active=2 --timer-property=AccuracySec=100ms systemctl start redis-server"
    )
    assert one(redis7, Call(INFO, {"timeout": 30}))["ping"] == "PONG"


def test_settings_last(redis: LabHost) -> None:
    """A password that is only set is gone after a restart; here it is still asked for."""
    look = "redis-cli config get maxmemory; redis-cli config get maxmemory-policy"
    wanted = {"set": {"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru", "appendonly": False}}
    prove(
        redis, CONFIG, Case("memory", wanted, look=look, after=f"maxmemory\n{64 << 20}\nmaxmemory-policy\nallkeys-lru")
    )
    secret = {"requirepass": PASSWORD}
    changed, again, wrong = calls(
        redis, CONFIG, [secret, secret, {"set": {"maxmemory": "1mb"}, "login_password": "no"}]
    )
    assert changed["changed"] and not again["changed"] and PASSWORD not in str(changed), (changed, again)
    assert "WRONGPASS" in wrong["msg"]
    redis.run("systemctl restart redis-server")
    until_up(redis)
    assert "NOAUTH" in redis.run("redis-cli ping").stdout
    assert cli(redis, "config", "get", "maxmemory", password=PASSWORD).split()[1] == str(64 << 20)
    # Set by hand and never written down.
    cli(redis, "config", "set", "maxclients", "500", password=PASSWORD)
    login = {"login_password": PASSWORD, "set": {"maxclients": 500}}
    first, second = calls(redis, CONFIG, [login, login])
    assert (
        first["changed"] and not second["changed"] and "maxclients 500" in redis.run("cat /etc/redis/redis.conf").stdout
    )


def test_refused_settings(redis7: LabHost) -> None:
    refusals(redis7, CONFIG, [({"set": {"no-such": 1}}, "this Redis has no setting no-such"),
                              ({"set": {"requirepass": "x"}}, "parameters of their own, so that they are masked"),
                              ({"requirepass": "a\nb"}, "requirepass cannot hold the end of a line")])  # fmt: skip
    both = one(redis7, Call(CONFIG, {"set": {"maxclients": 300, "maxmemory-policy": "whatever"}}))
    assert "argument" in both["msg"] and "nothing was changed" in both["msg"]
    assert cli(redis7, "config", "get", "maxclients").split()[1] == "10000"
    redis7.run(
        "systemd-run --collect --quiet --unit=bare-redis redis-server --port 6390 --save ''; until redis-cli -p 6390 ping; do sleep 0.1; done",
        timeout=20,
    )
    try:
        bare = {"login_port": 6390, "requirepass": "x"}
        refusals(redis7, CONFIG, [(bare, "was started without a configuration file, so its settings would be lost")])
        assert redis7.run("redis-cli -p 6390 ping").stdout == "PONG\n"
        assert one(redis7, Call(CONFIG, {**bare, "persist": False}))["changed"]
    finally:
        redis7.run("systemctl stop bare-redis")


def test_a_cache_goes_and_the_queue_stays(redis: LabHost) -> None:
    redis.run(
        "for i in $(seq 3000); do echo set cache:$i x; done | redis-cli >/dev/null; redis-cli lpush celery a b c; redis-cli set session:1 x; redis-cli lpush unacked:cache:1 q"
    )
    count, listed, lengths = calls(redis, KEYS, [
        {"pattern": "cache:*"}, {"pattern": "cache:*", "action": "list", "limit": 2}, {"pattern": "celery", "action": "length"}])  # fmt: skip
    assert count["count"] == 3000 and listed["keys"] == ["cache:1", "cache:10"] and lengths["lengths"] == {"celery": 3}
    refusals(redis, KEYS, [({"pattern": "*", "action": "delete"}, "would delete everything; name a prefix"),
                           ({"pattern": "cache:*", "action": "delete", "max": 10}, "3000 keys match, max is 10")])  # fmt: skip
    case = Case(
        "gone",
        {"pattern": "*c*", "action": "delete"},
        look="redis-cli keys '*' | sort",
        after="celery\nsession:1\nunacked:cache:1",
    )
    prove(redis, KEYS, case)


def test_a_preview_of_a_blank_host(bookworm: LabHost) -> None:
    tasks: list[tuple[str, dict[str, Any]]] = [
        ("packages.apt", {"name": "redis", "update_cache": True}), (CONFIG, {"set": {"maxmemory": "64mb"}}),
        (INFO, {}), (KEYS, {"pattern": "x"}),
    ]  # fmt: skip
    assert [result["changed"] for result in previews(bookworm, tasks)] == [True, True, False, False]


@pytest.mark.parametrize(("first", "second", "same"), [
    ("256mb", "268435456", True), ("1k", "1000", True), ("yes", "YES", True), ("900 1  300 10", "900 1 300 10", True),
    ("s3cretMB", "s3cretmb", False), ("1gb", "1g", False)])  # fmt: skip
def test_meanings(first: str, second: str, same: bool) -> None:
    assert (redis_config.meaning(first) == redis_config.meaning(second)) is same
