"""playbooks/tls.yml as a user runs it: from a blank web server to a certificate of a CA (Pebble), and on from there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsplay.lab import HostSpec, Lab
from tests.lab.acme import PORT, Acme
from tests.lab.certificates import make
from tests.lab.driver import ROOT, Driver, Outcome
from tests.lab.quick_lab import QuickLab

pytestmark = pytest.mark.lab

PLAYBOOK = ROOT / "playbooks" / "tls.yml"
NAMES = ["www.example", "shop.www.example"]
LIVE = "/etc/letsencrypt/live/www.example"
ISSUE = "The certificate of the CA"
PROBE = "It is what is really served, and nothing older than TLS 1.2 is spoken"


class Site:
    """A web server, the CA, and the inventory for the playbook."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.web, self.authority = lab.hosts["www1"], Acme.start(lab.hosts["acme"], {})
        for name in NAMES:
            self.authority.resolve(name, self.web.address)
        self.driver = Driver(folder, lab)
        (folder / "server-ca.pem").write_text(self.authority.ca_file)
        (folder / "issuer-ca.pem").write_text(self.authority.root())
        self.values: dict[str, Any] = {
            "tls_domains": NAMES, "tls_server": self.authority.url, "tls_server_ca": str(folder / "server-ca.pem"),
            "tls_issuer_ca": str(folder / "issuer-ca.pem"), "tls_hosts": "www1",
        }  # fmt: skip

    def run(self, *arguments: str, **values: Any) -> Outcome:
        path = self.driver.directory / "values.yml"
        path.write_text(yaml.safe_dump({**self.values, **values}))
        return self.driver.run(PLAYBOOK, "-e", f"@{path}", *arguments, timeout=240)

    def served(self, name: str = "www.example") -> str:
        """The serial of what nginx serves, asked by openssl."""
        ask = f"echo | openssl s_client -connect 127.0.0.1:443 -servername {name} 2>/dev/null"
        return self.web.run(ask + " | openssl x509 -noout -serial", timeout=10).stdout.strip().partition("=")[2]

    def serial(self) -> str:
        """That of the file."""
        return self.web.run(f"openssl x509 -in {LIVE}/fullchain.pem -noout -serial").stdout.strip().partition("=")[2]

    def cut(self, off: bool) -> None:
        """Let the CA be out of reach of the web server, or bring it back."""
        self.web.run(f"iptables {'-I' if off else '-D'} OUTPUT -p tcp --dport {PORT} -j REJECT --reject-with tcp-reset")

    def put(self, pair: Any) -> None:
        """Put another certificate and key in the place of those in use."""
        for name, text in (("fullchain", pair.pem), ("cert", pair.pem), ("privkey", pair.key_pem)):
            path = self.web.run(f"readlink -f {LIVE}/{name}.pem").stdout.strip()
            (self.web.root / path.lstrip("/")).write_text(text)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("tls") as lab:
        lab.up({"www1": HostSpec(image="full"), "acme": HostSpec()})
        lab.hosts["www1"].run("echo hello > /var/www/html/index.html")
        yield Site(lab, tmp_path_factory.mktemp("tls"))


def said(outcome: Outcome) -> str:
    return outcome.out + outcome.err


def test_from_a_blank_web_server(site: Site) -> None:
    """The CA is out of reach at first: the self-signed certificate is served, and the run says why it failed."""
    secrets = "sha256sum /etc/ssh/ssh_host_* /etc/shadow /srv/secret"
    site.web.run("head -c 32 /dev/urandom > /srv/secret; chmod 600 /srv/secret")
    before = site.web.run(secrets).stdout
    predicted = site.run("--check", "--diff")
    assert predicted.code == 0, said(predicted)
    assert site.web.run("test -e /etc/ssl/www.example", check=False).returncode == 1, "a preview changes nothing"

    site.cut(True)
    failed = site.run()
    site.cut(False)
    assert failed.code != 0 and "the CA's server does not answer" in said(failed), said(failed)
    bootstrap = site.served()
    assert bootstrap
    assert site.web.run("openssl x509 -in /etc/ssl/www.example/current/fullchain.pem -noout -issuer").stdout.startswith(
        "issuer=CN = www.example"
    )

    first = site.run()
    assert first.code == 0, said(first)
    assert first.changed() | failed.changed() == predicted.changed(), "the runs do just what the preview said"
    assert site.served() == site.serial() != bootstrap
    probe = first.results("www1")[PROBE]["data"]
    assert (probe["status"], probe["chain_verified"], probe["same"], probe["protocol"]) == ("ok", True, True, "TLSv1.3")
    assert probe["versions"] == {"TLSv1": False, "TLSv1.1": False, "TLSv1.2": True, "TLSv1.3": True}
    assert sorted(probe["san"]) == sorted(NAMES)
    assert site.web.run(secrets).stdout == before, "no other secret was touched"


def test_the_second_run_changes_nothing(site: Site) -> None:
    """It does not even ask the CA."""
    before, asked = site.serial(), site.authority.requests()
    second = site.run("--diff")
    assert second.code == 0, said(second)
    assert second.changed() == set()
    assert second.recap("www1")["changed"] == 0
    assert (site.serial(), site.authority.requests()) == (before, asked)


LOAD = """import socket, ssl, sys, threading, time
stop, done, failed = threading.Event(), 0, []
context = ssl.create_default_context(cafile="/etc/ssl/www.example/issuer-ca.pem")
def load():
    global done
    while not stop.is_set():
        try:
            with socket.create_connection(("127.0.0.1", 443), timeout=5) as plain:
                with context.wrap_socket(plain, server_hostname="www.example") as s:
                    s.sendall(b"GET / HTTP/1.1\\r\\nHost: www.example\\r\\nConnection: close\\r\\n\\r\\n")
                    answer = b"".join(iter(lambda: s.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 200"), answer[:80]
            done += 1
        except Exception as problem:
            failed.append(repr(problem))
        time.sleep(0.005)
thread = threading.Thread(target=load); thread.start()
sys.stdin.read(); stop.set(); thread.join(); print(done, failed)"""


def test_a_forced_renewal_under_load(site: Site) -> None:
    """No connection is dropped while the certificate changes."""
    argv = ["nsenter", f"--target={site.web.machine.leader()}", "--all", "--root", "--wd", "--", "timeout", "120"]
    before = site.serial()
    argv += ["python3", "-c", LOAD]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        forced = site.run(tls_force=True)
        out, _ = load.communicate("", timeout=30)
    assert forced.code == 0, said(forced)
    requests, failed = out.split(" ", 1)
    assert (failed.strip(), int(requests) > 100) == ("[]", True)
    assert site.served() == site.serial() != before


def test_the_ca_is_down(site: Site) -> None:
    """The old certificate is still served, and the run ends with the reason."""
    before = site.served()
    site.cut(True)
    failed = site.run(tls_force=True)
    site.cut(False)
    assert failed.code != 0
    message = failed.results("www1")[ISSUE]["data"]["msg"]
    assert "the CA's server does not answer" in message and "goes on being used: it is valid until" in message
    assert site.served() == site.serial() == before


EXPIRED = make("www.example", NAMES, days=-2, age=80)


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (EXPIRED, "it expired on"),
        (make("www.example", ["www.example"]), "it is not for shop.www.example"),
        (None, "its key belongs to another certificate"),
    ],
    ids=["expired", "wrong-names", "wrong-key"],
)
def test_what_is_of_no_use_is_reported_and_replaced(site: Site, pair: Any, reason: str) -> None:
    """Fixtures in the place of the certificate: a preview says what is wrong, the run puts it right."""
    if pair is None:
        key = site.web.run(f"readlink -f {LIVE}/privkey.pem").stdout.strip()
        (site.web.root / key.lstrip("/")).write_text(EXPIRED.key_pem)
    else:
        site.put(pair)
        site.web.run("systemctl reload nginx")
    preview = site.run("--check")
    assert reason in preview.results("www1")[ISSUE]["data"]["reason"]
    repaired = site.run()
    assert repaired.code == 0, said(repaired)
    assert site.served() == site.serial()
    assert site.run().changed() == set()


def test_dns_in_place_of_http(site: Site) -> None:
    """The same certificate by another proof: its settings change, and the next one is issued in that way."""
    hooks = {f"tls_{name}": command for name, command in site.authority.hooks().items()}
    wildcard = {**hooks, "tls_challenge": "dns", "tls_domains": [*NAMES, "*.www.example"]}
    outcome = site.run(**wildcard)
    assert outcome.code == 0, said(outcome)
    assert site.served("any.www.example") == site.serial()
    assert site.run(**wildcard).changed() == set()
