"""release: one link decides, a release that does not hold goes back by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call
from tests.modules.cases import Case, one, previews, prove

MODULE = "deploy.release"
PATH = "/srv/t-release"
UNIT = f"""[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory {PATH}/current 8484
WorkingDirectory={PATH}/current
"""
MAKE = f"""
rm -rf {PATH}; mkdir -p {PATH}/releases
for v in 1 2 3 4; do mkdir {PATH}/releases/$v; echo "release $v" > {PATH}/releases/$v/index.html; touch -d "2026-01-0$v" {PATH}/releases/$v; done
"""
USED = MAKE + f"ln -s releases/1 {PATH}/previous; ln -s releases/2 {PATH}/current;"
LOOK = f"cd {PATH}; readlink current; readlink previous; ls releases"
CHECKS = [{"name": "page", "http": {"url": "http://127.0.0.1:8484/", "contains": "release"}}]


@pytest.fixture
def web(bookworm: LabHost) -> Iterator[LabHost]:
    """A unit that serves the release in use."""
    bookworm.run(["sh", "-c", "cat > /run/systemd/system/t-release.service"], stdin=UNIT)
    bookworm.run(USED + "systemctl daemon-reload; systemctl restart t-release")
    yield bookworm
    bookworm.run(f"systemctl stop t-release; rm -rf /run/systemd/system/t-release.service {PATH}")


CASES = [
    Case("the first", {"version": "3"}, MAKE, LOOK, "releases/3\n1\n2\n3\n4", result={"current": "3", "previous": ""}),
    Case("the next", {"version": "3"}, USED, LOOK, "releases/3\nreleases/2\n1\n2\n3\n4",
         result={"current": "3", "previous": "2"}),
    Case("in use", {"version": "2"}, USED, LOOK, changed=False, result={"current": "2", "previous": "1"}),
    Case("back to a certain one", {"state": "rolled_back", "version": "4"}, USED, LOOK,
         "releases/4\nreleases/2\n1\n2\n3\n4"),
    Case("told", {"state": "query"}, USED, LOOK, changed=False, result={"releases": ["1", "2", "3", "4"]}),
    Case("old ones go", {"version": "4", "keep": 2}, USED, LOOK, "releases/4\nreleases/2\n2\n4"),
    Case("not there", {"version": "9"}, USED, LOOK, fails="there is no release 9 in /srv/t-release/releases; unpack it"),
    Case("nowhere to go back", {"state": "rolled_back"}, MAKE, LOOK, fails="which release? Give version; there are 1, 2, 3"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_release(case: Case, bookworm: LabHost) -> None:
    prove(bookworm, MODULE, Case(**{**vars(case), "params": {"path": PATH, **case.params}}))


def test_back_and_forth(bookworm: LabHost) -> None:
    bookworm.run(USED)
    back = one(bookworm, Call(MODULE, {"path": PATH, "state": "rolled_back"}))
    assert back["changed"] and (back["current"], back["previous"]) == ("1", "2")


def test_what_holds_is_served(web: LabHost) -> None:
    params = {"path": PATH, "version": "3", "units": ["t-release"], "checks": CHECKS}
    result = one(web, Call(MODULE, params))
    assert not result.get("failed"), result["msg"]
    assert web.run("curl -s http://127.0.0.1:8484/").stdout == "release 3\n"


def test_what_does_not_hold_goes_back(web: LabHost) -> None:
    web.run(f"echo broken > {PATH}/releases/3/index.html")
    before = web.run(LOOK).stdout
    params = {"path": PATH, "version": "3", "units": ["t-release"], "checks": CHECKS, "seconds": 2}
    result = one(web, Call(MODULE, params))
    assert result["failed"] and "release 3 does not hold: 1 of 1 checks failed: page: " in result["msg"]
    assert "release 2 is back in use" in result["msg"] and web.run(LOOK).stdout == before
    for _ in range(50):
        if web.run("curl -s http://127.0.0.1:8484/", check=False).stdout == "release 2\n":
            break
    else:
        raise AssertionError("the old release is not served")


def test_a_preview_of_a_release_that_is_still_to_come(bookworm: LabHost) -> None:
    bookworm.run(USED)
    calls = [("commands.command", {"_raw_params": "true"}), (MODULE, {"path": PATH, "version": "9"})]
    assert previews(bookworm, calls)[1]["changed"]
