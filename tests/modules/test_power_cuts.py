"""The power fails while data is brought back: what has the name is whole, old or new; nothing is lost; a rerun ends it.

The same module runs once while its disk is copied at moments of every phase. Each copy then takes the place of the disk,
the server does its own crash recovery, and the module runs again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call
from tests.modules.cases import one
from tests.modules.pg_backups import sql
from tests.modules.power import ROUNDS, Cut, Disk
from tests.modules.test_pg_restore import phrase

MOUNT, PORT, NAME = "/srv/cuts", 5490, "15/cuts"
DATA = f"{MOUNT}/data"
LOOK = "SELECT min(what), max(what), count(*), sum(n) FROM bulk"
SPACED = "INSERT INTO bulk SELECT n, '%s', repeat(md5(n::text), 4) FROM generate_series(1, %d) n"
rounds = pytest.mark.parametrize("turn", range(ROUNDS))


@pytest.fixture
def disk(full: Callable[[str], LabHost]) -> Iterator[Disk]:
    """A disk of its own, with nothing on it."""
    host = full("bookworm")
    host.run(f"pg_dropcluster 15 cuts --stop; umount {MOUNT}", check=False, timeout=60)
    disk = Disk(host, MOUNT)
    yield disk
    host.run("pg_ctlcluster 15 cuts stop -m immediate; pg_dropcluster 15 cuts --stop", check=False, timeout=60)
    disk.close()
    host.run("rm -rf /etc/postgresql/15/cuts /srv/cuts-source; systemctl daemon-reload")


@pytest.fixture
def server(disk: Disk) -> Disk:
    """A cluster on that disk, with a table."""
    disk.host.run(
        f"install -d -o postgres {MOUNT}/space && pg_createcluster 15 cuts -d {DATA} -p {PORT}"
        f" -- --wal-segsize=1 --data-checksums >/dev/null && systemctl start postgresql@15-cuts",
        timeout=60,
    )
    return disk


def run(disk: Disk, text: str, database: str = "postgres") -> str:
    return sql(disk.host, text, database, PORT)


def cut_and_back(disk: Disk, cut: Cut) -> None:
    """The power goes and comes back: what the disk held, and a server that starts by itself."""
    host = disk.host
    host.run("pg_ctlcluster 15 cuts stop -m immediate; systemctl stop postgresql@15-cuts", check=False, timeout=60)
    disk.power_is_back(cut)
    host.run("systemctl reset-failed postgresql@15-cuts; systemctl start postgresql@15-cuts", check=False, timeout=60)
    host.run(f"for n in $(seq 300); do pg_isready -q -p {PORT} && exit 0; sleep 0.1; done; exit 1", timeout=60)


def hidden(disk: Disk) -> list[str]:
    return disk.host.run(["find", MOUNT, "-name", ".opsplay-*"]).stdout.split()


# --- pg_restore ---

RESTORE_PHASES = [("pg_terminate_backend", "exchange"), ("pg_dump", "safety"), ("vacuumdb", "statistics"),
                  ("pg_restore", "fill")]  # fmt: skip
OLD, NEW = "old|old|3000|4501500", "new|new|20000|200010000"


@rounds
def test_a_database_that_is_exchanged(server: Disk, turn: int) -> None:
    run(server, "CREATE DATABASE app")
    run(server, "CREATE TABLE bulk (n int, what text, filler text)", "app")
    run(server, SPACED % ("new", 20000), "app")
    source = make_backup_of(server, "app")
    run(server, f"TRUNCATE bulk; {SPACED % ('old', 3000)}", "app")
    run(server, "CHECKPOINT")
    params = {"cluster": NAME, "src": source, "db": "app", "safety_dir": f"{MOUNT}/safe",
              "confirm": phrase(server.host, "restore app")}  # fmt: skip
    call = Call("postgres.pg_restore", params)
    most = {"fill": 2, "statistics": 1, "safety": 1, "exchange": 2, "rename": 2, "": 1}
    cuts, answer = server.cuts(call, most, RESTORE_PHASES)
    assert not answer.get("failed"), answer
    seen = Counter((cut.phase, database_after(server, cut, call)) for cut in cuts)
    print(seen)
    assert seen["end", "new"] == 1, "what is told as done outlasts the cut"
    assert seen["rename", "old"] == 2 and len(cuts) > 4, seen


def make_backup_of(disk: Disk, name: str) -> str:
    """A backup by the module itself, of the cluster on the disk, elsewhere."""
    params = {"cluster": NAME, "db": name, "dir": "/srv/cuts-source"}
    folder: str = one(disk.host, Call("postgres.pg_backup", params))["folder"]
    return folder


def database_after(disk: Disk, cut: Cut, call: Call) -> str:
    """Which database has the name after this cut; and that the old one is there, and a rerun ends it."""
    cut_and_back(disk, cut)
    found = run(disk, LOOK, "app")
    assert found in (OLD, NEW), (cut, found)
    names = run(disk, "SELECT datname FROM pg_database WHERE datname LIKE 'app\\_%'").split()
    if found == NEW:
        (kept,) = [name for name in names if "_old_" in name]
        run(disk, f'ALTER DATABASE "{kept}" ALLOW_CONNECTIONS true')
        assert run(disk, LOOK, kept) == OLD, cut
        dump = disk.host.run(f"ls {MOUNT}/safe/app/*/app.dump").stdout.strip()
        disk.host.run(["pg_restore", "-f", "/dev/null", dump], timeout=60)
    begun = [name for name in names if "_new_" in name]
    again = one(disk.host, call)
    assert not again.get("failed"), (cut, again)
    assert run(disk, LOOK, "app") == NEW
    told = [text for text in again.get("warnings", []) if "half restored by a run that was killed" in text]
    assert len(told) == len(begun), (cut, begun, again)
    left = run(disk, "SELECT count(*) FROM pg_database WHERE datname LIKE 'app\\_new%'")
    assert left == "0" and hidden(disk) == [], (cut, hidden(disk))
    disk.forget(cut)
    return "new" if found == NEW else "old"


# --- pg_pitr ---

PITR_PHASES = [("opsplay-recovery", "recovery"), ("pg_verifybackup", "proof"), ("tar -x", "unpacking"),
               ("systemctl stop", "stop"), ("systemctl start", "start")]  # fmt: skip


@rounds
def test_a_server_that_goes_back_to_a_moment(server: Disk, turn: int) -> None:
    archive, bases = f"{MOUNT}/wal", f"{MOUNT}/bases"
    place = {"cluster": NAME}
    assert not one(server.host, Call("postgres.pg_archive", {**place, "dir": archive})).get("failed")
    run(server, f"CREATE TABLESPACE side LOCATION '{MOUNT}/space'")
    run(server, "CREATE TABLE bulk (n int, what text, filler text) TABLESPACE side")
    base = one(server.host, Call("postgres.pg_basebackup", {**place, "dir": bases, "name": "cuts"}))
    assert not base.get("failed"), base
    run(server, SPACED % ("kept", 5000))
    target = now_of(server)
    run(server, "UPDATE bulk SET what = 'lost'; DELETE FROM bulk WHERE n > 100; SELECT pg_switch_wal()")
    run(server, "CHECKPOINT")
    params = {**place, "target_time": target, "bases": f"{bases}/cuts", "archive": archive,
              "confirm": phrase(server.host, f"recover {NAME}")}  # fmt: skip
    call = Call("postgres.pg_pitr", params)
    most = {"unpacking": 1, "recovery": 1, "rename": 4, "start": 1}
    cuts, answer = server.cuts(call, most, PITR_PHASES)
    assert not answer.get("failed"), answer
    seen = Counter((cut.phase, server_after(server, cut, call)) for cut in cuts)
    print(seen)
    assert (seen["rename", "old"], seen["rename", "new"], seen["end", "new"]) == (3, 1, 1) and len(cuts) > 5, seen


def now_of(disk: Disk) -> str:
    disk.host.run("sleep 1.1")
    text = run(disk, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || '+00'")
    disk.host.run("sleep 1.1")
    return text


def server_after(disk: Disk, cut: Cut, call: Call) -> str:
    """Which data directory is in use after this cut; and that the old one is there, and a rerun ends it."""
    host = disk.host
    cut_and_back(disk, cut)
    found = run(disk, "SELECT min(what), max(what), count(*) FROM bulk")
    assert found in ("lost|lost|100", "kept|kept|5000"), (cut, found)
    beside = host.run(f"ls -d {DATA}_*", check=False).stdout.split()
    begun = [
        path for path in beside if host.run(["test", "-e", f"{path}/opsplay_recovery"], check=False).returncode == 0
    ]
    if found.startswith("kept"):
        (kept,) = [path for path in beside if path not in begun]
        assert "_old_" in kept
        state = host.run(f"LC_ALL=C /usr/lib/postgresql/15/bin/pg_controldata {kept} | grep 'cluster state'").stdout
        assert state.split(":")[1].strip() == "shut down", (cut, state)
        write_since(disk)
    again = one(host, call)
    assert not again.get("failed"), (cut, again)
    assert run(disk, "SELECT min(what), max(what), count(*) FROM bulk") == "kept|kept|5000"
    told = [text for text in again.get("warnings", []) if "of a recovery that was interrupted, was removed" in text]
    assert len(told) == len(begun), (cut, beside, again)
    marks = host.run(f"ls -d {DATA}*/opsplay_recovery {DATA}_new_*", check=False).stdout
    assert marks == "" and hidden(disk) == [], (cut, marks)
    spaces = host.run(f"ls -d {MOUNT}/space*").stdout.split()
    assert len(spaces) == len(host.run(f"ls -d {DATA}*").stdout.split()), "no tablespace is left without its server"
    disk.forget(cut)
    return "new" if found.startswith("kept") else "old"


def write_since(disk: Disk) -> None:
    """Something is committed and archived on the new timeline: only then it leads beyond the moment."""
    run(disk, "CREATE TABLE since (n int)")
    name = run(disk, "SELECT pg_walfile_name(pg_switch_wal())")
    disk.host.run(f"for n in $(seq 300); do test -e {MOUNT}/wal/{name} && exit 0; sleep 0.1; done; exit 1", timeout=60)


# --- backup_restore ---

PATHS = [f"{MOUNT}/etc/app", f"{MOUNT}/etc/one.conf", f"{MOUNT}/var/data"]
FILES = f"""cd {MOUNT}; mkdir -p etc/app/deep var/data; for n in 1 2 3; do seq $n 20000 > etc/app/deep/$n; done
echo WORD > etc/app/word; (echo WORD; seq 1 3000) > etc/one.conf; seq 1 200000 > var/data/rows; echo WORD > var/data/word"""


@rounds
def test_files_that_are_exchanged(disk: Disk, turn: int) -> None:
    host = disk.host
    host.run(FILES.replace("WORD", "new"))
    archives = {"config": {"paths": PATHS[:2]}, "data": {"paths": PATHS[2:]}}
    made = one(host, Call("backup.backup_set", {"name": "cuts", "dir": "/srv/cuts-source", "archives": archives}))
    assert not made.get("failed"), made
    new = states(host, PATHS)
    host.run(FILES.replace("WORD", "old"))
    old = states(host, PATHS)
    call = Call("backup.backup_restore", {"src": made["folder"]})
    cuts, answer = disk.cuts(call, {"rename": 12, "tar": 2, "": 1}, [("tar --file", "tar")])
    assert not answer.get("failed"), answer
    seen: Counter[tuple[str, str]] = Counter()
    for cut in cuts:
        disk.power_is_back(cut)
        found = states(host, PATHS)
        words = []
        for path in PATHS:
            assert found[path] in (old[path], new[path]), (cut, path)
            words.append("old" if found[path] == old[path] else "new")
            if words[-1] == "new":
                kept = states(host, host.run(f"ls -d {path}.old-*").stdout.split())
                assert old[path] in kept.values(), (cut, path)
        seen[cut.phase, "-".join(words)] += 1
        again = one(host, call)
        assert not again.get("failed"), (cut, again)
        assert states(host, PATHS) == new and hidden(disk) == [], (cut, hidden(disk))
        disk.forget(cut)
    print(seen)
    assert seen["end", "new-new-new"] == 1 and ("rename", "old-old-old") in seen, seen
    assert ("rename", "new-new-old") in seen or ("rename", "new-old-old") in seen, seen


def states(host: LabHost, paths: list[str]) -> dict[str, str]:
    """A hash of the names, modes and contents of each path; empty where there is nothing."""
    script = 'for p; do test -e "$p" && (cd "$(dirname "$p")"; tar --sort=name --mtime=@0 -cf - "$(basename "$p")"' \
             ' --transform "s,^[^/]*,x," | sha256sum); echo "$p"; done'  # fmt: skip
    lines = host.run(["sh", "-c", script, "sh", *paths]).stdout.splitlines()
    found, last = {}, ""
    for line in lines:
        if line in paths:
            found[line], last = last, ""
        else:
            last = line
    return found
