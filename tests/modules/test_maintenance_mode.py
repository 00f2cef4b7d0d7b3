"""maintenance_mode on a real nginx: visitors see the page, operators the service, and no request is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from opsplay.lab import LabHost
from tests.modules.cases import Case, prove

MODULE = "web.maintenance_mode"
SITE = """server {
    listen 8083; listen [::]:8083;
    include snippets/opsplay-maintenance*.conf;
    location / { return 200 "service\\n"; }
    location /own { return 503; }
}
"""
ASK = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8083/; curl -s -o /dev/null -w ' %{http_code}\\n' http://[::1]:8083/x"
OFF = "rm -f /etc/nginx/conf.d/opsplay-maintenance.conf /etc/nginx/snippets/opsplay-maintenance.conf; systemctl reload nginx; sleep 0.5;"
ON = {"state": "on"}


@pytest.fixture(scope="module")
def web(full: Callable[[str], LabHost]) -> Iterator[LabHost]:
    host = full("bookworm")
    host.run(["sh", "-c", "cat > /etc/nginx/sites-enabled/t-service"], stdin=SITE)
    host.run("systemctl restart nginx")
    yield host
    host.run(OFF + "rm -f /etc/nginx/sites-enabled/t-service; rm -rf /var/lib/opsplay/maintenance; systemctl reload nginx")


CASES = [
    Case("on", ON, OFF, ASK, "503 503", result={"state": "on", "sites": ["t-service"], "reloaded": True}),
    Case("on for all but one", {**ON, "allow_from": ["127.0.0.1"]}, OFF, ASK, "200 503"),
    Case("networks of both kinds", {**ON, "allow_from": ["127.0.0.0/8", "::1/128"]}, OFF, ASK, "200 200"),
    Case("retry after", {**ON, "retry_after": 77}, OFF, "curl -sI http://127.0.0.1:8083/ | grep -i retry-after | tr -d '\\r'",
         "Retry-After: 77"),
    Case("a page", {**ON, "page": "<h1>closed</h1>"}, OFF, "curl -s http://127.0.0.1:8083/deep/path | head -c 15",
         "<h1>closed</h1>"),
    Case("no address", {**ON, "allow_from": ["everybody"]}, OFF, ASK, fails="allow_from: 'everybody' does not appear"),
    Case("nothing to take away", {"state": "off"}, OFF, ASK, "200 200", changed=False, result={"reloaded": False}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_maintenance(case: Case, web: LabHost) -> None:
    prove(web, MODULE, case)


def test_off_again(web: LabHost) -> None:
    prove(web, MODULE, Case("on", ON, OFF))
    prove(web, MODULE, Case("off", {"state": "off"}, "true", ASK, "200 200", result={"reloaded": True}))
    assert web.run("ls /etc/nginx/conf.d /etc/nginx/snippets | grep opsplay", check=False).stdout == ""


def test_a_site_that_does_not_obey_is_said(web: LabHost) -> None:
    web.run(OFF + "sed -i /opsplay-maintenance/d /etc/nginx/sites-enabled/t-service; systemctl reload nginx")
    try:
        prove(web, MODULE, Case("none", ON, "true", ASK, fails="no enabled site obeys; write `include snippets/opsplay-maint"))
    finally:
        web.run(["sh", "-c", "cat > /etc/nginx/sites-enabled/t-service"], stdin=SITE)
