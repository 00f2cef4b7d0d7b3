"""Certificates from a CA that speaks ACME (Pebble), obtained and renewed by the hosts' own certbot."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.agent.process import Completed
from opsplay.lab import HostSpec, Lab, LabHost
from opsplay.modules.tls import _certbot, _renewal
from tests.lab.acme import PORT, Acme
from tests.lab.certificates import make
from tests.lab.remote_module import Call, run_calls
from tests.modules import RELEASES
from tests.modules.cases import Case, previews, prove

MODULE = "tls.certbot_renew"
LIVE = "/etc/letsencrypt/live/a.example"
RENEWAL = "/etc/letsencrypt/renewal/a.example.conf"
WEBROOT = "/srv/acme-web"
CA_FILE = "/srv/acme-ca.pem"
SITE = f"server {{ listen 80 default_server; root {WEBROOT}; }}\n"
SECURE = f"""server {{ listen 443 ssl; server_name a.example; ssl_certificate {LIVE}/fullchain.pem;
    ssl_certificate_key {LIVE}/privkey.pem; location / {{ return 200 ok; }} }}\n"""
# What certbot, its hooks and its timer leave.
CLEAN = f"""rm -rf /etc/letsencrypt/[!c]* /etc/letsencrypt/ca-bundle.pem /var/lib/letsencrypt {WEBROOT}
    rm -rf /etc/systemd/system/certbot.service.d; systemctl daemon-reload; mkdir {WEBROOT}
    rm -f /etc/nginx/sites-enabled/*; printf '%s' '{SITE}' > /etc/nginx/sites-enabled/acme
    systemctl reset-failed; systemctl restart nginx;"""
LOOK = f"""cd {LIVE} && openssl x509 -in fullchain.pem -noout -ext subjectAltName | tail -1 | tr -d ' '
    test "$(openssl x509 -in fullchain.pem -noout -pubkey)" = "$(openssl pkey -in privkey.pem -pubout)" && echo pair
    systemctl is-enabled certbot.timer; systemctl is-active certbot.timer"""
SEEN = "DNS:a.example\npair\nenabled\nactive"


@pytest.fixture(scope="module")
def machine(modules_lab: Lab) -> Iterator[LabHost]:
    """The CA's own host: it reaches the others as a CA does."""
    yield modules_lab.up({"acme": HostSpec()})["acme"]
    modules_lab.down(["acme"])


@pytest.fixture(scope="module")
def authority(machine: LabHost) -> Acme:
    return Acme.start(machine, {})


@pytest.fixture(scope="module")
def clients(full: Callable[[str], LabHost], authority: Acme) -> Iterator[Callable[[str], LabHost]]:
    """Hosts that the names lead to, one at a time, and that trust the CA's server by a file."""
    used: dict[str, LabHost] = {}

    def client(release: str) -> LabHost:
        host = full(release)
        if release not in used:
            used[release] = host
            (host.root / CA_FILE.lstrip("/")).write_text(authority.ca_file)
            host.run("test -e /srv/nginx-sites || cp -a /etc/nginx/sites-enabled /srv/nginx-sites")
        for name in ("a.example", "b.example", "c.example", "refused.example"):
            authority.resolve(name, host.address)
        return host

    yield client
    for host in used.values():
        host.run(CLEAN + "rm -rf /etc/nginx/sites-enabled; mv /srv/nginx-sites /etc/nginx/sites-enabled;"
                 f"systemctl restart nginx; rm -rf {WEBROOT}")  # fmt: skip


@pytest.fixture
def web(clients: Callable[[str], LabHost]) -> LabHost:
    return clients("bookworm")


@pytest.fixture
def asked(authority: Acme) -> dict[str, Any]:
    """What every task says."""
    return {"domains": ["a.example"], "server": authority.url, "ca_file": CA_FILE, "webroot": WEBROOT}


def one(host: LabHost, params: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    return run_calls(host, [Call(MODULE, params, **options)])[0]


def serial(host: LabHost) -> str:
    """That of the file."""
    return host.run(f"openssl x509 -in {LIVE}/fullchain.pem -noout -serial").stdout.strip().partition("=")[2]


def served(host: LabHost) -> str:
    """That of the certificate that nginx serves."""
    ask = "echo | openssl s_client -connect 127.0.0.1:443 -servername a.example 2>/dev/null | openssl x509 -noout -serial"
    return host.run(ask, timeout=10).stdout.strip().partition("=")[2]


def replace(host: LabHost, *names: str, days: float = -2) -> str:
    """Put another certificate, by default one that has expired, in the place of the one in use. Its serial."""
    pair = make(names[0], names, days=days, age=85)
    for name, text in (("fullchain", pair.pem), ("cert", pair.pem), ("privkey", pair.key_pem)):
        path = host.run(f"readlink -f {LIVE}/{name}.pem").stdout.strip()
        (host.root / path.lstrip("/")).write_text(text)
    return pair.serial


def cut(host: LabHost, off: bool) -> None:
    """Let the CA be out of reach of a host, or bring it back."""
    what = f"OUTPUT -p tcp --dport {PORT} -j REJECT --reject-with tcp-reset"
    host.run(f"iptables {'-I' if off else '-D'} {what}")


@pytest.mark.lab
@pytest.mark.parametrize("release", RELEASES)
def test_the_life_of_a_certificate(
    clients: Callable[[str], LabHost], authority: Acme, asked: dict[str, Any], release: str
) -> None:
    """Foreseen, obtained, unchanged without asking the CA, for other names, forced, and refused for a wrong name."""
    host = clients(release)
    real = prove(host, MODULE, Case("new", asked, CLEAN, LOOK, SEEN, result={"reissued": True, "reason": "there is none"}))
    assert (real["certificate"], real["key"]) == (f"{LIVE}/fullchain.pem", f"{LIVE}/privkey.pem")
    assert (real["san"], real["days_left"], real["serial"]) == (["a.example"], 89, serial(host))

    before = authority.requests()
    cut(host, True)
    again = one(host, asked)
    cut(host, False)
    assert (again["changed"], again["serial"], authority.requests()) == (False, real["serial"], before)

    more = {**asked, "domains": ["A.example.", "b.example"], "key_type": "rsa"}
    both = Case("names", more, look=LOOK, after=SEEN.replace("a.example", "a.example,DNS:b.example"),
                result={"reason": "it is not for b.example", "key_type": "rsa"})  # fmt: skip
    prove(host, MODULE, both)
    prove(host, MODULE, Case("fewer", asked, look=LOOK, after=SEEN, result={"reason": "it is also for b.example"}))
    number = serial(host)
    forced = one(host, {**asked, "force": True})
    assert (forced["reason"], forced["reissued"]) == ("forced", True)
    assert serial(host) == forced["serial"] != number

    authority.resolve("c.example", authority.host.address)
    wrong = one(host, {**asked, "domains": ["a.example", "c.example"]})
    assert wrong["failed"] and "the CA refuses c.example: connection: " in wrong["msg"], wrong["msg"]
    assert "port 80 of c.example must lead to this host" in wrong["msg"]
    assert "The certificate that is there goes on being used: it is valid until" in wrong["msg"]
    assert serial(host) == forced["serial"]
    assert one(host, asked)["changed"] is False


ENOUGH = {"timer": False}


@pytest.mark.lab
def test_expired_and_expiring_ones_are_renewed(web: LabHost, asked: dict[str, Any]) -> None:
    web.run(CLEAN)
    one(web, asked)
    for days, reason in ((-2, "it expired on"), (20, "it expires in 20 days")):
        old = replace(web, "a.example", days=days)
        info = {"path": f"{LIVE}/fullchain.pem", "key": f"{LIVE}/privkey.pem", "fail_on": "warning"}
        preview, second, known = previews(web, [(MODULE, asked), (MODULE, asked), ("tls.tls_cert_info", info)])
        assert preview["changed"] is True and reason in preview["reason"]
        assert second["changed"] is False and "status" in known["_unknown"], "what is obtained cannot be known before"
        assert serial(web) == old
        real = one(web, asked)
        assert (real["reason"], real["diff"]) == (preview["reason"], preview["diff"])
        assert serial(web) == real["serial"] != old
    assert one(web, {**asked, "renew_before": 80, **ENOUGH})["reissued"] is False, "80 days are more than two thirds"


@pytest.mark.lab
def test_standalone(web: LabHost, asked: dict[str, Any]) -> None:
    """certbot's own server needs the port; another one that has it is named."""
    web.run(CLEAN)
    alone = {**asked, "webroot": None, "challenge": "standalone"}
    taken = one(web, alone)
    assert taken["failed"] and "Could not bind TCP port 80 because it is already in use" in taken["msg"], taken["msg"]
    assert "use challenge webroot or nginx, or http_port" in taken["msg"]
    assert "There is no certificate of this name yet" in taken["msg"]
    prove(web, MODULE, Case("alone", alone, "systemctl stop nginx", LOOK, SEEN))
    # Another port, which a server or a firewall passes on from port 80.
    web.run("iptables -t nat -I PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8099")
    try:
        assert one(web, {**alone, "http_port": 8099, "force": True})["reissued"] is True
    finally:
        web.run("iptables -t nat -D PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8099")
    assert "http01_port = 8099" in web.run(f"cat {RENEWAL}").stdout


@pytest.mark.lab
def test_dns_with_hooks(web: LabHost, authority: Acme, asked: dict[str, Any]) -> None:
    """Also for a wildcard, which no other way proves."""
    names = {**asked, "webroot": None, "challenge": "dns", "domains": ["a.example", "*.a.example"], **authority.hooks()}
    seen = SEEN.replace("DNS:a.example", "DNS:a.example,DNS:*.a.example")
    prove(web, MODULE, Case("dns", names, CLEAN + "systemctl stop nginx", LOOK, seen))
    broken = one(web, {**names, "auth_hook": "true", "force": True})
    assert broken["failed"] and "the CA refuses a.example: " in broken["msg"], broken["msg"]


@pytest.mark.lab
def test_nginx_as_the_way(web: LabHost, asked: dict[str, Any]) -> None:
    """Its plugin is a package of its own."""
    through = {**asked, "webroot": None, "challenge": "nginx"}
    web.run(CLEAN + "DEBIAN_FRONTEND=noninteractive apt-get -q purge -y python3-certbot-nginx", timeout=60)
    missing = one(web, through)
    assert missing["failed"] and "install the package python3-certbot-nginx" in missing["msg"], missing["msg"]
    web.run("apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y python3-certbot-nginx", timeout=180)
    files = "cd /etc/nginx; find . -type f -exec sha256sum {} + | sort"
    sites = SITE.replace("default_server", "default_server; server_name a.example")
    web.run(f"printf '%s' '{sites}' > /etc/nginx/sites-enabled/acme; systemctl reload nginx")
    before = web.run(files).stdout
    prove(web, MODULE, Case("nginx", through, look=LOOK, after=SEEN))
    assert web.run(files).stdout == before, "certbot has put its change of the configuration back"


LOAD = """import ssl, socket, sys, threading, time
stop, done, failed = threading.Event(), [0], []
context = ssl.create_default_context(cafile="/srv/acme-root.pem")
def load():
    while not stop.is_set():
        try:
            with socket.create_connection(("127.0.0.1", 443), timeout=5) as plain:
                with context.wrap_socket(plain, server_hostname="a.example") as s:
                    s.sendall(b"GET / HTTP/1.1\\r\\nHost: a.example\\r\\nConnection: close\\r\\n\\r\\n")
                    answer = b"".join(iter(lambda: s.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 200"), answer[:80]
            done[0] += 1
        except Exception as problem:
            failed.append(repr(problem))
        time.sleep(0.005)
threads = [threading.Thread(target=load) for _ in range(2)]
for thread in threads: thread.start()
sys.stdin.read(); stop.set()
for thread in threads: thread.join()
print(done[0], failed)"""


def under_load(host: LabHost, act: Callable[[], Any]) -> tuple[Any, int, str]:
    """What comes of an act while requests come, each with a connection of its own; how many, and which failed."""
    argv = ["nsenter", f"--target={host.machine.leader()}", "--all", "--root", "--wd", "--", "timeout", "60"]
    with subprocess.Popen([*argv, "python3", "-c", LOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        try:
            result = act()
        finally:
            out, _ = load.communicate("", timeout=30)
    done, failed = out.split(" ", 1)
    return result, int(done), failed.strip()


def serving(host: LabHost, authority: Acme, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A host that serves its certificate; what it was asked for."""
    host.run(CLEAN)
    first = one(host, {**asked, "reload": "nginx"})
    assert not first.get("failed"), first["msg"]
    (host.root / "srv/acme-root.pem").write_text(authority.root())
    host.run(f"printf '%s' '{SECURE}' > /etc/nginx/sites-enabled/secure; systemctl restart nginx")
    return {**asked, "reload": "nginx"}


@pytest.mark.lab
def test_a_renewal_under_load(web: LabHost, authority: Acme, asked: dict[str, Any]) -> None:
    """No request is dropped, and the new certificate is served when the task has ended."""
    params = serving(web, authority, asked)
    assert one(web, params)["changed"] is False
    old = served(web)
    result, requests, failed = under_load(web, lambda: one(web, {**params, "force": True}))
    assert result["reissued"] is True, result
    assert failed == "[]" and requests > 100
    assert served(web) == result["serial"] == serial(web) != old


@pytest.mark.lab
def test_the_ca_is_down(web: LabHost, authority: Acme, asked: dict[str, Any]) -> None:
    """The task fails with the reason, and the certificate that is there goes on being served."""
    params = serving(web, authority, asked)
    old = served(web)
    cut(web, True)
    try:
        result, requests, failed = under_load(web, lambda: one(web, {**params, "force": True}))
        preview = one(web, {**params, "force": True}, check=True)
    finally:
        cut(web, False)
    assert result["failed"] and "Connection refused" in result["msg"]
    assert "the CA's server does not answer: check `server`" in result["msg"]
    assert "goes on being used: it is valid until" in result["msg"] and "\n" not in result["msg"]
    assert served(web) == serial(web) == old
    assert (failed, requests > 20) == ("[]", True)
    assert preview["changed"] is True and not preview.get("failed"), "a preview contacts nobody"
    assert one(web, params)["changed"] is False


@pytest.mark.lab
def test_certbot_s_own_timer(web: LabHost, authority: Acme, asked: dict[str, Any]) -> None:
    """It trusts the same CA, proves the domain in the same way, and reloads nginx, if that accepts its files."""
    params = serving(web, authority, asked)
    old = replace(web, "a.example")
    web.run("systemctl reload nginx; sleep 0.3")
    assert served(web) == old
    web.run("systemctl start certbot.service", timeout=60)
    web.run("sleep 0.3")
    assert served(web) == serial(web) != old
    assert one(web, params)["changed"] is False
    # nginx would not start with this: it is left alone, and goes on with what it has.
    replace(web, "a.example")
    before = served(web)
    web.run("echo broken > /etc/nginx/conf.d/t.conf; systemctl start certbot.service", timeout=60, check=False)
    assert served(web) == before != serial(web)
    refused = one(web, params)
    web.run("rm /etc/nginx/conf.d/t.conf; sleep 2")
    assert refused["failed"] and "nginx was not reloaded, for it would refuse its configuration" in refused["msg"]
    # What could not be done then is done now, though the certificate is fine.
    preview, late = one(web, params, check=True), one(web, params)
    assert (preview["changed"], late["changed"], late["reissued"]) == (True, True, False)
    assert served(web) == serial(web)
    assert one(web, params)["changed"] is False


@pytest.mark.lab
def test_deploy_hooks(web: LabHost, asked: dict[str, Any]) -> None:
    """certbot counts a hook that fails as success; the task does not."""
    params = {**asked, "deploy_hook": f"echo $RENEWED_DOMAINS > {WEBROOT}/hook"}
    prove(web, MODULE, Case("hook", params, CLEAN, f"cat {WEBROOT}/hook", "a.example"))
    failed = one(web, {**asked, "deploy_hook": "echo out of order >&2; exit 3", "force": True})
    assert failed["failed"] and "the new certificate is there, but a deploy hook failed with exit code 3" in failed["msg"]
    assert "out of order" in failed["msg"]


@pytest.mark.lab
def test_trials_keep_nothing(web: LabHost, asked: dict[str, Any]) -> None:
    web.run(CLEAN)
    trial = one(web, {**asked, "dry_run": True})
    assert (trial["dry_run"], trial["changed"]) == ("ok", False), trial
    assert web.run(f"test -e {LIVE}", check=False).returncode == 1
    assert one(web, {**asked, "dry_run": True}, check=True)["dry_run"] == "not tried in a preview"
    refused = one(web, {**asked, "domains": ["refused.example"], "dry_run": True})
    assert refused["failed"] and refused["msg"].startswith("the trial failed: "), refused["msg"]
    assert "does not issue for" in refused["msg"]


@pytest.mark.lab
def test_other_settings_need_no_new_certificate(web: LabHost, authority: Acme, asked: dict[str, Any]) -> None:
    """They are written down for certbot's next renewal, which works."""
    web.run(CLEAN)
    first = one(web, asked)
    cut(web, True)
    new = f"{WEBROOT}/new"
    look = f"grep -c . {RENEWAL}; grep -E '^(auth|webroot|renew_b|a.ex|renew_h)' {RENEWAL}"
    try:
        for name, params, after in (
            ("a folder", {**asked, "webroot": new}, f"authenticator = webroot\nwebroot_path = {new},\na.example = {new}"),
            ("a time", {**asked, "webroot": new, "renew_before": 20},
             f"renew_before_expiry = 20 days\nauthenticator = webroot\nwebroot_path = {new},\na.example = {new}"),
            ("a hook", {**asked, "webroot": new, "renew_before": 20, "deploy_hook": "echo 'a, b' # c"},
             "renew_before_expiry = 20 days\nauthenticator = webroot\n"
             f"webroot_path = {new},\nrenew_hook = \"echo 'a, b' # c\"\na.example = {new}"),
        ):  # fmt: skip
            case = Case(name, params, f"mkdir -p {new}", look, result={"reissued": False, "serial": first["serial"]})
            prove(web, MODULE, case)
            assert web.run(look).stdout.partition("\n")[2].strip() == after
    finally:
        cut(web, False)
    web.run(f"sed -i 's|root {WEBROOT}|root {new}|' /etc/nginx/sites-enabled/acme; systemctl restart nginx")
    old = replace(web, "a.example")
    web.run("systemctl start certbot.service", timeout=60)
    assert serial(web) != old
    assert one(web, {**asked, "webroot": new, "renew_before": 20})["changed"] is False


@pytest.mark.lab
def test_two_at_once(web: LabHost, asked: dict[str, Any]) -> None:
    """The second waits for the first, and then finds nothing to do."""
    web.run(CLEAN)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: one(web, asked), range(2)))
    assert sorted(result["changed"] for result in results) == [False, True], results
    assert results[0]["serial"] == results[1]["serial"]


REFUSED = [
    ({"domains": ["*.a.example"]}, "*.a.example needs challenge: dns"),
    ({"domains": []}, "domains is empty"),
    ({"domains": ["192.0.2.1"]}, "'192.0.2.1' is no domain that a CA could prove"),
    ({"domains": ["a b.example"]}, "is no domain that a CA could prove"),
    ({"webroot": None}, "challenge: webroot needs webroot, the folder that is served under http://a.example/"),
    ({"webroot": "/srv/none"}, "the webroot /srv/none is no folder"),
    ({"challenge": "standalone"}, "webroot is for challenge: webroot, and this is standalone"),
    ({"webroot": None, "challenge": "dns"}, "challenge: dns needs auth_hook"),
    ({"http_port": 80}, "http_port is for challenge: standalone"),
    ({"server": "http://a.example/dir"}, "is none of letsencrypt, letsencrypt-staging and no URL that begins with https"),
    ({"staging": True}, "staging is Let's Encrypt's; leave it out with server"),
    ({"deploy_hook": "a\nb"}, "deploy_hook must be one line"),
    ({"ca_file": "/srv/none"}, "there is no ca_file /srv/none"),
]


@pytest.mark.lab
def test_what_is_refused(web: LabHost, asked: dict[str, Any]) -> None:
    web.run(CLEAN)
    calls = [Call(MODULE, {**asked, **params, "timer": False}) for params, _ in REFUSED]
    for (_, message), result in zip(REFUSED, run_calls(web, calls), strict=True):
        assert result["failed"] and message in result["msg"], result["msg"]


@pytest.mark.lab
def test_a_reload_without_nginx(web: LabHost, authority: Acme, asked: dict[str, Any]) -> None:
    """That is refused before the CA is asked."""
    before = authority.requests()
    web.run(CLEAN + "mv /usr/sbin/nginx /usr/sbin/nginx.off")
    result = one(web, {**asked, "reload": "nginx"})
    web.run("mv /usr/sbin/nginx.off /usr/sbin/nginx")
    assert result["failed"] and "nginx is not on this host, so it cannot be reloaded" in result["msg"]
    assert authority.requests() == before


@pytest.mark.lab
def test_a_server_that_is_not_trusted(web: LabHost, asked: dict[str, Any]) -> None:
    web.run(CLEAN)
    result = one(web, {**asked, "ca_file": None})
    assert result["failed"] and "the CA's own server is not trusted: name its CA in ca_file" in result["msg"]


@pytest.mark.lab
def test_a_preview_of_a_host_without_certbot(fleet: Mapping[str, LabHost]) -> None:
    params = {"domains": ["a.example"], "webroot": "/srv/none", "reload": "nginx"}
    tasks = [(MODULE, params), ("packages.apt", {"name": ["nonesuch"], "update_cache": True}), (MODULE, params)]
    missing, _, coming = previews(fleet["bookworm"], tasks)
    assert missing["failed"] and "certbot is not on this host; install the package certbot first" in missing["msg"]
    assert (coming["changed"], coming["reason"]) == (True, "there is none"), coming
    assert "serial" in coming["_unknown"]


# --- what needs no host ---

AUTHENTICATION = """Requesting a certificate for c.example
Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Domain: c.example
  Type:   {}
  Detail: first
  second

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.
Some challenges have failed."""
OLD_FORM = """IMPORTANT NOTES:
 - The following errors were reported by the server:

   Domain: c.example
   Type:   dns
   Detail: DNS problem: NXDOMAIN looking up A for
   c.example
"""
SAID = [
    (AUTHENTICATION.format("unauthorized"), "the CA refuses c.example: unauthorized: first second; what is served for c.example"),
    (AUTHENTICATION.format("connection"), "port 80 of c.example must lead to this host"),
    (AUTHENTICATION.format("tls"), "the CA refuses c.example: tls: first second"),
    (OLD_FORM, "c.example: dns: DNS problem: NXDOMAIN looking up A for c.example; the CA finds no record of c.example"),
    ("Saving debug log to x\nAn unexpected error occurred:\nrequests.exceptions.ConnectionError: HTTPSConnectionPool("
     "host='a', port=1): Max retries exceeded with url: /dir (Caused by NewConnectionError('<urllib3 0x7>: Failed to establish "
     "a new connection: [Errno 111] Connection refused'))", "Connection refused"),
    ("An unexpected error occurred:\nacme.messages.Error: urn:ietf:params:acme:error:rateLimited :: There were too many "
     "requests of a given type :: too many certificates already issued", "the CA allows no more for now: wait, and use stag"),
    ("An unexpected error occurred:\nAttributeError: can't set attribute", "certbot failed: the CA answers rateLimited: wait a "
     "week; the CA allows no more for now"),
    ("", "certbot failed: it ended with exit code 1; its log is /var/log/letsencrypt/letsencrypt.log"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SAID)
def test_what_certbot_says(text: str, expected: str) -> None:
    log = "acme.messages.Error: urn:ietf:params:acme:error:rateLimited :: Too many :: wait a week\n"
    done = Completed([], 1, text.encode())
    assert expected in _certbot.explained(done, 300, log if "can't set" in text else "")


def test_a_certbot_that_does_not_end() -> None:
    done = Completed(["certbot"], 9)
    done.timed_out = True
    assert "certbot has not ended within 300 s" in _certbot.explained(done, 300)


@given(st.text(max_size=300))
def test_whatever_it_says_there_is_a_reason(text: str) -> None:
    done = Completed([], 1, text.encode("utf-8", "surrogatepass"))
    assert _certbot.explained(done, 300)


CONF = """# renew_before_expiry = 30 days
version = 2.1.0
archive_dir = /etc/letsencrypt/archive/a

# Options used in the renewal process
[renewalparams]
account = b3d0
server = https://ca/dir
authenticator = webroot
key_type = ecdsa
webroot_path = /srv/a,
[[webroot_map]]
a.example = /srv/a
"""
HELD = {"authenticator": "webroot", "server": "https://ca/dir", "webroot_path": "/srv/a,"}


def test_settings_that_are_the_same_are_left_alone() -> None:
    assert _renewal.edited(CONF, HELD, {"a.example": "/srv/a"}, 30) == CONF


def test_another_challenge_takes_the_settings_of_the_old_one_away() -> None:
    settings = {"authenticator": "manual", "server": "https://ca/dir", "manual_auth_hook": "/bin/x --a='b, c'"}
    made = _renewal.edited(CONF, settings, {}, 10)
    found = _renewal.parse(made)
    assert found["renewalparams"] == {"account": "b3d0", "key_type": "ecdsa", **settings}
    assert (found[""]["renew_before_expiry"], found[""]["version"]) == ("10 days", "2.1.0")
    assert "webroot_map" not in found and "# Options used in the renewal process" in made
    assert _renewal.edited(made, settings, {}, 10) == made
    assert "renew_before_expiry = 30 days" in _renewal.edited(made, settings, {}, 30)


VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)


@given(VALUES)
def test_settings_are_read_as_they_were_written(value: str) -> None:
    settings = {**HELD, "renew_hook": value}
    try:
        made = _renewal.edited(CONF, settings, {"a.example": "/srv/a"}, 30)
    except ValueError:
        assert "'" in value and '"' in value
        return
    assert _renewal.parse(made)["renewalparams"]["renew_hook"] == value
    assert _renewal.edited(made, settings, {"a.example": "/srv/a"}, 30) == made
