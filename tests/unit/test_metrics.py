"""Numbers for Prometheus: what a scrape finds after a success and after a failure, and what a Pushgateway is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from opsplay.agent.host import Host
from opsplay.agent.metrics import METRICS, report
from opsplay.agent.spec import validate
from tests.modules.harness import StubAgent

SUCCESS = {"success": (1, "Whether it worked"), "last_success_timestamp_seconds": (1764309600.0, "When it last did")}
FAILURE = {"success": (0, "Whether it worked")}
LABELS = {"name": 'a "b"\\'}


@pytest.fixture
def host() -> Host:
    host = Host(StubAgent())
    host.begin(1, {})
    return host


def test_a_failure_leaves_the_last_success(host: Host, tmp_path: Path) -> None:
    params = validate(METRICS, {"metrics_dir": str(tmp_path / "new")})
    report(host, params, "job", LABELS, SUCCESS)
    report(host, params, "job", LABELS, FAILURE)
    (path,) = (tmp_path / "new").iterdir()
    assert path.name == "job_a__b__.prom" and path.stat().st_mode & 0o777 == 0o644
    assert path.read_text() == (
        "# HELP job_last_success_timestamp_seconds When it last did\n# TYPE job_last_success_timestamp_seconds gauge\n"
        'job_last_success_timestamp_seconds{name="a \\"b\\"\\\\"} 1764309600\n'
        "# HELP job_success Whether it worked\n# TYPE job_success gauge\n"
        'job_success{name="a \\"b\\"\\\\"} 0\n'
    )
    assert host.warnings == []


def test_a_folder_that_cannot_be_is_a_warning(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    report(host, validate(METRICS, {"metrics_dir": str(tmp_path / "file")}), "job", LABELS, SUCCESS)
    assert "the metrics could not be written to" in host.warnings[0]


class Gateway(BaseHTTPRequestHandler):
    """Takes what it is sent, and answers with its server's status."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.got.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None: ...


@pytest.fixture
def gateway() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        server.got, server.status = [], 200  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_pushgateway_is_sent_the_same(host: Host, gateway: HTTPServer) -> None:
    """POST replaces metrics of these names only, so the last success outlives a failure there, too."""
    params = validate(METRICS, {"pushgateway": f"http://127.0.0.1:{gateway.server_port}/"})
    report(host, params, "job", {"name": "a/b"}, FAILURE)
    ((path, body),) = gateway.got  # type: ignore[attr-defined]
    assert path.startswith("/metrics/job/job/instance/") and path.endswith("/name/a%2Fb")
    assert body == "# HELP job_success Whether it worked\n# TYPE job_success gauge\njob_success 0\n"
    gateway.status = 500  # type: ignore[attr-defined]
    report(host, params, "job", {"name": "a/b"}, FAILURE)
    assert "refused the metrics: 500" in host.warnings[0]


def test_a_pushgateway_that_is_away_is_a_warning(host: Host) -> None:
    report(host, validate(METRICS, {"pushgateway": "http://127.0.0.1:9"}), "job", {"name": "x"}, SUCCESS)
    assert "did not reach the Pushgateway" in host.warnings[0]
