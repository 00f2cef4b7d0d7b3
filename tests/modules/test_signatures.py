"""Manifests that are signed by their host: what an attacker with the folder, and root on the store, cannot do."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opsplay.agent import backups, signatures
from opsplay.agent.host import Host
from tests.modules.harness import StubAgent, run

SET, BACK, CATALOG = "backup.backup_set", "backup.backup_restore", "backup.backup_catalog"


def key_of(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root@dead", "-f", str(path)], check=True)
    return Path(f"{path}.pub").read_text()


class Site:
    """A host with an SSH host key, and a tree that it backs up."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tree, self.dir = root / "tree", root / "sets"
        self.tree.mkdir()
        (self.tree / "f").write_text("mine")
        self.key, self.other = key_of(root / "key"), key_of(root / "other")
        self.private = root / "key"
        monkeypatch.setattr(signatures, "HOST_KEYS", (str(self.private),))

    def make(self, **params: Any) -> dict[str, Any]:
        archives = {"data": {"paths": [str(self.tree)]}}
        return run(SET, {"name": "s", "dir": str(self.dir), "archives": archives, **params})

    def back(self, folder: str, *signers: str) -> dict[str, Any]:
        return run(BACK, {"src": folder, "signed_by": list(signers), "keep_old": False})

    def choose(self, *signers: str) -> dict[str, Any]:
        return run(CATALOG, {"dir": str(self.dir), "select": "latest", "signed_by": list(signers)})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def forms(key: str) -> list[str]:
    """A public key as it may be at hand."""
    kind, text, *_ = key.split()
    return [key, f"{kind} {text}", f"app1,192.0.2.1 {kind} {text}", f"# Host app1 found: line 3\n[app1]:2222 {kind} {text}\n"]


def test_what_the_host_signed_is_taken(site: Site) -> None:
    made = site.make(sign="required")
    assert made["signed"] and not any("not signed" in said for said in made["warnings"])
    signature = Path(made["folder"]) / "manifest.json.sig"
    assert signature.stat().st_mode & 0o777 == 0o600
    for form in forms(site.key):
        shutil.rmtree(site.tree)
        assert site.back(made["folder"], site.other, form)["changed"] and (site.tree / "f").read_text() == "mine"
    found = site.choose(site.key)
    assert found["selected"]["stamp"] == made["stamp"] and found["backups"][0]["signed"]
    # By ssh-keygen's own hand, as docs/backups.md has it.
    signers = site.dir / "signers"
    signers.write_text("backup " + site.key)
    argv = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "backup", "-n", "opsplay-backup", "-s", signature]
    with open(Path(made["folder"]) / "manifest.json", "rb") as manifest:
        subprocess.run(argv, stdin=manifest, check=True, stdout=subprocess.DEVNULL)


def flipped(folder: Path) -> None:
    """Another content with a manifest that fits it: only the signature tells."""
    data = (folder / "data.tar").read_bytes().replace(b"mine", b"evil")
    (folder / "data.tar").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][0]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_bytes(backups.encoded(manifest))


def signed_otherwise(folder: Path) -> None:
    (folder / "manifest.json.sig").unlink()
    resigned(folder, folder.parents[2] / "other", signatures.NAMESPACE)


def for_something_else(folder: Path) -> None:
    """By the right key, for another purpose: a signature that it made of this text as a file."""
    (folder / "manifest.json.sig").unlink()
    resigned(folder, folder.parents[2] / "key", "file")


def resigned(folder: Path, key: Path, namespace: str) -> None:
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", namespace, str(folder / "manifest.json")]
    subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)


def of_another_set(folder: Path) -> None:
    other = run(SET, {"name": "t", "dir": str(folder.parents[1]), "archives": {"data": {"paths": ["/etc/hostname"]}}})
    shutil.copy(Path(other["folder"]) / "manifest.json.sig", folder / "manifest.json.sig")
    shutil.rmtree(Path(other["folder"]).parent)


HARM: list[tuple[Callable[[Path], Any], str]] = [
    (flipped, "its manifest is not the one that was signed by SHA256:"),
    (lambda folder: (folder / "manifest.json").open("a").write("\n"), "its manifest is not the one that was signed by"),
    (of_another_set, "its manifest is not the one that was signed by"),
    (for_something_else, "its manifest is not the one that was signed by"),
    (signed_otherwise, "was signed by another key, SHA256:"),
    (lambda folder: (folder / "manifest.json.sig").unlink(), "is not signed: it has no manifest.json.sig"),
    (lambda folder: (folder / "manifest.json.sig").write_text("-----BEGIN"), "was signed by nobody that can be told"),
    (lambda folder: (folder / "manifest.json.sig").write_bytes(b"\xff" * 99), "was signed by nobody that can be told"),
]


@pytest.mark.parametrize(("harm", "said"), HARM, ids=[
    "content", "one-byte", "another-set", "another-purpose", "another-key", "none", "cut", "noise",
])  # fmt: skip
def test_what_is_not_as_it_was_signed_is_refused(site: Site, harm: Callable[[Path], Any], said: str) -> None:
    """Before anything is touched, each with its own message; the catalog does not choose it."""
    made = site.make()
    (site.tree / "f").write_text("now")
    harm(Path(made["folder"]))
    result = site.back(made["folder"], site.key)
    assert result["failed"] and said in result["msg"] and "nothing was touched" in result["msg"], result["msg"]
    assert (site.tree / "f").read_text() == "now"
    chosen = site.choose(site.key)
    assert chosen["failed"] and said in chosen["msg"] and not chosen.get("selected")
    assert [each["signed"] for each in run(CATALOG, {"dir": str(site.dir), "signed_by": [site.key]})["backups"]] == [False]


def test_the_older_signed_one_is_chosen_and_why_is_said(site: Site) -> None:
    old, new = site.make(), site.make()
    (Path(new["folder"]) / "manifest.json.sig").unlink()
    found = site.choose(site.key)
    assert found["selected"]["stamp"] == old["stamp"]
    assert f"not chosen: {new['folder']} is not signed" in " ".join(found["warnings"])
    assert site.choose()["selected"]["stamp"] == new["stamp"]


def test_an_increment_s_signature_covers_its_base(site: Site) -> None:
    """Another base, made to fit and even signed by nobody: the increment names the manifest that it stands on."""
    full = site.make()
    made = site.make(type="incremental")
    assert site.back(made["folder"], site.key)["changed"] is False
    flipped(Path(full["folder"]))
    (site.tree / "f").write_text("now")
    result = site.back(made["folder"], site.key)
    assert result["failed"] and "whose manifest is another one" in result["msg"]
    assert (site.tree / "f").read_text() == "now"


def test_a_host_without_a_key(site: Site) -> None:
    """Warned of; with `required` nothing is made, and `latest` stays."""
    first = site.make()
    site.private.unlink()
    second = site.make()
    assert not second["signed"] and "the backup s is not signed: none of " in " ".join(second["warnings"])
    failed = site.make(sign="required")
    assert failed["failed"] and "sign is required, and this host cannot" in failed["msg"]
    site.private.write_text("no key")
    failed = site.make(sign="required")
    assert failed["failed"] and "cannot be signed" in failed["msg"] and "was not published" in failed["msg"]
    left = {name for name in os.listdir(site.dir / "s") if not name.startswith(backups.LISTING)}
    assert left == {first["stamp"], second["stamp"], "latest"}
    assert os.readlink(site.dir / "s" / "latest") == second["stamp"]


def test_signers_that_are_no_keys_are_named(site: Site) -> None:
    made = site.make()
    for wrong in ("app1", "ssh-ed25519 AAAA", "ssh-ed25519 " + "A" * 68, f"@revoked app1 {site.key}"):
        result = site.back(made["folder"], wrong)
        assert result["failed"] and "is no public SSH key" in result["msg"]


def test_the_signature_is_there_before_the_set_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And both are on the disk before the rename that publishes them."""
    seen: list[Any] = []
    sync, rename = backups.sync_tree, os.rename

    def synced(folder: str) -> None:
        seen.append(("sync", sorted(os.listdir(folder))))
        sync(folder)

    def renamed(old: str, new: str) -> None:
        seen.append(("rename", os.path.basename(new)))
        rename(old, new)

    monkeypatch.setattr(backups, "sync_tree", synced)
    monkeypatch.setattr(os, "rename", renamed)
    made = site.make()
    stamps = [entry for entry in seen if entry[0] == "sync" or entry[1] in (made["stamp"], "latest")]
    assert stamps == [
        ("sync", ["data.tar", "manifest.json", "manifest.json.sig"]), ("rename", made["stamp"]), ("rename", "latest"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_each_kind_of_host_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)
    monkeypatch.setattr(signatures, "HOST_KEYS", (str(path),))
    (tmp_path / "manifest.json").write_text("{}")
    host = Host(StubAgent())
    assert signatures.sign(host, str(tmp_path), 0o600) == ""
    backup = backups.Backup(str(tmp_path), {}, None)
    signatures.refuse(host, backup, [Path(f"{path}.pub").read_text()])
    said = subprocess.run(["ssh-keygen", "-lf", f"{path}.pub"], capture_output=True, text=True, check=True).stdout
    assert signatures.fingerprint(Path(f"{path}.pub").read_text()) == said.split()[1]
