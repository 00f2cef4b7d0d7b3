"""apt's sources and keys, debconf's answers and dpkg's selections on real hosts, as tables."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from opsplay.lab import LabHost
from opsplay.modules.packages import _openpgp
from opsplay.modules.packages._sources import Source, file_for
from tests.lab.remote_module import Call, run_module
from tests.modules import repository
from tests.modules.cases import Case, one, prove

KEYS = Path("/usr/share/keyrings")
LINE = "deb [trusted=yes] https://deb.example.org/x.y/debian bookworm main"
ADDED = "/etc/apt/sources.list.d/deb_example_org_x_y_debian.list"
QUIET = {"update_cache": False}
CLEAN = (
    "rm -f /etc/apt/sources.list.d/*example* /etc/apt/sources.list.d/own* /etc/apt/sources.list.d/my-repo*"
    " /etc/apt/keyrings/my-repo* /etc/apt/trusted.gpg.d/own* /etc/apt/trusted.gpg.d/[0-9A-F][0-9A-F]*.gpg;"
)
LISTS = "cd /etc/apt/sources.list.d; grep -H . *example* own* 2>/dev/null"

SOURCES = [
    Case("a source", {"repo": "  ".join(LINE.split(" ", 1)), **QUIET}, CLEAN, LISTS,
         f"deb_example_org_x_y_debian.list:{LINE}", result={"sources_added": [ADDED], "sources_removed": []}),
    Case("a source is there", {"repo": LINE, **QUIET}, f"{CLEAN} echo '{LINE}' > {ADDED}", changed=False),
    Case("a source is there elsewhere", {"repo": LINE, "filename": "own", **QUIET},
         f"{CLEAN} echo '{LINE} # ours' > {ADDED}", changed=False),
    Case("a source counts again", {"repo": LINE, **QUIET}, f"{CLEAN} echo '# {LINE} # ours' > {ADDED}", LISTS,
         f"deb_example_org_x_y_debian.list:{LINE} # ours", result={"sources_added": []}),
    Case("a file of its own", {"repo": LINE, "filename": "own", "mode": "0600", **QUIET}, CLEAN,
         "stat -c '%n %a' /etc/apt/sources.list.d/own*", "/etc/apt/sources.list.d/own.list 600"),
    Case("another in the same file", {"repo": "deb https://deb.example.org/z ./", "filename": "own", **QUIET},
         f"{CLEAN} echo '{LINE}' > /etc/apt/sources.list.d/own.list", LISTS,
         f"own.list:{LINE}\nown.list:deb https://deb.example.org/z ./", result={"sources_added": []}),
    Case("a source goes", {"repo": LINE, "state": "absent", **QUIET}, f"{CLEAN} echo '{LINE}' > {ADDED}", LISTS, "",
         result={"sources_added": [], "sources_removed": [ADDED]}),
    Case("a source goes and others stay", {"repo": LINE, "state": "absent", **QUIET},
         f"{CLEAN} printf '# hers\\n{LINE}\\n' > {ADDED}", LISTS, "deb_example_org_x_y_debian.list:# hers",
         result={"sources_removed": []}),
    Case("a source is gone", {"repo": LINE, "state": "absent"}, CLEAN, changed=False),
    Case("no source", {"repo": "nonsense"}, fails="Invalid repository string"),
    Case("no components", {"repo": "deb https://deb.example.org/x bookworm"}, fails="components unless the suite"),
    Case("another distribution's archive", {"repo": "ppa:owner/name"}, fails="give codename"),
    Case("an archive that is out of reach", {"repo": "ppa:owner/name", "codename": "jammy"},
         "grep -q launchpad /etc/hosts || echo '127.0.0.1 api.launchpad.net' >> /etc/hosts", fails="cannot be used"),
]  # fmt: skip

DEB822 = [
    Case("a repository", {"name": "My Repo!", "uris": ["https://deb.example.org/x", "https://b.example.org"],
                          "suites": "stable", "components": ["main", "contrib"], "types": ["deb", "deb-src"],
                          "enabled": False, "date_max_future": 5, "inrelease_path": "a/b", "architectures": "amd64"},
         CLEAN, "cat /etc/apt/sources.list.d/my-repo.sources",
         "Architectures: amd64\nComponents: main contrib\nDate-Max-Future: 5\nEnabled: no\nInrelease-Path: a/b\n"
         "X-Repolib-Name: My Repo!\nSuites: stable\nTypes: deb deb-src\nURIs: https://deb.example.org/x "
         "https://b.example.org", result={"dest": "/etc/apt/sources.list.d/my-repo.sources", "mode": "0644"}),
    Case("a repository with a key of its own", {"name": "my_repo", "uris": "https://deb.example.org", "suites": "./",
                                                "signed_by": f"file://{KEYS}/debian-archive-keyring.gpg"},
         CLEAN, f"grep Signed /etc/apt/sources.list.d/my-repo.sources; cmp /etc/apt/keyrings/my-repo.gpg "
         f"{KEYS}/debian-archive-keyring.gpg", "Signed-By: /etc/apt/keyrings/my-repo.gpg",
         result={"key_filename": "/etc/apt/keyrings/my-repo.gpg"}),
    Case("a repository with a key's file", {"name": "my-repo", "uris": "https://deb.example.org", "suites": "./",
                                            "signed_by": "/usr/share/keyrings/x.gpg"}, CLEAN,
         "grep Signed /etc/apt/sources.list.d/my-repo.sources", "Signed-By: /usr/share/keyrings/x.gpg"),
    Case("a key that is none", {"name": "my-repo", "signed_by": "file:///etc/passwd"}, CLEAN, fails="there is no key"),
    Case("a repository goes with its key", {"name": "my-repo", "state": "absent"},
         CLEAN + "mkdir -p /etc/apt/keyrings; touch /etc/apt/sources.list.d/my-repo.sources"
         " /etc/apt/keyrings/my-repo.asc", "ls /etc/apt/sources.list.d /etc/apt/keyrings | grep my-repo", ""),
    Case("a repository is gone", {"name": "my-repo", "state": "absent"}, CLEAN, changed=False),
]  # fmt: skip

SHOW = "debconf-show op | sort"
FORGET = "echo PURGE | debconf-communicate op >/dev/null 2>&1;"
DEBCONF = [
    Case("an answer", {"name": "op", "question": "op/yes", "vtype": "boolean", "value": True}, FORGET, SHOW,
         "* op/yes: true", result={"current": {"op/yes": "true"}, "previous": {"op/yes": ""}}),
    Case("an answer is there", {"name": "op", "question": "op/yes", "vtype": "boolean", "value": "true"},
         FORGET + "echo op op/yes boolean true | debconf-set-selections", changed=False,
         result={"current": {"op/yes": "true"}}),
    Case("another answer", {"name": "op", "question": "op/name", "vtype": "string", "value": "b"},
         FORGET + "echo op op/name string a | debconf-set-selections", SHOW, "* op/name: b",
         result={"previous": {"op/name": "a"}}),
    Case("several answers in any order", {"name": "op", "question": "op/m", "vtype": "multiselect", "value": ["a", "b"]},
         FORGET + "echo op op/m multiselect b, a | debconf-set-selections", changed=False),
    Case("a password", {"name": "op", "question": "op/pw", "vtype": "password", "value": "geheim"}, FORGET,
         "grep -A3 op/pw /var/cache/debconf/passwords.dat | grep Value", "Value: geheim",
         result={"current": {"op/pw": "(password omitted)"}}),
    Case("a password is there", {"name": "op", "question": "op/pw", "vtype": "password", "value": "geheim"},
         FORGET + "echo op op/pw password geheim | debconf-set-selections", changed=False),
    Case("only looked at", {"name": "op"}, FORGET + "echo op op/name string a | debconf-set-selections", changed=False,
         result={"current": {"op/name": "a"}}),
    Case("no type", {"name": "op", "question": "op/name"}, fails="required together"),
]  # fmt: skip

SELECTIONS = [
    Case("held", {"name": "tzdata", "selection": "hold"}, "apt-mark unhold tzdata", "apt-mark showhold", "tzdata",
         result={"before": "install", "after": "hold"}),
    Case("held already", {"name": "tzdata", "selection": "hold"}, "apt-mark hold tzdata", changed=False),
    Case("no longer held", {"name": "tzdata", "selection": "install"}, "apt-mark hold tzdata", "apt-mark showhold", ""),
    Case("an unknown package", {"name": "op-unknown", "selection": "hold"}, fails="Failed to find package"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", SOURCES, ids=str)
def test_apt_repository(bookworm: LabHost, case: Case) -> None:
    prove(bookworm, "packages.apt_repository", case)


@pytest.mark.lab
@pytest.mark.parametrize("case", DEB822, ids=str)
def test_deb822_repository(debian: LabHost, case: Case) -> None:
    prove(debian, "packages.deb822_repository", case)


@pytest.mark.lab
@pytest.mark.parametrize("case", DEBCONF, ids=str)
def test_debconf(debian: LabHost, case: Case) -> None:
    prove(debian, "packages.debconf", case)


@pytest.mark.lab
@pytest.mark.parametrize("case", SELECTIONS, ids=str)
def test_dpkg_selections(debian: LabHost, case: Case) -> None:
    prove(debian, "packages.dpkg_selections", case)


@pytest.mark.lab
def test_a_source_is_fetched_or_taken_back(bookworm: LabHost) -> None:
    """With the lists of a repository inside the host."""
    host = bookworm
    repository.build(host)
    try:
        good = {"repo": f"deb [trusted=yes] file:{repository.FOLDER} ./ ", "filename": "own"}
        host.run("rm -f /etc/apt/sources.list; rm -rf /var/lib/apt/lists/*")
        done = run_module(host, "packages.apt_repository", good)
        assert done["changed"] and "op-a" in host.run("apt-cache madison op-a").stdout
        bad = {"repo": "deb [trusted=yes] file:/srv/nosuch ./", "filename": "bad", "update_cache_retries": 0}
        refused = run_module(host, "packages.apt_repository", bad)
        assert refused["failed"] and "cannot be fetched" in refused["msg"]
        assert "bad.list" not in host.run("ls /etc/apt/sources.list.d").stdout
    finally:
        host.run("mkdir -p /etc/apt/sources.list.d; touch /etc/apt/sources.list")
        repository.restore(host)


def gpg(home: Path, *words: str) -> str:
    argv = ["gpg", "--homedir", str(home), "--batch", "--quiet", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """The fingerprint of a new key with a subkey, its armored block, and another key's."""
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    gpg(home, "--passphrase", "", "--quick-generate-key", "Test <test@example.org>", "ed25519", "default", "never")
    fingerprint = next(line.split(":")[9] for line in gpg(home, "--list-keys", "--with-colons").splitlines()
                       if line.startswith("fpr"))  # fmt: skip
    gpg(home, "--passphrase", "", "--quick-add-key", fingerprint, "cv25519", "encr", "never")
    gpg(home, "--passphrase", "", "--quick-generate-key", "Other <other@example.org>", "ed25519", "default", "never")
    return fingerprint, *(gpg(home, "--armor", "--export", name) for name in (fingerprint, "other@example.org"))


@pytest.mark.lab
class TestKeys:
    def test_come_and_go(self, debian: LabHost, key: tuple[str, str, str]) -> None:
        fingerprint, block, other = key
        own = "/etc/apt/trusted.gpg.d/own.asc"
        listed = "gpgv --version >/dev/null; ls /etc/apt/trusted.gpg.d | grep -v debian"
        put = f"{CLEAN} cat > /srv/key.asc <<'E'\n{block}E\n"
        cases = [
            Case("from data", {"data": block}, put, listed, f"{fingerprint}.gpg",
                 result={"fp": fingerprint, "id": fingerprint, "short_id": fingerprint[-8:]}),
            Case("from a file by its short id", {"file": "/srv/key.asc", "id": "0x" + fingerprint[-8:].lower()}, put,
                 listed, f"{fingerprint}.gpg", result={"key_id": fingerprint[-16:]}),
            Case("from an address", {"url": "file:///srv/key.asc", "keyring": own}, put, listed, "own.asc"),
            Case("is there", {"id": fingerprint, "url": "file:///srv/nosuch"},
                 f"{put} cp /srv/key.asc {own}", changed=False),
            Case("is in another keyring", {"id": fingerprint, "keyring": "/etc/apt/trusted.gpg.d/own.gpg",
                                           "file": "/srv/key.asc"},
                 f"{put} cp /srv/key.asc {own}", listed, "own.asc\nown.gpg"),
            Case("another key", {"id": "0123456789ABCDEF", "file": "/srv/key.asc"}, put, fails="holds another key"),
            Case("no key", {"file": "/etc/passwd"}, put, fails="there is no key in /etc/passwd"),
            Case("nothing says where", {"id": "0123456789ABCDEF"}, put, fails="nothing says where it is"),
            Case("goes", {"id": fingerprint[-16:], "state": "absent"}, f"{put} cp /srv/key.asc {own}", listed, ""),
            Case("goes alone", {"id": fingerprint, "state": "absent"},
                 f"{put} cat > {own} <<'E'\n{block}{other}E\n",
                 f"ls {own}", own),
            Case("is gone", {"id": fingerprint, "state": "absent"}, put, changed=False),
            Case("no id", {"state": "absent"}, fails="id is missing"),
        ]  # fmt: skip
        for case in cases:
            prove(debian, "packages.apt_key", case)


def test_keys_are_read_without_gpg(key: tuple[str, str, str]) -> None:
    fingerprint, block, _ = key
    (parsed,) = _openpgp.parse(block.encode())
    assert parsed.fingerprint == fingerprint and len(parsed.fingerprints) == 2
    assert parsed.has(fingerprint[-8:]) and not parsed.has("01234567")
    (again,) = _openpgp.parse(_openpgp.armored(parsed.data).encode())
    assert again.data == parsed.data == _openpgp.parse(parsed.data)[0].data
    for damaged in (b"", b"x", parsed.data[:-1], block.encode()[:200]):
        with pytest.raises(ValueError, match="key"):
            _openpgp.parse(damaged)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("deb https://user:pw@deb.example.org:80/a.b/c-d stable main", "deb_example_org_80_a_b_c_d"),
        ("deb-src [arch=amd64 trusted=yes] http://x.org/ y/", "x_org"),
    ],
)
def test_the_name_of_a_source_s_file(line: str, path: str) -> None:
    source = Source.parse(line)
    assert source is not None and file_for(source, None) == f"/etc/apt/sources.list.d/{path}.list"


@pytest.mark.parametrize("line", ["", "# a comment", "deb", "deb x y z", "deb https://x.org stable", "rpm http://x y z"])
def test_lines_that_are_no_source(line: str) -> None:
    assert Source.parse(line) is None


@pytest.mark.lab
def test_check_mode_of_a_source_in_sequence(bookworm: LabHost) -> None:
    bookworm.run(CLEAN)
    preview = one(bookworm, Call("packages.apt_repository", {"repo": LINE}, check=True))
    assert preview["changed"] and preview["sources_added"] == [ADDED]
