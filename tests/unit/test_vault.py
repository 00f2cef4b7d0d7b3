"""Vaults as ansible-vault makes them, the passwords that open them, and what is done with their values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsplay.documents import vault
from opsplay.documents import yaml as documents
from opsplay.documents.keyring import KEYRING, Encrypted, Password
from opsplay.documents.values import trust
from opsplay.documents.variables import load_variables
from opsplay.errors import DocumentError, Location, Problems, TemplateError
from opsplay.inventory.sources import load
from opsplay.secrets import MASK, Redactor
from opsplay.templating.environment import missing
from opsplay.templating.lookups import make_lookups
from opsplay.templating.templar import Templar
from tests.oracle import vaults as oracle
from tests.oracle.test_suite import program

PASSWORD = b"correct horse"
AT = Location("f.yml", 3, 5)

RECORDED = json.loads(oracle.RECORD.read_text())["vaults"]


@pytest.fixture(autouse=True)
def keyring() -> Iterator[None]:
    KEYRING.use([Password("default", PASSWORD)])
    yield
    KEYRING.use([])


def tagged(name: str, text: str, label: str = "default", password: bytes = PASSWORD) -> str:
    """A line of YAML with an encrypted value."""
    lines = vault.encrypt(text.encode(), password, label).splitlines()
    return "\n".join([f"{name}: !vault |", *(f"  {line}" for line in lines), ""])


def templar(variables: Mapping[str, Any], globals: Mapping[str, Any] | None = None) -> Templar:
    return Templar(lambda name: variables.get(name, missing), globals)


# --- the format ---


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: f"{case['label']}-{len(case['text'])}")
def test_what_ansible_vault_wrote_is_read(case: dict[str, str]) -> None:
    envelope = vault.parse(case["vault"])
    assert envelope.label == case["label"]
    assert vault.decrypt(envelope, case["password"].encode()).decode() == case["text"]


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: f"{case['label']}-{len(case['text'])}")
def test_what_we_write_is_what_ansible_vault_writes(case: dict[str, str]) -> None:
    salt = vault.parse(case["vault"]).salt
    sealed = vault.encrypt(case["text"].encode(), case["password"].encode(), case["label"], salt)
    assert sealed.splitlines() == case["vault"].splitlines()


def test_ansible_vault_reads_ours() -> None:
    playbook = program()
    if playbook is None:
        pytest.skip("ansible-core is not installed")
    sealed = vault.encrypt("ours: é\n".encode(), PASSWORD, "label")
    assert oracle.decrypt(str(Path(playbook).with_name("ansible-vault")), PASSWORD.decode(), sealed) == "ours: é\n"


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=200), st.binary(min_size=1, max_size=40), st.sampled_from(["default", "a", "x-y"]))
def test_round_trip(data: bytes, password: bytes, label: str) -> None:
    sealed = vault.encrypt(data, password, label)
    assert vault.is_vault(sealed)
    envelope = vault.parse(sealed.replace("\n", "\r\n"))
    assert (vault.decrypt(envelope, password), envelope.label) == (data, label)
    with pytest.raises(vault.WrongPassword):
        vault.decrypt(envelope, password + b"x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$ANSIBLE_VAULT;1.1", "a vault begins with"),
        ("$ANSIBLE_VAULT;1.0;AES\n00", "cannot read vaults of format 1.0 with cipher AES"),
        ("$ANSIBLE_VAULT;1.1;AES256\nxyz", "the vault is damaged"),
        ("$ANSIBLE_VAULT;1.1;AES256\n6161", "the vault is damaged"),
        ("$ANSIBLE_VAULT;1.1;AES256\n", "the vault is damaged"),
    ],
)
def test_what_is_no_vault(text: str, message: str) -> None:
    with pytest.raises(vault.MalformedVault, match=re.escape(message)):
        vault.parse(text)
    with pytest.raises(DocumentError, match=re.escape(f"f.yml:1:4: {message}")):
        documents.parse(f"a: !vault |\n  {text.replace(chr(10), chr(10) + '  ')}\n", "f.yml")


def test_a_changed_vault_is_refused() -> None:
    sealed = vault.encrypt(b"text", PASSWORD)
    last = sealed.rstrip()[-1]
    changed = sealed.rstrip()[:-1] + ("1" if last != "1" else "2")
    with pytest.raises(DocumentError):
        KEYRING.decrypt(changed, AT)


# --- passwords ---


@pytest.mark.parametrize(
    ("label", "passwords", "message"),
    [
        ("prod", {}, r"f.yml:3:5: this is encrypted with vault id 'prod' and needs a password; give it with --vault-id,"),
        ("prod", {"prod": b"no"}, r"f.yml:3:5: the password of vault id 'prod' does not open this"),
        ("prod", {"dev": b"no", "default": b"nor"},
         r"f.yml:3:5: this is encrypted with vault id 'prod'; the passwords given are of 'dev', 'default'"),
        ("prod", {"prod": PASSWORD}, None),
        ("prod", {"dev": b"no", "other": PASSWORD}, None),
        ("default", {"dev": b"no", "prod": PASSWORD}, None),
    ],
)  # fmt: skip
def test_passwords(label: str, passwords: dict[str, bytes], message: str | None) -> None:
    KEYRING.use(Password(name, text) for name, text in passwords.items())
    sealed = vault.encrypt(b"text", PASSWORD, label)
    if message is None:
        assert KEYRING.decrypt(sealed, AT) == b"text"
    else:
        with pytest.raises(DocumentError, match=message):
            KEYRING.decrypt(sealed, AT)


def test_a_wrong_password_is_known_when_the_file_is_read() -> None:
    KEYRING.use([Password("prod", b"wrong")])
    with pytest.raises(DocumentError, match=r"f.yml:2:4: the password of vault id 'prod' does not open this"):
        documents.parse("x: 1\n" + tagged("a", "text", "prod"), "f.yml")


def test_a_value_of_another_vault_id_is_of_no_concern_until_it_is_used() -> None:
    found = documents.parse(tagged("a", "text", "prod", b"other") + tagged("b", "more"), "f.yml")[0]
    assert found["b"].reveal() == "more"
    with pytest.raises(DocumentError, match="f.yml:1:4: this is encrypted with vault id 'prod'"):
        found["a"].reveal()


# --- values ---


def test_values_are_decrypted_when_they_are_used() -> None:
    found = documents.parse(tagged("a", "it's {{ 1 + 1 }}") + "b: {c: ['{{ a }}', x]}\n", "f.yml")[0]
    ours = templar(found)
    assert isinstance(found["a"], Encrypted)
    # As in Ansible, what was encrypted by itself is data.
    assert ours.render(found) == {"a": "it's {{ 1 + 1 }}", "b": {"c": ["it's {{ 1 + 1 }}", "x"]}}
    assert ours.render(trust("{{ a | upper }} {{ b.c[1] }}")) == "IT'S {{ 1 + 1 }} x"
    assert "1 + 1" not in repr(found)


def test_a_password_that_is_missing_fails_the_template() -> None:
    KEYRING.use([])
    found = documents.parse(tagged("a", "text"), "f.yml")[0]
    with pytest.raises(TemplateError, match="f.yml:1:4: this is encrypted"):
        templar(found).render(trust("{{ a }}"))


def test_values_are_masked() -> None:
    redactor, after = Redactor(), Redactor()
    KEYRING.watch(redactor)
    value = documents.parse(tagged("a", "tell nobody\nor anybody"), "f.yml")[0]["a"]
    assert redactor.text("tell nobody") == "tell nobody"
    value.reveal()
    KEYRING.watch(after)
    for knowing in (redactor, after):
        assert knowing.text("I tell nobody") == f"I {MASK}"
        assert knowing.text(PASSWORD.decode()) == MASK


# --- files ---


def seal(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(vault.encrypt(text.encode(), PASSWORD))
    return path


def test_files_of_variables(tmp_path: Path) -> None:
    redactor = Redactor()
    KEYRING.watch(redactor)
    text = "token: {deep: [topsecret]}\nport: 80\nansible_user: deployer\nt: '{{ 1 + 1 }}'\n"
    found = load_variables(seal(tmp_path / "vars.yml", text))
    assert templar(found).render(dict(found)) == {
        "token": {"deep": ["topsecret"]}, "port": 80, "ansible_user": "deployer", "t": 2,
    }  # fmt: skip
    assert redactor.text("topsecret of deployer") == f"{MASK} of deployer"


def test_mistakes_in_an_encrypted_file_have_their_place(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"vars.yml:2:1: duplicate key 'a'"):
        documents.load(seal(tmp_path / "vars.yml", "a: 1\na: 2\n"))


@pytest.mark.parametrize(
    ("name", "text"),
    [("hosts", "[g]\nh v=topsecret\n"), ("hosts.yml", "g: {hosts: {h: {v: topsecret}}}\n")],
)
def test_inventories(name: str, text: str, tmp_path: Path) -> None:
    redactor = Redactor()
    KEYRING.watch(redactor)
    inventory = load([str(seal(tmp_path / name, text))])
    assert inventory.hosts["h"].vars["v"] == "topsecret"
    assert redactor.text("topsecret") == MASK
    KEYRING.use([])
    with pytest.raises(Problems, match="this is encrypted with vault id 'default' and needs a password"):
        load([str(tmp_path / name)])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{{ lookup('file', 'sealed') }}", "a\nsecret"), ("{{ lookup('unvault', 'sealed') }}", "a\nsecret\n"),
        ("{{ 'text' | vault('pw') | unvault('pw') }}", "text"), ("{{ 'plain' | unvault('pw') }}", "plain"),
        ("{{ ('text' | vault('pw', vault_id='x')).splitlines()[0] }}", "$ANSIBLE_VAULT;1.2;AES256;x"),
        ("{{ 'a' | vault('pw', 'salt') }}",
         "$ANSIBLE_VAULT;1.2;AES256;filter_default\n"
         "37333631366337340a38623966373230383239643236393431636532396539346537333236353635\n"
         "3862343565613438653062633233636264653737333034633136653730326430640a373065346436\n"
         "6332373865386562323331336237323037366337326534626165\n"),
    ],
)  # fmt: skip
def test_lookups_and_filters(expression: str, expected: str, tmp_path: Path) -> None:
    seal(tmp_path / "sealed", "a\nsecret\n")
    assert templar({}, make_lookups(str(tmp_path))).render(trust(expression)) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("{{ 'text' | vault('pw') | unvault('no') }}", "unvault: the text was encrypted with another password"),
        ("{{ '$ANSIBLE_VAULT;1.1' | unvault('no') }}", "unvault: a vault begins with"),
        ("{{ 'text' | vault('pw') | vault('pw') }}", "vault: the text is encrypted already"),
        ("{{ lookup('file', 'foreign') }}", "the password of vault id 'default' does not open this"),
    ],
)
def test_what_cannot_be_opened(expression: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "foreign").write_text(vault.encrypt(b"text", b"another"))
    with pytest.raises(TemplateError, match=re.escape(message)):
        templar({}, make_lookups(str(tmp_path))).render(trust(expression))
