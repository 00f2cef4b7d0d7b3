"""redis_backup and redis_restore on real servers: 6.0, 7.0 and 8.0, with and without an append-only file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call, run_calls
from tests.modules.cases import one, previews
from tests.modules.redis_host import PASSWORD, cli, until_up

BACKUP, RESTORE = "redis.redis_backup", "redis.redis_restore"
TO = {"dir": "/srv/backups"}


def phrase(host: LabHost) -> str:
    return "restore redis on " + host.run("hostname -s").stdout.strip()


def test_a_backup_is_of_now(redis: LabHost) -> None:
    """Two in one second are two snapshots; each holds what was there when it was asked for."""
    cli(redis, "mset", "a", "1", "b", "2", "c", "3")
    preview = one(redis, Call(BACKUP, TO, check=True))
    assert preview["changed"] and "folder" in preview["_unknown"]
    assert redis.run("ls -A /srv/backups/redis", check=False).stdout == ""
    first = one(redis, Call(BACKUP, TO))
    assert first["keys"] == 3 and first["changed"], first
    cli(redis, "set", "d", "4")
    cli(redis, "setex", "e", "1000", "5")
    second = one(redis, Call(BACKUP, {**TO, "tag": "second"}))
    assert second["keys"] == 5 and second["folder"] != first["folder"]
    assert redis.run("readlink -f /srv/backups/redis/latest").stdout.strip() == second["folder"]
    assert redis.run(f"sha256sum {second['folder']}/dump.rdb").stdout[:64] == second["sha256"]
    modes = redis.run(f"stat -c %a /srv/backups/redis {second['folder']} {second['folder']}/*").stdout.split()
    assert modes == ["700", "700", "600", "600", "600"], "the dump, the manifest, its signature"
    manifest = json.loads(redis.run(f"cat {second['folder']}/manifest.json").stdout)
    assert (
        manifest["kind"] == "redis_backup" and manifest["tag"] == "second" and manifest["verified"]["level"] == "read"
    )
    assert manifest["database"] == {"name": "redis", "keys": 5, "expires": 1}
    assert redis.run("ls -A /srv/backups/redis").stdout.count("\n") == 3
    emergency = one(redis, Call(BACKUP, {**TO, "tag": "emergency"}))
    assert redis.run("readlink -f /srv/backups/redis/latest").stdout.strip() == second["folder"] != emergency["folder"]


@pytest.mark.parametrize("aof", [False, True], ids=["rdb", "aof"])
def test_a_restore_is_not_undone(redis: LabHost, aof: bool) -> None:
    """The server's last save would bring the old data back, and an append-only file would hide the backup."""
    if aof:
        redis.run("sed -i 's/^appendonly no/appendonly yes/' /etc/redis/redis.conf; systemctl restart redis-server")
        until_up(redis)
    config = redis.run("sha256sum /etc/redis/redis.conf").stdout
    cli(redis, "set", "kept", "good")
    cli(redis, "-n", "3", "set", "other", "database")
    made = one(redis, Call(BACKUP, TO))
    cli(redis, "set", "kept", "BAD")
    cli(redis, "set", "later", "BAD")
    params = {"src": "/srv/backups/redis/latest"}
    preview = one(redis, Call(RESTORE, params, check=True))
    assert f'give confirm: "{phrase(redis)}"' in preview["warnings"][0] and cli(redis, "get", "kept") == "BAD"
    assert "is not confirmed" in one(redis, Call(RESTORE, params))["msg"]
    result = one(redis, Call(RESTORE, {**params, "confirm": phrase(redis)}))
    assert not result.get("failed") and result["keys"] == 2 and result["diff"] == preview["diff"], result
    for _ in range(2):
        assert cli(redis, "get", "kept") == "good" and cli(redis, "exists", "later") == "0"
        assert cli(redis, "-n", "3", "get", "other") == "database"
        assert cli(redis, "config", "get", "appendonly").split() == ["appendonly", "yes" if aof else "no"]
        redis.run("systemctl restart redis-server")
        until_up(redis)
    assert redis.run("sha256sum /etc/redis/redis.conf").stdout == config
    assert "dump.rdb" in redis.run(f"ls {result['old_files']}").stdout
    assert redis.run("stat -c %U:%G /var/lib/redis/dump.rdb").stdout == "redis:redis\n"
    assert redis.run("find /var/lib/redis -name '.opsplay*'").stdout == "" and made["keys"] == 2


def test_a_backup_that_does_not_load_changes_nothing(redis: LabHost) -> None:
    redis.run("sed -i 's/^appendonly no/appendonly yes/' /etc/redis/redis.conf; systemctl restart redis-server")
    until_up(redis)
    cli(redis, "set", "old", "1")
    made = one(redis, Call(BACKUP, TO))
    file, confirm = f"{made['folder']}/dump.rdb", phrase(redis)
    redis.run(
        f"cp {file} /root/whole.rdb; head -c 60 {file} >/root/cut.rdb; echo no >/root/none.rdb; printf X | dd of={file} bs=1 seek=20 conv=notrunc status=none"
    )
    table = [
        ("/srv/backups/redis/latest", "is damaged: its sha256 is not the manifest's; nothing was touched"),
        ("/root/cut.rdb", "redis-check-rdb refuses /root/cut.rdb"), ("/root/none.rdb", "is no RDB file"),
        ("/root/missing.rdb", "cannot be read: No such file"), ("/srv", "holds no manifest.json"),
    ]  # fmt: skip
    results = run_calls(redis, [Call(RESTORE, {"src": src, "confirm": confirm}) for src, _ in table])
    for (_, words), result in zip(table, results, strict=True):
        assert result.get("failed") and words in result["msg"], result
    # A server that does not start with the new data: as long as the old lies aside.
    drop_in = "/run/systemd/system/redis-server.service.d/fault.conf"
    redis.run(
        f"mkdir -p $(dirname {drop_in}); echo '[Service]\nExecStartPre=+/bin/sh -c \"! ls -d /var/lib/redis/before-*\"' >{drop_in}; systemctl daemon-reload"
    )
    try:
        result = one(redis, Call(RESTORE, {"src": "/root/whole.rdb", "confirm": confirm, "timeout": 5}))
    finally:
        redis.run(f"rm {drop_in}; systemctl daemon-reload")
    assert "the restore failed: systemctl start redis-server failed" in result["msg"], result
    assert result["msg"].endswith("the old data is back and in service")
    assert cli(redis, "get", "old") == "1" and cli(redis, "config", "get", "appendonly").endswith("yes")
    assert redis.run("ls -A /var/lib/redis | grep -E 'before|opsplay'", check=False).stdout == ""


def test_a_password(redis7: LabHost) -> None:
    """Without it the server says NOAUTH, which is a failure; with it nothing shows it."""
    redis7.run(["redis-cli", "config", "set", "requirepass", PASSWORD])
    redis7.run(["redis-cli", "-a", PASSWORD, "--no-auth-warning", "config", "rewrite"])
    refused = [one(redis7, Call(BACKUP, {**TO, **login})) for login in ({}, {"login_password": "wrong"})]
    assert "NOAUTH Authentication required" in refused[0]["msg"] and "no backup was made" in refused[0]["msg"]
    assert "WRONGPASS" in refused[1]["msg"] and redis7.run("ls -A /srv/backups/redis", check=False).stdout == ""
    cli(redis7, "set", "a", "1", password=PASSWORD)
    login = {"login_password": PASSWORD}
    assert one(redis7, Call(BACKUP, {**TO, **login}))["keys"] == 1
    result = one(redis7, Call(RESTORE, {"src": "/srv/backups/redis/latest", "confirm": phrase(redis7), **login}))
    assert result.get("keys") == 1 and PASSWORD not in str(result), result
    assert "NOAUTH" in redis7.run("redis-cli ping").stdout, "the password is still asked for"


def test_a_snapshot_that_cannot_be_written(redis: LabHost) -> None:
    redis.run("chown root:root /var/lib/redis && chmod 755 /var/lib/redis")
    try:
        result = one(redis, Call(BACKUP, TO))
    finally:
        redis.run("chown redis:redis /var/lib/redis && chmod 750 /var/lib/redis")
    assert "could not write its snapshot" in result["msg"] and "no backup was made" in result["msg"]
    assert redis.run("ls -A /srv/backups/redis").stdout == ""


def test_a_server_that_does_not_run(redis7: LabHost) -> None:
    cli(redis7, "set", "a", "1")
    one(redis7, Call(BACKUP, TO))
    redis7.run("systemctl stop redis-server; rm /var/lib/redis/dump.rdb")
    assert "cannot connect to Redis at 127.0.0.1:6379: Connection refused" in one(redis7, Call(BACKUP, TO))["msg"]
    result = one(redis7, Call(RESTORE, {"src": "/srv/backups/redis/latest", "confirm": phrase(redis7)}))
    assert result.get("keys") == 1 and cli(redis7, "get", "a") == "1", result


def test_a_preview_of_a_blank_host(bookworm: LabHost) -> None:
    tasks: list[tuple[str, dict[str, Any]]] = [("packages.apt", {"name": "redis", "update_cache": True}), (BACKUP, TO)]
    assert previews(bookworm, tasks)[1]["changed"]
    assert "cannot connect to Redis" in one(bookworm, Call(BACKUP, TO))["msg"]
