"""Packages on real hosts, as tables: state before, parameters, outcome. Most come from a repository inside the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opsplay.lab import LabHost
from opsplay.modules.packages._dpkg import Database, provided_names
from opsplay.modules.packages._plan import parse, unknown_names
from opsplay.modules.packages._wanted import Wanted, split_version
from tests.lab.remote_module import Call, run_calls, run_module
from tests.modules import repository
from tests.modules.cases import Case, one, previews, prove
from tests.modules.repository import FOLDER, FRESH

SHOW = "dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n' 'op-*' 'op+*' 2>/dev/null | sed /not-/d | sort"
APT = FRESH + "apt-get -qy install >/dev/null 2>&1 "

CASES = [
    Case("is installed", {"name": "op-b"}, FRESH, SHOW, "op-b 1.0 installed\nop-c 1.0 installed\nop-r 1.0 installed"),
    Case("several, in one go", {"name": "op-a, op-c"}, FRESH, SHOW, "op-a 2.0-1 installed\nop-c 1.0 installed"),
    Case("without what it recommends", {"name": ["op-b"], "install_recommends": False}, FRESH, SHOW,
         "op-b 1.0 installed\nop-c 1.0 installed"),
    Case("is there", {"name": ["op-b", "op-c"]}, APT + "op-b", changed=False),
    Case("a version", {"name": "op-a=1.1"}, FRESH, SHOW, "op-a 1.1 installed"),
    Case("another version is there", {"name": "op-a=1.1"}, APT + "op-a=1.0", SHOW, "op-a 1.1 installed"),
    Case("a pattern of versions", {"name": "op-a=1.*"}, FRESH, SHOW, "op-a 1.1 installed"),
    Case("a version that fits the pattern", {"name": "op-a=1.*"}, APT + "op-a=1.0", changed=False),
    Case("a version at least", {"name": "op-a>=1.1"}, APT + "op-a=1.0", SHOW, "op-a 2.0-1 installed"),
    Case("a version that is enough", {"name": "op-a>=1.1"}, APT + "op-a=1.1", changed=False),
    Case("an older version", {"name": "op-a=1.0"}, APT + "op-a", fails="allow_downgrade: true"),
    Case("an older version is allowed", {"name": "op-a=1.0", "allow_downgrade": True}, APT + "op-a", SHOW,
         "op-a 1.0 installed"),
    Case("a release", {"name": "op-a/test"}, FRESH, SHOW, "op-a 2.0-1 installed"),
    Case("the default release", {"name": "op-a", "default_release": "test"}, FRESH, SHOW, "op-a 2.0-1 installed"),
    Case("an old one is enough", {"name": "op-a"}, APT + "op-a=1.0", changed=False),
    Case("the latest", {"name": "op-a", "state": "latest"}, APT + "op-a=1.0", SHOW, "op-a 2.0-1 installed"),
    Case("the latest is there", {"name": "op-a", "state": "latest"}, APT + "op-a", changed=False),
    Case("the latest of what is missing", {"name": "op-c", "state": "latest"}, FRESH, SHOW, "op-c 1.0 installed"),
    Case("only upgraded", {"name": ["op-a", "op-c"], "state": "latest", "only_upgrade": True}, APT + "op-a=1.0", SHOW,
         "op-a 2.0-1 installed"),
    Case("a held one", {"name": "op-a", "state": "latest"}, APT + "op-a=1.0; apt-mark hold op-a",
         fails="allow_change_held_packages: true"),
    Case("a held one is changed", {"name": "op-a", "state": "latest", "allow_change_held_packages": True},
         APT + "op-a=1.0; apt-mark hold op-a", SHOW, "op-a 2.0-1 installed"),
    Case("wildcards", {"name": "op-t*"}, FRESH, SHOW, "op-two 1.0 installed"),
    Case("wildcards that match nothing", {"name": "op-zz*"}, FRESH, fails="no package matches 'op-zz*'"),
    Case("signs in a name", {"name": "op+x.y"}, FRESH, SHOW, "op+x.y 1.0 installed"),
    Case("a name that is a pattern for apt", {"name": "op.a"}, FRESH, fails="Unable to locate package op.a"),
    Case("a sign that is an order for apt", {"name": "op-a-"}, APT + "op-a", fails="cannot be the name of a package"),
    Case("an option for apt", {"name": "-oDebug::x=1"}, fails="cannot be the name of a package"),
    Case("a virtual one with one provider", {"name": "op-alias"}, FRESH, SHOW, "op-only 1.0 installed"),
    Case("a virtual one that is provided", {"name": "op-virtual"}, APT + "op-two", SHOW, "op-two 1.0 installed",
         changed=False),
    Case("a virtual one with several", {"name": "op-virtual"}, FRESH, fails="name the package that provides it"),
    Case("an unknown one", {"name": ["op-a", "op-unknown"]}, FRESH, fails="update_cache: true"),
    Case("an unknown version", {"name": "op-a=9"}, FRESH, fails="apt-cache madison"),
    Case("is removed", {"name": "op-c", "state": "absent"}, APT + "op-b", SHOW, "op-r 1.0 installed"),
    Case("is removed with what it brought", {"name": "op-b", "state": "absent", "autoremove": True}, APT + "op-b",
         SHOW, ""),
    Case("is gone", {"name": ["op-b", "op-unknown"], "state": "absent"}, FRESH, changed=False),
    Case("its configuration stays", {"name": "op-conf", "state": "absent"}, APT + "op-conf", SHOW,
         "op-conf 1.0 config-files"),
    Case("its configuration goes too", {"name": "op-conf", "state": "absent", "purge": True}, APT + "op-conf", SHOW,
         ""),
    Case("only its configuration goes", {"name": "op-conf", "state": "absent", "purge": True},
         APT + "op-conf; dpkg -r op-conf", SHOW, ""),
    Case("removed by a pattern", {"name": "op-*", "state": "absent"}, APT + "op-b op-a", SHOW, ""),
    Case("what nothing needs", {"autoremove": True}, APT + "op-b; apt-mark -q auto op-b", SHOW, ""),
    Case("nothing is not needed", {"autoremove": True}, APT + "op-b", changed=False),
    Case("would remove another", {"name": "op-essential", "fail_on_autoremove": True}, APT + "op-a",
         fails="does not let packages go"),
    Case("all are upgraded", {"upgrade": "yes"}, APT + "op-a=1.0", SHOW, "op-a 2.0-1 installed"),
    Case("all are upgraded by name", {"name": "*", "state": "latest"}, APT + "op-a=1.0", SHOW, "op-a 2.0-1 installed"),
    Case("the distribution is upgraded", {"upgrade": "dist"}, APT + "op-a", changed=False),
    Case("a file", {"deb": f"{FOLDER}/op-b_1.0.deb"}, FRESH, SHOW,
         "op-b 1.0 installed\nop-c 1.0 installed\nop-r 1.0 installed"),
    Case("a file that is installed", {"deb": f"{FOLDER}/op-a_1.1.deb"}, APT + "op-a=1.1", changed=False),
    Case("a file from an address", {"deb": f"file://{FOLDER}/op-c_1.0.deb"}, FRESH, SHOW, "op-c 1.0 installed",
         exact=False),
    Case("a file that there is not", {"deb": "/srv/none.deb"}, fails="copy it there first"),
    Case("what is broken", {"state": "fixed"},
         FRESH + f"rm /run/op-bad-may; dpkg -i {FOLDER}/op-bad_1.0.deb 2>/dev/null;"
         "touch /run/op-bad-may", SHOW, "op-bad 1.0 installed"),
    Case("nothing is broken", {"state": "fixed"}, APT + "op-a", changed=False),
    Case("its script fails", {"name": "op-bad"}, FRESH + "rm /run/op-bad-may", exact=False, module="skip"),
    Case("services are not started", {"name": "op-policy", "policy_rc_d": 101}, FRESH,
         "cat /run/policy; ls /usr/sbin/policy-rc.d 2>/dev/null", "101"),
    Case("a policy of its own stays", {"name": "op-policy", "policy_rc_d": 101},
         FRESH + "printf '#!/bin/sh\\nexit 7' > /usr/sbin/policy-rc.d",
         "cat /run/policy; tail -1 /usr/sbin/policy-rc.d",
         "101\nexit 7"),
    Case("fetched files go", {"clean": True}, FRESH + "touch /var/cache/apt/archives/x_1_all.deb",
         "ls /var/cache/apt/archives/*.deb 2>/dev/null", ""),
    Case("no fetched files", {"clean": True}, FRESH, changed=False),
    Case("old fetched files go", {"autoclean": True}, FRESH + f"cp {FOLDER}/op-a_1.0.deb "
         "/var/cache/apt/archives/op-zz_1.0_all.deb", changed=True, exact=True,
         look="ls /var/cache/apt/archives/*.deb 2>/dev/null", after=""),
    Case("two things at once", {"name": "op-a", "upgrade": "yes"}, fails="make them two tasks"),
    Case("nothing asked", {}, fails="nothing is asked for"),
    Case("no names", {"name": []}, changed=False),
    Case("by the general module", {"name": "op-a", "state": "present"}, FRESH, SHOW, "op-a 2.0-1 installed",
         module="packages.package"),
    Case("by another manager", {"name": "op-a", "use": "dnf"}, fails="dnf is not supported", module="packages.package"),
]  # fmt: skip
CASES = [case for case in CASES if case.module != "skip"]
EVERYWHERE = ("is-installed", "is-there", "a-pattern-of-versions", "a-virtual-one-with-one-provider", "is-removed",
              "an-unknown-one", "all-are-upgraded", "a-file", "what-is-broken",
              "a-name-that-is-a-pattern-for-apt")  # fmt: skip


@pytest.mark.lab
class TestMirror:
    """With the distribution's own mirror, through the network; the host's lists are empty at first."""

    @pytest.fixture(autouse=True)
    def blank(self, debian: LabHost) -> None:
        debian.run("rm -rf /var/lib/apt/lists/*; apt-get -qy purge tree sl >/dev/null 2>&1; true")

    def test_a_blank_host(self, debian: LabHost) -> None:
        refused = one(debian, Call("packages.apt", {"name": "tree"}, check=True))
        assert refused["failed"] and "update_cache: true" in refused["msg"]
        preview, later, service = previews(
            debian,
            [
                ("packages.apt", {"name": ["tree"], "update_cache": True, "cache_valid_time": 3600}),
                ("packages.apt", {"name": ["tree", "sl"], "state": "latest"}),
                ("accounts.user", {"name": "plain", "groups": ["postgres"], "append": True}),
            ],
        )
        assert preview["changed"] and preview["cache_updated"] and "tree" in preview["warnings"][0]
        assert list(preview["packages"]["installed"]) == ["tree"] and list(later["packages"]["installed"]) == ["sl"]
        assert service["changed"] and "may bring it" in service["warnings"][0]

        wanted = {"name": ["tree", "sl"], "update_cache": True, "cache_valid_time": 3600}
        real, again = run_calls(debian, [Call("packages.apt", wanted)] * 2)
        assert real["changed"] and real["cache_updated"] and {"tree", "sl"} <= set(real["packages"]["installed"])
        assert "Setting up tree" in real["stdout"] and any("fetching" in text for text in real["_progress"])
        assert not again["changed"] and not again["cache_updated"] and again["_seconds"] < 0.1
        debian.run("tree --version")
        young, old = run_calls(
            debian, [Call("packages.apt", {"cache_valid_time": 3600}), Call("packages.apt", {"update_cache": True})]
        )
        assert not young["changed"] and not young["cache_updated"]
        assert old["cache_updated"] and not old["changed"], "the same lists are no change"


@pytest.fixture(scope="module")
def hosts(fleet: dict[str, LabHost]) -> Iterator[dict[str, LabHost]]:
    """The hosts, with the repository as their only one."""
    for host in fleet.values():
        repository.build(host)
    yield fleet
    for host in fleet.values():
        host.run(FRESH)
        repository.restore(host)


@pytest.mark.lab
class TestRepository:
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_on_bookworm(self, hosts: dict[str, LabHost], case: Case) -> None:
        prove(hosts["bookworm"], "packages.apt", case)

    @pytest.mark.parametrize("release", ["bullseye", "trixie"])
    @pytest.mark.parametrize("case", [case for case in CASES if str(case) in EVERYWHERE], ids=str)
    def test_on_other_releases(self, hosts: dict[str, LabHost], case: Case, release: str) -> None:
        prove(hosts[release], "packages.apt", case)

    def test_nothing_is_started_when_all_is_there(self, hosts: dict[str, LabHost]) -> None:
        """The PATH leads to an apt-get that would tell."""
        host = hosts["bookworm"]
        host.run(APT + "op-b op-two; printf '#!/bin/sh\\ntouch /run/op-told' > /usr/local/sbin/apt-get;"
                 "chmod +x /usr/local/sbin/apt-get")  # fmt: skip
        try:
            done = run_module(host, "packages.apt", {"name": ["op-b", "op-c", "op-two"]})
        finally:
            host.run("rm /usr/local/sbin/apt-get")
        assert done["changed"] is False and done["_seconds"] < 0.1
        assert host.run("ls /run/op-told", check=False).returncode != 0

    def test_named_packages_are_kept_from_autoremove(self, hosts: dict[str, LabHost]) -> None:
        host = hosts["bookworm"]
        host.run(APT + "op-b; apt-mark -q auto op-c")
        assert "op-c" in host.run("apt-mark showauto").stdout
        done, gone = run_calls(
            host,
            [
                Call("packages.apt", {"name": "op-c"}),
                Call("packages.apt", {"name": "op-b", "state": "absent", "autoremove": True}),
            ],
        )
        assert not done["changed"] and gone["changed"]
        assert host.run(SHOW).stdout == "op-c 1.0 installed\n"

    def test_a_script_that_fails(self, hosts: dict[str, LabHost]) -> None:
        host = hosts["bookworm"]
        host.run(FRESH + "rm -f /run/op-bad-may")
        result = run_module(host, "packages.apt", {"name": "op-bad"})
        assert result["failed"] and result["rc"] == 100 and "op-bad" in result["stderr"]
        assert "returned an error code" in result["msg"]

    def test_a_lock_that_is_held(self, hosts: dict[str, LabHost]) -> None:
        host = hosts["bookworm"]
        lock = "/var/lib/dpkg/lock-frontend"
        holder = f"import fcntl,time; f=open('{lock}','w'); fcntl.lockf(f,fcntl.LOCK_EX); time.sleep(4)"
        host.run(f'{FRESH} systemd-run -q --unit=t-holder python3 -c "{holder}"; sleep 0.4')
        failed, preview, waited = run_calls(
            host,
            [
                Call("packages.apt", {"name": "op-a", "lock_timeout": 1}),
                Call("packages.apt", {"name": "op-a"}, check=True),
                Call("packages.apt", {"name": "op-a"}),
            ],
        )
        assert failed["failed"] and f"{lock} is held by process" in failed["msg"] and "python3 -c" in failed["msg"]
        assert preview["changed"] and preview["_seconds"] < 1
        assert waited["changed"] and waited["_progress"][0].startswith("waiting for process")

    def test_an_interruption_lets_dpkg_end(self, hosts: dict[str, LabHost]) -> None:
        host = hosts["bookworm"]
        host.run(FRESH)
        call = Call("packages.apt", {"name": "op-slow"}, interrupt_after=1.5)
        result = run_calls(host, [call])[0]
        assert result.get("cancelled"), result
        assert host.run(f"ls /run/op-slow-is-configured; {SHOW}").stdout.endswith("op-slow 1.0 installed\n")

    def test_a_preview_remembers_packages(self, hosts: dict[str, LabHost]) -> None:
        host = hosts["bookworm"]
        host.run(APT + "op-c")
        tasks = [
            {"name": "op-a"}, {"name": "op-a"}, {"name": "op-a", "state": "latest"}, {"name": "op-b"},
            {"name": "op-a", "state": "absent"}, {"name": "op-a", "state": "absent"}, {"name": "op-a"},
            {"name": "op-c", "state": "absent"}, {"name": "op-c"}, {"name": "op-c"},
        ]  # fmt: skip
        results = previews(host, [("packages.apt", task) for task in tasks])
        changes = [result.get("changed") for result in results]
        assert changes == [True, False, False, True, True, False, True, True, True, False], results


STATUS = b"""Package: op-a
Status: install ok installed
Architecture: all
Version: 1.0
Description: one
 Package: not-this
 Provides: nor-this

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36-9
Provides: libc6-2.36, libc (= 2.36)

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9

Package: op-conf
Status: deinstall ok config-files
Architecture: all
Version: 3

Package: op-half
Status: install ok half-configured
Architecture: all
Version: 4
"""


@pytest.mark.parametrize(
    ("name", "version", "installed"),
    [
        ("op-a", "1.0", True), ("op", None, False), ("not-this", None, False), ("libc6", "2.36-9", True),
        ("libc6:i386", "2.36-9", True), ("libc6:arm64", None, False), ("op-conf", "3", False), ("op-half", "4", False),
    ],
)  # fmt: skip
def test_the_status_file_is_understood(name: str, version: str | None, installed: bool) -> None:
    found = Database(STATUS).find(name)
    assert (found.version if found else None) == version
    assert bool(found and found.is_installed) is installed


def test_virtual_packages_are_found() -> None:
    database = Database(STATUS)
    assert database.providers("libc") == ["libc6"] and database.providers("nor-this") == []
    assert provided_names("a (= 1:2), b:any, c") == ["a", "b", "c"] and provided_names("") == []
    assert [package.name for package in database.installed()] == ["op-a", "libc6", "libc6"]


SIMULATED = """NOTE: This is only a simulation!
Remv op-old [1.0]
Inst op-a [1.0] (2.0-1 Debian:12/stable [all]) [op-b:amd64 ]
Inst op-c (1.0 test:now [amd64])
Purg op-conf [3]
Conf op-a (2.0-1 Debian:12/stable [all])
"""


def test_the_simulation_is_understood() -> None:
    plan = parse(SIMULATED)
    assert plan.describe() == {
        "installed": {"op-c": "1.0"},
        "upgraded": {"op-a": ["1.0", "2.0-1"]},
        "removed": {"op-conf": "3", "op-old": "1.0"},
    }
    assert not parse("0 upgraded, 0 newly installed") and bool(plan)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ("E: Unable to locate package nosuch", "nosuch"),
        ("E: Package 'awk' has no installation candidate", "awk"),
        ("E: Version '9' for 'tree' was not found", "tree"),
        ("E: Release 'x' for 'tree' was not found", "tree"),
        ("E: Couldn't find any package by glob 'tre.'", "tre."),
        ("E: Sub-process returned an error code", None),
    ],
)
def test_errors_name_the_package(error: str, name: str | None) -> None:
    assert unknown_names(f"W: something\n{error}\n") == ([name] if name else [])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("foo", ("foo", "", "")), ("foo=1.0-1~deb12", ("foo", "=", "1.0-1~deb12")), ("foo==1", ("foo", "=", "1")),
        ("foo >= 1:2", ("foo", ">=", "1:2")), ("foo=1.*", ("foo", "=", "1.*")), ("g++", ("g++", "", "")),
    ],
)  # fmt: skip
def test_entries_are_split(text: str, parts: tuple[str, str, str]) -> None:
    assert split_version(text) == parts


def test_entries_with_a_release() -> None:
    entry = Wanted("foo/bookworm-backports")
    assert (entry.name, entry.release, entry.argument()) == ("foo", "bookworm-backports", "foo/bookworm-backports")
    assert Wanted("foo=1/2").release == ""


def test_the_status_of_this_machine_is_read_quickly() -> None:
    path = Path("/var/lib/dpkg/status")
    if not path.exists():
        pytest.skip("no dpkg here")
    database = Database(path.read_bytes())
    found = database.find("dpkg")
    assert found is not None and found.is_installed
