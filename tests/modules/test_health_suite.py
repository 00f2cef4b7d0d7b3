"""health_suite: each check's fault alone turns that check red, by its name, and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call
from tests.modules.cases import one, previews

MODULE = "health.health_suite"
SERVICE = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        data = json.dumps({"status": open("/run/t-status").read().strip()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8282), Handler).serve_forever()
"""
CHECKS: list[dict[str, Any]] = [
    {"name": "answers", "http": {"url": "http://127.0.0.1:8282/", "json": {"status": "healthy"}}, "tags": ["quick"]},
    {"name": "database", "postgres": {"login_host": "127.0.0.1", "login_user": "suite", "login_password": "pw"}},
    {"name": "rows", "sql": {"query": "SELECT count(*) < 1 FROM pg_roles WHERE rolname = 'late'", "expect": True}},
    {"name": "worker", "unit": {"name": ["t-worker.service"]}, "tags": ["quick"]},
    {"name": "mail port", "port": {"port": 8282}},
    {"name": "no telnet", "port": {"port": 23, "open": False}},
    {"name": "disk", "disk": {"path": "/run/t-disk", "warn": 85, "critical": 95}},
    {"name": "inodes", "inodes": {"path": "/run/t-disk", "warn": 85, "critical": 95}, "severity": "warning"},
    {"name": "memory", "memory": {"warn": 99, "critical": 99.9}},
    {"name": "load", "load": {"warn": 1000, "critical": 2000}},
    {"name": "backup", "file_age": {"path": "/run/t-stamp", "critical": 3600}},
    {"name": "script", "command": {"argv": ["/run/t-script"], "contains": "fine", "timeout": 5}},
]


@pytest.fixture(scope="module")
def stack(full: Callable[[str], LabHost]) -> Iterator[LabHost]:
    """A host on which every check is green."""
    host = full("bookworm")
    host.run(["sh", "-c", "cat > /run/t-service.py"], stdin=SERVICE)
    host.run("""
        echo healthy > /run/t-status; touch /run/t-stamp
        printf '#!/bin/sh\\necho all fine\\n' > /run/t-script; chmod +x /run/t-script
        mkdir -p /run/t-disk; mount -t tmpfs -o size=10m,nr_inodes=100 none /run/t-disk
        systemd-run --collect --unit=t-web python3 /run/t-service.py
        systemd-run --unit=t-worker --property=RemainAfterExit=yes true
        systemctl start postgresql
        runuser -u postgres -- psql -qc "CREATE ROLE suite LOGIN PASSWORD 'pw'"
        for n in $(seq 100); do python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8282))' 2>/dev/null && break; sleep 0.1; done
    """, timeout=60)  # fmt: skip
    yield host
    host.run("""
        umount /run/t-disk; rm -rf /run/t-*; systemctl stop t-web t-worker
        runuser -u postgres -- psql -qc "DROP ROLE suite"
    """)  # fmt: skip


FAULTS = {
    "answers": ("echo degraded > /run/t-status", "echo healthy > /run/t-status", 'status is "degraded" and not'),
    "database": ("runuser -u postgres -- psql -qc \"ALTER ROLE suite PASSWORD 'other'\"",
                 "runuser -u postgres -- psql -qc \"ALTER ROLE suite PASSWORD 'pw'\"", "password authentication failed"),
    "rows": ("runuser -u postgres -- psql -qc 'CREATE ROLE late'", "runuser -u postgres -- psql -qc 'DROP ROLE late'",
             "gave False, expected was True"),
    "worker": ("systemctl stop t-worker", "systemd-run --unit=t-worker --property=RemainAfterExit=yes true",
               "t-worker.service is inactive"),
    "disk": ("head -c 9700000 /dev/zero > /run/t-disk/big", "rm /run/t-disk/big", "/run/t-disk is 9"),
    "inodes": ("for n in $(seq 96); do : > /run/t-disk/$n; done", "rm -f /run/t-disk/*", "of the inodes of /run/t-disk"),
    "backup": ("touch -d '2 hours ago' /run/t-stamp", "touch /run/t-stamp", "was written 7"),
    "script": ("printf '#!/bin/sh\\necho broken\\n' > /run/t-script", "printf '#!/bin/sh\\necho all fine\\n' > /run/t-script",
               "does not say 'fine': broken"),
}  # fmt: skip


def test_all_is_well(stack: LabHost) -> None:
    result = one(stack, Call(MODULE, {"checks": CHECKS}))
    assert not result.get("failed"), result["msg"]
    assert result["changed"] is False and result["status"] == "ok" and result["counts"]["ok"] == len(CHECKS)
    assert one(stack, Call(MODULE, {"checks": CHECKS}, check=True))["status"] == "ok"


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_turns_its_check_red_and_no_other(stack: LabHost, name: str) -> None:
    breaks, mends, said = FAULTS[name]
    stack.run(breaks)
    try:
        result = one(stack, Call(MODULE, {"checks": CHECKS, "fail_on": "warning"}))
    finally:
        stack.run(mends)
    bad = [check for check in result["checks"] if check["status"] != "ok"]
    assert [check["name"] for check in bad] == [name], bad
    assert result["failed"] and said in bad[0]["message"] and f"1 of {len(CHECKS)} checks failed: {name}: " in result["msg"]
    assert bad[0]["status"] == ("warning" if name in ("disk", "inodes") else "critical")


def test_warnings_do_not_fail_unless_asked(stack: LabHost) -> None:
    disk = [{"name": "disk", "disk": {"path": "/", "warn": 0.001, "critical": 100}}]
    result = one(stack, Call(MODULE, {"checks": disk}))
    assert not result.get("failed") and result["status"] == "warning"
    assert one(stack, Call(MODULE, {"checks": disk, "fail_on": "warning"}))["failed"]
    assert not one(stack, Call(MODULE, {"checks": CHECKS[:1] + disk, "fail_on": "none"})).get("failed")


def test_some_checks_by_their_tags(stack: LabHost) -> None:
    result = one(stack, Call(MODULE, {"checks": CHECKS, "only": ["quick"]}))
    assert [check["name"] for check in result["checks"]] == ["answers", "worker"]
    assert "no check has one of the tags none" in one(stack, Call(MODULE, {"checks": CHECKS, "only": ["none"]}))["msg"]


def test_a_soak_wants_every_round_good(stack: LabHost) -> None:
    good = one(stack, Call(MODULE, {"checks": CHECKS[:1], "soak": 1, "interval": 0.2}))
    assert not good.get("failed") and good["rounds"] >= 3 and good["seconds"] >= 1
    stack.run("systemd-run --on-active=1 --timer-property=AccuracySec=100ms sh -c 'echo degraded > /run/t-status'")
    bad = one(stack, Call(MODULE, {"checks": CHECKS[:1], "soak": 20, "interval": 0.2}))
    stack.run("echo healthy > /run/t-status")
    assert bad["failed"] and bad["seconds"] < 10


def test_a_service_that_comes_up_late_is_given_time(stack: LabHost) -> None:
    stack.run("echo starting > /run/t-status; systemd-run --on-active=1 --timer-property=AccuracySec=100ms sh -c 'echo healthy > /run/t-status'")
    result = one(stack, Call(MODULE, {"checks": CHECKS[:1], "retries": 20, "interval": 0.2}))
    assert not result.get("failed"), result["msg"]


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"name": "x"}, "check 'x': give one kind of"),
        ({"name": "x", "disk": {}, "load": {}}, "it has disk, load"),
        ({"name": "x", "dsik": {}}, "it has dsik"),
        ({"name": "x", "disk": {"pth": "/"}}, "check 'x': disk: "),
        ({"name": "x", "disk": "/"}, "disk needs parameters by their names"),
        ({"name": "x", "disk": {}, "severity": "bad"}, "severity is critical or warning, not 'bad'"),
        ("disk", "a check needs a name and a kind"),
    ],
)
def test_what_is_no_check(bookworm: LabHost, check: Any, said: str) -> None:
    result = one(bookworm, Call(MODULE, {"checks": [check]}))
    assert result["failed"] and said in result["msg"]


def test_a_preview_of_a_host_to_be_waits_with_its_checks(bookworm: LabHost) -> None:
    calls = [("packages.apt", {"name": ["hello"], "update_cache": True}), (MODULE, {"checks": CHECKS})]
    preview = previews(bookworm, calls)[1]
    assert not preview.get("failed") and "checks" not in preview
