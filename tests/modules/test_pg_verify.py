"""pg_verify on real servers: what it finds out, what the usual checks do not, and that it leaves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call
from tests.modules import DEEP
from tests.modules.cases import one
from tests.modules.databases import age_key, drop_database, gpg_key, listing, make_database, sql

BACKUP, MODULE = "postgres.pg_backup", "postgres.pg_verify"
DIR = "/srv/proofs"
FORMATS = {"custom": "app.dump", "plain": "app.sql", "plain.gz": "app.sql.gz", "directory": "app.dir"}


@pytest.fixture(scope="module", params=DEEP)
def server(full: Callable[[str], LabHost], request: pytest.FixtureRequest) -> Iterator[LabHost]:
    """A host of each release, with a database and a backup of it in each format below DIR."""
    host: LabHost = full(request.param)
    host.run(f"systemctl start postgresql@*; pg_lsclusters -h; rm -rf {DIR}", timeout=60)
    make_database(host, "app")
    for made in FORMATS:
        backup(host, format=made, name=made)
    yield host
    drop_database(host, "app")
    host.run(f"rm -rf {DIR} /srv/fixture")


def backup(host: LabHost, **params: Any) -> dict[str, Any]:
    result = one(host, Call(BACKUP, {"db": "app", "dir": DIR, "verify": "list", **params}))
    assert not result.get("failed"), result
    return result


def verify(host: LabHost, path: str, **params: Any) -> dict[str, Any]:
    """Verify; only proven.json may come, nothing is left behind, and latest does not move."""
    before = listing(host, DIR)
    result = one(host, Call(MODULE, {"path": path, **params}))
    assert [line for line in listing(host, DIR) if "proven.json" not in line] == [
        line for line in before if "proven.json" not in line
    ]
    left = "find / -xdev -name '.opsplay-*' -not -path '/proc/*'; pgrep -fa '[g]pg-agent.*opsplay'; pgrep -fa '[p]ostgres -D .*opsplay'"
    assert host.run(f"{left}; true").stdout == ""
    return result


@pytest.mark.parametrize("made", FORMATS)
def test_a_good_one(server: LabHost, made: str) -> None:
    for level in ("list", "read"):
        result = verify(server, f"{DIR}/{made}", level=level, expect_tables=["customers"], min_rows={"customers": 2000})
        assert not result.get("failed") and not result["changed"] and not result["proven"], result
        assert result["tables"]["public.customers"] == 2000
    server.run(f"rm -f {DIR}/{made}/latest/proven.json")
    preview = one(server, Call(MODULE, {"path": f"{DIR}/{made}", "level": "restore"}, check=True))
    assert preview["changed"] and not preview.get("failed")
    result = verify(server, f"{DIR}/{made}", level="restore", min_rows={"customers": 2000, "empty": 0})
    assert not result.get("failed") and result["changed"] and result["proven"], result
    assert server.run(f"stat -c %a {DIR}/{made}/latest/proven.json").stdout == "600\n"


def fixture(host: LabHost, made: str, spoil: str, manifest: bool = True) -> str:
    """A copy of a backup with something done to its file; its folder, or the file where it has no manifest."""
    host.run(
        f"rm -rf /srv/fixture; mkdir /srv/fixture; cp -a $(readlink -f {DIR}/{made}/latest) /srv/fixture/20200101T000000Z"
    )
    folder = "/srv/fixture/20200101T000000Z"
    host.run(f"cd {folder}; file={FORMATS[made]}; test -f $file || file=$(ls -S $file/*.gz | head -n 1); {spoil}")
    if manifest:
        return folder
    host.run(f"rm {folder}/manifest.json")
    return f"{folder}/{FORMATS[made]}"


TRUNCATED = "truncate -s $(($(stat -c %s $file) / 2)) $file"
FLIPPED = "printf XXXXXXXX | dd of=$file bs=1 seek=$(($(stat -c %s $file) / 2)) conv=notrunc status=none"


@pytest.mark.parametrize("spoil", [TRUNCATED, FLIPPED], ids=["truncated", "flipped"])
@pytest.mark.parametrize("made", FORMATS)
def test_a_damaged_one(server: LabHost, made: str, spoil: str) -> None:
    """Found by the manifest, and named as what it is."""
    said = verify(server, fixture(server, made, spoil))["msg"]
    assert "is no good backup: /srv/fixture/" in said
    assert ("the manifest says" if spoil == TRUNCATED else "is damaged: its sha256 is not the manifest's") in said


@pytest.mark.parametrize("spoil", [TRUNCATED, FLIPPED], ids=["truncated", "flipped"])
def test_the_table_of_contents_is_no_proof(server: LabHost, spoil: str) -> None:
    """pg_restore --list finds neither; reading does, without any manifest."""
    path = fixture(server, "custom", spoil, manifest=False)
    server.run(f"{bin_folder(server)}/pg_restore --list {path} >/dev/null")
    assert not verify(server, path, level="list").get("failed")
    assert "pg_restore failed: " in verify(server, path, level="read")["msg"]


def bin_folder(host: LabHost) -> str:
    return host.run("echo /usr/lib/postgresql/*/bin").stdout.strip()


def test_a_truncated_one_is_restored_in_vain(server: LabHost) -> None:
    """The scratch cluster is gone, the metrics say 0, the production's databases are as they were."""
    before = sql(server, "SELECT string_agg(oid::text || datname, ',' ORDER BY 1) FROM pg_database")
    path = fixture(server, "custom", TRUNCATED, manifest=False)
    result = verify(server, path, level="restore", metrics_dir="/srv/metrics")
    assert "pg_restore failed: " in result["msg"], result
    assert sql(server, "SELECT string_agg(oid::text || datname, ',' ORDER BY 1) FROM pg_database") == before
    said = server.run("cat /srv/metrics/opsplay_backup_verify_app.dump_restore.prom").stdout
    assert 'opsplay_backup_verify_success{level="restore",name="app.dump"} 0\n' in said


def test_empty_tables_are_no_backup(server: LabHost) -> None:
    """A dump of three empty tables reads well, and restores well."""
    make_database(server, "hollow", sample="CREATE TABLE customers (x int); CREATE TABLE orders (x int)")
    try:
        folder = backup(server, db="hollow", verify="restore")["folder"]
        assert not verify(server, folder, level="restore").get("failed")
        said = verify(server, folder, min_rows={"customers": 1, "orders": 1}, expect_tables=["public.users"])["msg"]
        for part in ("public.customers has 0 rows, less than min_rows 1", "the table public.users is missing"):
            assert part in said
        sql(server, "INSERT INTO customers VALUES (1)", "hollow")
        backup(server, db="hollow")
        sql(server, "TRUNCATE customers; DROP TABLE orders", "hollow")
        folder = backup(server, db="hollow")["folder"]
        said = verify(server, folder, compare="previous")["msg"]
        assert "the table public.orders of" in said and "public.customers is empty, and had 1 rows in" in said
    finally:
        drop_database(server, "hollow")


NUMBERS = [
    ({"size_min": "50M"}, "less than size_min 50.0 MiB"),
    ({"size_max": "1K"}, "more than size_max 1.0 KiB"),
    ({"size_min": "1K", "size_max": "50M", "max_age": 1}, ""),
]


@pytest.mark.parametrize(("params", "message"), NUMBERS, ids=lambda value: str(value)[:30].replace(" ", ""))
def test_the_size_is_that_of_the_file(server: LabHost, params: dict[str, Any], message: str) -> None:
    """Through the link, whose own size is another."""
    result = verify(server, f"{DIR}/custom/latest", level="list", **params)
    assert bool(message) == bool(result.get("failed")) and message in result.get("msg", ""), result


def test_age_and_change(server: LabHost) -> None:
    folder = backup(server, format="custom", name="aged")["folder"]
    server.run(f'sed -i \'s/"finished": "20/"finished": "19/\' {folder}/manifest.json')
    assert "more than max_age 26" in verify(server, folder, max_age=26)["msg"]
    later = backup(server, format="custom", compress="0", name="aged")["folder"]
    assert "more than delta_pct 50" in verify(server, later, delta_pct=50)["msg"]


STALE = {
    "seen.at": (2, "the newest value of seen.at is 3.0 hours old, more than 2"),
    "seen.utc": (2.9, "the newest value of seen.utc is 3.0 hours old"),
    "seen.never": (9, "seen.never has no value at all"),
    "seen.nothing": (9, "seen.nothing cannot be asked for its newest value: column"),
    "nothing.at": (9, "nothing.at cannot be asked for its newest value: relation"),
}


def test_how_fresh_the_newest_value_is(server: LabHost) -> None:
    """By the values, as they are in the restored database; what cannot be asked is no good backup either."""
    sample = """CREATE SCHEMA side; CREATE TABLE customers (x int);
    CREATE TABLE seen AS SELECT now() - interval '3 hours' AS at, now()::date AS day, NULL::timestamptz AS never,
      (now() AT TIME ZONE 'UTC') - interval '3 hours' AS utc; CREATE TABLE side.seen AS SELECT at FROM seen"""
    make_database(server, "fresh", sample=sample)
    try:
        sql(server, "ALTER DATABASE fresh SET timezone = 'Asia/Tokyo'")
        folder = backup(server, db="fresh")["folder"]
        good = verify(server, folder, level="restore", fresh={"seen.at": 4, "seen.day": 100, "side.seen.at": 3.5})
        assert not good.get("failed") and good["proven"], good
        said = verify(server, folder, level="restore", fresh={name: hours for name, (hours, _) in STALE.items()})["msg"]
        assert [message for _, message in STALE.values() if message not in said] == []
        for fresh, message in (({"at": 9}, "fresh: 'at' is no column"), ({"seen.at": 0}, "the hours must be more than 0")):
            assert message in verify(server, folder, level="restore", fresh=fresh)["msg"]
        assert "fresh needs level restore" in verify(server, folder, fresh={"seen.at": 4})["msg"]
    finally:
        drop_database(server, "fresh")


@pytest.mark.parametrize("method", ["age", "gpg"])
@pytest.mark.parametrize("made", ["custom", "directory"])
def test_encrypted(server: LabHost, method: str, made: str) -> None:
    """Without the key the cipher text is compared; with it the plain text is restored; a wrong key is told."""
    private, public = (age_key if method == "age" else gpg_key)(server)
    wrong = (age_key if method == "age" else gpg_key)(server)[0]
    crypt = {"method": method, "recipients": [public]}
    folder = backup(server, format=made, name=f"{made}-{method}", encrypt=crypt)["folder"]
    assert not verify(server, folder).get("failed")
    assert "a restore needs the private key (key)" in verify(server, folder, level="restore")["msg"]
    said = verify(server, folder, level="restore", key=wrong)["msg"]
    assert f"{method} failed: " in said and "PRIVATE" not in said and "SECRET" not in said
    result = verify(server, folder, level="restore", key=private)
    assert not result.get("failed") and result["proven"], result
    assert private.strip().splitlines()[-1] not in str(result)
    server.run(f"cd {folder}; file=$(ls -S */*.{method} *.{method} 2>/dev/null | head -n 1); {FLIPPED}")
    assert "is damaged: its sha256 is not the manifest's" in verify(server, folder, level="read", key=private)["msg"]
    assert "is damaged: its sha256 is not the manifest's" in verify(server, folder, level="read")["msg"]


REFUSED = [
    ("/srv", {}, "there is no latest in it, and it has no manifest.json itself"),
    ("/srv/none", {}, "there is no such file"),
    ("/etc/passwd", {}, "is named like no dump"),
]


@pytest.mark.parametrize(("path", "params", "message"), REFUSED, ids=lambda value: str(value)[:20])
def test_refused(server: LabHost, path: str, params: dict[str, Any], message: str) -> None:
    assert message in verify(server, path, **params)["msg"]


# --- signatures ---

OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGDQvPHXDy8tDqq9PMGOSo64kYVUKSUIDmqPBB8jCQ2u"
# Rows that were never there, in a dump and a manifest that fit each other.
FORGED = """sed -i s/name/evil/ $file; new=$(sha256sum $file | cut -d' ' -f1)
sed -i "s/[0-9a-f]\\{64\\}/$new/; s/\"plain_sha256\": .*/\"plain_sha256\": \"$new\"/" manifest.json"""
SIGNED = [
    ("true", False, ""),
    ("true", True, "was signed by another key, SHA256:"),
    (FORGED, False, "its manifest is not the one that was signed by SHA256:"),
    ("printf ' ' >> manifest.json", False, "its manifest is not the one that was signed by SHA256:"),
    ("rm manifest.json.sig", False, "is not signed: it has no manifest.json.sig, and signed_by asks for one"),
]


@pytest.mark.parametrize(("spoil", "other", "said"), SIGNED, ids=["whole", "another-key", "forged", "one-byte", "unsigned"])
def test_what_its_host_has_signed(server: LabHost, spoil: str, other: bool, said: str) -> None:
    """Only the signature tells a forged dump: without signed_by it is good, as its manifest says."""
    folder = fixture(server, "plain", spoil)
    signer = OTHER if other else server.run("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout
    result = verify(server, folder, signed_by=[signer])
    assert said in result.get("msg", "") and bool(result.get("failed")) is bool(said), result
    restore = {"src": folder, "db": "app_signed", "mode": "create", "signed_by": [signer]}
    result = one(server, Call("postgres.pg_restore", restore))
    there = sql(server, "SELECT count(*) FROM pg_database WHERE datname LIKE 'app_%'")
    assert bool(result.get("failed")) is bool(said) and there == ("0" if said else "1"), result
    assert not said or (said in result["msg"] and "nothing was touched" in result["msg"])
    sql(server, "DROP DATABASE IF EXISTS app_signed")
    if spoil == FORGED:
        assert not verify(server, folder).get("failed")


def test_a_file_alone_is_signed_by_nobody(server: LabHost) -> None:
    path = fixture(server, "custom", "true", manifest=False)
    assert "it has no manifest that anybody could have signed" in verify(server, path, signed_by=[OTHER])["msg"]
