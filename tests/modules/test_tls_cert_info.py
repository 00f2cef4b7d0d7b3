"""Certificates in files: what is read, what is judged, on real hosts with their own openssl."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from opsplay.lab import LabHost
from opsplay.modules.tls import _x509
from opsplay.modules.tls._verdict import ascii_name, covers
from tests.lab import certificates
from tests.lab.remote_module import Call, run_calls
from tests.modules.cases import Case, previews, prove

MODULE = "tls.tls_cert_info"
FOLDER = "/srv/tls"


# What no current library makes any more.
SHA1 = f"""cd {FOLDER} && openssl req -new -key good.key -subj /CN=s.example |
    openssl x509 -req -sha1 -CA old-root -CAkey old-root.key -set_serial 7 -days 90 -out sha1"""


def fixtures() -> dict[str, str]:
    """The files of the cases by their name."""
    make = certificates.make
    root = make("Lab root", ca=True, days=3650, age=400)
    between = make("Lab intermediate", issuer=root, ca=True, days=1825)
    old_between = make("Old intermediate", issuer=root, ca=True, days=-1, age=400)
    good = make("www.example", ["www.example", "*.apps.example", "192.0.2.7", "2001:db8::7"], between)
    files = {"root": root.pem, "between": between.pem, "good": good.pem, "good.key": good.key_pem}
    files["other-root"] = make("Another root", ca=True).pem
    files["full"] = good.pem + between.pem
    files["behind-old"] = make("a.example", ["a.example"], old_between).pem + old_between.pem
    files["direct"] = make("direct.example", ["direct.example"], root).pem
    alone = make("self.example", ["self.example"], key=certificates.rsa_key(2048))
    files["self"], files["self.key"] = alone.pem, alone.key_pem
    for days in (5, 20, -3):
        files[f"days{days}"] = make("d.example", ["d.example"], root, days=days, age=100).pem
    files["future"] = make("d.example", ["d.example"], root, age=-2).pem
    files["weak"] = make("w.example", ["w.example"], root, key=certificates.rsa_key(1024)).pem
    rsa_root = make("Old root", ca=True, key=certificates.rsa_key(2048))
    files["old-root"], files["old-root.key"] = rsa_root.pem, rsa_root.key_pem
    files["nameless"] = make("n.example", (), root).pem
    files["ed"] = make("e.example", ["e.example"], root, key=certificates.ed25519_key()).pem
    files["cut"] = good.pem[:-40]
    files["damaged"] = good.pem.replace("\nMII", "\nMI!I", 1)
    files["no-der"] = good.pem[:28] + "AAAA\n" + good.pem[-26:]
    locked = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.PKCS8
    files["locked.key"] = good.key.private_bytes(serialization.Encoding.PEM, form, locked).decode()
    files["binary"] = "\x30\x82no pem"
    return files


@pytest.fixture(scope="module")
def stocked(fleet: Mapping[str, LabHost]) -> Mapping[str, LabHost]:
    """The hosts with the files of the cases."""
    files = fixtures()
    for host in fleet.values():
        folder = host.root / FOLDER.lstrip("/")
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)
        host.run(SHA1)
    return fleet


def info(name: str, file: str, fails: str = "", status: str = "ok", result: object = None, **params: object) -> Case:
    """A case: files are named without their folder. What is found is not changed."""
    for key in ("key", "chain", "ca"):
        if key in params:
            params[key] = f"{FOLDER}/{params[key]}"
    if fails and "fail_on" not in params:
        params["fail_on"] = "critical"
    found = {"status": status, **(result or {})}  # type: ignore[dict-item]
    given = {"path": f"{FOLDER}/{file}", **params}
    return Case(name, given, changed=False, fails=fails, result={} if fails else found)


GOOD = {
    "subject": "CN=www.example", "issuer": "CN=Lab intermediate", "common_name": "www.example", "days_left": 90,
    "san": ["www.example", "*.apps.example", "192.0.2.7", "2001:db8::7"], "key_type": "ecdsa", "key_bits": 256,
    "curve": "prime256v1", "signature_algorithm": "ecdsa-with-SHA256", "is_ca": False, "self_signed": False,
    "key_match": None, "chain_verified": None, "chain": [], "reasons": [], "names_missing": [],
}  # fmt: skip
WAYS = [
    info("a leaf", "good", result=GOOD),
    info("a chain", "full", ca="root", result={"chain": ["CN=Lab intermediate"], "chain_verified": True}),
    info("a chain of two files", "good", chain="between", ca="root", result={"chain_verified": True}),
    info("the leaf again in the chain", "good", chain="full", ca="root", result={"chain": ["CN=Lab intermediate"]}),
    info("issued by the root", "direct", ca="root", result={"chain_verified": True}),
    info("a CA", "root", ca="root", result={"is_ca": True, "self_signed": True, "chain_verified": True}),
    info("self-signed and trusted", "self", ca="self", key="self.key",
         result={"self_signed": True, "chain_verified": True, "key_match": True, "key_type": "rsa", "key_bits": 2048}),
    info("its key", "good", key="good.key", result={"key_match": True}),
    info("names", "good", names=["WWW.example.", "x.apps.example", "192.0.2.7", "2001:DB8:0:0:0:0:0:7"]),
    info("an Edwards curve", "ed", result={"key_type": "ed25519", "signature_algorithm": "ecdsa-with-SHA256"}),
    info("soon", "days20", status="warning"),
    info("soon is enough", "days20", warn_days=10),
    info("very soon", "days5", status="critical"),
    info("too late", "days-3", status="expired"),
    info("too early", "future", status="not_yet_valid"),
    info("a warning does not fail", "days20", status="warning", fail_on="critical"),
    info("an expired one is looked at as it was", "days-3", status="expired", ca="root",
         result={"chain_verified": True}),
    info("only looked at", "good", status="critical", names=["a.example"], result={"names_missing": ["a.example"]}),
    info("not verified when not asked", "good", ca="root", verify=False, result={"chain_verified": None}),
]  # fmt: skip
FAILURES = [
    info("expired", "days-3", "expired: it expired on "),
    info("expired for days", "days-3", ", 2 days ago"),
    info("critical", "days5", "critical: it expires in 5 days, on 20"),
    info("a warning fails", "days20", "warning: it expires in 20 days", fail_on="warning"),
    info("not yet valid", "future", "not yet valid: it is not valid before"),
    info("another name", "good", "it is not for a.example, only for www.example, *.apps.example", names=["a.example"]),
    info("a wildcard is one label", "good", "it is not for a.b.apps.example", names=["a.b.apps.example"]),
    info("a wildcard is a label", "good", "it is not for apps.example", names=["apps.example"]),
    info("only a CN", "nameless", "it has no subjectAltName, and clients do not look at the CN", names=["n.example"]),
    info("another key", "good", "the key /srv/tls/self.key belongs to another certificate", key="self.key"),
    info("no key at all", "good", "is of no use: openssl cannot read it as a private key", key="root"),
    info("a key with a passphrase", "good", "it is encrypted with a passphrase", key="locked.key"),
    info("the key is missing", "good", "there is no key /srv/tls/none", key="none", fail_on="none"),
    info("no intermediate", "good", "its issuer CN=Lab intermediate is neither trusted nor in the chain", ca="root"),
    info("another root", "full", "its chain is incomplete: CN=Lab root, the issuer of CN=Lab intermediate, is neither",
         ca="other-root"),
    info("this host's store", "full", "its chain is incomplete: CN=Lab root", verify=True),
    info("self-signed", "self", "it is self-signed, and not among the trusted certificates", ca="root"),
    info("its issuer expired", "behind-old", "the certificate of its issuer CN=Old intermediate expired on"),
    info("a weak key", "weak", "its RSA key has 1024 bits, fewer than 2048"),
    info("a weak signature", "sha1", "it is signed with sha1WithRSAEncryption, which clients refuse"),
    info("two reasons", "days5", "; it is not for b.example", names=["b.example"]),
    info("no file", "none", "there is no certificate /srv/tls/none", fail_on="none"),
    info("a key in its place", "good.key", "there is no certificate in PEM form in /srv/tls/good.key; it holds a key"),
    info("DER", "binary", "it is perhaps DER: convert it with openssl x509"),
    info("cut off", "cut", "certificate 1 has no end: the file was cut off", fail_on="none"),
    info("damaged", "damaged", "certificate 1 is not base64", fail_on="none"),
    info("no certificate", "no-der", "it is no X.509 certificate", fail_on="none"),
    info("no CA file", "good", "there is no CA certificate /srv/tls/none", ca="none"),
    info("limits that contradict", "good", "crit_days (40) is more than warn_days (30)", crit_days=40),
]  # fmt: skip


ASKS_OPENSSL = [case for case in WAYS + FAILURES if {"key", "chain", "ca", "verify"} & set(case.params)]


@pytest.mark.lab
@pytest.mark.parametrize("case", ASKS_OPENSSL, ids=str)
def test_what_openssl_says(stocked: Mapping[str, LabHost], debian: LabHost, case: Case) -> None:
    prove(debian, MODULE, case)


@pytest.mark.lab
@pytest.mark.parametrize("case", [case for case in WAYS + FAILURES if case not in ASKS_OPENSSL], ids=str)
def test_what_is_read(stocked: Mapping[str, LabHost], bookworm: LabHost, case: Case) -> None:
    prove(bookworm, MODULE, case)


@pytest.mark.lab
def test_what_an_earlier_task_would_bring(bookworm: LabHost) -> None:
    """In a preview nothing can be said of it, and whoever uses a value of it is told so."""
    tasks = [
        ("tls.tls_cert_info", {"path": "/srv/copied.pem"}),
        ("files.copy", {"dest": "/srv/copied.pem", "content": fixtures()["days5"]}),
        ("tls.tls_cert_info", {"path": "/srv/copied.pem"}),
        ("packages.apt", {"name": ["nonesuch"], "update_cache": True}),
        ("tls.tls_cert_info", {"path": "/etc/some/package.pem"}),
    ]
    missing, _, copied, _, coming = previews(bookworm, tasks)
    assert missing["failed"]
    assert (copied["status"], copied["changed"]) == ("critical", False)
    assert "status" in coming["_unknown"] and not coming.get("failed")


@pytest.mark.lab
def test_a_host_without_openssl(stocked: Mapping[str, LabHost], bookworm: LabHost) -> None:
    """Reading a certificate needs no program; verifying one does."""
    plain, verified = {"path": f"{FOLDER}/good"}, {"path": f"{FOLDER}/good", "verify": True}
    bookworm.run("mv /usr/bin/openssl /usr/bin/openssl.off")
    try:
        read, refused = run_calls(bookworm, [Call(MODULE, plain), Call(MODULE, verified)])
    finally:
        bookworm.run("mv /usr/bin/openssl.off /usr/bin/openssl")
    assert read["status"] == "ok"
    assert refused["failed"] and "openssl is not on this host; install the package openssl first" in refused["msg"]


@pytest.mark.lab
def test_openssl_reads_the_same(stocked: Mapping[str, LabHost], bookworm: LabHost) -> None:
    """Serial, fingerprint, dates and subject of the certificates that a distribution trusts are as openssl has them."""
    names = bookworm.run("ls /usr/share/ca-certificates/mozilla").stdout.split()
    assert len(names) > 100
    options = "-noout -serial -fingerprint -sha256 -startdate -enddate -dateopt iso_8601 -subject -nameopt RFC2253,-esc_msb"
    script = f"cd /usr/share/ca-certificates/mozilla; for f in *.crt; do openssl x509 -in $f {options}; done"
    said = bookworm.run(script).stdout.splitlines()
    for number, name in enumerate(names):
        text = (bookworm.root / "usr/share/ca-certificates/mozilla" / name).read_text()
        found = _x509.certificates_in(text)[0]
        serial, digest, start, end, subject = (line.partition("=")[2] for line in said[5 * number : 5 * number + 5])
        assert int(found.serial, 16) == int(serial, 16), name
        assert found.fingerprint() == digest, name
        assert [_x509.iso(found.not_before), _x509.iso(found.not_after)] == [
            moment.replace(" ", "T") for moment in (start, end)
        ], name
        assert found.subject.split(",")[0].split("=")[0] == subject.split(",")[0].split("=")[0], name
        if subject.isascii() and "\\" not in subject + found.subject:
            assert found.subject == subject, name
        assert found.is_ca and found.is_self_signed


# --- what needs no host ---


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a.example", "A.Example", True),
        ("a.example", "a.example.", True),
        ("*.a.example", "b.a.example", True),
        ("*.a.example", "c.b.a.example", False),
        ("*.a.example", "a.example", False),
        ("*.a.example", "*.a.example", True),
        ("*.example", "a.example", False),
        ("b*.a.example", "bc.a.example", False),
        ("*", "localhost", False),
        ("xn--bcher-kva.example", "b\u00fccher.example", True),
        ("2001:db8::1", "2001:0db8:0:0::1", True),
        ("*.0.2.7", "192.0.2.7", False),
    ],
)
def test_names_are_compared_as_rfc_6125_does(pattern: str, name: str, expected: bool) -> None:
    assert covers(pattern, name) is expected


@pytest.mark.parametrize(("name", "expected"), [("[::1]", "::1"), ("1.2.3", "1.2.3"), ("a" * 70 + "\u00fc.de", None)])
def test_names_in_their_ascii_form(name: str, expected: str | None) -> None:
    assert ascii_name(name) == (expected or name)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        _x509.Certificate(data)


CERTIFICATE = _x509.certificates_in(certificates.make("a.example", ["a.example"]).pem)[0].der


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(CERTIFICATE) - 1), st.integers(0, 255))
def test_a_damaged_certificate_is_read_or_refused(place: int, value: int) -> None:
    """Whatever byte is another, there is no other error than ValueError."""
    damaged = CERTIFICATE[:place] + bytes([value]) + CERTIFICATE[place + 1 :]
    try:
        _x509.Certificate(damaged).described()
    except ValueError:
        assert damaged != CERTIFICATE


@given(st.datetimes(min_value=datetime(1950, 1, 1), max_value=datetime(2049, 12, 31)))
def test_moments(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    expected = int(moment.replace(tzinfo=timezone.utc).timestamp())
    for tag, form in ((0x17, "%y%m%d%H%M%SZ"), (0x18, "%Y%m%d%H%M%SZ")):
        assert _x509.moment(_x509.Field(tag, moment.strftime(form).encode(), b"")) == expected
