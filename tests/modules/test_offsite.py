"""Backups in a store elsewhere: what its keys can and cannot do, and what arrives there and comes back."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call
from tests.modules.cases import Case, one, previews, prove

STORE, SYNC = "backup.backup_store", "backup.offsite_sync"
PATH, DIR = "/srv/t-store", "/srv/t-backups"


@dataclass(frozen=True)
class Site:
    """A host that makes backups, the store's host, and how the one reaches the other."""

    source: LabHost
    store: LabHost
    dest: Mapping[str, Any]
    reader: str
    keys: Mapping[str, list[str]]

    def sync(self, **params: Any) -> dict[str, Any]:
        return one(self.source, Call(SYNC, {**self.dest, "dir": DIR, "name": "app", **params}))


@pytest.fixture(scope="module")
def site(full: Callable[[str], LabHost], fleet: Mapping[str, LabHost]) -> Iterator[Site]:
    source, store = full("bookworm"), fleet["trixie"]
    for name in ("append", "read"):
        source.run(f"rm -f /root/t-{name}*; ssh-keygen -q -t ed25519 -N '' -f /root/t-{name}")
    public = {name: source.run(f"cat /root/t-{name}.pub").stdout.strip() for name in ("append", "read")}
    keys = {"append_keys": [public["append"]], "read_keys": [public["read"]]}
    host_key = store.run("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout
    dest = {"host": store.address, "host_key": host_key, "private_key": "/root/t-append"}
    assert not one(store, Call(STORE, {"path": PATH, "account": "t-store", **keys})).get("failed")
    yield Site(source, store, {**dest, "user": "t-store"}, source.run("cat /root/t-read").stdout, keys)
    store.run(f"userdel t-store; rm -rf {PATH} /var/lib/opsplay/backup-store/t-store")
    source.run(f"rm -rf {DIR} /root/t-append* /root/t-read*")


@pytest.fixture
def empty(site: Site) -> Site:
    """The site without any backup."""
    site.store.run(f"find {PATH} -mindepth 1 -delete")
    site.source.run(f"rm -rf {DIR}; mkdir -p {DIR}/app")
    return site


def make(site: Site, stamp: str, content: str = "", tag: str = "", level: str = "restore", hours: float = 1) -> None:
    """A whole set as opsplay's modules leave it."""
    content = content or f"rows of {stamp}\n" * 1000
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * 3600))
    digest = hashlib.sha256(content.encode()).hexdigest()
    manifest = {
        "version": 1, "kind": "pg_backup", "name": "app", "tag": tag, "started": started, "finished": started,
        "files": [{"name": "part/app.dump", "size": len(content), "sha256": digest}],
        "verified": {"level": level} if level else None,
    }  # fmt: skip
    folder = f"{DIR}/app/{stamp}"
    site.source.run(["sh", "-c", f"mkdir -p {folder}/part; cat > {folder}/part/app.dump"], stdin=content)
    site.source.run(["sh", "-c", f"cat > {folder}/manifest.json"], stdin=json.dumps(manifest))


def stored(site: Site) -> list[str]:
    return site.store.run(f"cd {PATH}; find . -type f -printf '%P\\n' | sort").stdout.split()


# --- the store ---


def test_a_store_is_made_once(site: Site) -> None:
    prove(site.store, STORE, Case("again", {"path": PATH, "account": "t-store", **site.keys}, changed=False))
    assert site.store.run(f"stat -c '%U %a' {PATH}").stdout == "t-store 700\n"
    assert site.store.run("stat -c '%U %a' /var/lib/opsplay/backup-store/t-store/.ssh/authorized_keys").stdout == "root 644\n"


CASES = [
    Case("no key", {"path": PATH}, fails="without a key nobody can reach the store"),
    Case("a private key", {"append_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, fails="is no public key"),
    Case("two keys in one", {"append_keys": ["ssh-ed25519 AAAA x\nssh-ed25519 BBBB y"]}, fails="is no public key"),
    Case("a path that a shell would cut", {"path": "/srv/a b", "append_keys": ["ssh-ed25519 AAAA"]}, fails="blanks"),
    Case("taken away", {"path": "/srv/t-other", "account": "t-other", "state": "absent"},
         before="mkdir -p /var/lib/opsplay/backup-store/t-other/.ssh /srv/t-other; "
                "touch /var/lib/opsplay/backup-store/t-other/.ssh/authorized_keys /srv/t-other/kept",
         look="ls /srv/t-other /var/lib/opsplay/backup-store/t-other/.ssh",
         after="/srv/t-other:\nkept\n\n/var/lib/opsplay/backup-store/t-other/.ssh:"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_store(case: Case, site: Site) -> None:
    prove(site.store, STORE, case)


def speak(site: Site, key: str, text: str, command: str = "store") -> str:
    """Say something to the store as somebody who has stolen a key."""
    site.source.run(["sh", "-c", "cat > /root/t-known"], stdin=f"{site.store.address} {site.dest['host_key']}")
    login = f"ssh -i /root/t-{key} -o BatchMode=yes -o UserKnownHostsFile=/root/t-known t-store@{site.store.address}"
    return site.source.run(["sh", "-c", f"{login} -- {command} 2>&1"], stdin=text, check=False).stdout


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "app/../../x", ".incoming/x", "app/.ssh/x", "", "a//b", "app/link/x", "app/\x00"]
)
def test_no_file_outside_of_the_store(empty: Site, path: str) -> None:
    empty.store.run(f"mkdir -p {PATH}/app; ln -s /tmp {PATH}/app/link; chown -R t-store {PATH}")
    ask = {"do": "put", "path": path, "size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    assert '"error"' in speak(empty, "append", json.dumps(ask) + "\nx")
    assert stored(empty) == [] and empty.store.run("ls /tmp/x", check=False).stdout == ""
    assert '"error"' in speak(empty, "read", json.dumps({"do": "get", "path": path}) + "\n")


def test_a_key_gets_no_shell_and_only_its_own_requests(empty: Site) -> None:
    make(empty, "20260101T000000Z")
    assert not empty.sync().get("failed")
    assert "uid=" not in speak(empty, "append", "", "id") and "uid=" not in speak(empty, "append", "id\n", "sh")
    get = json.dumps({"do": "get", "path": "app/20260101T000000Z/manifest.json"}) + "\n"
    assert "this key may not get" in speak(empty, "append", get)
    put = {"do": "put", "path": "app/new", "size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    assert "this key may not put" in speak(empty, "read", json.dumps(put) + "\nx")
    for forbidden in ("remove", "delete", "rename", "put "):
        assert f"may not {forbidden}" in speak(empty, "append", json.dumps({"do": forbidden, "path": "app"}) + "\n")


def test_what_is_there_is_never_overwritten(empty: Site) -> None:
    make(empty, "20260101T000000Z")
    assert not empty.sync().get("failed")
    before = empty.store.run(f"cat {PATH}/app/20260101T000000Z/part/app.dump | sha256sum").stdout
    evil = {"do": "put", "path": "app/20260101T000000Z/part/app.dump", "size": 4, "sha256": hashlib.sha256(b"evil").hexdigest()}
    assert "is not overwritten" in speak(empty, "append", json.dumps(evil) + "\nevil")
    assert empty.store.run(f"cat {PATH}/app/20260101T000000Z/part/app.dump | sha256sum").stdout == before


def test_an_upload_that_is_cut_off_or_damaged_leaves_nothing(empty: Site) -> None:
    ask = {"do": "put", "path": "app/1/manifest.json", "size": 100, "sha256": hashlib.sha256(b"x" * 100).hexdigest()}
    assert "cut off" in speak(empty, "append", json.dumps(ask) + "\n" + "x" * 99)
    assert "another sha256" in speak(empty, "append", json.dumps(ask) + "\n" + "x" * 99 + "y")
    assert stored(empty) == []


# --- sending ---


def test_sets_are_sent_once_and_proven_over_there(empty: Site) -> None:
    for stamp in ("20260101T000000Z", "20260102T000000Z"):
        make(empty, stamp)
    look = f"cd {DIR}; find . | sort"
    case = Case("sent", {**empty.dest, "dir": DIR, "name": "app"}, look=look, result={"there": 2})
    result = prove(empty.source, SYNC, case)
    assert result["sets"] == ["20260101T000000Z", "20260102T000000Z"] and result["newest"] == "20260102T000000Z"
    assert stored(empty) == [f"app/{stamp}/{name}" for stamp in result["sets"] for name in ("manifest.json", "part/app.dump")]
    theirs = empty.store.run(f"cd {PATH}/app && find . -type f | sort | xargs sha256sum").stdout
    assert theirs == empty.source.run(f"cd {DIR}/app && find . -type f | sort | xargs sha256sum").stdout
    assert empty.store.run(f"find {PATH} -type f -printf '%U %m\\n' | sort -u").stdout.split()[1] == "400"


def test_a_preview_knows_of_a_set_that_is_still_to_be_made(empty: Site) -> None:
    archives = {"config": {"paths": ["/etc/hostname"]}}
    made = ("backup.backup_set", {"name": "app", "dir": DIR, "archives": archives})
    sent = previews(empty.source, [made, (SYNC, {**empty.dest, "dir": DIR, "name": "app"})])[1]
    assert sent["changed"] and len(sent["sets"]) == 1 and stored(empty) == [], sent
    assert "holds no backup that could be sent" in empty.sync()["msg"]


def test_a_damaged_set_is_not_sent(empty: Site) -> None:
    make(empty, "20260101T000000Z")
    empty.source.run(f"printf x | dd of={DIR}/app/20260101T000000Z/part/app.dump conv=notrunc 2>/dev/null")
    result = empty.sync()
    assert result["failed"] and "is damaged: its sha256 is not the manifest's" in result["msg"]
    assert stored(empty) == []


def test_an_interrupted_sending_goes_on(empty: Site) -> None:
    make(empty, "20260101T000000Z", content="z" * 30_000_000)
    empty.source.run(f"head -c 5000000 {DIR}/app/20260101T000000Z/part/app.dump > /root/t-half")
    ask = {"do": "put", "path": "app/20260101T000000Z/part/app.dump", "size": 30_000_000, "sha256": "0" * 64}
    line = json.dumps(ask)
    empty.source.run(["sh", "-c", "cat > /root/t-line"], stdin=line + "\n")
    login = f"ssh -i /root/t-append -o UserKnownHostsFile=/root/t-known t-store@{empty.store.address} store"
    empty.source.run(f"(cat /root/t-line /root/t-half; sleep 30) | timeout -s KILL 2 {login}", check=False)
    assert not [name for name in stored(empty) if name.startswith("app/")]
    assert not empty.sync().get("failed") and "app/20260101T000000Z/manifest.json" in stored(empty)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGDQvPHXDy8tDqq9PMGOSo64kYVUKSUIDmqPBB8jCQ2u"},
         "Host key verification failed"),
        ({"port": 1}, "Connection refused"),
        ({"user": "nobody-there"}, "Permission denied"),
        ({"private_key": "/root/none"}, "Permission denied"),
        ({"private_key": None, "key": "no key"}, "the private key is not accepted"),
        ({"private_key": None}, "give private_key"),
    ],
)  # fmt: skip
def test_a_way_that_does_not_lead_there(empty: Site, change: dict[str, Any], said: str) -> None:
    make(empty, "20260101T000000Z")
    result = empty.sync(**change)
    assert result["failed"] and said in result["msg"], result["msg"]


def test_a_full_store_says_so(empty: Site) -> None:
    make(empty, "20260101T000000Z", content="z" * 3_000_000)
    empty.store.run(f"mount -t tmpfs -o size=2m,mode=700,uid=$(id -u t-store) none {PATH}")
    try:
        result = empty.sync()
    finally:
        empty.store.run(f"umount {PATH}")
    assert result["failed"] and "No space left on device" in result["msg"]


@pytest.mark.parametrize(("hours", "fails"), [(1, False), (30, True)])
def test_a_store_without_a_recent_set_fails(empty: Site, hours: float, fails: bool) -> None:
    make(empty, "20260101T000000Z", hours=hours)
    assert bool(empty.sync(max_age=26).get("failed")) is fails
    result = empty.sync(state="checked", max_age=26)
    assert bool(result.get("failed")) is fails
    assert not fails or "it is 30.0 hours old" in result["msg"]


# --- fetching ---


def test_the_newest_verified_set_comes_back(empty: Site) -> None:
    make(empty, "20260101T000000Z", hours=30)
    make(empty, "20260102T000000Z", hours=20)
    make(empty, "20260103T000000Z", hours=2, level="")
    make(empty, "20260104T000000Z", hours=1, tag="emergency")
    assert not empty.sync().get("failed")
    original = empty.source.run(f"cd {DIR}/app/20260102T000000Z && sha256sum $(find . -type f | sort)").stdout
    empty.source.run(f"rm -rf {DIR}/app")
    params = {**empty.dest, "dir": DIR, "name": "app", "state": "pulled", "private_key": None, "key": empty.reader}
    result = prove(empty.source, SYNC, Case("fetched", params, look=f"ls {DIR}/app 2>/dev/null", after="20260102T000000Z"))
    assert result["stamp"] == "20260102T000000Z" and 71_000 < time.time() - result["begun_at"] < 73_000
    assert empty.source.run(f"cd {DIR}/app/20260102T000000Z && sha256sum $(find . -type f | sort)").stdout == original
    assert empty.source.run(f"stat -c %a {DIR}/app {DIR}/app/20260102T000000Z/part/app.dump").stdout == "700\n600\n"
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 25 * 3600))
    assert one(empty.source, Call(SYNC, {**params, "before": before}))["stamp"] == "20260101T000000Z"
    none = one(empty.source, Call(SYNC, {**params, "before": "2020-01-01T00:00:00Z"}))
    assert "there is no latest_verified before 2020-01-01T00:00:00Z; there are 20260101T000000Z, " in none["msg"]
    left = empty.source.run("find /run /tmp -name '.opsplay-*'; pgrep -a ssh-agent || true").stdout
    assert left == "", "the key is nowhere when the task is over"
    assert empty.reader.split("\n")[1] not in json.dumps(result)


@pytest.mark.parametrize("harm", ["truncate -s -1", "sh -c 'printf x | dd of=$0 conv=notrunc'"])
def test_what_was_harmed_over_there_is_refused(empty: Site, harm: str) -> None:
    make(empty, "20260101T000000Z")
    assert not empty.sync().get("failed")
    empty.source.run(f"rm -rf {DIR}/app")
    empty.store.run(f"cd {PATH}/app/20260101T000000Z/part; chmod 600 app.dump; {harm} app.dump 2>/dev/null")
    result = empty.sync(state="pulled", private_key="/root/t-read")
    assert result["failed"] and "what came is refused: " in result["msg"]
    assert empty.source.run(f"find {DIR}/app -mindepth 1").stdout == ""


# --- increments and signatures ---


def increment(site: Site) -> tuple[str, str]:
    """A full set and an increment on it, of a folder whose state is then the increment's."""
    params = {"name": "app", "dir": DIR, "archives": {"data": {"paths": ["/srv/t-data"]}}}
    made = []
    for kind in ("full", "incremental"):
        site.source.run(f"mkdir -p /srv/t-data; echo {kind} > /srv/t-data/now; echo {kind} > /srv/t-data/{kind}")
        done = one(site.source, Call("backup.backup_set", {**params, "type": kind}))
        assert not done.get("failed") and done["type"] == kind, done
        made.append(done["stamp"])
    return made[0], made[1]


def signer(site: Site) -> str:
    return site.source.run("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout


@pytest.mark.parametrize("which", ["newest", "all"])
def test_an_increment_goes_after_its_base_and_comes_with_it(empty: Site, which: str) -> None:
    full, made = increment(empty)
    sent = empty.sync(which=which)
    assert not sent.get("failed") and sent["sets"] == [full, made] and sent["newest"] == made, sent
    assert f"app/{made}/manifest.json.sig" in stored(empty) and not [name for name in stored(empty) if "listing" in name]
    empty.source.run(f"rm -rf {DIR}/app; echo later > /srv/t-data/now; rm /srv/t-data/full")
    pulled = empty.sync(state="pulled", private_key="/root/t-read", signed_by=[signer(empty)])
    assert pulled["stamp"] == made and pulled["base"] == full, pulled
    assert empty.sync(state="pulled", private_key="/root/t-read")["changed"] is False
    back = one(empty.source, Call("backup.backup_restore", {"src": pulled["folder"], "signed_by": [signer(empty)]}))
    assert not back.get("failed"), back
    assert empty.source.run("cd /srv/t-data; cat now; ls").stdout == "incremental\nfull\nincremental\nnow\n"


def test_an_increment_without_its_base(empty: Site) -> None:
    """It is not sent where the base is not, and not chosen where it was lost; by name it is refused."""
    full, made = increment(empty)
    empty.source.run(f"mv {DIR}/app/{full} {DIR}/{full}")
    result = empty.sync()
    assert result["failed"] and f"{made} is not sent: it stands on " in result["msg"]
    assert stored(empty) == []
    empty.source.run(f"mv {DIR}/{full} {DIR}/app/{full}")
    assert not empty.sync().get("failed")
    empty.source.run(f"rm -rf {DIR}/app")
    empty.store.run(f"rm -r {PATH}/app/{full}")
    read = {"state": "pulled", "private_key": "/root/t-read"}
    assert "there is no latest_verified; there are " + made in empty.sync(**read)["msg"]
    assert f"{made} stands on {full}, which the store does not have" in empty.sync(select=made, **read)["msg"]
    assert empty.sync(state="checked")["newest"] == ""
    assert empty.source.run(f"ls {DIR}/app 2>/dev/null", check=False).stdout == ""


FORGED = """cd {path}/app/{stamp}; chmod 600 *; sed -i s/incremental/incrementaL/ data.tar
sed -i "s/$(sed -n 's/.*"sha256": "//p' manifest.json | sed -n 1p | cut -c1-64)/$(sha256sum data.tar | cut -c1-64)/" manifest.json"""


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (FORGED, "is not the one that was signed by SHA256:"),
        ("rm -f {path}/app/{stamp}/manifest.json.sig", "is not signed: it has no manifest.json.sig"),
        ("cp {path}/app/{base}/manifest.json.sig {path}/app/{stamp}/", "is not the one that was signed by SHA256:"),
    ],
    ids=["forged", "unsigned", "another-set"],
)
def test_who_owns_the_store_can_still_forge_nothing(empty: Site, harm: str, said: str) -> None:
    """Hashes and manifest fit each other over there; what comes is refused before it bears its name."""
    full, made = increment(empty)
    assert not empty.sync().get("failed")
    empty.source.run(f"rm -rf {DIR}/app")
    empty.store.run(harm.format(path=PATH, stamp=made, base=full))
    read = {"state": "pulled", "private_key": "/root/t-read"}
    result = empty.sync(signed_by=[signer(empty)], select=made, **read)
    assert result["failed"] and said in result["msg"] and made in result["msg"], result
    assert empty.source.run(f"ls -A {DIR}/app 2>/dev/null", check=False).stdout == ""
    result = empty.sync(signed_by=[signer(empty)], **read)
    assert result["stamp"] == full and said in "".join(result["warnings"]), result
    assert "was signed by another key" in empty.sync(signed_by=[str(empty.dest["host_key"])], **read)["msg"] or "rm" in harm
