"""pg_backup on real servers: every format and level, what it refuses, and what stays when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call
from tests.modules import DEEP
from tests.modules.cases import one
from tests.modules.databases import (
    age_key,
    drop_database,
    gpg_key,
    install,
    listing,
    make_database,
    manifest,
    rows_of,
    sql,
)

MODULE = "postgres.pg_backup"
DIR = "/srv/backups"
ROWS = {
    'Odd "schema.it\'s; a \\table': 2, "public.child": 1, "public.customers": 2000, "public.empty": 0,
    "public.events_2025": 213, "public.events_2026": 187,
}  # fmt: skip


@pytest.fixture(scope="module", params=DEEP)
def server(full: Callable[[str], LabHost], request: pytest.FixtureRequest) -> Iterator[LabHost]:
    """A host of each release with its PostgreSQL: 13, 15 and 17."""
    host: LabHost = full(request.param)
    host.run("systemctl start postgresql@*; pg_lsclusters -h", timeout=60)
    make_database(host, "app")
    host.run(f"rm -rf {DIR}; mkdir -p {DIR}")
    if not host.run("command -v zstd", check=False).stdout:
        refused = backup(host, format="zstd")["msg"]
        assert refused == "format plain.zst needs zstd, which is not on this host; install its package"
    install(host, "zstd")
    yield host
    drop_database(host, "app")
    host.run(f"rm -rf {DIR}")


@pytest.fixture(autouse=True)
def clean(server: LabHost) -> None:
    server.run(f"rm -rf {DIR}; mkdir -p {DIR}")


def backup(host: LabHost, **params: Any) -> dict[str, Any]:
    return one(host, Call(MODULE, {"db": "app", "dir": DIR, **params}))


FORMATS = [
    ({"format": "custom"}, "app.dump"),
    ({"format": "custom", "compress": "0"}, "app.dump"),
    ({"format": "plain"}, "app.sql"),
    ({"format": "plain.gz", "compress": "1"}, "app.sql.gz"),
    ({"format": "zstd"}, "app.sql.zst"),
    ({"format": "directory", "jobs": 2}, "app.dir/toc.dat"),
]


# Every format is restored; what the lower levels do differs by the kind of file.
LEVELS = [(*made, "restore") for made in FORMATS] + [
    (*FORMATS[number], level) for number in (0, 3, 5) for level in ("list", "read")
]


@pytest.mark.parametrize(("params", "file", "level"), LEVELS, ids=lambda value: str(value).replace(" ", ""))
def test_formats(server: LabHost, params: dict[str, Any], file: str, level: str) -> None:
    """Previewed, made, and found whole by other programs than ours."""
    preview = one(server, Call(MODULE, {"db": "app", "dir": DIR, "verify": level, **params}, check=True))
    assert not preview.get("failed") and preview["changed"] and preview["tables"] == 6, preview
    assert listing(server, DIR) == listing(server, DIR)[:1], "a preview makes nothing"
    result = backup(server, verify=level, **params)
    assert not result.get("failed") and result["changed"], result
    folder = result["folder"]
    data = manifest(server, folder)
    assert data == result["manifest"]
    assert rows_of(data) == ROWS
    assert (data["verified"]["level"], data["name"], data["encryption"]) == (level, "app", None)
    assert file in [entry["name"] for entry in data["files"]]
    sums = "".join(f"{entry['sha256']}  {entry['name']}\n" for entry in data["files"])
    server.run(f"cd {folder} && sha256sum --check --strict --quiet", stdin=sums)
    assert server.run(f"readlink {DIR}/app/latest").stdout.strip() == result["stamp"]
    modes = {line.split()[0] + " " + line.split()[1] for line in listing(server, DIR)[1:]}
    assert modes <= {"700 0", "600 0", "777 0"}, "folders 0700, files 0600, all of root's"
    assert server.run(f"find {DIR} /var/lib/postgresql /run -name '.opsplay-*'").stdout == ""


@pytest.mark.parametrize(
    ("params", "file", "level"),
    [(*FORMATS[0], "list"), (*FORMATS[0], "restore"), (*FORMATS[3], "restore"), (*FORMATS[5], "read")],
    ids=lambda value: str(value).replace(" ", ""),
)
@pytest.mark.parametrize("method", ["age", "gpg"])
def test_encrypted_to_a_key_that_is_elsewhere(
    server: LabHost, method: str, params: dict[str, Any], file: str, level: str
) -> None:
    """What comes out of the other side's key is the plain text that was hashed; nothing plain stays."""
    private, public = age_key(server) if method == "age" else gpg_key(server)
    result = backup(server, verify=level, encrypt={"method": method, "recipients": [public]}, **params)
    assert not result.get("failed"), result
    data = manifest(server, result["folder"])
    names = [entry["name"] for entry in data["files"]]
    assert f"{file}.{method}" in names and all(name.endswith(f".{method}") for name in names)
    entry = next(entry for entry in data["files"] if entry["name"] == f"{file}.{method}")
    decrypt = (
        "age -d -i key" if method == "age" else "gpg --batch --quiet --import key && gpg --batch --quiet --decrypt"
    )
    script = f"""export GNUPGHOME=$(mktemp -d); cd $GNUPGHOME; cat > key
    {decrypt} < {result["folder"]}/{entry["name"]} | sha256sum; gpgconf --kill all; rm -rf $GNUPGHOME"""
    assert server.run(script, stdin=private, timeout=60).stdout.split()[0] == entry["plain_sha256"]
    assert sorted(line.split()[2] for line in listing(server, result["folder"]) if line.startswith("600")) == sorted(
        [*names, "manifest.json", "manifest.json.sig"]
    )
    assert (
        server.run(
            "find /run /srv /var/lib/postgresql -name '.opsplay-*'; pgrep -fa '[g]pg-agent.*opsplay' || true"
        ).stdout
        == ""
    )


REFUSED = [
    ({"db": None}, "which database? Give db, or each: true for all of them"),
    ({"each": True}, "which database?"),
    ({"content": "globals"}, "content globals is of the whole server"),
    ({"db": "none"}, 'database "none" does not exist; nothing was dumped'),
    ({"jobs": 2}, "jobs needs format directory"),
    ({"format": "plain", "compress": "1"}, "compress has no meaning for format plain"),
    ({"format": "plain.gz", "compress": "11"}, "compress for plain.gz is a level from 1 to 9"),
    ({"compress": "snappy:3"}, "compress"),
    ({"size_min": "many"}, "size_min: 'many' is no size"),
    ({"tag": "a b"}, "tag 'a b': a word of letters"),
    ({"encrypt": {"method": "rot13", "recipients": ["x"]}}, "encrypt.method is 'rot13'; it can be age or gpg"),
    ({"encrypt": {"recipients": []}}, "encrypt.recipients is empty"),
    ({"encrypt": {"recipients": ["AGE-SECRET-KEY-1ABC"]}}, "encrypt.recipients holds a private key"),
    ({"encrypt": {"recipients": ["age1wrong"]}}, "cannot encrypt to age1wrong: "),
    ({"encrypt": {"method": "gpg", "recipients": ["nobody@example.org"]}}, "cannot encrypt to nobody@example.org: "),
    ({"login_host": "127.0.0.1", "login_user": "app", "login_password": "no"}, "password authentication failed"),
]  # fmt: skip


@pytest.mark.parametrize(("params", "message"), REFUSED, ids=lambda value: str(value)[:40].replace(" ", ""))
def test_refused(server: LabHost, params: dict[str, Any], message: str) -> None:
    """In a preview as in a run, and nothing is left."""
    for check in (True, False):
        result = one(server, Call(MODULE, {"db": "app", "dir": DIR, **params}, check=check))
        assert result.get("failed") and message in result["msg"], result
    assert [line for line in listing(server, DIR) if "/2" in line or ".opsplay" in line] == []


def test_over_tcp_as_its_owner(server: LabHost) -> None:
    """No superuser, a password that is on no command line, and what that role may not read is told."""
    login = {"login_host": "127.0.0.1", "login_user": "app", "login_password": "pw-app"}
    result = backup(server, **login)
    assert result["failed"] and "permission denied for" in result["msg"], result
    assert "no new backup was published; latest and the older ones are as they were" in result["msg"]
    sql(server, "ALTER ROLE app SUPERUSER")
    try:
        assert rows_of(backup(server, **login)["manifest"]) == ROWS
    finally:
        sql(server, "ALTER ROLE app NOSUPERUSER")


# --- what stays when it fails ---


def good(host: LabHost, **params: Any) -> dict[str, Any]:
    result = backup(host, **params)
    assert not result.get("failed"), result
    return result


def failing(host: LabHost, **params: Any) -> str:
    """Run one that must fail and leave everything as it was; its message."""
    host.run(f"mkdir -p -m 700 {DIR}/app")
    before = listing(host, DIR)
    result = backup(host, **params)
    assert result.get("failed"), result
    assert listing(host, DIR) == before, "latest, the older backups and their folder are as they were"
    assert host.run(f"find {DIR} /run /var/lib/postgresql -name '.opsplay-*'").stdout == ""
    return str(result["msg"])


def in_background(host: LabHost, script: str) -> None:
    """Start a script that goes on beside the next call, and ends by itself."""
    host.run("cat > /run/background.sh", stdin=script)
    host.run("systemd-run --quiet --collect -p RuntimeMaxSec=60 sh /run/background.sh")


def metrics(host: LabHost) -> dict[str, float]:
    lines = host.run("cat /srv/metrics/opsplay_backup_app.prom").stdout.splitlines()
    return {line.split("{")[0]: float(line.split()[-1]) for line in lines if not line.startswith("#")}


def test_a_missing_database_through_gzip(server: LabHost) -> None:
    """In a shell's pipe this ends with 0 and a file of 20 bytes."""
    server.run("mkdir -p /srv/b4; runuser -u postgres -- pg_dump missing 2>/dev/null | gzip > /srv/b4/f; rm -r /srv/b4")
    good(server)
    assert 'database "missing" does not exist' in failing(server, db="missing", format="plain.gz")


def test_a_full_disk(server: LabHost) -> None:
    """It is told before where it can be, and in the middle where the sizes did not foretell it."""
    sql(server, "CREATE TABLE noise AS SELECT gen_random_bytes(1000) AS b FROM generate_series(1, 20000)", "app")
    server.run(f"mount -t tmpfs -o size=6M tmpfs {DIR}")
    try:
        assert "has 6.0 MiB free, and a backup of app takes about" in failing(server, format="plain")
        server.run(f"mount -o remount,size=16M {DIR}")
        assert f"cannot write {DIR}/app/.opsplay-" in (said := failing(server)) and "No space left on device" in said
        assert server.run(f"df --output=used {DIR} | tail -n 1").stdout.strip() == "0"
    finally:
        server.run(f"umount {DIR}")
        sql(server, "DROP TABLE noise", "app")


def test_two_at_once(server: LabHost) -> None:
    """One waits for the other, or is told who has it; both are whole."""
    release = server.run("pg_lsclusters -h | awk '{print $1}'").stdout.strip()
    holder = f"""exec python3 -c "
import fcntl, time
file = open('/run/opsplay-0-pg-{release}-main-app.lock', 'w')
fcntl.lockf(file, fcntl.LOCK_EX)
time.sleep(4)" """
    in_background(server, holder)
    server.run("sleep 1")
    said = failing(server, wait=0, metrics_dir="/srv/metrics")
    assert f"pg-{release}-main-app is locked by process" in said
    assert metrics(server)["opsplay_backup_success"] == 0
    assert good(server, wait=30)["_seconds"] > 1


# --- what happens while a dump is under way ---


@pytest.fixture
def wide(server: LabHost) -> Iterator[None]:
    """A table that takes so long to dump that something can happen meanwhile."""
    sql(server, "CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 40) AS t FROM generate_series(1, 100000) n", "app")
    yield
    sql(server, "DROP TABLE wide", "app")


def meanwhile(host: LabHost, made: str, script: str) -> None:
    """Run a script when the dump has come so far; $file is what is being written."""
    name = {"custom": "app.dump", "directory": "app.dir/*.dat.gz"}.get(made, "app." + made.replace("plain", "sql"))
    largest = f"file=$(ls -S {DIR}/app/.opsplay-*/{name} 2>/dev/null | head -n 1)"
    in_background(
        host, f'until {largest}; test -n "$file" && test $(stat -c %s $file) -gt 100000; do sleep 0.01; done\n{script}'
    )


def test_the_server_dies_in_the_middle(server: LabHost, wide: None) -> None:
    """Each format fails with the cause; the metrics say so, and remember the last success."""
    good(server, metrics_dir="/srv/metrics")
    before = metrics(server)
    assert before["opsplay_backup_success"] == 1 and before["opsplay_backup_size_bytes"] > 0
    for made in ("custom", "plain", "plain.gz", "directory"):
        meanwhile(server, made, "pkill -9 -u postgres -f '^postgres.*app|^postgres.*COPY'")
        said = failing(server, format=made, metrics_dir="/srv/metrics")
        assert "pg_dump failed: " in said and "no new backup was published" in said, said
        server.run("until pg_isready -q -h /run/postgresql; do sleep 0.1; done", timeout=60)
        assert metrics(server) == {**before, "opsplay_backup_success": 0}


@pytest.mark.parametrize("made", ["custom", "plain", "plain.gz", "directory"])
def test_bytes_that_change_before_the_proof(server: LabHost, wide: None, made: str) -> None:
    """Whoever writes into the file before it is read again is found out, in text as in archives."""
    meanwhile(server, made, "printf XXXXXXXX | dd of=$file bs=1 seek=12000 conv=notrunc")
    said = failing(server, format=made)
    assert "backup of the database app failed: " in said and "published" in said
    assert server.run("cat /run/background.sh; pgrep -f background.sh || true").stdout.count("\n") == 2, "it has run"


# --- what it holds, and what goes with it ---


def test_writers_do_not_make_the_numbers_differ(server: LabHost) -> None:
    """Rows are counted in the dump's own snapshot: a restore holds just as many, whatever is written meanwhile."""
    writing = (
        "while true; do echo \"INSERT INTO child VALUES (1, 'x'); DELETE FROM customers WHERE ctid IN (SELECT ctid"
    )
    writing += ' FROM ONLY customers WHERE id > 0 LIMIT 1);"; done | psql -q app >/dev/null'
    in_background(server, f"exec runuser -u postgres -- timeout 20 sh -c '{writing}'".replace("'x'", "\\$\\$x\\$\\$"))
    try:
        server.run(
            "until test $(runuser -u postgres -- psql -XAtqc 'select count(*) from child' app) -gt 50; do sleep 0.1; done"
        )
        results = [good(server, verify="restore", format=made) for made in ("custom", "directory", "plain")]
    finally:
        server.run("pkill -f '[p]sql -q app' || true")
    rows = [rows_of(result["manifest"])["public.child"] for result in results]
    assert rows == sorted(set(rows)), "it was written all the time"
    assert all(result["manifest"]["database"]["lsn"] for result in results)
    sql(server, "TRUNCATE child; INSERT INTO child VALUES (0, 'child'); DELETE FROM ONLY customers", "app")
    sql(
        server,
        "INSERT INTO customers SELECT n, 'name ' || n, repeat(md5(n::text), 3) FROM generate_series(1, 2000) n",
        "app",
    )


def test_size_limits(server: LabHost) -> None:
    """A backup of another size than it should have is not published."""
    assert "less than size_min 50.0 MiB; no new backup was published" in failing(server, size_min="50M")
    assert "more than size_max 1.0 KiB" in failing(server, size_max="1K")
    good(server)
    assert good(server, size_min="1K", size_max="50M", size_change=20)["size"] > 1024
    sql(server, "CREATE TABLE more AS SELECT gen_random_bytes(1000) AS b FROM generate_series(1, 300)", "app")
    try:
        assert "more than size_change 20 % between them" in failing(server, size_change=20)
    finally:
        sql(server, "DROP TABLE more", "app")


def age(host: LabHost, folder: str, days: int) -> str:
    """Make a backup that many days old, as its name and manifest say."""
    return host.run(
        f"""cd {DIR}/app; new=$(date -u -d '{days} days ago' +%Y%m%dT%H%M%SZ); mv {folder} $new
        at=$(date -u -d '{days} days ago' +%FT%TZ); sed -i "s/\\"finished\\": .*/\\"finished\\": \\"$at\\",/" $new/manifest.json
        echo $new"""
    ).stdout.strip()


def test_old_ones_go_after_the_new_one_is_proven(server: LabHost) -> None:
    """Never below keep_min, never for a backup that failed, never for one made in an emergency."""
    old = [age(server, good(server)["folder"], days) for days in (50, 45, 40, 35)]
    tagged = age(server, good(server, tag="before-2.0")["folder"], 60)
    server.run(f"ln -sfn {old[-1]} {DIR}/app/latest")
    failing(server, size_min="50M", keep_days=30)
    kept = good(server, tag="emergency", keep_days=30)
    assert server.run(f"readlink {DIR}/app/latest").stdout.strip() == old[-1], "an emergency does not move latest"
    assert set(server.run(f"ls {DIR}/app").stdout.split()) == {*old, tagged, kept["stamp"], "latest"}
    preview = one(server, Call(MODULE, {"db": "app", "dir": DIR, "keep_days": 30, "keep_min": 2}, check=True))
    assert not preview.get("failed"), preview
    result = good(server, keep_days=30, keep_min=2)
    assert result["removed"] == preview["removed"] == [f"{DIR}/app/{stamp}" for stamp in old[:3]]
    assert set(server.run(f"ls {DIR}/app").stdout.split()) == {
        old[3], tagged, kept["stamp"], result["stamp"], "latest",
    }  # fmt: skip
    assert server.run(f"readlink {DIR}/app/latest").stdout.strip() == result["stamp"]


def test_each_database_and_the_roles(server: LabHost) -> None:
    """One that cannot be dumped is named; the others are there. The roles' verifiers are for nobody else to read."""
    _, public = age_key(server)
    sql(server, 'CREATE DATABASE "odd; name/x"')
    sql(server, "CREATE DATABASE closed ALLOW_CONNECTIONS false")
    try:
        result = one(server, Call(MODULE, {"each": True, "dir": DIR, "encrypt": {"recipients": [public]}}))
        assert not result.get("failed"), result
        made = {done["name"]: done for done in result["backups"]}
        assert set(made) == {"app", "odd%3B%20name%2Fx", "postgres", "globals"}
        data = made["globals"]["manifest"]
        assert [entry["name"] for entry in data["files"]] == ["globals.sql.age"] and data["content"] == "globals"
        assert "SCRAM" not in server.run(f"cat {made['globals']['folder']}/globals.sql.age | strings || true").stdout
        plain = one(server, Call(MODULE, {"content": "globals", "dir": DIR}))
        assert "password" in plain["warnings"][0] and "give encrypt" in plain["warnings"][0]
        path = f"{plain['folder']}/globals.sql"
        assert server.run(f"stat -c %a {path}").stdout == "600\n"
        assert server.run(f"grep -c -E 'SCRAM-SHA-256|md5' {path}").stdout.strip() != "0"
        assert server.run(f"runuser -u plain -- cat {path}", check=False).returncode != 0
        sql(server, "CREATE TABLE gone (x int); ", "odd; name/x")
        sql(server, "UPDATE pg_class SET relam = 999 WHERE relname = 'gone'", "odd; name/x")
        failed = one(server, Call(MODULE, {"each": True, "dir": DIR}))
        assert failed["failed"] and failed["msg"].startswith("odd%3B%20name%2Fx: backup of the database"), failed
        assert "(made all the same: app, postgres, globals)" in failed["msg"]
    finally:
        sql(server, 'DROP DATABASE "odd; name/x"')
        sql(server, "DROP DATABASE closed")


def test_schema_only(server: LabHost) -> None:
    """Apart from the dumps of all, with an age limit of its own."""
    result = good(server, content="schema", verify="restore", keep_days=90)
    assert result["folder"].startswith(f"{DIR}/app-schema/")
    assert all("rows" not in table for table in result["manifest"]["database"]["tables"])


def test_a_standby_is_dumped_as_it_is(server: LabHost) -> None:
    """Its snapshot and LSN are its own; of an unlogged table it has the definition only."""
    release = server.run("pg_lsclusters -h | awk '{print $1}'").stdout.strip()
    data, unit = f"/var/lib/postgresql/{release}/twin", f"postgresql@{release}-twin"
    sql(server, "CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS x", "app")
    copy = f"runuser -u postgres -- pg_basebackup --checkpoint=fast -h /var/run/postgresql -D {data} -R -X stream"
    server.run(
        f"pg_createcluster {release} twin -p 5433 >/dev/null; rm -r {data}; {copy} && systemctl start {unit}",
        timeout=60,
    )
    try:
        for made in ("custom", "directory"):
            result = good(server, cluster=f"{release}/twin", format=made, verify="restore", jobs=1 + (made != "custom"))
            database = result["manifest"]["database"]
            assert database["lsn"] and {table["name"]: table.get("rows") for table in database["tables"]} == {
                **{name.partition(".")[2]: rows for name, rows in ROWS.items()}, "fleeting": None,
            }  # fmt: skip
    finally:
        server.run(f"systemctl stop {unit}; pg_dropcluster {release} twin", check=False)
        sql(server, "DROP TABLE fleeting", "app")


def test_an_interruption_leaves_nothing(server: LabHost, wide: None) -> None:
    for made in ("custom", "directory"):
        before = listing(server, DIR) or good(server)
        good(server)
        before = listing(server, DIR)
        params = {"db": "app", "dir": DIR, "format": made, "verify": "restore"}
        result = one(server, Call(MODULE, params, interrupt_after=2 if made == "custom" else 1.2))
        assert result.get("cancelled"), result
        assert listing(server, DIR) == before
        left = "find /run /var/lib/postgresql -name '.opsplay-*'; pgrep -fa '[p]g_dump|[p]ostgres -D .*opsplay' || true"
        assert server.run(left).stdout == ""
