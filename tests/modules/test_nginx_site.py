"""Sites of a real nginx: what it refuses is never in /etc/nginx, what it accepts is served."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.web import _nginx
from tests.lab.certificates import make
from tests.lab.remote_module import Call, run_calls
from tests.modules import RELEASES
from tests.modules.cases import Case, previews, prove

MODULE = "web.nginx_site"
NGINX = "/etc/nginx"
# As the package leaves it. A restart is over when the new sockets listen; a reload is not.
FILES = f"rm -rf {NGINX}; cp -a /srv/nginx.orig {NGINX}; rm -rf /srv/t-web /var/log/nginx/t-*;"
START = "systemctl reset-failed nginx; systemctl restart nginx;"
FRESH = FILES + START
LOOK = f"cd {NGINX}; ls sites-available sites-enabled; cat sites-available/a 2>/dev/null; readlink sites-enabled/a; nginx -t -q"
SITE = 'server { listen 8081; server_name a.example; location / { return 200 "one\\n"; } }\n'
OTHER = SITE.replace("one", "two")
A = {"name": "a", "content": SITE}
PUT = FILES + f"cat > {NGINX}/sites-available/a <<'E'\n{SITE}E\nln -s {NGINX}/sites-available/a {NGINX}/sites-enabled/a;"
RUNNING = PUT + START
SERVED = "curl -s -H 'Host: a.example' http://127.0.0.1:8081/"


def listing(available: str, enabled: str, text: str = "", link: str = "") -> str:
    return f"sites-available:\n{available}\n\nsites-enabled:\n{enabled}\n{text}{link}".strip()


BOTH = listing("a\ndefault", "a\ndefault", SITE, f"{NGINX}/sites-available/a")
EVERYWHERE = [
    Case("a new one", A, FRESH, f"{LOOK}; {SERVED}", BOTH + "\none", result={"reloaded": True, "enabled": True}),
    Case("another content", {**A, "content": OTHER}, RUNNING, SERVED, "two"),
    Case("it is there", A, RUNNING, f"{LOOK}; {SERVED}", BOTH + "\none", changed=False, result={"reloaded": False}),
    Case("gone", {"name": "a", "state": "absent"}, RUNNING, f"{LOOK}; {SERVED} || echo none",
         listing("default", "default") + "\nnone"),
    Case("an unknown directive", {**A, "content": "server {\n  listen 8081;\n  nonsense on;\n}\n"}, RUNNING, f"{LOOK}; {SERVED}",
         fails='the site a is invalid in line 3 `nonsense on;`: unknown directive "nonsense"; nothing was changed'),
    Case("no end", {**A, "content": "server {\n  listen 8081;\n"}, RUNNING, LOOK,
         fails='the site a is invalid in line 3: unexpected end of file, expecting "}"'),
]  # fmt: skip
ONE = [
    Case("without Debian's", {**A, "default": "absent"}, FRESH, LOOK,
         listing("a\ndefault", "a", SITE, f"{NGINX}/sites-available/a")),
    Case("not enabled", {**A, "enabled": False}, RUNNING, LOOK, listing("a\ndefault", "default", SITE)),
    Case("not enabled, not tried", {**A, "enabled": False, "content": "draft"}, FRESH,
         f"cat {NGINX}/sites-available/a", "draft"),
    Case("enabled as it is", {"name": "a"}, RUNNING + f"rm {NGINX}/sites-enabled/a;", LOOK, BOTH),
    Case("enabled by a relative link", A, RUNNING + f"ln -sfn ../sites-available/a {NGINX}/sites-enabled/a", changed=False),
    Case("enabled by a link to another", A, RUNNING + f"ln -sfn ../sites-available/default {NGINX}/sites-enabled/a",
         LOOK, BOTH),
    Case("its mode stays", {**A, "content": OTHER}, RUNNING + f"chmod 640 {NGINX}/sites-available/a",
         f"stat -c %a {NGINX}/sites-available/a", "640"),
    Case("not reloaded", {**A, "content": OTHER, "reload": False}, RUNNING, SERVED, "one", result={"reloaded": False}),
    Case("nginx does not run", A, FRESH + "systemctl stop nginx;", f"systemctl is-active nginx; {LOOK}",
         "inactive\n" + BOTH, result={"reloaded": False}),
    Case("what it includes, absolute", {**A, "content": SITE.replace("location", f"include {NGINX}/snippets/t-*; location")},
         FRESH + f"echo 'add_header X-T t;' > {NGINX}/snippets/t-a.conf", SERVED + " -i | grep X-T | tr -d '\\r'", "X-T: t"),
    Case("a name of another", {**A, "content": SITE.replace("8081", "80").replace("a.example", "_")}, FRESH, LOOK,
         warns='nginx: conflicting server name "_" on 0.0.0.0:80, ignored'),
    Case("a log and a cache that are not there yet", {**A, "content": "proxy_cache_path /var/cache/t-a keys_zone=t:1m;\n"
         + SITE.replace("location", "access_log /var/log/nginx/t-a.log; error_log /var/log/nginx/t-b.log; location")},
         FRESH + "rm -rf /var/cache/t-a", "ls -d /var/log/nginx/t-* /var/cache/t-a",
         "/var/cache/t-a\n/var/log/nginx/t-a.log\n/var/log/nginx/t-b.log"),
    Case("a log where no folder is", {**A, "content": SITE.replace("location", "access_log /srv/none/a.log; location")}, FRESH,
         LOOK, fails='open() "/srv/none/a.log" failed (2: No such file or directory)'),
    Case("no certificate", {**A, "content": SITE.replace("8081;", "8443 ssl; ssl_certificate /srv/none.pem; "
         "ssl_certificate_key /srv/none.key;")}, FRESH, LOOK, fails='cannot load certificate "/srv/none.pem"'),
    Case("invalid without it", A, FRESH + f"echo broken > {NGINX}/conf.d/t.conf", LOOK,
         fails=f'invalid even without this site: unexpected end of file, expecting ";" or "}}" in {NGINX}/conf.d/t.conf:2'),
    Case("invalid through it", {**A, "content": "upstream u { server 127.0.0.1; }\n"},
         FRESH + f"echo 'upstream u {{ server 127.0.0.1; }}' > {NGINX}/sites-available/b; ln -s ../sites-available/b "
         f"{NGINX}/sites-enabled/b", LOOK, fails='with this change nginx\'s configuration would be invalid: duplicate '
         f'upstream "u" in {NGINX}/sites-enabled/b:1; nothing was changed'),
    Case("needed by another", {"name": "a", "state": "absent"}, FRESH + f"""cd {NGINX}
         echo 'upstream u {{ server 127.0.0.1; }}' > sites-available/a; ln -s ../sites-available/a sites-enabled/a
         echo 'map $host $m {{ default u; }} server {{ listen 8082; location / {{ limit_req zone=z; }} }}' > conf.d/t.conf
         echo 'limit_req_zone $host zone=z:1m rate=1r/s;' >> sites-available/a; nginx -t -q""", LOOK,
         fails='zero size shared memory zone "z"'),
    Case("a file in the link's place", A, FRESH + f"echo > {NGINX}/sites-enabled/a", LOOK, fails="is not a link into"),
    Case("nothing to enable", {"name": "a"}, FRESH, LOOK, fails=f"there is no site {NGINX}/sites-available/a: give its content"),
    Case("a contradiction", {**A, "state": "absent"}, FRESH, LOOK, fails="content and state: absent contradict"),
    Case("the default and not", {"name": "default", "default": "absent"}, FRESH, LOOK, fails="takes away the site that"),
]  # fmt: skip


@pytest.fixture(scope="module")
def fresh(full: Callable[[str], LabHost]) -> Iterator[Callable[[str], LabHost]]:
    """Hosts whose /etc/nginx is put back at the end."""
    used: dict[str, LabHost] = {}

    def boot(release: str) -> LabHost:
        host = used[release] = full(release)
        host.run(f"test -e /srv/nginx.orig || cp -a {NGINX} /srv/nginx.orig")
        return host

    yield boot
    for host in used.values():
        host.run(FRESH + "rm -rf /srv/nginx.orig")


@pytest.fixture
def web(fresh: Callable[[str], LabHost]) -> LabHost:
    return fresh("bookworm")


@pytest.mark.lab
@pytest.mark.parametrize("case", EVERYWHERE, ids=str)
@pytest.mark.parametrize("release", RELEASES)
def test_on_each_release(fresh: Callable[[str], LabHost], release: str, case: Case) -> None:
    prove(fresh(release), MODULE, case)


@pytest.mark.lab
@pytest.mark.parametrize("case", ONE, ids=str)
def test_sites(web: LabHost, case: Case) -> None:
    prove(web, MODULE, case)


def one(host: LabHost, **options: Any) -> dict[str, Any]:
    return run_calls(host, [Call(MODULE, **options)])[0]


@pytest.mark.lab
def test_an_address_that_another_program_has(web: LabHost) -> None:
    """`nginx -t` accepts it and the reload says nothing; the old site goes on being served, and its file is back."""
    web.run(RUNNING)
    taken = "import socket, time; s = socket.create_server(('127.0.0.1', 8099)); time.sleep(60)"
    web.run(["systemd-run", "--quiet", "--unit=t-taken", "--collect", "python3", "-c", taken])
    web.run("for i in $(seq 50); do ss -ltn | grep -q :8099 && break; sleep 0.1; done")
    result = one(web, params={**A, "content": OTHER.replace("8081", "127.0.0.1:8099")})
    web.run("systemctl stop t-taken")
    assert result["failed"]
    assert "old configuration: bind() to 127.0.0.1:8099 failed (98: Address already in use)" in result["msg"]
    assert "the old configuration is back in place" in result["msg"]
    assert web.run(f"{LOOK}; {SERVED}").stdout.strip() == BOTH + "\none"
    assert web.run(f"find /run {NGINX} -name '.opsplay-*'").stdout == ""


@pytest.mark.lab
def test_requests_go_on_during_reloads(web: LabHost) -> None:
    """A connection that was open before goes on being answered, and no new one is refused."""
    web.run(RUNNING)
    script = """import http.client, sys, threading
stop, done, failed = threading.Event(), [0], []
def load():
    while not stop.is_set():
        try:
            c = http.client.HTTPConnection("127.0.0.1", 8081, timeout=5); c.request("GET", "/"); c.getresponse().read()
            c.close(); done[0] += 1
        except Exception as problem: failed.append(repr(problem))
t = threading.Thread(target=load); t.start(); sys.stdin.read(); stop.set(); t.join(); print(done[0], failed)"""
    leader = web.machine.leader()
    argv = ["nsenter", f"--target={leader}", "--all", "--root", "--wd", "--", "python3", "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        calls = [Call(MODULE, {**A, "content": SITE.replace("one", str(number))}) for number in range(3)]
        results = run_calls(web, calls)
        out, _ = load.communicate("", timeout=20)
    assert [result.get("reloaded") for result in results] == [True] * 3
    done, failed = out.split(" ", 1)
    assert (int(done) > 50, failed.strip()) == (True, "[]")


@pytest.mark.lab
def test_previews_of_a_host_without_nginx(fleet: dict[str, LabHost]) -> None:
    tasks: list[tuple[str, dict[str, Any]]] = [
        (MODULE, A),
        ("packages.apt", {"name": ["nonesuch"], "update_cache": True}),
        (MODULE, {**A, "default": "absent"}),
        (MODULE, {**A, "default": "absent"}),
    ]
    missing, _, first, second = previews(fleet["bookworm"], tasks)
    assert missing["failed"] and "nginx is not on this host; install the package nginx first" in missing["msg"]
    assert (first["changed"], first["reloaded"], second["changed"]) == (True, True, False), (first, second)


@pytest.mark.lab
def test_previews_with_a_certificate_that_an_earlier_task_would_make(web: LabHost) -> None:
    web.run(FRESH + "rm -rf /etc/t-tls; mkdir /etc/t-tls")
    pair = {"path": "/etc/t-tls/a.pem", "key": "/etc/t-tls/a.key"}
    ssl = f"8443 ssl; ssl_certificate {pair['path']}; ssl_certificate_key {pair['key']};"
    tasks = [("tls.tls_selfsigned", {**pair, "cn": "a.example"}), (MODULE, {**A, "content": SITE.replace("8081;", ssl)})]
    preview = previews(web, tasks)
    real = run_calls(web, [Call(module, params) for module, params in tasks])
    assert [result.get("msg") for result in (*preview, *real)] == [None] * 4
    assert [result["diff"] for result in preview] == [result["diff"] for result in real]
    assert any("is not tried before /etc/t-tls/a.pem is there" in warning for warning in preview[1]["warnings"])


@pytest.mark.lab
def test_keys_in_its_folder_are_not_copied(web: LabHost) -> None:
    """A site may name them by a relative path all the same."""
    pair = make("a.example", ["a.example"])
    web.run(FRESH + f"mkdir {NGINX}/t-ssl")
    (web.root / "etc/nginx/t-ssl/a.pem").write_text(pair.pem + pair.key_pem)
    web.run(f"chmod 600 {NGINX}/t-ssl/a.pem; echo 'env X;' > {NGINX}/modules-enabled/t.conf")
    content = SITE.replace("8081;", "8443 ssl; ssl_certificate t-ssl/a.pem; ssl_certificate_key t-ssl/a.pem;")
    result = one(web, params={**A, "content": content})
    assert result["changed"] is True, result
    assert web.run("curl -sk --resolve a.example:8443:127.0.0.1 https://a.example:8443/").stdout == "one\n"


# --- what needs no host ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('nginx: [emerg] unknown directive "x" in /etc/nginx/a:3\nnginx: configuration file … test failed',
         'unknown directive "x" in /etc/nginx/a:3'),
        ("2030/01/01 00:00:00 [emerg] 12#12: bind() to 0.0.0.0:80 failed (98: Address already in use)",
         "bind() to 0.0.0.0:80 failed (98: Address already in use)"),
        ("nginx: [warn] w\nnginx: [emerg] e", "e"),
        ("Exec format error", "Exec format error"),
    ],
)  # fmt: skip
def test_what_nginx_says(text: str, expected: str) -> None:
    assert str(_nginx.fault(text)) == expected
