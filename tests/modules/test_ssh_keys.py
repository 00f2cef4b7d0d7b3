"""Keys that may log in, and keys of hosts, as tables: state before, parameters, outcome."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from opsplay.lab import LabHost
from opsplay.modules.accounts._keys import parse
from tests.lab.remote_module import Call, run_calls
from tests.modules.cases import Case as LabCase
from tests.modules.cases import previews, prove
from tests.modules.harness import Case, File, Link, play, run


def blob(kind: str, filling: str) -> str:
    """What a public key of this type looks like; nobody has the private part."""
    return b64encode(len(kind).to_bytes(4, "big") + kind.encode() + b"\0\0\0\x20" + filling.encode() * 32).decode()


ED = "ssh-ed25519"
RSA = "ssh-rsa"
ONE, TWO, THREE = (f"{ED} {blob(ED, letter)}" for letter in "abc")
OTHER = f"{RSA} {blob(RSA, 'd')}"
OPTIONS = 'command="a \\"b\\" c",no-pty'
_ROOT = {"user": "root", "path": "@/keys", "manage_dir": False}

AUTHORIZED = [
    Case("the first", {**_ROOT, "key": f"{ONE} me"}, {}, {"keys": File(f"{ONE} me\n", 0o600)},
         result={"keyfile": "@/keys", "user": "root", "exclusive": False, "state": "present"}),
    Case("one more", {**_ROOT, "key": TWO}, {"keys": File(f"# mine\n\n{ONE} a", 0o600)},
         {"keys": f"# mine\n\n{ONE} a\n{TWO}\n"}),
    Case("is there", {**_ROOT, "key": f"{ONE} a"}, {"keys": File(f"  {ONE}   a\n", 0o600)}, changed=False),
    Case("a comment that is not given stays", {**_ROOT, "key": ONE}, {"keys": File(f"{ONE} a b\n", 0o600)},
         changed=False),
    Case("another comment", {**_ROOT, "key": f"{ONE} b"}, {"keys": File(f"{ONE} a\n", 0o600)}, {"keys": f"{ONE} b\n"}),
    Case("a comment of its own", {**_ROOT, "key": f"{ONE} b", "comment": "the new one"},
         {"keys": File(f"{ONE} a\n", 0o600)}, {"keys": f"{ONE} the new one\n"}),
    Case("options", {**_ROOT, "key": f"{ONE} a", "key_options": OPTIONS}, {"keys": File(f"{ONE} a\n", 0o600)},
         {"keys": f"{OPTIONS} {ONE} a\n"}),
    Case("options before the key", {**_ROOT, "key": f"{OPTIONS} {ONE} a"}, {}, {"keys": f"{OPTIONS} {ONE} a\n"}),
    Case("options that are there", {**_ROOT, "key": ONE, "key_options": OPTIONS},
         {"keys": File(f"{OPTIONS} {ONE} a\n", 0o600)}, changed=False),
    Case("options that are not asked for go", {**_ROOT, "key": ONE}, {"keys": File(f"{OPTIONS} {ONE}\n", 0o600)},
         {"keys": f"{ONE}\n"}),
    Case("a second line for the key goes", {**_ROOT, "key": ONE, "key_options": "no-pty"},
         {"keys": File(f"no-pty {ONE}\n{TWO}\n{ONE} unrestricted\n", 0o600)}, {"keys": f"no-pty {ONE}\n{TWO}\n"}),
    Case("many at once", {**_ROOT, "key": f"# ours\n{ONE} a\n\n{OTHER}\n{ONE} twice\n"}, {},
         {"keys": f"{ONE} a\n{OTHER}\n"}),
    Case("no others", {**_ROOT, "key": f"{TWO}\n{THREE}", "exclusive": True},
         {"keys": File(f"# mine\n{ONE}\n  {OPTIONS} {OTHER}\njunk\n{TWO} b\n", 0o600)},
         {"keys": f"{TWO} b\n{THREE}\n"}),
    Case("no others already", {**_ROOT, "key": TWO, "exclusive": True}, {"keys": File(f"{TWO}\n", 0o600)},
         changed=False),
    Case("away", {**_ROOT, "key": TWO, "state": "absent", "key_options": "no-pty"},
         {"keys": File(f"# a\n{ONE}\n{OPTIONS} {TWO} x\njunk here\n{TWO}\n", 0o640)},
         {"keys": f"# a\n{ONE}\njunk here\n"}),
    Case("away already", {**_ROOT, "key": TWO, "state": "absent"}, {"keys": f"{ONE}\n"}, changed=False),
    Case("no file to take it from", {**_ROOT, "key": TWO, "state": "absent"}, {}, {"keys": ...}, changed=False),
    Case("others may not read it", {**_ROOT, "key": ONE}, {"keys": File(f"{ONE}\n", 0o644)},
         {"keys": File(f"{ONE}\n", 0o600)}),
    Case("from a file", {**_ROOT, "key": "file://@/source"}, {"source": f"{ONE}\n{TWO}\n"},
         {"keys": f"{ONE}\n{TWO}\n"}),
    Case("from a file that is not there", {**_ROOT, "key": "file://@/source"}, fails="cannot read the key file"),
    Case("in a directory that is made", {**_ROOT, "path": "@/new/keys", "key": ONE, "manage_dir": True}, {},
         {"new/keys": File(f"{ONE}\n", 0o600)}),
    Case("a link is replaced", {**_ROOT, "key": ONE}, {"keys": Link("real"), "real": f"{TWO}\n"},
         {"keys": f"{TWO}\n{ONE}\n", "real": f"{TWO}\n"}),
    Case("a link is followed", {**_ROOT, "key": ONE, "follow": True}, {"keys": Link("real"), "real": f"{TWO}\n"},
         {"keys": Link("real"), "real": f"{TWO}\n{ONE}\n"}),
    Case("no such type", {**_ROOT, "key": "ssh-what AAAA"}, fails="invalid key specified: ssh-what"),
    Case("cut short", {**_ROOT, "key": f"{ED} AAAAC3Nz"}, fails="invalid key specified"),
    Case("a type that is not the key's", {**_ROOT, "key": f"{ED} {blob(RSA, 'a')}"}, fails="invalid key specified"),
    Case("a private key", {**_ROOT, "key": "-----BEGIN OPENSSH PRIVATE KEY-----"}, fails="invalid key specified"),
    Case("no such user", {**_ROOT, "user": "nobody-here", "key": ONE}, fails="no user nobody-here"),
    Case("no keys at all", {**_ROOT, "key": "file:///dev/null"}, {"keys": File(f"{ONE}\n", 0o600)}, changed=False),
]  # fmt: skip

HOST = "host1.example.com"
HASH = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg="  # of 192.168.1.61, from sshd(8)
_KNOWN = {"name": HOST, "path": "@/known"}
KNOWN = [
    Case("the first", {**_KNOWN, "key": f"{HOST} {ONE}"}, {}, {"known": f"{HOST} {ONE}\n"},
         result={"name": HOST, "path": "@/known", "hash_host": False}),
    Case("is there", {**_KNOWN, "key": f"{HOST} {ONE} x"}, {"known": f"# a\n{HOST},10.0.0.1 {ONE} y"}, changed=False),
    Case("capitals do not count", {**_KNOWN, "name": "HOST1.example.com", "key": f"{HOST} {ONE}"},
         {"known": f"{HOST} {ONE}\n"}, changed=False),
    Case("another type beside it", {**_KNOWN, "key": f"{HOST} {OTHER}"}, {"known": f"{HOST} {ONE}\n"},
         {"known": f"{HOST} {ONE}\n{HOST} {OTHER}\n"}),
    Case("another key in its place", {**_KNOWN, "key": f"{HOST} {TWO}"}, {"known": f"{HOST} {ONE}\nx {ONE}\n"},
         {"known": f"x {ONE}\n{HOST} {TWO}\n"}),
    Case("what others are believed for stays", {**_KNOWN, "key": f"{HOST} {TWO}"}, {"known": f"x,{HOST} {ONE}\n"},
         {"known": f"x {ONE}\n{HOST} {TWO}\n"}),
    Case("a pattern is not the host", {**_KNOWN, "key": f"{HOST} {TWO}"}, {"known": f"*.example.com {ONE}\n"},
         {"known": f"*.example.com {ONE}\n{HOST} {TWO}\n"}),
    Case("one more name", {**_KNOWN, "key": f"{HOST},10.0.0.1 {ONE}"}, {"known": f"{HOST} {ONE}\n"},
         {"known": f"{HOST},10.0.0.1 {ONE}\n"}),
    Case("a port", {"name": "[h]:2222", "key": f"[h]:2222 {ONE}", "path": "@/known"}, {"known": f"h {TWO}\n"},
         {"known": f"h {TWO}\n[h]:2222 {ONE}\n"}),
    Case("as ssh-keyscan prints it", {**_KNOWN, "key": f"# {HOST}:22 SSH-2.0\n{HOST} {ONE}\n{HOST} {OTHER}\n"}, {},
         {"known": f"{HOST} {ONE}\n{HOST} {OTHER}\n"}),
    Case("a hashed line that is there", {"name": "192.168.1.61", "key": f"192.168.1.61 {ONE}", "path": "@/known",
         "hash_host": True}, {"known": f"{HASH} {ONE}\n"}, changed=False),
    Case("a hashed line for a plain one", {"name": "192.168.1.61", "key": f"192.168.1.61 {ONE}", "path": "@/known"},
         {"known": f"{HASH} {ONE}\n"}, {"known": f"192.168.1.61 {ONE}\n"}),
    Case("a line that is given hashed", {"name": "192.168.1.61", "key": f"{HASH} {ONE}", "path": "@/known"}, {},
         {"known": f"{HASH} {ONE}\n"}),
    Case("away", {**_KNOWN, "state": "absent"}, {"known": f"{HOST} {ONE}\nx {ONE}\n{HOST},y {OTHER}\n"},
         {"known": f"x {ONE}\ny {OTHER}\n"}),
    Case("a type away", {**_KNOWN, "state": "absent", "key": f"{HOST} {TWO}"},
         {"known": f"{HOST} {ONE}\n{HOST} {OTHER}\n"}, {"known": f"{HOST} {OTHER}\n"}),
    Case("a hashed one away", {"name": "192.168.1.61", "path": "@/known", "state": "absent"},
         {"known": f"{HASH} {ONE}\nx {ONE}\n"}, {"known": f"x {ONE}\n"}),
    Case("away already", {**_KNOWN, "state": "absent"}, {"known": f"x {ONE}\n|1|broken|{ONE}\n"}, changed=False),
    Case("no file to take it from", {**_KNOWN, "state": "absent"}, {}, {"known": ...}, changed=False),
    Case("no key", _KNOWN, fails="No key specified"),
    Case("another host's key", {**_KNOWN, "key": f"host2 {ONE}"}, fails="does not match hashed host field"),
    Case("no line", {**_KNOWN, "key": ONE}, fails="no line of a known_hosts file"),
    Case("cut short", {**_KNOWN, "key": f"{HOST} {ED} AAAA"}, fails="no line of a known_hosts file"),
    Case("no directory", {**_KNOWN, "path": "@/a/known", "key": f"{HOST} {ONE}"}, fails="does not exist"),
]  # fmt: skip


@pytest.mark.parametrize("case", AUTHORIZED, ids=lambda case: case.name)
def test_authorized_key(case: Case, tmp_path: Path) -> None:
    play("accounts.authorized_key", case, tmp_path)


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.name)
def test_known_hosts(case: Case, tmp_path: Path) -> None:
    play("accounts.known_hosts", case, tmp_path)


CLEAN = "userdel -r -f alice 2>/dev/null; groupdel alice 2>/dev/null; useradd -m -s /bin/sh alice;"
SSH = "stat -c '%U %G %a' /home/alice/.ssh /home/alice/.ssh/authorized_keys; cat /home/alice/.ssh/authorized_keys"
AT_HOME = [
    LabCase("in the home directory", {"user": "alice", "key": f"{ONE} me"}, CLEAN, SSH,
            f"alice alice 700\nalice alice 600\n{ONE} me", result={"keyfile": "/home/alice/.ssh/authorized_keys"}),
    LabCase("what root made is given to its user", {"user": "alice", "key": f"{ONE} me"},
            CLEAN + f"mkdir -m 755 /home/alice/.ssh; echo {ONE} me > /home/alice/.ssh/authorized_keys", SSH,
            f"alice alice 700\nalice alice 600\n{ONE} me"),
    LabCase("away again", {"user": "alice", "key": ONE, "state": "absent"},
            CLEAN + f"install -d -o alice /home/alice/.ssh; echo {ONE} me > /home/alice/.ssh/authorized_keys",
            "cat /home/alice/.ssh/authorized_keys", ""),
    LabCase("a link in the way", {"user": "alice", "key": ONE},
            CLEAN + "mkdir -p /srv/elsewhere; ln -s /srv/elsewhere /home/alice/.ssh", "ls /srv/elsewhere",
            fails="is a link and is not followed"),
    LabCase("away from home", {"user": "alice", "key": ONE, "path": "/srv/keys/alice", "manage_dir": False},
            CLEAN + "rm -rf /srv/keys", "stat -c '%U %a' /srv/keys /srv/keys/alice", "root 755\nalice 600"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", AT_HOME, ids=str)
def test_keys_of_an_account(debian: LabHost, case: LabCase) -> None:
    prove(debian, "accounts.authorized_key", case)


@pytest.mark.lab
def test_a_preview_knows_the_account_of_an_earlier_task(bookworm: LabHost) -> None:
    bookworm.run(CLEAN + "userdel -r alice; true")
    results = previews(
        bookworm,
        [
            ("accounts.authorized_key", {"user": "alice", "key": ONE}),
            ("accounts.user", {"name": "alice"}),
            ("accounts.authorized_key", {"user": "alice", "key": ONE}),
            ("accounts.authorized_key", {"user": "alice", "key": ONE}),
            ("packages.apt", {"name": "nonesuch", "update_cache": True}),
            ("accounts.authorized_key", {"user": "bob", "key": ONE}),
        ],
    )
    assert [bool(result.get("failed")) for result in results] == [True] + [False] * 5, results
    assert [result["changed"] for result in results] == [False, True, True, False, True, True]


@pytest.mark.lab
def test_keys_from_a_server(bookworm: LabHost) -> None:
    """The host fetches them itself; what is no list of keys is refused."""
    bookworm.run(CLEAN + f"mkdir -p /srv/www; printf '{ONE} a\\n{TWO} b\\n' > /srv/www/alice.keys; echo x > /srv/www/no")
    bookworm.run("cd /srv/www; setsid python3 -m http.server 8711 --bind 127.0.0.1 </dev/null >/dev/null 2>&1 &"
                 "echo $! > /run/www; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.3; curl -s 127.0.0.1:8711 && break; done")  # fmt: skip
    try:
        address = "http://127.0.0.1:8711/"
        calls = [Call("accounts.authorized_key", {"user": "alice", "key": address + name})
                 for name in ("alice.keys", "no", "gone")]  # fmt: skip
        good, bad, gone = run_calls(bookworm, calls)
    finally:
        bookworm.run("pkill -s $(cat /run/www)")
    assert good["changed"] and good["key"] == "http://127.0.0.1:8711/alice.keys"
    assert bookworm.run("cat /home/alice/.ssh/authorized_keys").stdout == f"{ONE} a\n{TWO} b\n"
    assert bad["failed"] and "invalid key specified" in bad["msg"]
    assert gone["failed"] and "404" in gone["msg"]


@pytest.mark.lab
def test_ssh_keygen_finds_what_is_written_hashed(bookworm: LabHost) -> None:
    bookworm.run("rm -f /srv/known")
    params = {"name": HOST, "key": f"{HOST},10.0.0.1 {ONE}", "path": "/srv/known", "hash_host": True}
    first, second = run_calls(bookworm, [Call("accounts.known_hosts", params)] * 2)
    assert (first["changed"], second["changed"]) == (True, False)
    for name in (HOST, "10.0.0.1"):
        assert "|1|" in bookworm.run(f"ssh-keygen -F {name} -f /srv/known").stdout
    assert HOST not in bookworm.run("cat /srv/known").stdout


def test_an_authority_is_no_host(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text(f"*.x {TWO}\n")
    params = {"name": "*.x", "key": f"@cert-authority *.x {ONE}", "path": str(path)}
    assert [run("accounts.known_hosts", params)["changed"] for _ in range(2)] == [True, False]
    assert path.read_text() == f"*.x {TWO}\n@cert-authority *.x {ONE}\n"


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (f"{ONE}", ("", ED, "")),
        (f"{ONE} a  b", ("", ED, "a  b")),
        (f'from="a,b",environment="X=y z"\t{ONE} c', ('from="a,b",environment="X=y z"', ED, "c")),
        (f"{OPTIONS} {OTHER}", (OPTIONS, RSA, "")),
        ("# comment", None),
        ("", None),
        ('command="never ends ' + ONE, None),
        (f"{ED}", None),
    ],
)
def test_parts_of_a_line(line: str, parts: tuple[str, str, str] | None) -> None:
    key = parse(line)
    assert (key and (key.options, key.kind, key.comment)) == parts
