"""known_hosts files are understood as ssh-keygen understands them; ssh_config files with what they include."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.transport import ssh_config
from opsplay.transport.known_hosts import KnownHosts, entry_name, fingerprint

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen")
KEYS = [
    base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00 " + bytes([number]) * 32).decode()
    for number in range(1, 6)
]

NAMES = ["web1", "web1.example.com", "WEB2", "10.0.0.1", "[web1]:2222", "[10.0.0.1]:2222", "::1", "[::1]:2222", "other"]
PATTERNS = st.sampled_from([
    "web1", "web1,10.0.0.1", "Web2", "web*", "*.example.com", "web?", "*,!web1", "!web1,*", "[web1]:2222", "[web*]:2222",
    "[*]:2222", "10.0.0.*", "::1", "[::1]:2222", "*", "web1.example.com,!*.com", "[web1]:22",
])  # fmt: skip
MARKERS = st.sampled_from(["", "", "", "@cert-authority ", "@revoked "])


def known_to_ssh(path: Path, name: str) -> set[bytes]:
    """The keys that ssh-keygen finds for a name (which ssh asks for in lower case), revoked ones and authorities aside."""
    done = subprocess.run(["ssh-keygen", "-f", str(path), "-F", name.lower()], capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines() if not line.startswith("#")]
    return {base64.b64decode(words[2]) for words in lines if not words[0].startswith("@")}


@needs_ssh_keygen
@given(st.lists(st.tuples(MARKERS, PATTERNS, st.sampled_from(KEYS)), min_size=1, max_size=5), st.sampled_from(NAMES))
def test_lookups_are_ssh_keygen_s(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str, str]], name: str
) -> None:
    path = tmp_path_factory.mktemp("known") / "known_hosts"
    path.write_text("".join(f"{marker}{pattern} ssh-ed25519 {key} note\n" for marker, pattern, key in lines))
    ours = {key for _, key in KnownHosts.load(path).lookup(name)}
    assert ours == known_to_ssh(path, name)


@needs_ssh_keygen
@pytest.mark.parametrize("name", NAMES)
def test_hashed_names(name: str, tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("".join(f"{known} ssh-ed25519 {key}\n" for known, key in zip(NAMES, [*KEYS, *KEYS], strict=False)))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
    assert "|1|" in path.read_text()
    assert {key for _, key in KnownHosts.load(path).lookup(name)} == known_to_ssh(path, name)
    assert known_to_ssh(path, name)


def test_what_is_revoked_or_broken(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(
        f"# a comment\n\nshort line\nweb1 ssh-ed25519 !!!notbase64\n@revoked * ssh-ed25519 {KEYS[0]}\n"
        f"@cert-authority *.x ssh-ed25519 {KEYS[1]}\n|1|broken ssh-ed25519 {KEYS[2]}\nweb1 ssh-ed25519 {KEYS[3]}\n"
    )
    known = KnownHosts.load(path)
    assert known.revoked == {base64.b64decode(KEYS[0])}
    assert known.has_authority("web.x") and not known.has_authority("web.y")
    assert known.lookup("web1") == [("ssh-ed25519", base64.b64decode(KEYS[3]))]
    assert KnownHosts.load(tmp_path / "none").lookup("web1") == []


def test_an_accepted_key_is_remembered_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ssh" / "known_hosts"
    known = KnownHosts.load(path)
    known.add("[h]:22022", "ssh-ed25519", base64.b64decode(KEYS[0]))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    for found in (known, KnownHosts.load(path)):
        assert found.lookup("[H]:22022") == [("ssh-ed25519", base64.b64decode(KEYS[0]))]


def test_a_file_without_a_last_newline_gets_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"a ssh-ed25519 {KEYS[0]}")
    KnownHosts.load(path).add("b", "ssh-ed25519", base64.b64decode(KEYS[1]))
    found = KnownHosts.load(path)
    assert len(found.lookup("a")) == len(found.lookup("b")) == 1


@needs_ssh_keygen
def test_fingerprints_and_names(tmp_path: Path) -> None:
    path = tmp_path / "key.pub"
    path.write_text(f"ssh-ed25519 {KEYS[0]} note\n")
    shown = subprocess.run(["ssh-keygen", "-lf", str(path)], capture_output=True, text=True, check=True).stdout
    assert fingerprint(base64.b64decode(KEYS[0])) == shown.split()[1]
    assert (entry_name("h", 22), entry_name("h", 2222)) == ("h", "[h]:2222")


# --- ssh_config ---


def test_includes_are_read_in_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ssh"
    (folder / "conf.d").mkdir(parents=True)
    files = {
        "config": 'Include conf.d/*.conf "more"\nHost a\n  Port 1\nInclude=late\nHost *\n  User last\n',
        "conf.d/10.conf": "Host b\n  User b10\n",
        "conf.d/20.conf": "Host b c\n  User bc20\n  Port 20\n",
        "conf.d/30.txt": "Host *\n  Port 99\n",
        "more": "Host d\n  ProxyJump bastion\n  Include config\n",
        "late": "  IdentityFile ~/.ssh/late\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(ssh_config, "FILES", ("~/.ssh/config",))
    ssh_config.load.cache_clear()
    ssh_config.lookup.cache_clear()
    try:
        found = {name: ssh_config.lookup(name) for name in "abcdx"}
    finally:
        ssh_config.load.cache_clear()
        ssh_config.lookup.cache_clear()
    assert (found["a"]["port"], found["a"]["user"]) == ("1", "last")
    assert found["a"]["identityfile"] == [f"{tmp_path}/.ssh/late"]
    assert (found["b"]["user"], found["b"]["port"]) == ("b10", "20")
    assert (found["c"]["user"], found["d"]["proxyjump"]) == ("bc20", "bastion")
    assert "port" not in found["x"]


@pytest.mark.parametrize(
    ("text", "beyond"),
    [("Host h\n  CertificateFile x\n", "certificatefile"), ("Host other\n  CertificateFile x\n", None),
     ("Host h\n  Port 5\n", None), ("Host *\n  PKCS11Provider y\n", "pkcs11provider")],
)  # fmt: skip
def test_what_only_the_ssh_program_can_do(
    text: str, beyond: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(text)
    monkeypatch.setattr(ssh_config, "FILES", (str(tmp_path / "config"),))
    ssh_config.load.cache_clear()
    ssh_config.lookup.cache_clear()
    try:
        assert ssh_config.needs_openssh("h") == beyond
    finally:
        ssh_config.load.cache_clear()
        ssh_config.lookup.cache_clear()
