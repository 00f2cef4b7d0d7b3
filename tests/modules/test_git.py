"""git on real hosts, with a bare repository that is made there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call, run_calls, run_module
from tests.modules import harness
from tests.modules.cases import Case, previews, prove

REPO, DEST = "/srv/op/repo.git", "/srv/op/dest"
URL = f"file://{REPO}"
IN = f"cd {DEST};"
WORK = """
export GIT_AUTHOR_DATE=2024-01-01T00:00:00Z GIT_COMMITTER_DATE=2024-01-01T00:00:00Z
export GIT_AUTHOR_NAME=n GIT_COMMITTER_NAME=n GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_EMAIL=a@b
"""
BUILD = WORK + f"""
rm -rf /srv/op; mkdir -p /srv/op; cd /srv/op
git init -q sub; cd sub; git checkout -q -b main; echo s > s; git add s; git commit -qm s; cd ..
git init -q --bare repo.git; git -C repo.git symbolic-ref HEAD refs/heads/main
git init -q work; cd work; git checkout -q -b main; git remote add origin {REPO}
echo 1 > f; git add f; git commit -qm one; git tag v1; git tag -a -m t v1a
echo 2 > f; git commit -qam two
git checkout -q -b other; echo o > o; git add o; git commit -qm other
git checkout -q -b moved main; echo 3 > f; git commit -qam three; git update-ref refs/hidden/x HEAD
git checkout -q -b withsub main; git -c protocol.file.allow=always submodule -q add /srv/op/sub sub; git commit -qm sub
git push -q origin main other withsub v1 v1a refs/hidden/x
"""
ONE, TWO = "$(git -C /srv/op/work rev-parse v1)", "$(git -C /srv/op/work rev-parse main)"
FRESH = f"rm -rf {DEST} {DEST}2 /srv/op/*.tar.gz;"
CLONE = FRESH + f"git clone -q {URL} {DEST};"
SHOW = f"{IN} git log -1 --format=%s; git symbolic-ref -q --short HEAD; cat f; git config remote.origin.url"
BASE = {"repo": URL, "dest": DEST}

CASES = [
    Case("is cloned", BASE, FRESH, SHOW, f"two\nmain\n2\n{URL}", result={"before": None, "remote_url_changed": False}),
    Case("is there", BASE, CLONE, changed=False),
    Case("a branch", {**BASE, "version": "other"}, FRESH, SHOW, f"other\nother\n2\n{URL}"),
    Case("a tag", {**BASE, "version": "v1"}, FRESH, SHOW, f"one\n1\n{URL}"),
    Case("an annotated tag", {**BASE, "version": "v1a"}, CLONE, SHOW, f"one\n1\n{URL}"),
    Case("another branch", {**BASE, "version": "other"}, CLONE, SHOW, f"other\nother\n2\n{URL}"),
    Case("back to the default branch", BASE, CLONE + f"git -C {DEST} checkout -q v1", SHOW, f"two\nmain\n2\n{URL}"),
    Case("one that is behind", BASE, CLONE + f"git -C {DEST} reset -q --hard v1", SHOW, f"two\nmain\n2\n{URL}"),
    Case("a hidden commit", {**BASE, "version": "moved", "refspec": "+refs/hidden/x:refs/heads/moved"}, FRESH,
         f"{IN} cat f", "3", exact=False),
    Case("only one commit", {**BASE, "depth": 1}, FRESH, f"{IN} git rev-list --count HEAD", "1"),
    Case("only one commit of a tag", {**BASE, "depth": 1, "version": "v1a"}, FRESH,
         f"{IN} git rev-list --count HEAD; cat f", "1\n1"),
    Case("only one commit, then another branch", {**BASE, "depth": 1, "version": "other"},
         FRESH + f"git clone -q --depth 1 {URL} {DEST}", f"{IN} ls; git rev-list --count HEAD", "f\no\n1"),
    Case("only one branch", {**BASE, "single_branch": True, "version": "other"}, FRESH,
         f"{IN} git branch -r", "origin/other"),
    Case("bare", {**BASE, "bare": True}, FRESH, f"{IN} git rev-parse --is-bare-repository; git log -1 --format=%s",
         "true\ntwo"),
    Case("bare and behind", {**BASE, "bare": True},
         FRESH + f"git clone -q --bare {URL} {DEST}; git -C {DEST} update-ref refs/heads/main v1",
         f"{IN} git log -1 --format=%s", "two"),
    Case("another name for the remote", {**BASE, "remote": "up"}, FRESH, f"{IN} git remote", "up"),
    Case("another address", {**BASE, "repo": REPO.replace("repo.git", "work/.git"), "version": "main"}, CLONE,
         f"{IN} git config remote.origin.url", "/srv/op/work/.git", result={"remote_url_changed": True}),
    Case("a path for its address", {**BASE, "repo": REPO}, CLONE, changed=False,
         result={"remote_url_changed": False}),
    Case("modified", BASE, CLONE + f"echo x > {DEST}/f", fails="Local modifications exist"),
    Case("modified, by force", {**BASE, "force": True}, CLONE + f"echo x > {DEST}/f; echo y > {DEST}/y",
         f"{IN} cat f y", "2\ny"),
    Case("not updated", {**BASE, "version": "other", "update": False}, CLONE, changed=False),
    Case("not cloned", {**BASE, "clone": False}, FRESH, f"ls {DEST}", "", repeats=True),
    Case("apart", {**BASE, "separate_git_dir": DEST + "2"}, FRESH, f"cat {DEST}/.git {DEST}/f", f"gitdir: {DEST}2\n2"),
    Case("moved apart", {**BASE, "separate_git_dir": DEST + "2"}, CLONE, f"cat {DEST}/.git", f"gitdir: {DEST}2",
         result={"git_dir_before": DEST + "/.git", "git_dir_now": DEST + "2"}),
    Case("an archive", {**BASE, "archive": "/srv/op/a.tar.gz", "archive_prefix": "x/"}, FRESH,
         "tar tzf /srv/op/a.tar.gz", "x/\nx/f", exact=False),
    Case("submodules", {**BASE, "version": "withsub"}, FRESH + "git config --global protocol.file.allow always",
         f"{IN} cat sub/s", "s", exact=False),
    Case("without submodules", {**BASE, "version": "withsub", "recursive": False}, FRESH, f"{IN} ls sub", ""),
    Case("a folder that is none", BASE, FRESH + f"mkdir {DEST}; touch {DEST}/x", fails="is no git repository"),
    Case("no such version", {**BASE, "version": "nosuch"}, CLONE, fails="has no branch and no tag nosuch"),
    Case("no such repository", {**BASE, "repo": URL + "x"}, FRESH, fails="cannot read"),
    Case("an option for a version", {**BASE, "version": "--upload-pack=x"}, FRESH, fails="cannot begin with a dash"),
    Case("no dest", {"repo": URL}, fails="must be specified unless clone=no"),
]  # fmt: skip


@pytest.fixture(scope="module")
def hosts(fleet: dict[str, LabHost]) -> Iterator[dict[str, LabHost]]:
    for host in fleet.values():
        host.run("apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends git",
                 timeout=300)  # fmt: skip
        host.run(BUILD)
    yield fleet
    for host in fleet.values():
        host.run("rm -rf /srv/op /root/.gitconfig")


@pytest.mark.lab
@pytest.mark.parametrize("release", ["bullseye", "bookworm", "trixie"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_git(hosts: dict[str, LabHost], case: Case, release: str) -> None:
    result = prove(hosts[release], "vcs.git", case)
    if not case.fails and case.params.get("clone", True) and case.params.get("update", True):
        assert len(result["after"]) == 40


@pytest.mark.lab
class TestGit:
    def test_a_commit(self, hosts: dict[str, LabHost]) -> None:
        host = hosts["bookworm"]
        commit = host.run(f"{FRESH} git -C {REPO} rev-parse v1").stdout.strip()
        first, again, short = run_calls(
            host, [Call("vcs.git", {**BASE, "version": name}) for name in (commit, commit, commit[:8])]
        )
        assert first["changed"] and first["after"] == commit and not again["changed"] and not short["changed"]
        assert host.run(f"cat {DEST}/f").stdout == "1\n"

    def test_what_is_not_signed_is_not_checked_out(self, hosts: dict[str, LabHost]) -> None:
        host = hosts["bookworm"]
        host.run(FRESH)
        result = run_module(host, "vcs.git", {**BASE, "verify_commit": True})
        assert result["failed"] and "Failed to verify GPG signature" in result["msg"]
        assert host.run(f"ls {DEST}").stdout == ""

    def test_a_preview_goes_on_without_git(self, hosts: dict[str, LabHost]) -> None:
        host = hosts["bookworm"]
        host.run(FRESH)
        preview, copied = previews(
            host,
            [
                ("vcs.git", {**BASE, "dest": DEST + "/deep"}),
                ("files.copy", {"content": "x", "dest": DEST + "/deep/f"}),
            ],
        )
        assert preview["changed"] and copied["changed"]
        missing = previews(host, [("commands.command", {"cmd": "true"}), ("vcs.git", {**BASE, "executable": "nogit"})])
        assert missing[1]["changed"] and "is not known" in missing[1]["warnings"][0]

    def test_over_ssh(self, hosts: dict[str, LabHost]) -> None:
        """From one host to another, with a key of its own and a host key that is unknown at first."""
        host, server = hosts["bookworm"], hosts["trixie"]
        host.run(f"{FRESH} rm -rf /srv/op/key* /root/.ssh/known_hosts; ssh-keygen -q -t ed25519 -N '' -f /srv/op/key")
        public = host.run("cat /srv/op/key.pub").stdout
        server.run(f"mkdir -p /root/.ssh; echo '{public.strip()}' >> /root/.ssh/authorized_keys")
        params = {"repo": f"ssh://root@{server.address}{REPO}", "dest": DEST, "key_file": "/srv/op/key"}
        refused = run_module(host, "vcs.git", params)
        assert refused["failed"] and "Host key verification failed" in refused["msg"]
        done, again = run_calls(host, [Call("vcs.git", {**params, "accept_newhostkey": True}), Call("vcs.git", params)])
        assert done["changed"] and not again.get("failed") and not again["changed"], (done, again)
        other = run_module(host, "vcs.git", {**params, "key_file": "/srv/op/nosuch"})
        assert other["failed"] and "Permission denied" in other["msg"]


def gpg(*words: str) -> str:
    argv = ["gpg", "--batch", "--quiet", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_signatures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a commit and of a tag, by a key that is known and one that is allowed."""
    home, work, dest = tmp_path / "gnupg", tmp_path / "work", tmp_path / "dest"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    gpg("--passphrase", "", "--quick-generate-key", "Test <test@example.org>", "ed25519", "default", "never")
    listed = gpg("--list-keys", "--with-colons").splitlines()
    fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for words in (["init", "-q", str(work)], ["commit", "-q", "--allow-empty", "-S", "-m", "signed"],
                  ["tag", "-s", "-m", "signed", "v1"], ["commit", "-q", "--allow-empty", "-m", "plain"],
                  ["tag", "v2"]):  # fmt: skip
        subprocess.run(["git", *identity, *words], cwd=work if work.exists() else tmp_path, check=True)
    params = {"repo": f"file://{work}", "dest": str(dest), "verify_commit": True}
    refused = harness.run("vcs.git", {**params, "version": "v2"})
    assert refused["failed"] and "Failed to verify GPG signature of commit" in refused["msg"]
    assert harness.run("vcs.git", {**params, "version": "v1"})["after"]
    own = {**params, "version": "v1", "gpg_allowlist": [fingerprint]}
    assert not harness.run("vcs.git", own).get("failed")
    other = harness.run("vcs.git", {**own, "gpg_allowlist": ["0" * 40]})
    assert other["failed"] and "is not in gpg_allowlist" in other["msg"]
