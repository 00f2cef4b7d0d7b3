"""A store that speaks S3: a real endpoint, real policies, and a way to it on which all goes wrong that can."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opsplay.agent import aws, files, signatures
from opsplay.agent.host import Host
from tests.lab.certificates import make as certificate
from tests.lab.remote_module import copy_stripped
from tests.modules.harness import StubAgent, run
from tests.modules.s3server import BARE, ROOT, Endpoint, Fault, Way, serving, way_to
from tests.modules.test_old_pythons import interpreters

SYNC = "backup.offsite_sync"
STAMP = "20260101T000000Z"
MIB = 1 << 20
# Parts of 5 MiB: the smallest that S3 takes.
LARGE = bytes(range(251)) * (17 * MIB // 251)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with serving("127.0.0.1") as running:
        yield running


@dataclass
class Site:
    """A folder with backups, and a bucket behind a way that can be harmed."""

    endpoint: Endpoint
    way: Way
    folder: Path
    bucket: str = "backups"

    def params(self, **change: Any) -> dict[str, Any]:
        known = {"bucket": self.bucket, "endpoint": self.way.url, "prefix": "site/a", "part_size": 5, "retries": 2,
                 "timeout": 120, "dir": str(self.folder), "name": "app", **self.endpoint.keys["append"]}  # fmt: skip
        return {name: value for name, value in {**known, **change}.items() if value is not None}

    def sync(self, check: bool = False, **change: Any) -> dict[str, Any]:
        return run(SYNC, self.params(**change), check=check)

    def make(self, content: bytes = b"rows\n" * 1000, stamp: str = STAMP, hours: float = 1, **change: Any) -> None:
        """A whole set as opsplay's modules leave it."""
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * 3600))
        entry = {"name": "part/app.dump", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest = {"version": 1, "kind": "pg_backup", "name": "app", "tag": "", "started": started, "finished": started,
                    "files": [entry], "verified": {"level": "restore"}, **change}  # fmt: skip
        folder = self.folder / "app" / stamp
        (folder / "part").mkdir(parents=True)
        (folder / "part/app.dump").write_bytes(content)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    def names(self) -> list[str]:
        return self.endpoint.names(self.bucket)

    def is_whole(self, content: bytes) -> bool:
        """Whether what a reader finds is the set, byte by byte."""
        assert self.names() == [f"site/a/app/{STAMP}/{name}" for name in ("manifest.json", "part/app.dump")]
        return self.endpoint.content(self.bucket, f"site/a/app/{STAMP}/part/app.dump") == content


@pytest.fixture
def site(endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(aws, "PAUSE_FIRST", 0.01)
    with way_to(endpoint) as way:
        yield Site(endpoint, way, tmp_path)
        assert all("uploadId=" in target for method, target, _ in way.asked if method == "DELETE")
    for bucket in ("backups", BARE):
        endpoint.empty(bucket)


@pytest.fixture(params=["backups", BARE])
def any_site(site: Site, request: pytest.FixtureRequest) -> Site:
    """An endpoint with checksums and conditions, and one that knows neither."""
    site.bucket = request.param
    return site


# --- sending ---


@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_a_set_is_sent_once_its_manifest_last(any_site: Site, content: bytes) -> None:
    any_site.make(content)
    preview = any_site.sync(check=True)
    assert preview["changed"] and not preview.get("failed") and any_site.names() == [], preview
    sent = any_site.sync()
    assert not sent.get("failed"), sent
    assert (sent["sets"], sent["there"], sent["newest"]) == ([STAMP], 1, STAMP) and sent["diff"] == preview["diff"]
    assert any_site.is_whole(content) and any_site.endpoint.uploads(any_site.bucket) == 0
    made = [target for method, target, _ in any_site.way.asked if method in ("PUT", "POST")]
    assert made[-1].endswith("/manifest.json") and not any("manifest" in target for target in made[:-1])
    again = any_site.sync()
    assert not again["changed"] and again["bytes"] == 0
    assert "has no TLS" in sent["warnings"][0]


def test_an_endpoint_with_checksums_is_not_read_back(site: Site) -> None:
    site.make(LARGE)
    assert not site.sync().get("failed")
    # Only what the set's name leads to is read: the manifest that sums up the store.
    assert site.way.count("GET", "app.dump?") == 0 and site.way.count("GET", "/part/app.dump") == 0
    site.endpoint.empty("backups")
    assert not site.sync(proof="read").get("failed") and site.way.count("GET", "/part/app.dump") == 1


def test_an_endpoint_without_checksums_is_read_back(site: Site) -> None:
    site.bucket = BARE
    site.make()
    assert not site.sync().get("failed") and site.way.count("GET", "/part/app.dump") == 1


def test_which_and_ages(site: Site) -> None:
    for number, hours in ((1, 50.0), (2, 30.0)):
        site.make(stamp=f"2026010{number}T000000Z", hours=hours)
    newest = site.sync(which="newest")
    assert newest["sets"] == ["20260102T000000Z"] and newest["there"] == 1
    late = site.sync(state="checked", max_age=26)
    assert late["failed"] and "it is 30.0 hours old" in late["msg"]
    assert site.sync()["sets"] == ["20260101T000000Z"] and site.sync(state="checked", max_age=31)["there"] == 2


def test_what_is_there_is_never_overwritten(any_site: Site) -> None:
    any_site.make(b"ours")
    for theirs, said in ((b"evil", "what came back has the sha256 "), (b"others", "it has 6 bytes, not 4")):
        name = f"site/a/app/{STAMP}/part/app.dump"
        any_site.endpoint.admin.put_object(Bucket=any_site.bucket, Key=name, Body=theirs)
        result = any_site.sync()
        assert result["failed"] and said in result["msg"] and "the bucket's owner has to remove it" in result["msg"]
        assert any_site.names() == [name] and any_site.endpoint.content(any_site.bucket, name) == theirs


@pytest.mark.parametrize("content", [b"ours", LARGE], ids=["small", "large"])
def test_what_came_there_meanwhile_is_not_overwritten(
    site: Site, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the sending another one writes the object: the condition of the request holds."""
    from opsplay.modules.backup._store_s3 import S3Store

    site.make(content)
    name = f"site/a/app/{STAMP}/part/app.dump"
    site.endpoint.admin.put_object(Bucket="backups", Key=name, Body=b"theirs")
    heads, look = [], S3Store._head

    def blind(self: S3Store, asked: str) -> Any:
        heads.append(asked)
        return look(self, asked) if len(heads) > 1 else None

    monkeypatch.setattr(S3Store, "_head", blind)
    result = site.sync()
    assert result["failed"] and "differs over there" in result["msg"]
    assert site.endpoint.content("backups", name) == b"theirs" and site.endpoint.uploads("backups") == 0


def test_an_endpoint_that_refuses_the_condition_is_asked_without(site: Site) -> None:
    site.make(LARGE)
    site.way.faults = [Fault("bare", "PUT", times=9), Fault("bare", "POST", times=9)]
    assert not site.sync().get("failed") and site.is_whole(LARGE)


def test_a_damaged_set_is_not_sent(site: Site) -> None:
    site.make()
    (site.folder / "app" / STAMP / "part/app.dump").write_bytes(b"ROWS\n" * 1000)
    result = site.sync()
    assert result["failed"] and "is damaged" in result["msg"] and site.names() == []


def test_a_damaged_set_keeps_no_newer_one_from_the_store(site: Site) -> None:
    site.make(b"old")
    site.make(b"new", stamp="20260102T000000Z")
    (site.folder / "app" / STAMP / "part/app.dump").write_bytes(b"bad")
    for there in (2, 2):
        result = site.sync()
        assert result["failed"] and f"{STAMP} is not sent: " in result["msg"] and "is damaged" in result["msg"]
        assert len(site.names()) == there and all("20260102T000000Z" in name for name in site.names())


def test_a_set_that_only_another_host_has_sent_is_not_taken_for_ours(site: Site) -> None:
    """Two hosts under one name, by timers of one second: the second one's sets would be nowhere but on itself."""
    site.make(b"theirs")
    assert not site.sync().get("failed")
    shutil.rmtree(site.folder / "app")
    site.make(b"ours")
    site.make(b"later", stamp="20260102T000000Z")
    result = site.sync()
    assert result["failed"] and f"the store has another set as {STAMP}" in result["msg"], result
    assert len(site.names()) == 4, "what can be sent is sent all the same"


def test_a_file_that_changes_meanwhile_makes_no_object(site: Site) -> None:
    site.make(LARGE)
    path = site.folder / "app" / STAMP / "part/app.dump"
    site.way.faults = [Fault("", "POST", "uploads", act=lambda: path.write_bytes(LARGE[::-1]))]
    result = site.sync()
    assert result["failed"] and "changed while it was sent" in result["msg"]
    assert site.names() == [] and site.endpoint.uploads("backups") == 0, "its parts are given up"


# --- interruptions ---


def test_a_cut_is_mended_within_the_run(any_site: Site) -> None:
    any_site.make(LARGE)
    part = "partNumber=2"
    any_site.way.faults = [
        Fault("cut", "PUT", part, at=2 * MIB),
        Fault("busy", "PUT", part),
        Fault("mute", "PUT", "=3"),
    ]
    assert not any_site.sync().get("failed") and any_site.is_whole(LARGE)


@pytest.mark.parametrize("kind", ["cut", "busy"])
def test_an_interrupted_upload_goes_on_with_the_parts_that_are_there(any_site: Site, kind: str) -> None:
    any_site.make(LARGE)
    any_site.way.faults = [Fault(kind, "PUT", "partNumber=3", at=3, times=9)]
    result = any_site.sync()
    told = {"cut": "the connection broke: ", "busy": "it answers 503 SlowDown"}[kind]
    assert result["failed"] and "asked 3 times for site/a/app/" in result["msg"] and told in result["msg"], result[
        "msg"
    ]
    assert any_site.names() == [] and any_site.endpoint.uploads(any_site.bucket) == 1
    # A part that lies there damaged is sent again; the good ones are not.
    upload = any_site.endpoint.admin.list_multipart_uploads(Bucket=any_site.bucket)["Uploads"][0]
    any_site.endpoint.admin.upload_part(
        Bucket=any_site.bucket, Key=upload["Key"], UploadId=upload["UploadId"], PartNumber=2, Body=b"x" * 5 * MIB
    )
    any_site.way.faults, any_site.way.asked[:] = [], []
    assert not any_site.sync().get("failed") and any_site.is_whole(LARGE)
    assert [any_site.way.count("PUT", f"partNumber={number}&") for number in (1, 2, 3, 4)] == [0, 1, 1, 1]
    assert any_site.endpoint.uploads(any_site.bucket) == 0


def test_an_endpoint_that_is_silent_is_given_up(site: Site) -> None:
    site.make()
    site.way.faults = [Fault("late", "GET", at=3, times=9)]
    result = site.sync(timeout=1, retries=0)
    assert result["failed"] and "asked once for the bucket: the connection broke: timed out" in result["msg"]


@pytest.mark.parametrize("target", ["part/app.dump", "manifest.json"])
def test_a_lost_answer_is_no_failure(any_site: Site, target: str) -> None:
    any_site.make(b"small")
    any_site.way.faults = [Fault("mute", "PUT", target)]
    assert not any_site.sync().get("failed") and any_site.is_whole(b"small")


def test_a_lost_answer_to_the_completion_is_no_failure(any_site: Site) -> None:
    any_site.make(LARGE)
    any_site.way.faults = [Fault("mute", "POST", "uploadId=")]
    assert not any_site.sync().get("failed") and any_site.is_whole(LARGE)


@pytest.mark.parametrize(("content", "target"), [(b"z" * 100_000, "app.dump"), (LARGE, "partNumber=2")])
def test_a_byte_that_flips_on_its_way_makes_no_set(site: Site, content: bytes, target: str) -> None:
    site.make(content)
    site.way.faults = [Fault("flip", "PUT", target, at=70_000)]
    result = site.sync()
    assert result["failed"] and "was damaged on its way" in result["msg"] and site.names() == []
    assert not site.sync().get("failed") and site.is_whole(content)


@pytest.mark.parametrize(("content", "target"), [(b"z" * 100_000, "app.dump"), (LARGE, "partNumber=2")])
def test_an_endpoint_that_checks_nothing_is_found_out(site: Site, content: bytes, target: str) -> None:
    site.bucket = BARE
    site.make(content)
    site.way.faults = [Fault("flip", "PUT", target, at=70_000)]
    result = site.sync()
    assert result["failed"] and "differs over there: what came back has the sha256 " in result["msg"]
    assert site.names() == [f"site/a/app/{STAMP}/part/app.dump"], "without a manifest it is no set"
    assert site.sync(state="pulled")["msg"].endswith("there is no latest_verified; there are none")


def test_a_manifest_that_such_an_endpoint_damages_is_found_out(site: Site) -> None:
    site.bucket = BARE
    site.make()
    site.way.faults = [Fault("flip", "PUT", "manifest.json", at=20)]
    result = site.sync()
    assert result["failed"] and "manifest.json differs over there: what came back" in result["msg"]


# --- refusals ---


def test_keys_and_rights(site: Site) -> None:
    site.make()
    keys = site.endpoint.keys
    wrong = site.sync(secret_key="x" * 40)
    assert "secret_key is not that of the access key" in wrong["msg"] and "x" * 40 not in json.dumps(wrong)
    assert "knows no access key AKIDNOBODY" in site.sync(access_key="AKIDNOBODY")["msg"]
    assert "may not do this: allow s3:ListBucket on the bucket backups" in site.sync(**keys["none"])["msg"]
    assert "may not do this: allow s3:PutObject on backups/site/a/app/" in site.sync(**keys["read"])["msg"]
    assert site.names() == []
    assert "has no bucket nowhere: make it" in site.sync(bucket="nowhere")["msg"]
    skewed = site.way.faults = [Fault("clock", "GET")]
    assert "59 minutes behind; set this host's clock" in site.sync()["msg"] and skewed[0].times == 0
    for said in (wrong, site.sync()):
        assert keys["append"]["secret_key"] not in json.dumps(said)


def test_the_key_of_a_host_can_remove_nothing(site: Site) -> None:
    site.make()
    assert not site.sync().get("failed")
    stolen = site.endpoint.client("s3", site.endpoint.keys["append"])
    for name in site.names():
        with pytest.raises(stolen.exceptions.ClientError, match="AccessDenied"):
            stolen.delete_object(Bucket="backups", Key=name)
    assert len(site.names()) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"endpoint": "s3.example.org"}, "'s3.example.org' is no endpoint; it looks like https://"),
        ({"endpoint": "http://127.0.0.1:1"}, "cannot be reached: Connection refused"),
        ({"access_key": None}, "give access_key and secret_key, or credentials"),
        ({"bucket": None}, "give host (a store over SSH, made by backup_store) or bucket"),
        ({"host": "h"}, "give host (a store over SSH, made by backup_store) or bucket"),
        ({"access_key": None, "secret_key": None, "credentials": "/nowhere/keys"}, "cannot be read: No such file"),
    ],
)
def test_what_cannot_work_is_said(site: Site, change: dict[str, Any], said: str) -> None:
    site.make()
    result = site.sync(**change)
    assert result["failed"] and said in result["msg"], result["msg"]


def test_a_file_of_credentials(site: Site, tmp_path: Path) -> None:
    site.make()
    key, path = site.endpoint.keys["append"], tmp_path / "credentials"
    without = {"access_key": None, "secret_key": None, "credentials": str(path)}
    path.write_text(f"aws_secret_access_key = {key['secret_key']}\n")
    wrong = site.sync(**without)
    assert "needs [default] with" in wrong["msg"] and key["secret_key"] not in json.dumps(wrong)
    path.write_text(
        f"[default]\naws_access_key_id = {key['access_key']}\naws_secret_access_key = {key['secret_key']}\n"
    )
    assert not site.sync(**without).get("failed") and len(site.names()) == 2


def test_tls(endpoint: Endpoint, site: Site, tmp_path: Path) -> None:
    site.make()
    ca = certificate("our CA", ca=True)
    other = certificate("another CA", ca=True)
    server = certificate("127.0.0.1", ["127.0.0.1"], ca)
    strange = certificate("elsewhere", ["s3.example.org"], ca)
    for name, text in (("ca", ca.pem), ("other", other.pem), ("cert", server.pem), ("key", server.key_pem),
                       ("strange", strange.pem), ("strange-key", strange.key_pem)):  # fmt: skip
        (tmp_path / name).write_text(text)
    plain = site.way.url.replace("http:", "https:")
    assert "speaks no TLS there: give an endpoint with http://" in site.sync(endpoint=plain)["msg"]
    assert "holds no certificates" in site.sync(endpoint=plain, ca_file=str(tmp_path / "key"))["msg"]
    with way_to(endpoint, tmp_path / "cert", tmp_path / "key") as secured:
        result = site.sync(endpoint=secured.url)
        assert "not trusted (" in result["msg"] and "give ca_file where the CA is your own" in result["msg"]
        assert "other does not vouch for it" in site.sync(endpoint=secured.url, ca_file=str(tmp_path / "other"))["msg"]
        done = site.sync(endpoint=secured.url, ca_file=str(tmp_path / "ca"))
        assert not done.get("failed") and not done.get("warnings") and len(site.names()) == 2
    with way_to(endpoint, tmp_path / "strange", tmp_path / "strange-key") as secured:
        result = site.sync(endpoint=secured.url, ca_file=str(tmp_path / "ca"))
        assert "shows a certificate for another name: " in result["msg"] and result["failed"]


# --- fetching ---


def test_a_set_comes_back_and_a_broken_transfer_goes_on(any_site: Site) -> None:
    any_site.make(LARGE, hours=30)
    any_site.make(stamp="20260102T000000Z", hours=1, verified=None)
    assert not any_site.sync().get("failed")
    elsewhere = any_site.folder / "new"
    given = {"state": "pulled", "dir": str(elsewhere), **any_site.endpoint.keys["read"]}
    preview = any_site.sync(check=True, **given)
    assert preview["changed"] and not elsewhere.exists()
    any_site.way.faults = [Fault("short", "GET", "app.dump", at=6 * MIB), Fault("short", "GET", "app.dump", at=3 * MIB)]
    done = any_site.sync(**given)
    assert not done.get("failed") and done["stamp"] == STAMP, done
    assert (elsewhere / "app" / STAMP / "part/app.dump").read_bytes() == LARGE
    assert not any_site.sync(**given)["changed"]
    old = any_site.sync(**{**given, "before": "2020-01-01T00:00:00Z"})
    assert f"there is no latest_verified before 2020-01-01T00:00:00Z; there are {STAMP}, " in old["msg"]


def test_what_came_is_on_the_disk_before_it_bears_its_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folders, too: a power cut leaves no set without its files. One that is harmed here is told of."""
    site.make()
    assert not site.sync().get("failed")
    done: list[str] = []
    sync, rename = files.sync_directory, os.rename
    monkeypatch.setattr(files, "sync_directory", lambda path: (done.append(os.path.basename(path)), sync(path))[1])
    monkeypatch.setattr(os, "rename", lambda *given: (done.append("renamed"), rename(*given))[1])
    new = site.folder / "new"
    call = {"state": "pulled", "dir": str(new), **site.endpoint.keys["read"]}
    assert not site.sync(**call).get("failed")
    assert "part" in done[: done.index("renamed")], done
    (new / "app" / STAMP / "manifest.json").write_text("[]")
    result = site.sync(**call)
    assert result["failed"] and "is here and is not what the store has: " in result["msg"], result


def test_a_transfer_that_never_ends_well_leaves_nothing(site: Site) -> None:
    site.make(LARGE)
    assert not site.sync().get("failed")
    elsewhere = site.folder / "new"
    site.way.faults = [Fault("short", "GET", "app.dump", at=100, times=9)]
    result = site.sync(state="pulled", dir=str(elsewhere))
    assert result["failed"] and f"ended after 300 of {len(LARGE)} bytes" in result["msg"]
    assert list((elsewhere / "app").iterdir()) == []


def test_what_is_no_set_is_not_taken_for_one(any_site: Site) -> None:
    any_site.make()
    assert not any_site.sync().get("failed")
    whole = (any_site.folder / "app" / STAMP / "manifest.json").read_bytes()
    strange = {"..": whole, ".x": whole, "3": b"no JSON", "4": b"[]", "5": b'{"version": 1}', "6": b"\xff"}
    for stamp, content in strange.items():
        name = f"site/a/app/{stamp}/manifest.json"
        any_site.endpoint.admin.put_object(Bucket=any_site.bucket, Key=name, Body=content)
    any_site.endpoint.admin.put_object(
        Bucket=any_site.bucket, Key="site/a/app/9/part/app.dump", Body=b"no manifest yet"
    )
    done = any_site.sync(state="pulled", dir=str(any_site.folder / "new"))
    assert not done.get("failed") and done["stamp"] == STAMP
    assert any_site.sync(state="checked")["there"] == 1


def test_what_was_harmed_over_there_is_refused(site: Site) -> None:
    site.make()
    assert not site.sync().get("failed")
    name = f"site/a/app/{STAMP}/part/app.dump"
    site.endpoint.admin.put_object(Bucket="backups", Key=name, Body=b"rowz\n" * 1000)
    elsewhere = site.folder / "new"
    result = site.sync(state="pulled", dir=str(elsewhere))
    assert result["failed"] and "what came is refused: " in result["msg"] and list((elsewhere / "app").iterdir()) == []


def signed_sets(site: Site, root: Path, monkeypatch: pytest.MonkeyPatch, *stamps: str) -> str:
    """Sets of these stamps, each an hour younger, signed by a host and sent; its public key."""
    key = root / "host-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    monkeypatch.setattr(signatures, "HOST_KEYS", (str(key),))
    for number, stamp in enumerate(stamps):
        site.make(stamp=stamp, hours=len(stamps) - number)
        assert signatures.sign(Host(StubAgent()), str(site.folder / "app" / stamp), 0o600) == ""
    assert not site.sync().get("failed")
    return Path(f"{key}.pub").read_text()


def forge(site: Site, stamp: str, **change: Any) -> None:
    """Let a set over there have another manifest than the one that was signed."""
    name = f"site/a/app/{stamp}/manifest.json"
    data = {**json.loads(site.endpoint.content("backups", name)), **change}
    site.endpoint.admin.put_object(Bucket="backups", Key=name, Body=json.dumps(data).encode())


@pytest.mark.parametrize("how", ["unsigned", "forged", "another key", "noise"])
def test_a_newest_set_that_nobody_signed_gives_way_to_an_older_one(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Loudly, and only where the newest is asked for; nothing of the refused one is fetched."""
    old, new = "20260101T000000Z", "20260102T000000Z"
    public = signed_sets(site, tmp_path, monkeypatch, old, new)
    where = f"site/a/app/{new}/manifest.json.sig"
    if how == "unsigned":
        site.endpoint.admin.delete_object(Bucket="backups", Key=where)
    elif how == "noise":
        site.endpoint.admin.put_object(Bucket="backups", Key=where, Body=b"noise")
    elif how == "forged":
        forge(site, new, release="evil")
    else:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "evil")], check=True)
        monkeypatch.setattr(signatures, "HOST_KEYS", (str(tmp_path / "evil"),))
        (site.folder / "app" / new / "manifest.json.sig").unlink()
        assert signatures.sign(Host(StubAgent()), str(site.folder / "app" / new), 0o600) == ""
        body = (site.folder / "app" / new / "manifest.json.sig").read_bytes()
        site.endpoint.admin.put_object(Bucket="backups", Key=where, Body=body)
    said = {
        "unsigned": "is not signed: it has no manifest.json.sig",
        "forged": "is not the one that was signed by SHA256:",
        "another key": "was signed by another key, SHA256:",
        "noise": "was signed by nobody that can be told",
    }[how]
    given: dict[str, Any] = {"state": "pulled", "dir": str(site.folder / "new"), "signed_by": [public]}
    for select in (new, "latest", "latest_verified"):
        preview = site.sync(check=True, **given, select=select)
        assert not (site.folder / "new").exists()
        result = site.sync(**given, select=select)
        if select == new:
            for each in (preview, result):
                assert each["failed"] and f"the set {new}" in each["msg"] and said in each["msg"], each
            continue
        for each in (preview, result):
            assert not each.get("failed") and each["stamp"] == old, each
            [reason] = each["refused"]
            assert f"the set {new}" in reason and said in reason
            assert f"{reason}; in its place the set {old} is taken" in each["warnings"]
        assert os.listdir(site.folder / "new/app") == [old] and site.way.count("GET", f"{new}/part") == 0
        shutil.rmtree(site.folder / "new")
    monkeypatch.undo()
    # Who asks for no signature gets the newest.
    assert how == "forged" or site.sync(**{**given, "signed_by": []})["stamp"] == new


def test_no_set_is_signed(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = ("20260101T000000Z", "20260102T000000Z")
    signed_sets(site, tmp_path, monkeypatch, *stamps)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    given = {"state": "pulled", "dir": str(tmp_path / "new"), "signed_by": [(tmp_path / "other.pub").read_text()]}
    result = site.sync(**given)
    assert result["failed"] and "no set can be trusted, nothing was fetched: " in result["msg"]
    assert all(f"the set {stamp} was signed by another key" in result["msg"] for stamp in stamps), result["msg"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"name": "../../evil"}, "is named '../../evil', which is no name within the set"),
        ({"name": "/evil"}, "is named '/evil', which is no name within the set"),
        ({"size": "much"}, "its entry part/app.dump has the size 'much', which is no number of bytes"),
        (None, "its entry part/app.dump is there twice"),
    ],
)
def test_a_set_whose_manifest_lies_is_refused(site: Site, entry: dict[str, Any] | None, said: str) -> None:
    """By name it is an error; the newest good one is taken in its place, and why is said."""
    old, new = "20260101T000000Z", "20260102T000000Z"
    site.make(stamp=old, hours=2)
    site.make(stamp=new)
    assert not site.sync().get("failed")
    [was] = json.loads(site.endpoint.content("backups", f"site/a/app/{new}/manifest.json"))["files"]
    forge(site, new, files=[was, was] if entry is None else [{**was, **entry}])
    given = {"state": "pulled", "dir": str(site.folder / "new")}
    named = site.sync(**given, select=new)
    assert named["failed"] and f"the set {new} is refused: " in named["msg"] and said in named["msg"], named
    result = site.sync(**given)
    assert result["stamp"] == old and any(said in one for one in result["warnings"]), result
    assert sorted(path.name for path in site.folder.iterdir()) == ["app", "new"]
    assert site.sync(state="checked")["newest"] == old


def test_a_set_here_whose_manifest_lies_is_told_of_and_keeps_no_other_from_the_store(site: Site) -> None:
    site.make(stamp="20250101T000000Z", hours=2)
    site.make()
    path = site.folder / "app/20250101T000000Z/manifest.json"
    path.write_text(path.read_text().replace('"part/app.dump"', '"/etc/shadow"'))
    result = site.sync()
    assert (
        result["failed"]
        and "20250101T000000Z is refused: the entry 1 of its files is named '/etc/shadow'" in result["msg"]
    )
    assert {name.split("/")[3] for name in site.names()} == {STAMP}


def test_a_store_that_sends_without_end_fills_no_disk(site: Site) -> None:
    site.make(LARGE)
    assert not site.sync().get("failed")
    name = f"site/a/app/{STAMP}/part/app.dump"
    site.endpoint.admin.put_object(Bucket="backups", Key=name, Body=LARGE + b"more")
    result = site.sync(state="pulled", dir=str(site.folder / "new"))
    assert result["failed"] and f"has more than the {len(LARGE)} bytes that it may have" in result["msg"]
    assert os.listdir(site.folder / "new/app") == []


# --- size ---

PROGRAM = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from opsplay.agent import spec
from opsplay.agent.host import Host
from opsplay.modules.backup import offsite_sync
class Agent:
    def send(self, kind, number, payload):
        pass
host = Host(Agent())
host.begin(1, {})
begun = time.monotonic()
result = offsite_sync.run(host, spec.validate(offsite_sync.PARAMS, json.load(sys.stdin)))
most = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")][0]
print(json.dumps({"result": result, "seconds": time.monotonic() - begun, "mib": int(most) / 1024}))
"""


def test_memory_is_bounded(site: Site) -> None:
    """A file of 256 MiB in parts of 64: neither the file nor a part is ever whole in memory."""
    path = site.folder / "app" / STAMP / "part/app.dump"
    site.make(b"")
    found = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(256):
            piece = hashlib.sha256(b"%d" % number).digest() * (MIB // 32)
            found.update(piece)
            file.write(piece)
    manifest = json.loads((path.parents[1] / "manifest.json").read_text())
    manifest["files"] = [{"name": "part/app.dump", "size": 256 * MIB, "sha256": found.hexdigest()}]
    (path.parents[1] / "manifest.json").write_text(json.dumps(manifest))
    params = site.params(endpoint=site.endpoint.url, part_size=64, timeout=120)
    for state in ("pushed", "pulled"):
        given = json.dumps({**params, "state": state, "dir": str(site.folder / ("new" if state == "pulled" else "."))})
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", PROGRAM, str(ROOT)], input=given, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["mib"] < 64, told


@pytest.fixture(scope="module")
def stripped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What travels to hosts, as it travels."""
    folder = tmp_path_factory.mktemp("stripped")
    for area in ("agent", "modules"):
        shutil.copytree(ROOT / "opsplay" / area, folder / "opsplay" / area, copy_function=copy_stripped,
                        ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    (folder / "opsplay/__init__.py").write_text("")
    return folder


@pytest.mark.parametrize("python", interpreters())
def test_every_python_speaks_it(site: Site, stripped: Path, tmp_path: Path, python: str) -> None:
    """Sent and fetched over TLS by each Python that is here, with nothing but its standard library."""
    site.make(LARGE[: 6 * MIB])
    ca = certificate("our CA", ca=True)
    server = certificate("127.0.0.1", ["127.0.0.1"], ca)
    for name, text in (("ca", ca.pem), ("cert", server.pem), ("key", server.key_pem)):
        (tmp_path / name).write_text(text)
    with way_to(site.endpoint, tmp_path / "cert", tmp_path / "key") as secured:
        secured.faults = [Fault("cut", "PUT", "partNumber=2", at=MIB // 2), Fault("short", "GET", "app.dump", at=MIB)]
        params = site.params(endpoint=secured.url, ca_file=str(tmp_path / "ca"))
        for state, folder in (("pushed", site.folder), ("pulled", site.folder / "new")):
            given = json.dumps({**params, "state": state, "dir": str(folder)})
            done = subprocess.run(
                [python, "-I", "-S", "-c", PROGRAM, str(stripped)], input=given, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        assert not any(fault.times for fault in secured.faults)
    assert (site.folder / "new/app" / STAMP / "part/app.dump").read_bytes() == LARGE[: 6 * MIB]


# --- the playbooks ---

FETCH = """
- hosts: service
  gather_facts: false
  vars: {offsite_host: "{{ groups.backup_store | default([]) | first | default('') }}"}
  tasks:
    - import_tasks: %s/playbooks/tasks/offsite.yml
      vars: {offsite_task: Fetched, offsite_dir: "{{ new }}", offsite_name: app, offsite_state: pulled,
             offsite_fetch_access_key: "{{ reader }}", offsite_fetch_secret_key: "{{ reader_secret }}"}
    - assert: {that: offsite.stamp == '20260101T000000Z'}
"""


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the playbooks become root")


def play(site: Site, playbook: Path, *words: str, **values: Any) -> tuple[int, str]:
    """Run a playbook on this host itself; its exit code and all that it says."""
    key = site.endpoint.keys["append"]
    known = {"backup_dir": str(site.folder), "backup_name": "app", "offsite_bucket": "backups",
             "offsite_endpoint": site.way.url, "offsite_prefix": "site/a", "offsite_access_key": key["access_key"],
             "offsite_secret_key": key["secret_key"]}  # fmt: skip
    (site.folder / "vars.json").write_text(json.dumps({**known, **values}))
    (site.folder / "hosts").write_text("[service]\nhere ansible_connection=local\n[dr]\nhere\n")
    argv = [sys.executable, "-m", "opsplay", "run", "-i", str(site.folder / "hosts"), str(playbook), *words]
    environment = {**os.environ, "HOME": str(site.folder / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*argv, "-e", f"@{site.folder}/vars.json", "-v", "--diff"],
        cwd=site.folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@as_root
def test_the_playbooks_take_a_bucket(site: Site) -> None:
    site.make()
    playbook = ROOT / "playbooks/offsite_sync.yml"
    code, said = play(site, playbook, "--check")
    assert code == 0 and "changed=1" in said and site.names() == [], said
    code, said = play(site, playbook)
    assert code == 0 and "changed=1" in said and len(site.names()) == 2, said
    assert site.endpoint.keys["append"]["secret_key"] not in said
    code, said = play(site, playbook)
    assert code == 0 and "changed=0" in said, said
    reader = site.endpoint.keys["read"]
    (site.folder / "fetch.yml").write_text(FETCH % ROOT)
    given = {"new": str(site.folder / "new"), "reader": reader["access_key"], "reader_secret": reader["secret_key"]}
    code, said = play(site, site.folder / "fetch.yml", **given)
    assert code == 0 and (site.folder / "new/app" / STAMP / "part/app.dump").exists(), said
    assert reader["secret_key"] not in said


@as_root
def test_sets_of_one_kind_go_there_too(site: Site) -> None:
    """Each below a name of its own, as full_backup makes them; one that cannot be sent keeps none of the others here."""

    def lies(name: str) -> set[str]:
        return {path.split("/")[3] for path in site.names() if path.split("/")[2] == name}

    site.make()
    for kind in ("config", "database"):
        site.make(stamp="20250101T000000Z", hours=9000)
        (site.folder / "app" / "20250101T000000Z").rename(site.folder / "moved")
        (site.folder / f"app-{kind}").mkdir()
        (site.folder / "moved").rename(site.folder / f"app-{kind}" / "20250101T000000Z")
    (site.folder / "app-other").mkdir()
    playbook = ROOT / "playbooks/offsite_sync.yml"
    code, said = play(site, playbook, "--check")
    assert code == 0 and "changed=3" in said and site.names() == [], said
    damaged = site.folder / "app-config/20250101T000000Z/part/app.dump"
    whole = damaged.read_bytes()
    damaged.write_bytes(b"cut")
    code, said = play(site, playbook)
    assert code == 2 and "not all is over there: app-config: " in said, said
    assert (lies("app"), lies("app-config"), lies("app-database")) == ({STAMP}, set(), {"20250101T000000Z"})
    damaged.write_bytes(whole)
    code, said = play(site, playbook)
    assert code == 0 and "changed=1" in said and lies("app-config") == {"20250101T000000Z"}, said
    code, said = play(site, playbook)
    assert code == 0 and "changed=0" in said, said


@as_root
def test_a_full_backup_goes_to_a_bucket_where_there_is_one(site: Site) -> None:
    (site.folder / "conf").write_text("kept")
    archives = {"config": {"paths": [str(site.folder / "conf")]}}
    playbook = ROOT / "playbooks/full_backup.yml"
    code, said = play(site, playbook, backup_archives=archives, offsite_bucket="", offsite_required=False)
    assert code == 0 and "changed=1" in said and site.way.asked == [], said
    code, said = play(site, playbook, backup_archives=archives)
    assert code == 0 and "changed=2" in said, said
    # A signature besides, where this host has a key.
    assert [name.rpartition("/")[2] for name in site.names() if not name.endswith(".sig")] == [
        "config.tar",
        "manifest.json",
    ] * 2


@as_root
def test_configuration_that_could_not_be_sent_is_sent_when_it_has_not_changed(site: Site) -> None:
    (site.folder / "conf").write_text("kept")
    given: dict[str, Any] = {
        "backup_archives": {"config": {"paths": [str(site.folder / "conf")]}},
        "backup_type": "config",
    }
    playbook = ROOT / "playbooks/full_backup.yml"
    code, said = play(site, playbook, **given, offsite_bucket="missing")
    assert code == 2 and site.names() == [], said
    time.sleep(1.1)
    code, said = play(site, playbook, **given, offsite_max_age=0.0001)
    assert code == 0 and "changed=1" in said, said
    assert {name.split("/")[2] for name in site.names()} == {"app-config"}
    assert sum(name.endswith("/manifest.json") for name in site.names()) == 1
    code, said = play(site, playbook, **given)
    assert code == 0 and "changed=0" in said, said


@as_root
def test_a_service_without_files_goes_back_and_what_lacks_is_said_first(site: Site) -> None:
    """Secrets of the programs' environment are shown nowhere."""
    word, out = "pa55-in-the-environment", site.folder / "out"
    program = {"argv": ["sh", "-c", "echo content"], "environment": {"WORD": word}}
    given: dict[str, Any] = {"offsite_bucket": "", "offsite_required": False, "backup_programs": {"words": program}}
    code, said = play(site, ROOT / "playbooks/full_backup.yml", **given)
    assert code == 0 and word not in said, said
    take = {"part": "words", "argv": ["sh", "-c", f"cat > {out}"], "environment": {"WORD": word}}
    more: dict[str, Any] = {**given, "backup_hosts": "service", "confirm_restore": "restore app on here"}
    code, said = play(site, ROOT / "playbooks/restore_full.yml", **more, dr_programs=[take, {**take, "part": "absent"}])
    assert code == 2 and "has no absent; nothing was touched" in said and not out.exists(), said
    code, said = play(site, ROOT / "playbooks/restore_full.yml", **more, dr_programs=[take])
    assert code == 0 and word not in said and out.read_text() == "content\n", said
    kept = [path for path in (site.folder / "home").rglob("*") if path.is_file() and word.encode() in path.read_bytes()]
    assert kept == []


@as_root
def test_what_a_playbook_lacks(site: Site) -> None:
    site.make()
    code, said = play(site, ROOT / "playbooks/offsite_sync.yml", offsite_bucket="")
    assert code == 2 and "no store keeps backups elsewhere; name a host in the group backup_store" in said, said
    code, said = play(site, ROOT / "playbooks/full_backup.yml", offsite_bucket="")
    assert code == 2 and "name a bucket in offsite_bucket" in said, said
    # Whatever happens, nothing is recovered onto this very machine.
    values: dict[str, Any] = {"dr_folder": str(site.folder / "recovery"), "dr_key": "k", "dr_min_cores": 4096}
    code, said = play(site, ROOT / "playbooks/disaster_recover.yml", **values)
    assert code == 2 and "not begun; give dr_store_access_key, dr_store_secret_key, dr_checks" in said, said
    code, said = play(site, ROOT / "playbooks/disaster_recover.yml", **values, offsite_bucket="")
    assert "not begun; give dr_store_key, a host in the group backup_store, or offsite_bucket, dr_checks" in said, said
