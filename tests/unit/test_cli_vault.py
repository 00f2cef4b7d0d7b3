"""`opsplay vault`, and vaults in runs, through the real command."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opsplay.documents import vault
from tests.unit.commands import opsplay, succeed

PASSWORDS = {"one": "first password", "two": "second password"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in PASSWORDS.items():
        (tmp_path / name).write_text(f"{text}\n")
    return tmp_path


def opened(path: Path, password: str = "one") -> str:
    return vault.decrypt(vault.parse(path.read_text()), PASSWORDS[password].encode()).decode()


def editor(folder: Path, script: str) -> str:
    """An editor that is a shell script: $1 is the file."""
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the commands ---


def test_encrypt_view_decrypt(folder: Path) -> None:
    path = folder / "f.yml"
    path.write_text("a: é\n")
    succeed(folder, "vault", "encrypt", "f.yml", "--vault-id", "lab@one")
    assert path.read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;lab\n")
    assert mode(path) == 0o600
    assert opened(path) == "a: é\n"
    assert succeed(folder, "vault", "view", "f.yml", "--vault-password-file", "one") == "a: é\n"
    succeed(folder, "vault", "decrypt", "f.yml", "--vault-id", "lab@one")
    assert (path.read_text(), mode(path)) == ("a: é\n", 0o600)
    assert sorted(entry.name for entry in folder.iterdir()) == ["f.yml", "home", "one", "two"]


def test_standard_input_and_output(folder: Path) -> None:
    sealed = succeed(folder, "vault", "encrypt", "--vault-password-file", "one", text="hello")
    assert sealed.startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    assert succeed(folder, "vault", "decrypt", "--vault-password-file", "one", text=sealed) == "hello"
    (folder / "f").write_text("text")
    succeed(folder, "vault", "encrypt", "f", "--output", "g", "--vault-password-file", "one")
    assert ((folder / "f").read_text(), opened(folder / "g")) == ("text", "text")
    assert succeed(folder, "vault", "decrypt", "g", "--output", "-", "--vault-password-file", "one") == "text"


def test_encrypt_string(folder: Path) -> None:
    words = ("vault", "encrypt_string", "--vault-id", "a@one", "-n", "x", "--stdin-name", "y", "one text")
    found = succeed(folder, *words, text="from stdin")
    assert re.fullmatch(r"y: !vault \|\n( {10}\S+\n)+x: !vault \|\n( {10}\S+\n)+", found)
    (folder / "vars.yml").write_text(found)
    play = "- hosts: localhost\n  gather_facts: false\n  vars_files: [vars.yml]\n  tasks:\n"
    play += "    - copy: {content: '{{ x }}+{{ y }}', dest: '{{ playbook_dir }}/out'}\n"
    (folder / "play.yml").write_text(play)
    done = succeed(folder, "run", "-i", "localhost,", "-c", "local", "play.yml", "--diff", "--vault-id", "a@one")
    assert (folder / "out").read_text() == "one text+from stdin"
    assert "one text" not in done
    assert "from stdin" not in done


def test_a_typed_text_is_asked_for_twice(folder: Path) -> None:
    words = ("vault", "encrypt_string", "--vault-id", "a@one", "--prompt", "--name", "x")
    assert succeed(folder, *words, text="typed\ntyped\n").startswith("x: !vault |\n")


def test_rekey(folder: Path) -> None:
    for name in ("f", "g"):
        (folder / name).write_text(vault.encrypt(b"text", PASSWORDS["one"].encode(), "old"))
    (folder / "f").chmod(0o640)
    succeed(folder, "vault", "rekey", "f", "g", "--vault-id", "old@one", "--new-vault-id", "new@two")
    assert vault.parse((folder / "f").read_text()).label == "new"
    assert (opened(folder / "f", "two"), opened(folder / "g", "two"), mode(folder / "f")) == ("text", "text", 0o640)


def test_a_rekey_that_cannot_open_one_file_changes_none(folder: Path) -> None:
    (folder / "f").write_text(vault.encrypt(b"text", PASSWORDS["one"].encode()))
    (folder / "g").write_text(vault.encrypt(b"text", b"another"))
    before = (folder / "f").read_text()
    done = opsplay(folder, "vault", "rekey", "f", "g", "--vault-id", "one", "--new-vault-password-file", "two")
    assert done.returncode == 1
    assert "g: error: the password of vault id 'default' does not open this" in done.stderr
    assert (folder / "f").read_text() == before


# --- the editor ---


def test_edit(folder: Path) -> None:
    path, seen = folder / "f.yml", folder / "seen"
    path.write_text(vault.encrypt(b"one\n", PASSWORDS["one"].encode(), "lab"))
    path.chmod(0o640)
    script = f'echo "$1" > {seen}; stat -c %a "$1" "$(dirname "$1")" >> {seen}; cat "$1" >> {seen}; echo two >> "$1"'
    succeed(folder, "vault", "edit", "f.yml", "--vault-id", "lab@one", EDITOR=editor(folder, script))
    shown = seen.read_text().splitlines()
    assert shown[1:] == ["600", "700", "one"]
    assert not Path(shown[0]).parent.exists()
    assert (opened(path), vault.parse(path.read_text()).label, mode(path)) == ("one\ntwo\n", "lab", 0o640)


def test_an_edit_without_a_change_leaves_the_file_alone(folder: Path) -> None:
    path = folder / "f"
    path.write_text(vault.encrypt(b"one\n", PASSWORDS["one"].encode()))
    before = path.read_text()
    succeed(folder, "vault", "edit", "f", "--vault-id", "one", EDITOR="true")
    assert path.read_text() == before


def test_an_edit_through_a_link_changes_the_real_file(folder: Path) -> None:
    (folder / "real").write_text(vault.encrypt(b"one\n", PASSWORDS["one"].encode()))
    (folder / "link").symlink_to("real")
    succeed(folder, "vault", "edit", "link", "--vault-id", "one", EDITOR=editor(folder, 'echo two > "$1"'))
    assert (folder / "link").is_symlink()
    assert opened(folder / "real") == "two\n"


@pytest.mark.parametrize("script", ['echo two > "$1"; exit 3', 'echo two > "$1"; kill -9 $$'])
def test_nothing_is_lost_when_the_editor_fails(folder: Path, script: str) -> None:
    path = folder / "f"
    path.write_text(vault.encrypt(b"one\n", PASSWORDS["one"].encode()))
    done = opsplay(folder, "vault", "edit", "f", "--vault-id", "one", EDITOR=editor(folder, script), TMPDIR=str(folder))
    assert done.returncode == 1
    assert opened(path) == "one\n"
    kept = Path(re.search(r"kept, encrypted, in (\S+)", done.stderr)[1])
    assert opened(kept) == "two\n"
    assert mode(kept) == 0o600


def test_nothing_is_lost_when_the_file_cannot_be_written(folder: Path) -> None:
    """The folder goes away while the editor runs."""
    path = folder / "sub/f"
    path.parent.mkdir()
    path.write_text(vault.encrypt(b"one\n", PASSWORDS["one"].encode()))
    script = editor(folder, f'echo two > "$1"; mv {folder}/sub {folder}/gone')
    done = opsplay(folder, "vault", "edit", "sub/f", "--vault-id", "one", EDITOR=script, TMPDIR=str(folder))
    assert "cannot write sub/f" in done.stderr
    assert opened(Path(re.search(r"kept, encrypted, in (\S+)", done.stderr)[1])) == "two\n"
    assert opened(folder / "gone/f") == "one\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_no_plain_text_stays_when_an_edit_is_ended(folder: Path, number: signal.Signals) -> None:
    (folder / "f").write_text(vault.encrypt(b"one\n", PASSWORDS["one"].encode()))
    note = f'echo "$1" > {folder}/place.new; mv {folder}/place.new {folder}/place'
    script = editor(folder, f'echo two > "$1"; {note}; exec sleep 30')
    command = [sys.executable, "-m", "opsplay", "vault", "edit", "f", "--vault-id", "one"]
    settings = {**os.environ, "EDITOR": script, "TMPDIR": str(folder)}
    running = subprocess.Popen(command, cwd=folder, env=settings, start_new_session=True)
    try:
        place = folder / "place"
        deadline = time.monotonic() + 20
        while not place.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        plain = Path(place.read_text().strip())
        assert plain.exists()
        os.killpg(running.pid, number)
        assert running.wait(20) != 0
        assert not plain.parent.exists()
        assert opened(folder / "f") == "one\n"
        assert [opened(path) for path in folder.glob("f.*.vault")] == ["two\n"]
    finally:
        running.kill()


def test_create(folder: Path) -> None:
    words = ("vault", "create", "new", "--vault-id", "lab@one")
    assert "there is no terminal" in opsplay(folder, *words, EDITOR="true").stderr
    succeed(folder, *words, "--skip-tty-check", EDITOR=editor(folder, 'echo made > "$1"'))
    assert (opened(folder / "new"), mode(folder / "new")) == ("made\n", 0o600)
    assert "new exists" in opsplay(folder, *words, EDITOR="true").stderr


# --- passwords ---


@pytest.fixture
def sealed(folder: Path) -> Path:
    path = folder / "sealed"
    path.write_text(vault.encrypt(b"text", PASSWORDS["one"].encode(), "lab"))
    return path


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["--vault-id", "lab@one"], {}),
        (["--vault-id", "one"], {}),
        (["--vault-id", "x@two", "--vault-id", "y@one"], {}),
        (["--vault-id", "x@program"], {}),
        (["--vault-id", "lab@good-client"], {}),
        (["--vault-id", "x@none", "--vault-id", "lab@one"], {}),
        (["--vault-id", "x@other-client", "--vault-id", "lab@one"], {}),
        (["--vault-pass-file", "one"], {}),
        (["--vault-password-file", "two", "--vault-password-file", "one"], {}),
        (["--vault-id", "first@two", "--vault-password-file", "sealed-password"], {}),
        ([], {"ANSIBLE_VAULT_PASSWORD_FILE": "one"}),
        ([], {"ANSIBLE_VAULT_IDENTITY_LIST": "x@two, lab@one"}),
        (["--vault-id", "lab@one"], {"ANSIBLE_VAULT_IDENTITY_LIST": "x@none"}),
    ],
)
def test_where_passwords_come_from(
    words: list[str], environment: dict[str, str], sealed: Path, folder: Path
) -> None:
    program(folder, "program", f"echo '{PASSWORDS['one']}'")
    program(folder, "good-client", f"[ \"$*\" = '--vault-id lab' ] && echo '{PASSWORDS['one']}'")
    program(folder, "other-client", "exit 2")
    (folder / "sealed-password").write_text(vault.encrypt(PASSWORDS["one"].encode(), PASSWORDS["two"].encode()))
    assert succeed(folder, "vault", "view", "sealed", *words, **environment) == "text\n"


@pytest.mark.parametrize("words", [["--ask-vault-pass"], ["-J"], ["--vault-id", "lab@prompt"], []])
def test_passwords_that_are_typed(words: list[str], sealed: Path, folder: Path) -> None:
    assert succeed(folder, "vault", "view", "sealed", *words, text=f"{PASSWORDS['one']}\n") == "text\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["view", "sealed", "--vault-id", "lab@two"], "sealed: error: the password of vault id 'lab' does not open this"),
        (["view", "sealed", "--vault-id", "x@two"],
         "sealed: error: this is encrypted with vault id 'lab'; the passwords given are of 'x'"),
        (["view", "sealed", "--vault-id", "x@none"], "there is no vault password file none"),
        (["view", "sealed", "--vault-id", "x@empty"], "the password of vault id 'x' from empty is empty"),
        (["view", "sealed", "--vault-id", "x@failing"], "the vault password program failing ended with 7"),
        (["view", "sealed", "--vault-id", "x@bad-client"], "bad-client has no password of vault id 'x'"),
        (["view", "none", "--vault-id", "one"], "cannot read none: No such file or directory"),
        (["view", "one", "--vault-id", "one"], "one: error: this is not encrypted"),
        (["view", "--vault-id", "one"], "name a file"),
        (["encrypt", "sealed", "--vault-id", "one"], "sealed: error: this is encrypted already"),
        (["encrypt", "two", "--vault-id", "a@one", "--vault-id", "b@two"], "several vault ids could encrypt this: a, b"),
        (["encrypt", "two", "--vault-id", "a@one", "--encrypt-vault-id", "z"],
         "there is no password of vault id 'z', only of a"),
        (["encrypt", "one", "two", "--vault-id", "one", "--output", "x"], "--output is for one file"),
        (["encrypt_string", "", "--vault-id", "one"], "there is nothing to encrypt"),
        (["create", "no/such", "--vault-id", "one"], "there is no folder no"),
        (["rekey", "sealed", "--vault-id", "one", "--new-vault-id", "x@none"], "there is no vault password file none"),
    ],
)  # fmt: skip
def test_what_is_refused(words: list[str], message: str, sealed: Path, folder: Path) -> None:
    (folder / "empty").write_text("\n")
    program(folder, "failing", "exit 7")
    program(folder, "bad-client", "exit 2")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    done = opsplay(folder, "vault", *words)
    assert done.returncode == 1
    assert message in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


# --- in runs ---


def test_vaults_wherever_ansible_reads_them(folder: Path) -> None:
    def seal(name: str, text: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(vault.encrypt(text.encode(), PASSWORDS["one"].encode()))

    def value(text: str) -> str:
        return "!vault |\n" + "".join(
            f"          {line}\n" for line in vault.encrypt(text.encode(), PASSWORDS["one"].encode()).splitlines()
        )

    seal("inventory/hosts.yml", "g: {hosts: {h: {in_inventory: inventory-secret}}}\n")
    seal("inventory/group_vars/g.yml", "in_group: group-secret\n")
    (folder / "inventory/host_vars").mkdir()
    (folder / "inventory/host_vars/h.yml").write_text(f"in_host: {value('host-secret')}ansible_connection: {value('local')}")
    seal("vars.yml", "in_file: file-secret\n")
    seal("included.yml", "in_included: included-secret\n")
    seal("extra.yml", "in_extra: extra-secret\n")
    seal("roles/r/tasks/main.yml", "- copy: {src: sealed, dest: '{{ out }}/copied'}\n")
    seal("roles/r/defaults/main.yml", "in_defaults: defaults-secret\n")
    seal("roles/r/files/sealed", "copied-secret\n")
    seal("roles/r/templates/t.j2", "templated-secret {{ 1 + 1 }}\n")
    (folder / "out").mkdir()
    (folder / "play.yml").write_text(
        "- hosts: h\n  gather_facts: false\n  vars_files: [vars.yml]\n"
        f"  vars:\n    out: '{{{{ playbook_dir }}}}/out'\n    in_play: {value('play-secret')}"
        "  roles: [r]\n  tasks:\n"
        "    - include_vars: included.yml\n"
        "    - copy: {src: roles/r/files/sealed, dest: '{{ out }}/raw', decrypt: false}\n"
        "    - template: {src: roles/r/templates/t.j2, dest: '{{ out }}/templated'}\n"
        "    - copy:\n        dest: '{{ out }}/all'\n"
        "        content: |-\n          {{ in_inventory }} {{ in_group }} {{ in_host }} {{ in_file }} {{ in_included }}\n"
        "          {{ in_extra }} {{ in_defaults }} {{ in_play }} {{ lookup('file', 'roles/r/files/sealed') }}\n"
        "    - debug: {msg: '{{ in_play }} {{ hostvars.h.in_group }}'}\n"
        "    - fail: {msg: '{{ in_host }}'}\n      ignore_errors: true\n"
    )
    words = ("run", "-i", "inventory", "play.yml", "-e", "@extra.yml", "--diff", "-vvv", "--vault-password-file", "one")
    done = opsplay(folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    written = {path.name: path.read_text() for path in (folder / "out").iterdir()}
    assert written.pop("raw").startswith("$ANSIBLE_VAULT")
    assert written == {
        "copied": "copied-secret\n",
        "templated": "templated-secret 2\n",
        "all": "inventory-secret group-secret host-secret file-secret included-secret\n"
        "extra-secret defaults-secret play-secret copied-secret",
    }
    record = "".join(path.read_text() for path in (folder / "home").rglob("events.jsonl"))
    assert record
    shown = done.stdout + done.stderr + record
    assert re.findall(r"\w+-secret(?! \{\{)", shown.replace("templated-secret 2", "")) == []


def test_a_wrong_password_is_one_error_before_the_run(folder: Path) -> None:
    lines = vault.encrypt(b"x", PASSWORDS["one"].encode(), "lab").splitlines()
    text = "\n".join(["a: 1", "b: !vault |", *(f"  {line}" for line in lines), ""])
    (folder / "vars.yml").write_text(text)
    (folder / "play.yml").write_text("- hosts: all\n  gather_facts: false\n  tasks: [{debug: {msg: '{{ b }}'}}]\n")
    done = opsplay(folder, "run", "-i", "a,b", "play.yml", "-e", "@vars.yml", "--vault-id", "lab@two")
    assert done.returncode == 1
    assert done.stderr.startswith("vars.yml:2:4: error: the password of vault id 'lab' does not open this")
    assert done.stderr.count("error:") == 1
