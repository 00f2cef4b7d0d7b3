"""stat, ping and setup: modules that only look."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.modules.harness import load, run


def test_stat_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("abc")
    (tmp_path / "f").chmod(0o640)
    found = run("files.stat", {"path": str(tmp_path / "f")})["stat"]
    expected = {
        "exists": True,
        "isreg": True,
        "isdir": False,
        "islnk": False,
        "mode": "0640",
        "size": 3,
        "rgrp": True,
        "wgrp": False,
        "uid": os.getuid(),
        "checksum": "a9993e364706816aba3e25717850c26c9cd0d89d",
        "readable": True,
    }
    assert {key: found[key] for key in expected} == expected


def test_stat_of_links_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("abc")
    (tmp_path / "l").symlink_to("f")
    found = run("files.stat", {"path": str(tmp_path / "l")})["stat"]
    assert (found["islnk"], found["lnk_target"], found["lnk_source"]) == (True, "f", str(tmp_path / "f"))
    followed = run("files.stat", {"path": str(tmp_path / "l"), "follow": True, "checksum_algorithm": "md5"})["stat"]
    assert (followed["isreg"], followed["checksum"]) == (True, "900150983cd24fb0d6963f7d28e17f72")
    assert run("files.stat", {"path": str(tmp_path / "none")})["stat"] == {"exists": False}


def test_ping() -> None:
    assert run("system.ping", {})["ping"] == "pong"
    assert run("system.ping", {"data": "x"})["ping"] == "x"


def facts(*subset: str, **params: object) -> dict[str, object]:
    given = {"gather_subset": list(subset), **params} if subset else params
    return dict(run("system.setup", given)["ansible_facts"])


def test_minimal_facts() -> None:
    found = facts("!all")
    assert found["ansible_system"] == "Linux"
    assert found["ansible_kernel"] == os.uname().release
    assert found["ansible_python"]["version"]["major"] == sys.version_info.major  # type: ignore[index]
    assert found["ansible_env"] == dict(os.environ)
    assert found["ansible_effective_user_id"] == os.geteuid()
    assert found["module_setup"] is True
    assert "ansible_mounts" not in found


def test_subsets() -> None:
    assert set(facts("!all", "!min", "virtual")) == {
        "ansible_virtualization_type",
        "ansible_virtualization_role",
        "ansible_virtualization_tech_guest",
        "ansible_virtualization_tech_host",
        "gather_subset",
        "module_setup",
    }
    network = facts("!all", "network")
    assert "ansible_lo" in network and "ansible_mounts" not in network
    assert "ansible_mounts" in facts("!network") and "ansible_lo" not in facts("!network")
    refused = run("system.setup", {"gather_subset": "no_such"})
    assert refused["failed"] and "no_such" in refused["msg"]


def test_filter() -> None:
    assert {"ansible_kernel", "ansible_kernel_version"} == set(facts(filter="ansible_kernel*"))
    assert set(facts(filter=["kernel", "ansible_machine"])) == {"ansible_kernel", "ansible_machine"}


def test_local_facts(tmp_path: Path) -> None:
    (tmp_path / "a.fact").write_text('{"x": 1}')
    (tmp_path / "b.fact").write_text("[s]\nkey = value\n")
    program = tmp_path / "c.fact"
    program.write_text("#!/bin/sh\necho '[1, 2]'\n")
    program.chmod(0o755)
    found = facts("!all", fact_path=str(tmp_path))["ansible_local"]
    assert found == {"a": {"x": 1}, "b": {"s": {"key": "value"}}, "c": [1, 2]}


@pytest.mark.parametrize(("subset", "limit"), [("!all", 3.0), ("all", 25.0)])
def test_facts_are_cheap(subset: str, limit: float) -> None:
    load("system.setup")
    spent = []
    for _ in range(5):
        before = time.process_time()
        facts(subset)
        spent.append((time.process_time() - before) * 1e3)
    print(f"facts {subset}: {min(spent):.2f} ms of CPU")
    assert min(spent) < limit
