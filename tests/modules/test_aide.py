"""File integrity with the real aide, on a few folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.hardening import _aide
from tests.lab.quick_ucf import quick_ucf
from tests.lab.remote_module import Call, run_calls
from tests.modules import DEEP
from tests.modules.cases import Case, prove

MODULE = "hardening.aide"
RULES = {"only": True, "name": "few", "rules": ["/srv/watched p+u+g+sha256", "!/srv/watched/cache"]}
TREE = (
    "rm -rf /srv/watched /var/lib/aide/few* /etc/aide/few.conf /etc/aide/aide.conf.d/90_*; mkdir -p /srv/watched/cache;"
    "echo a > /srv/watched/a; echo b > '/srv/watched/b b';"
)
CONFIG = (
    "mkdir -p /etc/aide; printf '# Managed by opsplay: changes made here are lost.\\ndatabase_in=file:/var/lib/aide/few.db\\n"
    "database_out=file:/var/lib/aide/few.db.new\\n/srv/watched p+u+g+sha256\\n!/srv/watched/cache\\n' > /etc/aide/few.conf;"
)
MADE = TREE + CONFIG + "aide --init --config /etc/aide/few.conf >/dev/null; mv /var/lib/aide/few.db.new /var/lib/aide/few.db;"
ALTERED = MADE + "echo x > /srv/watched/a; rm '/srv/watched/b b'; echo n > /srv/watched/new; echo c > /srv/watched/cache/c;"
LOOK = "ls /var/lib/aide | grep few; cat /etc/aide/few.conf 2>/dev/null | wc -l"
FOUND = {"added": ["/srv/watched/new"], "removed": ["/srv/watched/b b"], "changed_files": ["/srv/watched/a"],
         "counts": {"added": 1, "removed": 1, "changed": 1}, "differs": True}  # fmt: skip
TIMER = "systemctl is-enabled opsplay-aide-few.timer 2>&1; systemctl is-active opsplay-aide-few.timer"
CASES = [
    Case("a database", RULES, TREE, LOOK, "few.db\n5", result={"initialised": True, "database": "/var/lib/aide/few.db"}),
    Case("there is one", RULES, MADE, LOOK, "few.db\n5", changed=False, result={"initialised": False}),
    Case("there is one of before", RULES, ALTERED, LOOK, "few.db\n5", changed=False),
    Case("as it was", {**RULES, "state": "checked"}, MADE, LOOK, changed=False,
         result={"differs": False, "counts": {"added": 0, "removed": 0, "changed": 0}}),
    Case("altered", {**RULES, "state": "checked", "fail_on_changes": False}, ALTERED, LOOK, "few.db\n5", changed=False, result=FOUND),
    Case("altered, which is a failure", {**RULES, "state": "checked"}, ALTERED, LOOK,
         fails="watched files differ: 1 added, 1 removed, 1 changed: /srv/watched/new, /srv/watched/b b, /srv/watched/a"),
    Case("accepted", {**RULES, "state": "updated"}, ALTERED, LOOK + "; aide --check --config /etc/aide/few.conf >/dev/null; echo $?",
         "few.db\nfew.db.previous\n5\n0", result=FOUND),
    Case("nothing to accept", {**RULES, "state": "updated"}, MADE, LOOK, "few.db\n5", changed=False),
    Case("made anew where there is none", {**RULES, "state": "updated"}, TREE, LOOK, "few.db\n5", result={"initialised": True}),
    Case("nothing to compare with", {**RULES, "state": "checked"}, TREE + CONFIG, LOOK, fails="there is no database /var/lib/aide/few.db"),
    Case("a rule that is none", {**RULES, "rules": ["/srv nonsense"]}, TREE, LOOK, fails="aide refuses these rules: "),
    Case("no rule at all", {**RULES, "rules": ["srv p"]}, TREE, LOOK, fails="begins with a path"),
    Case("nothing watched", {"only": True}, TREE, LOOK, fails="there are no rules"),
    Case("a name that aide passes over", {"name": "a.b"}, TREE, LOOK, fails="aide reads only files"),
    Case("a timer", {**RULES, "timer": True, "at": "04:00"}, MADE + "systemctl disable --now opsplay-aide-few.timer 2>/dev/null; true",
         TIMER, "enabled\nactive"),
    Case("no timer", {**RULES, "timer": False}, MADE, "systemctl is-active opsplay-aide-few.timer; ls /etc/systemd/system | grep few",
         "inactive"),
]  # fmt: skip


@pytest.fixture(scope="module")
def watched(fleet: Mapping[str, LabHost]) -> Mapping[str, LabHost]:
    for host in (fleet[release] for release in DEEP):
        quick_ucf(host)
        host.run("apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends aide aide-common",
                 timeout=240)  # fmt: skip
    return fleet


@pytest.mark.parametrize("case", CASES, ids=str)
def test_files_are_watched(watched: Mapping[str, LabHost], case: Case) -> None:
    prove(watched["bookworm"], MODULE, case)


@pytest.mark.parametrize("release", DEEP)
def test_each_release(watched: Mapping[str, LabHost], release: str) -> None:
    """A rule beside Debian's own configuration, and what was altered, as each version of aide tells it."""
    host = watched[release]
    host.run(ALTERED)
    checked = {**RULES, "state": "checked", "fail_on_changes": False}
    drop_in = {"rules": ["/srv/watched Full"], "name": "more"}
    found, again = run_calls(host, [Call(MODULE, checked)] * 2)
    assert {key: found[key] for key in FOUND} == FOUND and not again["changed"]
    host.run("touch /var/lib/aide/aide.db")
    try:
        prove(host, MODULE, Case("beside", drop_in, "rm -f /etc/aide/aide.conf.d/90_more", "cat /etc/aide/aide.conf.d/90_more",
                                 "# Managed by opsplay: changes made here are lost.\n/srv/watched Full"))  # fmt: skip
        assert host.run("aide --config-check --config /etc/aide/aide.conf", check=False).returncode == 0
        prove(host, MODULE, Case("away", {"name": "more"}, look="ls /etc/aide/aide.conf.d | grep -c 90_more", after="0"))
    finally:
        host.run("rm -f /var/lib/aide/aide.db /etc/aide/aide.conf.d/90_*")


@pytest.mark.parametrize("on", [True, False])
def test_the_timer_of_debian(watched: Mapping[str, LabHost], on: bool) -> None:
    host = watched["bookworm"]
    was = "disable" if on else "enable"
    look = "systemctl is-enabled dailyaidecheck.timer; systemctl is-active dailyaidecheck.timer"
    after = "enabled\nactive" if on else "disabled\ninactive"
    before = f"touch /var/lib/aide/aide.db; systemctl {was} --now dailyaidecheck.timer"
    try:
        prove(host, MODULE, Case("timer", {"timer": on}, before, look, after))
    finally:
        host.run("rm -f /var/lib/aide/aide.db")


def test_a_database_that_fails_leaves_the_old_one(watched: Mapping[str, LabHost]) -> None:
    host = watched["bookworm"]
    host.run(ALTERED + "mkdir /var/lib/aide/few.db.new")
    try:
        result = run_calls(host, [Call(MODULE, {**RULES, "state": "updated"})])[0]
        assert result["failed"] and host.run("ls /var/lib/aide | grep few.db").stdout.split() == ["few.db", "few.db.new"]
    finally:
        host.run("rm -rf /var/lib/aide/few.db.new")


def test_a_host_without_it(fleet: Mapping[str, LabHost], full: Any) -> None:
    host = full("bookworm")
    host.run("apt-get -q update", timeout=60)
    calls = [Call(MODULE, RULES), Call("packages.apt", {"name": ["aide"]}, check=True), Call(MODULE, RULES, check=True)]
    alone, _, after = run_calls(host, calls)
    assert alone["failed"] and "install the packages aide" in alone["msg"]
    assert after["changed"] and not after.get("failed"), after


def test_databases_are_found_in_the_configuration() -> None:
    text = "@@define DBDIR /srv/db\ndatabase=file:@@{DBDIR}/a.db\ndatabase_out = file:@@{DBDIR}/a.new\n"
    assert _aide.databases(text) == ("/srv/db/a.db", "/srv/db/a.new")
    assert _aide.databases("# nothing\n") == ("/var/lib/aide/aide.db", "/var/lib/aide/aide.db.new")


def test_a_report_without_differences() -> None:
    assert _aide.parsed("AIDE found NO differences\n/var/lib/aide/x.db\n MD5 : /x\n") == {"added": [], "removed": [], "changed": []}
