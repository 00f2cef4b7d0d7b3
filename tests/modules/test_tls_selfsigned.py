"""Certificates of one's own, made by the hosts' own openssl: when there is a new one, and what is never touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.tls import _issuing
from tests.lab import certificates
from tests.lab.certificates import Pair, make
from tests.lab.remote_module import Call, run_calls
from tests.modules.cases import Case, previews, prove

MODULE = "tls.tls_selfsigned"
FOLDER = "/etc/t-tls"
CERTIFICATE, KEY = f"{FOLDER}/site.pem", f"{FOLDER}/site.key"
HERE = {"path": CERTIFICATE, "key": KEY}
SITE = {**HERE, "cn": "a.example"}
CLEAN = f"rm -rf {FOLDER}; mkdir -p {FOLDER}; cd {FOLDER};"
# What a server needs: a certificate for its names, and the key that belongs to it.
LOOK = f"""cd {FOLDER} && openssl x509 -in site.pem -noout -subject -ext subjectAltName -nameopt RFC2253 | tr -d '\\n'
    test "$(openssl x509 -in site.pem -noout -pubkey)" = "$(openssl pkey -in site.key -pubout)" && echo ' pair'
    stat -c '%n %a %U:%G' *"""
NAMED = "subject=CN=a.exampleX509v3 Subject Alternative Name:     DNS:{} pair\n"
FILES = "site.key 600 root:root\nsite.pem 644 root:root"


def seen(names: str = "a.example", files: str = FILES, pair: bool = True) -> str:
    text = NAMED.format(names) if pair else NAMED.format(names).replace(" pair", "")
    return text + files


ROOT = make("Lab root", ca=True, days=3650, age=400)
PAIRS: Mapping[str, Pair] = {
    "good": make("a.example", ["a.example"]),
    "other": make("a.example", ["a.example"]),
    "ending": make("a.example", ["a.example"], days=10),
    "expired": make("a.example", ["a.example"], days=-2, age=90),
    "future": make("a.example", ["a.example"], age=-3),
    "weak": make("a.example", ["a.example"], key=certificates.rsa_key(1024)),
    "issued": make("a.example", ["a.example"], ROOT),
    "issued-expired": make("a.example", ["a.example"], ROOT, days=-2, age=90),
    "root": ROOT,
    "ending-root": make("Ending root", ca=True, days=40),
}


def put(pair: str, key: str = "") -> str:
    """A script that puts a certificate and a key in place."""
    return CLEAN + f"cp /srv/pairs/{pair}.pem site.pem; cp /srv/pairs/{key or pair}.key site.key; chmod 600 site.key;"


@pytest.fixture(scope="module")
def stocked(fleet: Mapping[str, LabHost]) -> Mapping[str, LabHost]:
    for host in fleet.values():
        folder = host.root / "srv/pairs"
        folder.mkdir(exist_ok=True)
        for name, pair in PAIRS.items():
            (folder / f"{name}.pem").write_text(pair.pem)
            (folder / f"{name}.key").write_text(pair.key_pem)
    return fleet


NEW = {"reason": "there is none", "days_left": 364}
EVERYWHERE = [
    Case("none yet", SITE, CLEAN, LOOK, seen(), result={**NEW, "key_type": "ecdsa", "key_bits": 256}),
    Case("names and addresses", {**HERE, "san": ["DNS:a.example", "*.B.example", "IP:192.0.2.1", "2001:db8::1"]},
         CLEAN, LOOK, seen("a.example, DNS:*.b.example, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1"),
         result={"san": ["a.example", "*.b.example", "192.0.2.1", "2001:db8::1"]}),
    Case("rsa", {**SITE, "key_type": "rsa:2048"}, CLEAN, LOOK, seen(),
         result={"key_type": "rsa", "key_bits": 2048, "signature_algorithm": "sha256WithRSAEncryption"}),
    Case("another curve", {**SITE, "key_type": "ecdsa:secp384r1"}, CLEAN, LOOK, seen(), result={"curve": "secp384r1"}),
    Case("an Edwards curve", {**SITE, "key_type": "ed25519"}, CLEAN, LOOK, seen(),
         result={"key_type": "ed25519", "signature_algorithm": "ED25519"}),
    Case("a CA", {**HERE, "cn": "My little CA", "ca": True}, CLEAN, "openssl verify -CAfile " + " ".join([CERTIFICATE] * 2),
         CERTIFICATE + ": OK", result={"is_ca": True, "san": [], "subject": "CN=My little CA"}),
    Case("issued by a CA", {**SITE, "issuer_cert": "/srv/pairs/root.pem", "issuer_key": "/srv/pairs/root.key"}, CLEAN,
         f"{LOOK}; openssl verify -purpose sslserver -CAfile /srv/pairs/root.pem {CERTIFICATE}",
         f"{seen()}\n{CERTIFICATE}: OK", result={"issuer": "CN=Lab root", "self_signed": False}),
    Case("ending, with its key", SITE, put("ending"), LOOK, seen(), result={"days_left": 364, "reason": "it expires in "
         f"10 days, on {PAIRS['ending'].certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"}),
    Case("another key", SITE, put("good", "other"), LOOK, seen(),
         result={"reason": f"the key {KEY} belongs to another certificate"}),
]  # fmt: skip
DATED = "$(date -u +%F)"
ONE = [
    Case("is fine", SITE, put("good"), LOOK, changed=False, result={"reason": "", "serial": PAIRS["good"].serial}),
    Case("another name to have", {**SITE, "san": ["b.example"]}, put("good"), LOOK, seen("a.example, DNS:b.example"),
         result={"reason": "it is not for b.example"}),
    Case("a name less is fine", SITE, put("good"), changed=False),
    Case("expired", SITE, put("expired"), LOOK, seen()),
    Case("expired, but only where there is none", {**SITE, "only_if": "absent"}, put("expired"), changed=False),
    Case("none, and only then", {**SITE, "only_if": "absent"}, CLEAN, LOOK, seen()),
    Case("expiring is asked for", {**SITE, "only_if": "expiring"}, put("ending"), LOOK, seen()),
    Case("not invalid but expiring is asked for", {**SITE, "only_if": "expiring"}, put("good", "other"), changed=False),
    Case("renewed a day before", {**SITE, "renew_before": 1}, put("ending"), changed=False),
    Case("short-lived ones do not expire at once", {**SITE, "days": 30}, CLEAN, LOOK, seen(), result={"days_left": 29}),
    Case("not valid yet", SITE, put("future"), LOOK, seen()),
    Case("too weak", SITE, put("weak"), LOOK, seen(), result={"key_type": "ecdsa"}),
    Case("a weak key alone", SITE, put("weak") + "rm site.pem", LOOK, seen(), result={"key_type": "ecdsa"}),
    Case("a key alone is used", SITE, put("good") + "rm site.pem", LOOK + "; cmp site.key /srv/pairs/good.key", seen()),
    Case("the key is gone", SITE, put("good") + "rm site.key", LOOK, seen(),
         result={"reason": f"its key {KEY} is missing"}),
    Case("the key is empty", SITE, put("good") + ": > site.key", LOOK, seen()),
    Case("the key is damaged", SITE, put("good") + "sed -i 3d site.key", LOOK, seen()),
    Case("the certificate is damaged", SITE, put("good") + "sed -i 2d site.pem", LOOK, seen()),
    Case("the certificate is empty", SITE, put("good") + ": > site.pem", LOOK, seen(),
         result={"reason": "the file is empty"}),
    Case("forced", {**SITE, "force": True}, put("good"), LOOK + "; cmp site.key /srv/pairs/good.key", seen(),
         repeats=True, result={"reason": "forced"}),
    Case("forced with a new key", {**SITE, "force": True, "new_key": True}, put("good"),
         LOOK + "; cmp -s site.key /srv/pairs/good.key || echo new", seen() + "\nnew", repeats=True),
    Case("what is replaced is kept", {**SITE, "keep_old": True, "new_key": True}, put("expired"),
         f"{LOOK} | sed s/{DATED}/DATE/; cmp /srv/pairs/expired.pem {CERTIFICATE}.{DATED}; "
         f"cmp /srv/pairs/expired.key {KEY}.{DATED}",
         seen(files="site.key 600 root:root\nsite.key.DATE 600 root:root\nsite.pem 644 root:root\n"
              "site.pem.DATE 644 root:root")),
    Case("kept beside what was kept", {**SITE, "keep_old": True}, put("expired") + f"echo x > site.pem.{DATED}",
         f"cmp /srv/pairs/expired.pem {CERTIFICATE}.{DATED}-2; cat {CERTIFICATE}.{DATED}", "x"),
    Case("of a CA", SITE, put("issued"), LOOK, changed=False, result={"issuer": "CN=Lab root"}),
    Case("of a CA, for other names", {**SITE, "san": ["b.example"]}, put("issued"), changed=False,
         warns="was issued by CN=Lab root and is kept, though it is not for b.example; force: true replaces it"),
    Case("of a CA, with another key", SITE, put("issued", "good"), changed=False, warns="belongs to another certificate"),
    Case("of a CA, expired", SITE, put("issued-expired"), changed=False, warns="is kept, though it expired on"),
    Case("of a CA, forced", {**SITE, "force": True}, put("issued"), LOOK, seen(), repeats=True),
    Case("a link to a secret stays as it is", SITE, put("expired") +
         "mkdir secret; mv site.* secret/; ln -s secret/site.pem .; ln -s secret/site.key .;"
         "chmod 755 secret; touch -d 2020-01-01 secret/*",
         "cd /etc/t-tls; readlink site.pem; readlink site.key; cmp secret/site.pem /srv/pairs/expired.pem && "
         "stat -c '%a %y' secret/site.key | cut -c 1-14; stat -c %a site.pem", "secret/site.key\n600 2020-01-01\n644"),
    Case("its mode and owner", {**SITE, "owner": "games", "group": "www-data", "mode": "0640", "key_mode": "0400"},
         CLEAN, LOOK, seen(files="site.key 400 games:www-data\nsite.pem 640 games:www-data")),
    Case("only the mode", {**SITE, "group": "www-data", "key_mode": "0640"}, put("good"), LOOK,
         seen(files="site.key 640 root:www-data\nsite.pem 644 root:www-data")),
    Case("modes stay", SITE, put("ending") + "chmod 640 *; chgrp games *", LOOK,
         seen(files="site.key 640 root:games\nsite.pem 640 root:games")),
    Case("a key for everybody", SITE, put("good") + "chmod 644 *", changed=False, warns="everybody on this host may read"),
    Case("issued in place of self-signed", {**SITE, "issuer_cert": "/srv/pairs/root.pem",
         "issuer_key": "/srv/pairs/root.key"}, put("good"), LOOK, seen(), result={"reason": "it is self-signed"}),
    Case("issued by that CA already", {**SITE, "issuer_cert": "/srv/pairs/root.pem",
         "issuer_key": "/srv/pairs/root.key"}, put("issued"), changed=False),
    Case("issued by that CA, expired", {**SITE, "issuer_cert": "/srv/pairs/root.pem",
         "issuer_key": "/srv/pairs/root.key"}, put("issued-expired"), LOOK, seen()),
    Case("its CA has a new key", {**SITE, "issuer_cert": "/etc/t-tls/ca.pem", "issuer_key": "/etc/t-tls/ca.key"},
         put("issued") + "openssl req -x509 -newkey rsa:2048 -nodes -subj '/CN=Lab root' -days 90 -keyout ca.key "
         "-out ca.pem 2>&1", "openssl verify -CAfile /etc/t-tls/ca.pem /etc/t-tls/site.pem", CERTIFICATE + ": OK",
         result={"reason": "its issuer CN=Lab root has another key now"}),
    Case("its CA ends before", {**SITE, "issuer_cert": "/srv/pairs/ending-root.pem",
         "issuer_key": "/srv/pairs/ending-root.key"}, CLEAN, result={"days_left": 39},
         warns="the CA CN=Ending root expires in 40 days: the certificate cannot last longer"),
]  # fmt: skip
FAILURES = [
    Case("no name", HERE, CLEAN, LOOK, fails="nothing says whom it is for: give cn, or san"),
    Case("no name for a server", {**HERE, "cn": "My server"}, CLEAN, fails="san must say what the server is called"),
    Case("a name that is none", {**SITE, "san": ["a b"]}, CLEAN, fails="san: 'a b' is neither a DNS name nor"),
    Case("an address that is none", {**SITE, "san": ["IP:a.example"]}, CLEAN, fails="'IP:a.example' is not an IP address"),
    Case("a name that is an address", {**SITE, "san": ["DNS:192.0.2.1"]}, CLEAN, fails="is an address: write IP:"),
    Case("lines in a name", {**SITE, "san": ["a.example\nbasicConstraints=CA:TRUE"]}, CLEAN, fails="is neither a DNS name"),
    Case("lines in the CN", {**HERE, "cn": "a\nb", "san": ["a.example"]}, CLEAN, fails="cannot be a common name"),
    Case("a long CN", {**HERE, "cn": "a" * 65, "san": ["a.example"]}, CLEAN, fails="longer names belong in san"),
    Case("a kind of key that is none", {**SITE, "key_type": "rsa:1024"}, CLEAN, fails="key_type 'rsa:1024' is none of"),
    Case("one file for both", {**SITE, "key": CERTIFICATE}, CLEAN, fails="path and key are the same file"),
    Case("no folder", {**SITE, "path": "/etc/t-none/a.pem"}, CLEAN, fails="the folder /etc/t-none does not exist; make"),
    Case("a folder", {**SITE, "path": FOLDER}, CLEAN, fails=f"{FOLDER} is a directory, not a file"),
    Case("no certificate at all", {**SITE, "path": "/etc/passwd"}, CLEAN,
         fails="/etc/passwd holds something else than a certificate in PEM form; move it away, or say force"),
    Case("no key at all", SITE, put("good") + "cp /etc/passwd site.key", fails="holds something else than a key that can"),
    Case("a key with a passphrase", SITE, put("expired") + "openssl pkey -in /srv/pairs/expired.key -aes256 -passout pass:x "
         "-out site.key", fails="it is encrypted with a passphrase"),
    Case("damaged, but only expiring ones", {**SITE, "only_if": "expiring"}, put("good") + "sed -i 2d site.pem",
         fails="only_if: invalid replaces it"),
    Case("a CA without its key", {**SITE, "issuer_cert": "/srv/pairs/root.pem"}, CLEAN, fails="belong together"),
    Case("a CA that is none", {**SITE, "issuer_cert": "/srv/pairs/good.pem", "issuer_key": "/srv/pairs/good.key"}, CLEAN,
         fails="/srv/pairs/good.pem is not the certificate of a CA: make one with ca: true"),
    Case("a CA with another key", {**SITE, "issuer_cert": "/srv/pairs/root.pem", "issuer_key": "/srv/pairs/good.key"}, CLEAN,
         fails="does not belong to the CA in /srv/pairs/root.pem"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", EVERYWHERE, ids=str)
def test_what_is_made(stocked: Mapping[str, LabHost], debian: LabHost, case: Case) -> None:
    prove(debian, MODULE, case)


@pytest.mark.lab
@pytest.mark.parametrize("case", ONE + FAILURES, ids=str)
def test_when_it_is_made(stocked: Mapping[str, LabHost], bookworm: LabHost, case: Case) -> None:
    prove(bookworm, MODULE, case)


def call(host: LabHost, *params: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:
    return run_calls(host, [Call(MODULE, given, **options) for given in params])


@pytest.mark.lab
def test_a_small_ca(debian: LabHost) -> None:
    """A root, an intermediate and a server, each made by a task; openssl verifies the server's file as it is served."""
    debian.run(CLEAN)
    root = {"path": f"{FOLDER}/root.pem", "key": f"{FOLDER}/root.key", "cn": "Root", "ca": True, "days": 3650}
    by_root = {"issuer_cert": root["path"], "issuer_key": root["key"]}
    between = {"path": f"{FOLDER}/sub.pem", "key": f"{FOLDER}/sub.key", "cn": "Sub", "ca": True, "days": 1825, **by_root}
    site = {**SITE, "issuer_cert": between["path"], "issuer_key": between["key"]}
    preview, real = (call(debian, root, between, site, check=check) for check in (True, False))
    assert [result.get("msg") for result in (*preview, *real)] == [None] * 6
    assert [result["changed"] for result in (*preview, *real)] == [True] * 6
    assert [result["diff"] for result in preview] == [result["diff"] for result in real]
    assert [result["changed"] for result in call(debian, root, between, site)] == [False] * 3
    verify = f"openssl verify -CAfile {root['path']} -untrusted {CERTIFICATE} {CERTIFICATE}"
    assert debian.run(verify).stdout.strip() == f"{CERTIFICATE}: OK"
    info = {"path": CERTIFICATE, "key": KEY, "ca": root["path"], "names": ["a.example"], "fail_on": "warning"}
    assert run_calls(debian, [Call("tls.tls_cert_info", info)])[0]["status"] == "ok"


@pytest.mark.lab
def test_the_key_is_shown_to_nobody(bookworm: LabHost) -> None:
    """Not in the difference, and on the disk never with more than 0600: a watcher looks at every name in the folder."""
    bookworm.run(CLEAN)
    watcher = "import os, sys, time\nseen, end = set(), time.time() + 3\nwhile time.time() < end:\n"
    watcher += f"  for where, _, files in os.walk('{FOLDER}'):\n    for name in files:\n      try:\n"
    watcher += "        path = os.path.join(where, name); found = os.stat(path).st_mode & 0o777\n"
    watcher += "        with open(path) as f: text = f.read()\n      except OSError: continue\n"
    watcher += "      if 'PRIVATE' in text: seen.add(oct(found))\nprint(sorted(seen))"
    script = f"timeout 20 python3 -c \"{watcher}\" > /run/seen & sleep 0.2; echo started"
    bookworm.run(["systemd-run", "--quiet", "--unit=t-watch", "--collect", "/bin/sh", "-c", f"{script}; wait"])
    results = [call(bookworm, {**SITE, "force": True, "new_key": True})[0] for _ in range(3)]
    bookworm.run("while systemctl -q is-active t-watch; do sleep 0.1; done", timeout=20)
    assert bookworm.run("cat /run/seen").stdout.strip() == "['0o600']"
    assert not any("PRIVATE" in str(result["diff"]) for result in results)
    assert all("-----" not in str(result) for result in [{**result, "_undo": 0} for result in results])


@pytest.mark.lab
def test_a_new_key_is_taken_back_when_the_certificate_cannot_follow(bookworm: LabHost) -> None:
    bookworm.run(put("expired") + "mkdir full; mv site.pem full/; mount -t tmpfs -o size=4k,nr_inodes=4 none full;"
                 "cp /srv/pairs/expired.pem full/site.pem")  # fmt: skip
    given = {**SITE, "path": f"{FOLDER}/full/site.pem", "new_key": True, "days": 100}
    try:
        result = call(bookworm, given)[0]
        assert result["failed"] and "full/site.pem" in result["msg"], result
        bookworm.run(f"cd {FOLDER} && cmp full/site.pem /srv/pairs/expired.pem && cmp site.key /srv/pairs/expired.key")
        assert bookworm.run(f"find {FOLDER} -name '.opsplay*'").stdout == ""
        bookworm.run(f"mount -o remount,size=64k {FOLDER}/full")
        assert call(bookworm, given)[0]["changed"] is True
    finally:
        bookworm.run(f"umount {FOLDER}/full")


@pytest.mark.lab
def test_a_host_that_dies_between_the_two_renames(bookworm: LabHost) -> None:
    """A new key with the old certificate is found by the next run, which makes a certificate for the key."""
    bookworm.run(put("expired", "other"))
    result = call(bookworm, SITE)[0]
    assert result["changed"] is True
    assert bookworm.run(LOOK).stdout.strip() == seen()
    bookworm.run(f"cmp {KEY} /srv/pairs/other.key")


@pytest.mark.lab
def test_it_never_touches_another_secret(bookworm: LabHost) -> None:
    secrets = "find /etc/t-tls/secrets /etc/ssh /etc/shadow -type f -exec sha256sum {} + | sort"
    bookworm.run(put("expired") + "mkdir secrets; cd secrets; for n in jwt db signing; do head -c 32 /dev/urandom > $n; done")
    before = bookworm.run(secrets).stdout
    assert call(bookworm, {**SITE, "keep_old": True, "days": 30})[0]["changed"] is True
    assert bookworm.run(secrets).stdout == before


@pytest.mark.lab
def test_previews_see_what_earlier_tasks_would_make(bookworm: LabHost) -> None:
    bookworm.run(f"rm -rf {FOLDER}")
    tasks = [
        ("files.file", {"path": FOLDER, "state": "directory"}),
        (MODULE, {**SITE, "group": "www-data", "key_mode": "0640"}),
        (MODULE, {**SITE, "group": "www-data", "key_mode": "0640"}),
        ("files.stat", {"path": KEY}),
        ("tls.tls_cert_info", {"path": CERTIFICATE, "key": KEY}),
    ]
    results = previews(bookworm, tasks)
    assert [result.get("failed", False) for result in results] == [False] * 5, results
    assert [result["changed"] for result in results] == [True, True, False, False, False]
    assert results[3]["stat"]["mode"] == "0640"
    assert "serial" in results[1]["_unknown"] and "status" in results[4]["_unknown"]


@pytest.mark.lab
def test_previews_do_not_judge_what_would_be_replaced(stocked: Mapping[str, LabHost], bookworm: LabHost) -> None:
    bookworm.run(put("expired"))
    info = {"path": CERTIFICATE, "key": KEY, "fail_on": "warning"}
    replaced, again, known = previews(bookworm, [(MODULE, SITE), (MODULE, SITE), ("tls.tls_cert_info", info)])
    assert (replaced["changed"], again["changed"], known["changed"]) == (True, False, False)
    assert "status" in known["_unknown"]


# --- what needs no host ---


@pytest.mark.parametrize("name", ["a.example", "*.a.example", "_srv.a.example", "a" * 63 + ".de", "localhost"])
def test_names(name: str) -> None:
    assert _issuing.is_name(name)


@pytest.mark.parametrize("name", ["", "a..b", "-a.example", "a-.example", "a" * 64 + ".de", "a.*.b", "*", "a b", "a\n"])
def test_what_is_no_name(name: str) -> None:
    assert not _issuing.is_name(name)
