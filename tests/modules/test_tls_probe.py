"""What servers really serve: nginx and PostgreSQL on one host, looked at from hosts of each release."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.lab import certificates
from tests.lab.certificates import Pair, make
from tests.lab.remote_module import Call, run_calls

MODULE = "tls.tls_probe"
ROOT = make("Lab root", ca=True, days=3650, age=400)
BETWEEN = make("Lab intermediate", issuer=ROOT, ca=True, days=1825, age=300)
OLD = make("Old intermediate", issuer=ROOT, ca=True, days=-1, age=300)
GOOD = make("a.example", ["a.example"], BETWEEN)
OTHER = make("b.example", ["b.example", "*.b.example"], BETWEEN)
NEXT = make("a.example", ["a.example"], BETWEEN)
# Ports of nginx: (pair, certificates that are sent behind its own, more of the configuration).
MODERN = "ssl_protocols TLSv1.2 TLSv1.3;"
ANY = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ciphers ALL:@SECLEVEL=0;"
SERVED: Mapping[int, tuple[Pair, tuple[Pair, ...], str]] = {
    8441: (GOOD, (BETWEEN,), MODERN),
    8442: (GOOD, (), MODERN),
    8443: (make("a.example", ["a.example"], BETWEEN, days=-3, age=90), (BETWEEN,), MODERN),
    8444: (make("a.example", ["a.example"]), (), MODERN),
    8445: (GOOD, (BETWEEN,), ANY),
    8446: (make("a.example", ["a.example"], BETWEEN, key=certificates.rsa_key(1024)), (BETWEEN,), ANY),
    8447: (make("a.example", ["a.example"], BETWEEN, days=5), (BETWEEN,), MODERN),
    8448: (make("a.example", ["a.example"], OLD), (OLD,), MODERN),
    8449: (GOOD, (BETWEEN,), "ssl_protocols TLSv1; ssl_ciphers ALL:@SECLEVEL=0;"),
}
SNI = "server {{ listen 8441 ssl; server_name b.example *.b.example; {ssl} {more} }}"
# nginx speaks SMTP, too; whoever gets through to a mailbox is not asked here.
MAIL = """mail {{ server_name mail.example; auth_http 127.0.0.1:9; smtp_auth none;
    server {{ listen 2525; protocol smtp; starttls on; {ssl} }} server {{ listen 2526; protocol smtp; starttls off; }} }}"""


@dataclass(frozen=True)
class Look:
    """What is asked, what is found, and why it is bad."""

    name: str
    params: Mapping[str, Any]
    status: str = "ok"
    reasons: tuple[str, ...] = ()
    result: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


@pytest.fixture(scope="module")
def server(full: Callable[[str], LabHost], fleet: Mapping[str, LabHost]) -> LabHost:
    """A host whose nginx serves all that the cases ask for; the CA is known to the hosts that ask."""
    host = full("bookworm")
    folder = host.root / "etc/nginx/t-probe"
    folder.mkdir(exist_ok=True)

    def ssl(name: str, pair: Pair, behind: tuple[Pair, ...] = ()) -> str:
        (folder / f"{name}.pem").write_text(pair.pem + "".join(each.pem for each in behind))
        (folder / f"{name}.key").write_text(pair.key_pem)
        return f"ssl_certificate t-probe/{name}.pem; ssl_certificate_key t-probe/{name}.key;"

    servers = [
        f"server {{ listen {port} ssl default_server; server_name a.example; {ssl(str(port), pair, behind)} {more} }}"
        for port, (pair, behind, more) in SERVED.items()
    ]
    servers.append(SNI.format(ssl=ssl("sni", OTHER, (BETWEEN,)), more=MODERN))
    servers.append("server { listen 8080; }")
    (host.root / "etc/nginx/conf.d/t-probe.conf").write_text("\n".join(servers))
    if host.run("test -e /usr/lib/nginx/modules/ngx_mail_module.so", check=False).returncode:
        install = "apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y libnginx-mod-mail"
        host.run(install, timeout=120)
    text = (host.root / "etc/nginx/nginx.conf").read_text()
    mail = MAIL.format(ssl=ssl("mail", GOOD, (BETWEEN,)))
    (host.root / "etc/nginx/nginx.conf").write_text(text + mail)
    everywhere = "sed -i \"\\$ a listen_addresses = '*'\" /etc/postgresql/*/main/postgresql.conf"
    host.run(f"nginx -t && systemctl restart nginx && {everywhere} && systemctl restart postgresql")
    for each in (host, *fleet.values()):
        folder = each.root / "srv/probe"
        folder.mkdir(exist_ok=True)
        for name, text in {"root": ROOT.pem, "good": GOOD.pem + BETWEEN.pem, "next": NEXT.pem}.items():
            (folder / f"{name}.pem").write_text(text)
    yield host
    host.run("rm /etc/nginx/conf.d/t-probe.conf; sed -i '/^mail {/,$d' /etc/nginx/nginx.conf; systemctl restart nginx;"
             "sed -i '$ d' /etc/postgresql/*/main/postgresql.conf; systemctl restart postgresql")  # fmt: skip


CA = {"ca": "/srv/probe/root.pem"}


def at(port: int, **params: Any) -> dict[str, Any]:
    return {"port": port, "sni": "a.example", **CA, **params}


EVERYWHERE = [
    Look("a good one", at(8441, check_versions=True), result={
        "protocol": "TLSv1.3", "chain_verified": True, "serial": GOOD.serial, "san": ["a.example"], "days_left": 90,
        "names_missing": [], "same": None, "issuer": "CN=Lab intermediate", "key_type": "ecdsa",
        "versions": {"TLSv1": False, "TLSv1.1": False, "TLSv1.2": True, "TLSv1.3": True}}),
    Look("old versions", at(8445, check_versions=True), "critical",
         ("it speaks TLSv1, older than TLSv1.2", "it speaks TLSv1.1, older than TLSv1.2"),
         {"protocol": "TLSv1.3", "versions": {"TLSv1": True, "TLSv1.1": True, "TLSv1.2": True, "TLSv1.3": True}}),
    Look("only an old version", at(8449), "critical", ("it speaks TLSv1, older than TLSv1.2",), {"protocol": "TLSv1"}),
    Look("expired", at(8443), "expired", ("it expired on ",), {"chain_verified": True}),
    Look("another name", at(8441, names=["c.example"]), "critical", ("it is not for c.example, only for a.example",)),
    Look("no intermediate", at(8442), "critical", ("its issuer CN=Lab intermediate is neither trusted nor in the chain",),
         {"chain_verified": False}),
    Look("self-signed", at(8444), "critical", ("it is self-signed, and not among the trusted",), {"self_signed": True}),
    Look("another CA", {**at(8441), "ca": None}, "critical", ("neither trusted nor in",), {"chain_verified": False}),
    Look("a weak key", at(8446), "critical", ("its RSA key has 1024 bits",)),
    Look("the one in the file", at(8441, same_as="/srv/probe/good.pem"), result={"same": True}),
    Look("not the one in the file", at(8441, same_as="/srv/probe/next.pem"), "critical",
         (f"another certificate is served than /srv/probe/next.pem holds (serial {NEXT.serial}",), {"same": False}),
    Look("PostgreSQL", {"port": 5432, "starttls": "postgres", "verify": False, "names": ["full-bookworm"]}, "critical",
         ("it is not for full-bookworm",), {"protocol": "TLSv1.3", "self_signed": True}),
    Look("SMTP", at(2525, starttls="smtp"), result={"serial": GOOD.serial, "chain_verified": True}),
]  # fmt: skip
ONE = [
    Look("by another name", {**at(8441), "sni": "x.b.example"}, result={"serial": OTHER.serial}),
    Look("old versions are fine", at(8445, check_versions=True, min_version="1.0")),
    Look("too little", at(8449, min_version=1.1), "critical", ("it speaks TLSv1, older than TLSv1.1",)),
    Look("soon", at(8447), "critical", ("it expires in 5 days",)),
    Look("soon is enough", at(8447, warn_days=3, crit_days=2)),
    Look("its issuer expired", at(8448), "critical", ("its chain does not hold: certificate has expired",
                                                       "the certificate of its issuer CN=Old intermediate expired on")),
    Look("not verified", {**at(8444), "verify": False}, result={"chain_verified": None}),
    Look("its fingerprint", at(8441, fingerprint="00:11"), "critical", ("than the one with fingerprint 00:11",)),
]  # fmt: skip


def probe(host: LabHost, server: LabHost, params: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    return run_calls(host, [Call(MODULE, {"host": server.address, **params}, **options)])[0]


def check(host: LabHost, server: LabHost, look: Look) -> None:
    found = probe(host, server, look.params)
    assert not found.get("failed"), found
    assert (found["status"], found["changed"]) == (look.status, False), found
    assert len(found["reasons"]) == len(look.reasons), found["reasons"]
    for reason in look.reasons:
        assert any(reason in each for each in found["reasons"]), found["reasons"]
    assert {key: found[key] for key in look.result or {}} == (look.result or {})
    again = probe(host, server, {**look.params, "fail_on": "critical"})
    assert again.get("failed", False) is (look.status != "ok")
    assert all(reason in again.get("msg", "") for reason in look.reasons)


@pytest.mark.lab
@pytest.mark.parametrize("look", EVERYWHERE, ids=str)
def test_from_each_release(server: LabHost, debian: LabHost, look: Look) -> None:
    check(debian, server, look)


@pytest.mark.lab
@pytest.mark.parametrize("look", ONE, ids=str)
def test_from_one_release(server: LabHost, bookworm: LabHost, look: Look) -> None:
    check(bookworm, server, look)


@pytest.mark.lab
def test_the_chain_that_is_sent(server: LabHost, fleet: Mapping[str, LabHost]) -> None:
    """Python tells it from 3.10 on."""
    found = {release: probe(host, server, at(8441))["chain"] for release, host in fleet.items()}
    sent = ["CN=Lab intermediate"]
    assert found == {"bullseye": None, "bookworm": sent, "trixie": sent}


@pytest.mark.lab
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"port": 8080}, "it answers, but not in TLS: is this a port without it"),
        ({"port": 7}, "no TLS connection: Connection refused"),
        ({"host": "no.such.example"}, "no.such.example:443: no TLS connection:"),
        ({"port": 22, "starttls": "smtp"}, "it answers 'SSH-2.0"),
        ({"port": 2526, "starttls": "smtp"}, "to STARTTLS"),
        ({"port": 8080, "starttls": "postgres"}, "it is no PostgreSQL server"),
        ({"port": 22, "timeout": 0.3}, "no TLS connection"),
        ({"port": 8441, "ca": "/srv/none"}, "there is no CA certificate /srv/none"),
        ({"port": 8441, "same_as": "/srv/none"}, "there is no certificate /srv/none"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"warn_days": 1}, "crit_days (7) is more than warn_days (1)"),
    ],
)
def test_what_is_no_server(server: LabHost, bookworm: LabHost, params: Mapping[str, Any], message: str) -> None:
    found = probe(bookworm, server, params)
    assert found["failed"] and message in found["msg"], found


@pytest.mark.lab
def test_a_server_that_says_nothing_is_not_waited_for(server: LabHost, bookworm: LabHost) -> None:
    silent = "import socket, time; s = socket.create_server(('', 8450)); s.listen(); time.sleep(20)"
    server.run(["systemd-run", "--quiet", "--unit=t-silent", "--collect", "python3", "-c", silent])
    server.run("for i in $(seq 50); do ss -ltn | grep -q :8450 && break; sleep 0.1; done")
    found = probe(bookworm, server, {"port": 8450, "timeout": 0.5})
    server.run("systemctl stop t-silent")
    assert found["failed"] and "no answer within 0.5 s" in found["msg"]
    assert found["_seconds"] < 3


@pytest.mark.lab
def test_a_preview_asks_nobody(server: LabHost, bookworm: LabHost) -> None:
    found = probe(bookworm, server, {"port": 7}, check=True)
    assert found["skipped"] and "serial" in found["_unknown"]
