"""pg_archive, pg_basebackup and pg_pitr with pgBackRest as the engine, on a real server and a real repository."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsplay.lab import Lab, LabHost
from tests.lab.driver import ROOT, Driver
from tests.lab.remote_module import Call, run_calls
from tests.modules.cases import one
from tests.modules.databases import install
from tests.modules.pg_backups import sql
from tests.modules.test_pg_restore import phrase

ARCHIVE, BASEBACKUP, PITR = "postgres.pg_archive", "postgres.pg_basebackup", "postgres.pg_pitr"
# All of it lies in memory: nothing here is about what outlasts a power cut, and pgBackRest syncs each file. The server
# writes when it likes to, so not to a folder in which previews may leave no trace.
CLUSTER, TOP, PORT = "15/rest", "/mnt/rest", 5483
DATA, REPO, SPACE = f"{TOP}/data", f"{TOP}/repo", f"{TOP}/space"
OWN = {"cluster": CLUSTER}
DECLARED: dict[str, Any] = {**OWN, "repo": REPO, "retention": 2}
PLAYBOOK = ROOT / "playbooks/pitr.yml"
CONF = "/etc/pgbackrest/conf.d/15-rest.conf"
DROP = f"""pg_ctlcluster 15 rest stop -m immediate; pg_dropcluster 15 rest; umount {TOP}; rmdir {TOP}; rm -f {CONF}
systemctl daemon-reload"""
MAKE = f"""mkdir {TOP}; mount -t tmpfs -o mode=755 none {TOP}; install -d -o postgres {SPACE}
pg_createcluster 15 rest -d {DATA} -p {PORT} --start >/dev/null"""


@pytest.fixture(scope="module")
def server(full: Callable[[str], LabHost]) -> Iterator[LabHost]:
    """A cluster of its own with a tablespace, on a host that lacks pgBackRest at first."""
    host = full("bookworm")
    host.run(DROP, check=False, timeout=60)
    host.run(MAKE, timeout=60)
    run(host, f"CREATE TABLESPACE side LOCATION '{SPACE}'; CREATE TABLE kept (n int) TABLESPACE side;"
               " CREATE TABLE dropped (n int); INSERT INTO dropped VALUES (1)")  # fmt: skip
    yield host
    host.run(DROP, check=False, timeout=60)


@pytest.fixture(scope="module")
def stanza(server: LabHost) -> dict[str, Any]:
    """pgBackRest is there, and archives the cluster's log; what pg_archive said when it brought that."""
    if server.run("command -v pgbackrest", check=False).stdout:
        pytest.fail("pgBackRest was there before")
    for module, more in ((ARCHIVE, {}), (BASEBACKUP, {}), (PITR, {"target_time": "2026-11-28 12:00:00Z"})):
        result = one(server, Call(module, {**OWN, "tool": "pgbackrest", **more}))
        assert "pgBackRest is not installed on this host; install the package pgbackrest" in result["msg"]
    install(server, "pgbackrest")
    nothing = one(server, Call(ARCHIVE, {**OWN, "tool": "pgbackrest"}))
    assert f"no stanza is configured for {CLUSTER} (pg1-path={DATA})" in nothing["msg"]
    preview = one(server, Call(ARCHIVE, DECLARED, check=True))
    server.run(f"! test -e {REPO}")
    first, again = run_calls(server, [Call(ARCHIVE, DECLARED)] * 2)
    assert not first.get("failed"), first["msg"]
    assert preview["diff"] == first["diff"] and first["restarted"] and not again["changed"], (preview, first, again)
    return first


def run(host: LabHost, text: str) -> str:
    return sql(host, text, port=PORT)


def done(host: LabHost, module: str, **params: Any) -> dict[str, Any]:
    result = one(host, Call(module, {**OWN, **params}))
    assert not result.get("failed"), result["msg"]
    return result


def now(host: LabHost) -> str:
    """The server's time, with enough room for the commits around it."""
    time.sleep(1.1)
    text = run(host, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || '+00'")
    time.sleep(1.1)
    return text


def recovery(host: LabHost, target: str, **more: Any) -> Call:
    return Call(PITR, {**OWN, "target_time": target, "confirm": phrase(host, f"recover {CLUSTER}"), **more})


@pytest.fixture(scope="module")
def driver(modules_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    return Driver(tmp_path_factory.mktemp("pitr"), modules_lab)


@pytest.fixture(scope="module")
def recovered(server: LabHost, stanza: dict[str, Any]) -> dict[str, Any]:
    """Archived, backed up, lost, and recovered to a second between two commits; what pg_pitr said."""
    assert (stanza["tool"], stanza["stanza"], run(server, "SHOW archive_mode")) == ("pgbackrest", "15-rest", "on")
    assert server.run(f"ls {REPO}/archive/15-rest/15-1/*/ | grep {stanza['segment']}").stdout
    assert "repo1-retention-full=2" in (server.root / CONF.lstrip("/")).read_text()
    preview = one(server, Call(BASEBACKUP, OWN, check=True))
    base = done(server, BASEBACKUP, verify=True)
    assert preview["tool"] == base["tool"] == "pgbackrest" and base["label"].endswith("F"), base
    assert base["base"]["wal"][0] >= stanza["segment"] and base["size"] > 1 << 20 and base["base"]["timeline"] == 1
    run(server, "INSERT INTO kept VALUES (1)")
    target = now(server)
    run(server, "INSERT INTO kept VALUES (2); DROP TABLE dropped")
    increment = done(server, BASEBACKUP, type="incr")
    assert increment["base"]["prior"] == base["label"] and increment["size"] < base["size"]
    refuse_wrong_ones(server, target, base, increment["label"])

    preview = one(server, Call(PITR, {**OWN, "target_time": target}, check=True))
    assert 'confirm: "recover ' in preview["warnings"][0] and base["label"] in preview["diff"][-1]["after"]
    [result] = run_calls(server, [recovery(server, target, verify_queries=["SELECT count(*) = 1 FROM kept"])])
    assert not result.get("failed"), result["msg"]
    assert (result["tool"], result["base"], result["timeline"]) == ("pgbackrest", base["label"], 2), result
    left = server.run(f"ls -d {DATA}_new_* {DATA}*opsplay* /run/.opsplay-* 2>/dev/null || true").stdout
    spaces = server.run(f"ls -d {SPACE}_*/PG_15*").stdout.split()
    assert left == "" and len(spaces) == 1, (left, spaces)
    again = done(server, ARCHIVE, repo=REPO, retention=3)
    assert not again["changed"], "the recovered server archives as the old one did"
    return result


def test_back_to_a_second_between_two_commits(server: LabHost, recovered: dict[str, Any]) -> None:
    assert "recovery stopping before commit" in recovered["stopped_at"] and recovered["archived"], recovered
    assert run(server, "SELECT n FROM kept; SELECT n FROM dropped; SELECT pg_is_in_recovery()") == "1\n1\nf"
    assert run(server, "INSERT INTO kept VALUES (3) RETURNING n") == "3"
    server.run(f"ls {recovered['kept']}/PG_VERSION {REPO}/archive/15-rest/15-1/00000002.history")


def refuse_wrong_ones(server: LabHost, target: str, base: dict[str, Any], later: str) -> None:
    """What would bring back what is to be undone, or cannot be done, is refused while the server serves on."""
    pid = run(server, "SELECT pg_postmaster_start_time()")
    old, named, unknown = run_calls(server, [
        recovery(server, "2020-01-01 00:00:00Z"), recovery(server, target, base=later), recovery(server, target, base="x"),
    ])  # fmt: skip
    oldest = f"there is {base['label']} (ended {base['finished']}), the oldest of 2; a younger one would bring back"
    assert oldest in old["msg"] and "no base backup ended before 2020-01-01" in old["msg"], old
    assert f"there is {later} (ended" in named["msg"] and "nothing was stopped" in named["msg"], named
    assert f"has no backup x of this server; there is {base['label']}, {later}" in unknown["msg"], unknown
    segment = base["base"]["wal"][0]
    server.run(f"mv {REPO}/archive/15-rest/15-1/*/{segment}-* /mnt/rest/lost")
    gap = one(server, recovery(server, target))
    server.run(f"mv /mnt/rest/lost {REPO}/archive/15-rest/15-1/{segment[:16]}/{segment}-{digest(server)}.gz")
    assert f"the log has a gap: {segment} is not in the repository of the stanza 15-rest" in gap["msg"], gap
    server.run(f"mv {REPO} {REPO}.away")
    failed = run_calls(server, [recovery(server, target), Call(BASEBACKUP, OWN), Call(ARCHIVE, {**DECLARED, "retention": 3})])
    server.run(f"mv {REPO}.away {REPO}")
    assert "cannot be used: repo1: missing stanza path; nothing was stopped" in failed[0]["msg"], failed
    assert "cannot be used: repo1: missing stanza path; older backups are as they were" in failed[1]["msg"], failed
    assert "has gone, and the server archives to it: repo1: missing stanza path" in failed[2]["msg"], failed
    assert run(server, "SELECT pg_postmaster_start_time()") == pid


def digest(server: LabHost) -> str:
    return server.run("gzip -dc /mnt/rest/lost | sha1sum").stdout.split()[0]


def test_the_playbook_recovers_on_the_new_timeline(server: LabHost, driver: Driver, recovered: dict[str, Any]) -> None:
    """The newest backup that is old enough was made of what the first recovery has undone: an older one leads there."""
    values = [f"-epitr_hosts={server.name}", f"-epitr_cluster={CLUSTER}", "-epitr_type=incr"]
    preview = one(server, Call(PITR, {**OWN, "target_time": now(server)}, check=True))
    assert preview["base"] == recovered["base"], preview
    ready = driver.run(PLAYBOOK, "--tags", "archive", *values, f"-epitr_repo={REPO}", "-epitr_keep=3")
    checked = driver.run(PLAYBOOK, "--tags", "check", *values)
    assert ready.code == checked.code == 0 and "changed=1" in ready.out and "changed=0" in checked.out, ready.out + ready.err
    target = now(server)
    run(server, "TRUNCATE kept")
    # As a restore of pgBackRest's that the power has ended leaves it: it wants its folder empty, so the mark lies beside.
    cut, space = f"{DATA}_new_20261128T101500", f"{SPACE}_20261128T101500"
    server.run(f"mkdir {cut} {space}; touch {cut}/backup.manifest; echo {space} > {cut}.opsplay_recovery")
    confirm = phrase(server, f"recover {CLUSTER}")
    done = driver.run(PLAYBOOK, "--tags", "recover", *values, f"-e{{pitr_target: '{target}', pitr_confirm: '{confirm}'}}")
    assert done.code == 0, done.out + done.err
    assert "(pgbackrest) in" in done.out and "on timeline 3" in "".join(done.out.split("\n")), done.out
    assert run(server, "SELECT n FROM kept ORDER BY 1") == "1\n3"
    assert f"{cut}, of a recovery that was interrupted, was removed" in "".join(done.out.split("\n")), done.out
    assert server.run(f"ls -d {cut}* {space} || true").stdout == ""


def test_a_damaged_backup_leaves_the_server_in_service(server: LabHost, recovered: dict[str, Any]) -> None:
    run(server, "CREATE TABLE later (n int); SELECT pg_switch_wal()")
    pid = run(server, "SELECT pg_postmaster_start_time()")
    base = server.run(f"cd {REPO}/backup/15-rest; ls -d *F").stdout.split()[0]
    file = f"{REPO}/backup/15-rest/{base}/pg_data/global/pg_control.gz"
    server.run(f"cp -p {file} /mnt/rest/good; dd if=/dev/zero of={file} bs=1 seek=20 count=40 conv=notrunc 2>/dev/null")
    verified = one(server, Call(BASEBACKUP, {**OWN, "type": "incr", "verify": True}))
    server.run(f"mv /mnt/rest/good {file}; mkdir /mnt/rest/away; mv {REPO}/backup/15-rest/{base}/backup.manifest* /mnt/rest/away")
    result = one(server, recovery(server, now(server), base=base))
    server.run(f"mv /mnt/rest/away/* {REPO}/backup/15-rest/{base}/")
    assert "pgbackrest verify" in verified["msg"] and f"{base}, status: invalid" in verified["msg"], verified
    assert f"{base}/backup.manifest" in result["msg"] and result["msg"].endswith("the server in use is untouched"), result
    assert run(server, "SELECT pg_postmaster_start_time()") == pid
    assert server.run(f"ls -d {DATA}_new_* {DATA}*opsplay* 2>/dev/null || true").stdout == ""


def test_auto_leaves_an_archive_of_its_own_as_it_is(server: LabHost, stanza: dict[str, Any]) -> None:
    own = {**OWN, "dir": "/mnt/rest/wal"}
    chosen = one(server, Call(ARCHIVE, own))
    assert chosen["tool"] == "pgbackrest" and not chosen["changed"], "it is the stanza's already"
    switched, kept = run_calls(server, [Call(ARCHIVE, {**own, "tool": "server"}), Call(ARCHIVE, own)])
    assert switched["tool"] == kept["tool"] == "server" and switched["changed"] and not kept["changed"], (switched, kept)
    wrong = one(server, Call(ARCHIVE, {**own, "tool": "server", "stanza": "15-rest"}))
    assert "tool: server knows no stanza" in wrong["msg"]
