"""The audit of a fleet, as a page and as JSON, made by the command line."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.lab.driver import ROOT, Driver

pytestmark = pytest.mark.lab

PLAYBOOK = ROOT / "playbooks/security_audit.yml"
FIELDS = {"id", "section", "title", "severity", "status", "found", "wanted", "remedy"}
EVIL = "/srv/<script>alert(1)</script>"


def run(driver: Driver, code: int, inventory: Path | None = None, **variables: Any) -> tuple[dict[str, Any], str]:
    """The report as JSON and as a page."""
    folder = driver.directory / "reports"
    values = {"audit_folder": str(folder), "audit_sections": ["firewall", "files", "limits"], **variables}
    more = ["-i", str(inventory)] if inventory else []
    outcome = driver.run(PLAYBOOK, "-e", json.dumps(values), *more)
    assert outcome.code == code, outcome.out
    page, report = sorted(folder.iterdir(), key=lambda path: path.suffix)
    assert folder.stat().st_mode & 0o777 == 0o700 and page.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"security_audit-\d{8}-\d{6}", page.stem) and report.stem == page.stem
    return json.loads(report.read_text()), page.read_text()


class Page(HTMLParser):
    """What a page is made of: its tags, what they refer to, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.refers: set[str] = set()
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.refers |= {value or "" for name, value in attrs if name in ("src", "href")}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_report_of_all_hosts(driver: Driver) -> None:
    web1 = driver.lab.hosts["web1"]
    web1.run(f"mkdir -p '{os.path.dirname(EVIL)}'; touch '{EVIL}'; chmod 666 '{EVIL}'")
    try:
        report, text = run(driver, 0)
    finally:
        web1.run("rm -r /srv/*script*")
    assert report["version"] == 1 and report["missing"] == [] and set(report["hosts"]) == {"db1", "web1", "web2"}
    host = report["hosts"]["web1"]
    assert host["system"].startswith("Debian 12") and 0 <= host["score"] < 100
    assert (
        sum(host["counts"].values()) == len(host["items"]) and sum(host["failures"].values()) == host["counts"]["fail"]
    )
    by_id = {item["id"]: item for item in host["items"]}
    assert by_id["files.world-writable"]["found"] == [EVIL]
    assert set(by_id["firewall.active"]) == {
        "id",
        "section",
        "title",
        "severity",
        "status",
        "found",
        "wanted",
        "remedy",
    }
    page = Page(text)
    assert page.open == [] and "script" not in page.tags
    assert page.refers == {"#host-1", "#host-2", "#host-3"} and "url(" not in text and "@import" not in text
    assert EVIL in page.text and "No file is for everybody to change" in page.text


def test_the_run_fails_as_asked_after_the_report(driver: Driver) -> None:
    accept = {"firewall.active": "behind another one", "firewall.default-deny": "behind another one"}
    report, text = run(driver, 2, audit_fail_on="high", audit_accept=accept)
    assert report["hosts"]["db1"]["counts"]["accepted"] == 2 and "accepted: behind another one" in text


def test_a_host_that_cannot_be_reached_is_named(driver: Driver) -> None:
    more = driver.directory / "more.yml"
    more.write_text("all: {hosts: {gone: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    report, text = run(driver, 4, inventory=more)
    assert report["missing"] == ["gone"] and set(report["hosts"]) == {"db1", "web1", "web2"}
    assert "not audited: gone" in text


def test_a_preview_writes_nothing(driver: Driver) -> None:
    outcome = driver.run(PLAYBOOK, "--check", "-e", json.dumps({"audit_folder": str(driver.directory / "r")}))
    assert outcome.code == 0 and not (driver.directory / "r").exists(), outcome.out
