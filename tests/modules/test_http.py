"""http, against a real web service on a lab host: every way in which an answer can be wrong turns red by its name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.lab import LabHost
from opsplay.modules.health import _expect
from tests.lab.remote_module import Call
from tests.modules.cases import Case, one, previews, prove

MODULE = "health.http"
SERVICE = '''
import http.server, json, ssl, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, {"status": "healthy", "checks": [{"name": "db", "ok": True}], "empty": [],
                                     "now": time.time(), "then": "2020-01-01T00:00:00Z"}, X_Frame_Options="DENY")
        if self.path == "/slow":
            time.sleep(0.3)
            return self.answer(200, b"late")
        if self.path == "/never":
            time.sleep(5)
        if self.path == "/moved":
            return self.answer(302, b"", Location="/health")
        if self.path == "/round":
            return self.answer(302, b"", Location="/round")
        if self.path == "/who":
            return self.answer(200 if self.headers["Authorization"] in ("Bearer t0k", "Basic dTpw") else 401, b"you")
        if self.path == "/flaky":
            Handler.asked = getattr(Handler, "asked", 0) + 1
            return self.answer(200 if Handler.asked % 3 == 0 else 503, b"starting")
        self.answer(404, b"<html>not here</html>")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        open("/run/posted", "ab").write(body + b"\\n")
        self.answer(201, {"type": self.headers["Content-Type"]})
    def log_message(self, *words): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
'''
BASE = "http://127.0.0.1:8181"


@pytest.fixture(scope="module")
def service(full: Callable[[str], LabHost]) -> Iterator[LabHost]:
    """A host with a web service on ports 8181 and, with TLS for the name app.test, 8443."""
    host = full("bookworm")
    host.run(["sh", "-c", "cat > /run/service.py"], stdin=SERVICE)
    subject = "-subj /CN=app.test -addext subjectAltName=DNS:app.test -days 3 -nodes"
    host.run(f"openssl req -x509 -newkey rsa:2048 {subject} -keyout /run/key -out /run/cert 2>/dev/null")
    host.run("cat /run/key /run/cert > /run/pair")
    for port in ("8181", "8443 /run/pair"):
        host.run(f"systemd-run --collect --unit=t-web-{port[:4]} python3 /run/service.py {port}")
    host.run("for n in $(seq 50); do nc -z 127.0.0.1 8443 2>/dev/null || python3 -c "
             "'import socket; socket.create_connection((\"127.0.0.1\", 8443))' 2>/dev/null && break; sleep 0.1; done")  # fmt: skip
    yield host
    host.run("systemctl stop t-web-8181 t-web-8443; rm -f /run/service.py /run/key /run/cert /run/pair /run/posted")


def wrong(name: str, path: str, fails: str, **params: object) -> Case:
    return Case(name, {"url": BASE + path, "timeout": 2, **params}, fails=fails)


CASES = [
    Case("healthy", {"url": BASE + "/health", "json": {"status": "healthy", "checks.0.ok": True}},
         changed=False, result={"status": 200, "problems": []}),
    Case("fresh data", {"url": BASE + "/health", "json_max_age": {"now": 60}}, changed=False),
    Case("a header", {"url": BASE + "/health", "expect_headers": {"x-frame-options": "deny"}}, changed=False),
    Case("a token", {"url": BASE + "/who", "token": "t0k"}, changed=False),
    Case("user and password", {"url": BASE + "/who", "user": "u", "password": "p"}, changed=False),
    Case("refused as it should be", {"url": BASE + "/who", "status": [401]}, changed=False),
    Case("redirect followed", {"url": BASE + "/moved", "follow_redirects": True}, changed=False,
         result={"status": 200}),
    Case("tls by name", {"url": "https://app.test:8443/health", "address": "127.0.0.1", "ca_path": "/run/cert"},
         changed=False),
    Case("fast enough", {"url": BASE + "/slow", "samples": 3, "p95_ms": 2000}, changed=False, result={"samples": 3}),
    wrong("status", "/gone", "the status is 404 and not 200: <html>not here</html>"),
    wrong("redirect not followed", "/moved", "the status is 302 and not 200"),
    wrong("redirect without end", "/round", "more than 5 redirects", follow_redirects=True),
    wrong("value", "/health", 'checks.0.ok is true and not false', json={"checks.0.ok": False}),
    wrong("value that is another type", "/health", 'checks.0.name is "db" and not 7', json={"checks.0.name": 7}),
    wrong("no such value", "/health", "checks.1.ok is missing", json={"checks.1.ok": True}),
    wrong("empty", "/health", "empty is empty", json_not_empty=["empty"]),
    wrong("no json", "/slow", "the answer is no JSON: late", json={"a": 1}),
    wrong("stale data", "/health", "s old, at most 60 s are allowed", json_max_age={"then": 60}),
    wrong("no time", "/health", "status is no time: 'healthy'", json_max_age={"status": 60}),
    wrong("text", "/slow", "the answer does not hold 'early': late", contains="early"),
    wrong("text that must not be", "/slow", "the answer holds 'late'", lacks="late"),
    wrong("size", "/slow", "the answer has 4 bytes, at least 5 were expected", min_size=5),
    wrong("missing header", "/slow", "the header Content-Security-Policy is None", expect_headers={"Content-Security-Policy": "self"}),
    wrong("too slow", "/slow", "ms on ttfb", samples=2, p95_ms=50),
    wrong("no answer", "/never", "no answer within 0.5 s (ttfb)", timeout=0.5),
    Case("nobody there", {"url": "http://127.0.0.1:1/"}, fails="Connection refused (connect)"),
    Case("no such name", {"url": "http://no.such.invalid/"}, fails="(dns)"),
    Case("no address", {"url": "ftp://x/"}, fails="is no address of a web service"),
    Case("untrusted", {"url": "https://app.test:8443/health", "address": "127.0.0.1"}, fails="(tls)"),
    Case("another name", {"url": "https://127.0.0.1:8443/health", "ca_path": "/run/cert"}, fails="(tls)"),
    Case("posted", {"url": BASE + "/new", "method": "post", "body": {"a": 1}, "status": [201]}, before="rm -f /run/posted",
         look="cat /run/posted", after='{"a": 1}\n{"a": 1}', repeats=True, exact=False),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_http(case: Case, service: LabHost) -> None:
    if case.name == "posted":
        preview = one(service, Call(MODULE, case.params, check=True))
        assert preview["changed"] and "nothing is sent in a preview" in preview["msg"]
        first = one(service, Call(MODULE, case.params))
        assert first["changed"] and first["status"] == 201
        return
    prove(service, MODULE, case)


def test_a_service_that_starts_is_waited_for(service: LabHost) -> None:
    result = one(service, Call(MODULE, {"url": BASE + "/flaky", "retries": 5, "delay": 0.1}))
    assert not result.get("failed"), result


def test_phases_add_up_and_content_comes_when_asked_for(service: LabHost) -> None:
    params = {"url": "https://app.test:8443/health", "address": "127.0.0.1", "ca_path": "/run/cert"}
    result = one(service, Call(MODULE, {**params, "return_content": True}))
    times = result["times"]
    assert times["dns"] <= times["connect"] <= times["tls"] <= times["ttfb"] <= times["total"]
    assert result["json_content"]["status"] == "healthy"
    assert "content" not in one(service, Call(MODULE, params))


def test_a_preview_goes_on_where_the_service_is_still_to_come(service: LabHost) -> None:
    calls = [("packages.apt", {"name": ["hello"], "update_cache": True}), (MODULE, {"url": "http://127.0.0.1:1/"})]
    assert not previews(service, calls)[1].get("failed")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (1700000000, 1700000000), (1700000000000, 1700000000), ("2023-11-14T22:13:20Z", 1700000000),
        ("2023-11-14 22:13:20", 1700000000), ("2023-11-14T23:13:20.5+01:00", 1700000000.5),
        ("2023-11-14T17:43:20-0430", 1700000000), ("yesterday", None), (True, None), (None, None),
    ],
)  # fmt: skip
def test_times_in_answers(text: object, expected: object) -> None:
    assert _expect.seconds_of(text) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_smallest_value_that_covers_the_share(values: list[float], share: float) -> None:
    found = _expect.percentile(values, share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert all(sum(value <= lower for value in values) < share * len(values) for lower in values if lower < found)


@given(st.floats(0, 4e9))
def test_iso_times_are_those_of_the_clock(moment: float) -> None:
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    assert _expect.seconds_of(text) == int(moment)
