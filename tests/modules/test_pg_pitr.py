"""pg_archive, pg_basebackup and pg_pitr on real servers: back to a second between two commits, or nothing is touched."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opsplay.agent.host import Host, ModuleFailed
from opsplay.lab import LabHost
from opsplay.modules.postgres import _bases, _wal
from tests.lab.remote_module import Call, run_calls
from tests.modules import DEEP
from tests.modules.cases import one
from tests.modules.harness import StubAgent
from tests.modules.pg_backups import sql
from tests.modules.test_pg_restore import phrase

ARCHIVE, BASEBACKUP, PITR = "postgres.pg_archive", "postgres.pg_basebackup", "postgres.pg_pitr"
WAL, BASES, PORT = "/srv/wal", "/srv/bases", 5480
VERSION = {"bullseye": "13", "bookworm": "15", "trixie": "17"}


@pytest.fixture(scope="module", params=DEEP)
def server(full: Callable[[str], LabHost], request: pytest.FixtureRequest) -> Iterator[LabHost]:
    """A cluster of its own with a tablespace, on a host of each release."""
    host: LabHost = full(request.param)
    version = VERSION[request.param]
    drop(host, version)
    host.run(f"pg_createcluster {version} pitr -p {PORT} --start >/dev/null; install -d -o postgres /srv/space", timeout=60)
    run(host, "CREATE TABLESPACE side LOCATION '/srv/space'; CREATE TABLE kept (n int) TABLESPACE side;"
              " CREATE TABLE dropped (n int); INSERT INTO dropped VALUES (1)")  # fmt: skip
    yield host
    drop(host, version)


def drop(host: LabHost, version: str) -> None:
    host.run(f"pg_dropcluster {version} pitr --stop; rm -rf /srv/wal* /srv/bases /srv/space* /var/lib/postgresql/*/pitr_*"
             "; systemctl daemon-reload", check=False, timeout=60)  # fmt: skip


def run(host: LabHost, text: str) -> str:
    return sql(host, text, port=PORT)


def cluster(host: LabHost) -> dict[str, Any]:
    return {"cluster": f"{VERSION[host.release]}/pitr"}


def now(host: LabHost) -> str:
    """The server's time, with enough room for the commits around it."""
    time.sleep(1.1)
    text = run(host, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || '+00'")
    time.sleep(1.1)
    return text


def done(host: LabHost, module: str, **params: Any) -> dict[str, Any]:
    result = one(host, Call(module, {**cluster(host), **params}))
    assert not result.get("failed"), result["msg"]
    return result


def test_recover_to_a_second_between_two_commits(server: LabHost) -> None:
    archive: dict[str, Any] = {**cluster(server), "dir": WAL}
    preview = one(server, Call(ARCHIVE, archive, check=True))
    first, again = run_calls(server, [Call(ARCHIVE, archive)] * 2)
    assert preview["diff"] == first["diff"] and first["restarted"] and not again["changed"], (first, again)
    assert (server.root / f"srv/wal/{first['segment']}").exists() and run(server, "SHOW archive_mode") == "on"
    base = done(server, BASEBACKUP, dir=BASES)
    run(server, "INSERT INTO kept VALUES (1)")
    target = now(server)
    run(server, "INSERT INTO kept VALUES (2); DROP TABLE dropped")
    later = done(server, BASEBACKUP, dir=BASES)
    run(server, "SELECT pg_switch_wal()")
    refuse_wrong_ones(server, target, later["folder"])

    system = run(server, "SELECT oid FROM pg_class WHERE relname = 'kept'")
    params = {**cluster(server), "target_time": target, "bases": f"{BASES}/{base['name']}", "archive": WAL,
              "verify_queries": ["SELECT count(*) = 1 FROM kept"]}  # fmt: skip
    preview = one(server, Call(PITR, params, check=True))
    assert 'confirm: "recover ' in preview["warnings"][0] and base["folder"] in preview["diff"][-1]["after"]
    params["confirm"] = phrase(server, f"recover {params['cluster']}")
    [wrong] = run_calls(server, [Call(PITR, {**params, "verify_queries": ["SELECT count(*) = 7 FROM kept"]})])
    assert "the recovered server is not what it should be" in wrong["msg"] and "untouched" in wrong["msg"]
    assert run(server, "SELECT count(*) FROM kept") == "2", "the old one has served all the time"
    [result] = run_calls(server, [Call(PITR, params)])
    assert not result.get("failed"), result["msg"]
    assert result["base"] == base["folder"] and result["archived"] and result["timeline"] == 2, result
    assert "recovery stopping before commit" in result["stopped_at"]
    assert run(server, "SELECT n FROM kept; SELECT n FROM dropped; SELECT pg_is_in_recovery()") == "1\n1\nf"
    assert run(server, "SELECT oid FROM pg_class WHERE relname = 'kept'") == system
    assert run(server, "INSERT INTO kept VALUES (3) RETURNING n") == "3"
    assert (server.root / result["kept"].lstrip("/") / "PG_VERSION").exists()
    assert (server.root / "srv/wal/00000002.history").exists()
    left = server.run("ls -d /var/lib/postgresql/*/pitr_new_* /srv/space_* /run/.opsplay-* 2>/dev/null || true").stdout
    assert left.split() == [line for line in left.split() if line.startswith("/srv/space_")] and len(left.split()) == 1
    assert run(server, "SELECT count(*) FROM pg_file_settings WHERE name LIKE 'recovery%' OR name = 'restore_command'") == "0"
    recover_on_the_new_timeline(server, params)


def refuse_wrong_ones(server: LabHost, target: str, later: str) -> None:
    """A base that is younger than the target would bring back what is to be undone; and so on."""
    name = json.loads((server.root / later.lstrip("/") / "manifest.json").read_text())["name"]
    params = {**cluster(server), "target_time": target, "bases": f"{BASES}/{name}", "archive": WAL}
    params["confirm"] = phrase(server, f"recover {params['cluster']}")
    segments = sorted(server.run(f"cd {WAL}; ls | grep -x '[0-9A-F]*'").stdout.split())
    needed = server.run(f"cat {BASES}/{name}/*/manifest.json | grep start_lsn").stdout.split('"')[3]
    segment = _wal.segment(1, _wal.number(needed) // (16 << 20), 16 << 20)
    assert segment in segments
    server.run(f"mv {WAL}/{segment} /srv/lost")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"base": later}, "a younger one would bring back what is to be undone; nothing was stopped"),
        ({"target_time": target[:-3]}, "has no time zone; write e.g. "),
        ({"target_time": "2020-01-01 00:00:00Z"}, "no base backup ended before 2020-01-01 00:00:00Z"),
        ({"target_time": "2990-01-01 00:00:00Z"}, "lies in the future"),
        ({"confirm": None}, 'to do it, give confirm: "recover '),
        ({}, f"the log has a gap: {segment} is not in {WAL}; nothing was stopped"),
    ]  # fmt: skip
    pid = run(server, "SELECT pg_postmaster_start_time()")
    results = run_calls(server, [Call(PITR, {**params, **wrong}) for wrong, _ in cases[:4] + cases[5:]])
    server.run(f"mv /srv/lost {WAL}/{segment}")
    results[4:4] = run_calls(server, [Call(PITR, {**params, "confirm": None})])
    for result, (_, message) in zip(results, cases, strict=True):
        assert message in result["msg"], result
    assert run(server, "SELECT pg_postmaster_start_time()") == pid


def recover_on_the_new_timeline(server: LabHost, params: dict[str, Any]) -> None:
    """A second recovery, from the first base, to a moment that only the new timeline has."""
    target = now(server)
    run(server, "DROP TABLE kept; SELECT pg_switch_wal()")
    done(server, BASEBACKUP, dir=BASES, keep=1)
    [gone] = run_calls(server, [Call(PITR, {**params, "target_time": target})])
    assert "no base backup ended before" in gone["msg"], "the older bases were removed"
    removed = done(server, ARCHIVE, dir=WAL, bases=params["bases"])["removed"]
    assert removed and (server.root / "srv/wal/00000002.history").exists()


def test_a_log_that_cannot_be_archived_is_told(server: LabHost) -> None:
    done(server, ARCHIVE, dir=WAL)
    name = run(server, "SELECT pg_walfile_name(pg_create_restore_point('x'))")
    server.run(f"echo other > {WAL}/{name}")
    run(server, "SELECT pg_switch_wal()")
    deadline = time.monotonic() + 20
    while run(server, "SELECT count(*) FROM pg_stat_archiver WHERE last_failed_wal IS NOT NULL") == "0":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    result = one(server, Call(ARCHIVE, {**cluster(server), "dir": WAL}))
    assert f"cannot archive its log: {name} failed at" in result["msg"]
    assert server.run(f"cat {WAL}/{name}").stdout == "other\n", "a file that is there is never replaced"
    server.run(f"rm {WAL}/{name}")
    run(server, "SELECT pg_switch_wal()")


def test_moments() -> None:
    class Refusing:
        def fail(self, text: str) -> None:
            raise ValueError(text)

    host: Any = Refusing()
    for text in ("2026-11-28 12:00:00+00", "2026-11-28T13:30:00+01:30", "2026-11-28 04:00:00 -0800", "2026-11-28 12:00:00 UTC"):
        assert _bases.text_of(_bases.moment(host, text)) == "2026-11-28 12:00:00+00"
    assert _bases.text_of(_bases.moment(host, "2026-11-28 12:00:00.25Z")) == "2026-11-28 12:00:00.25+00"
    for text in ("2026-11-28 12:00:00", "yesterday", "2026-13-28 12:00:00Z", "2026-11-28"):
        with pytest.raises(ValueError, match="target_time"):
            _bases.moment(host, text)


def test_a_timeline_that_was_left_is_on_no_way(tmp_path: Path) -> None:
    """Of the second timeline, which began in segment 4, less is archived than of the first was when it was left."""
    for name in ("000000010000000000000003", "000000010000000000000004", "000000010000000000000007",
                 "000000020000000000000004", "000000020000000000000005"):  # fmt: skip
        (tmp_path / name).touch()
    (tmp_path / "00000002.history").write_text("1\t0/4000100\tbefore 2026-11-28\n")
    archive, size = _wal.Folder(str(tmp_path)), 16 << 20
    ways = _wal.history(archive, "latest", 1)
    assert ways == [(1, 0), (2, 0x4000100)] and _wal.history(archive, "1", 1) == [(1, 0)]
    assert _wal.lines_from(ways, 1, 0x4000100) == ways and _wal.lines_from(ways, 1, 0x4000101) == []
    assert _wal.missing(archive, 0x3000028, ways, size, 1e12) == ([], False)
    assert _wal.missing(archive, 0x3000028, ways[:1], size, 1e12)[0] == [f"00000001000000000000000{n}" for n in (5, 6)]


@pytest.mark.parametrize(
    ("history", "says"),
    [
        ("", "the history of timeline 2 names none before it: 00000002.history is missing, empty or damaged"),
        ("1\t0/3000000\tx\n", "timeline 2 comes from 1 up to 0/3000000, and not from /srv/b, which ended on timeline 1 at 0/4"),
    ],
)
def test_a_base_that_is_not_on_the_way(tmp_path: Path, history: str, says: str) -> None:
    (tmp_path / "00000002.history").write_text(history)
    told = {"server": {"system_identifier": 7}, "base": {"timeline": 1, "end_lsn": "0/4000100"}}
    base: Any = SimpleNamespace(finished=1.0, folder="/srv/b", data=told)
    params = SimpleNamespace(timeline="latest", target_time="")
    with pytest.raises(ModuleFailed) as caught:
        _bases.chosen(Host(StubAgent()), [base], _wal.Folder(str(tmp_path)), params, 2.0, "7")
    assert says in caught.value.result["msg"] and "nothing was stopped" in caught.value.result["msg"]


def test_segments() -> None:
    assert _wal.segment(1, _wal.number("1/FF000028") // (16 << 20), 16 << 20) == "0000000100000001000000FF"
    assert _wal.index_of("0000000200000001000000FF", 16 << 20) == 0x1FF
