"""A preview of a fresh host goes on: later tasks see what earlier ones would have made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from opsplay.agent.host import Host, ModuleFailed
from tests.modules.harness import StubAgent, picture, run


@pytest.fixture
def host() -> Host:
    return Host(StubAgent())


def preview(host: Host, module: str, **params: Any) -> dict[str, Any]:
    return run(module, params, host, check=True)


def test_a_file_in_a_directory_that_would_be_made(host: Host, tmp_path: Path) -> None:
    conf = tmp_path / "app/conf"
    assert preview(host, "files.file", path=str(conf), state="directory", mode="0750")["changed"]
    made = preview(host, "files.copy", dest=str(conf / "a"), content="one\n")
    assert made["changed"] and made["size"] == 4
    edited = preview(host, "files.lineinfile", path=str(conf / "a"), line="two")
    assert edited["diff"][0]["before"] == "one\n" and edited["diff"][0]["after"] == "one\ntwo\n"
    assert not preview(host, "files.lineinfile", path=str(conf / "a"), line="two")["changed"]
    found = preview(host, "files.stat", path=str(conf / "a"))["stat"]
    assert (found["exists"], found["size"], found["isreg"]) == (True, 8, True)
    assert preview(host, "files.file", path=str(conf / "a"), mode="0600")["mode"] == "0600"
    assert not preview(host, "files.file", path=str(conf / "a"), mode="0600")["changed"]
    assert os.listdir(tmp_path) == []


def test_links_that_would_be_made_are_followed(host: Host, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/f").write_text("there\n")
    preview(host, "files.file", path=str(tmp_path / "l"), src="real", state="link")
    assert preview(host, "files.stat", path=str(tmp_path / "l"))["stat"]["lnk_target"] == "real"
    assert not preview(host, "files.lineinfile", path=str(tmp_path / "l/f"), line="there")["changed"]
    preview(host, "files.copy", dest=str(tmp_path / "l/g"), content="new\n")
    assert preview(host, "files.stat", path=str(tmp_path / "real/g"))["stat"]["exists"]


def test_what_a_program_would_write_anew_is_not_known(host: Host, tmp_path: Path) -> None:
    """Whatever lies there now: it is neither read nor compared, until a task writes something that is known."""
    path = tmp_path / "f"
    path.write_text("old\n")
    host.begin(1, {"check": True})
    host.pretend_unknown(str(path), 0o640)
    with pytest.raises(ModuleFailed, match="cannot be known before an earlier task has run"):
        host.read(str(path))
    assert not host.knows(str(path))
    assert "checksum" not in preview(host, "files.stat", path=str(path))["stat"]
    assert preview(host, "files.copy", dest=str(path), content="old\n")["changed"]
    assert not preview(host, "files.copy", dest=str(path), content="old\n")["changed"]
    assert preview(host, "files.stat", path=str(path))["stat"]["mode"] == "0640"
    assert path.read_text() == "old\n"


def test_what_would_be_removed_is_gone(host: Host, tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f").write_text("x")
    preview(host, "files.copy", dest=str(tmp_path / "d/new"), content="x")
    assert preview(host, "files.file", path=str(tmp_path / "d"), state="absent")["changed"]
    assert not preview(host, "files.file", path=str(tmp_path / "d"), state="absent")["changed"]
    for gone in ("d/new", "d/e/f", "d/e"):
        assert preview(host, "files.stat", path=str(tmp_path / gone))["stat"] == {"exists": False}
    assert preview(host, "files.copy", dest=str(tmp_path / "d/f"), content="x")["failed"]
    # A directory that is made anew is empty, whatever lies there still.
    assert preview(host, "files.file", path=str(tmp_path / "d"), state="directory")["changed"]
    assert preview(host, "files.stat", path=str(tmp_path / "d/e/f"))["stat"] == {"exists": False}
    assert preview(host, "files.copy", dest=str(tmp_path / "d/f"), content="x")["changed"]


def test_a_mode_that_would_change_leaves_the_rest_known(host: Host, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("text\n")
    preview(host, "files.file", path=str(tmp_path / "d"), mode="0700")
    preview(host, "files.file", path=str(tmp_path / "d/f"), mode="0600")
    found = preview(host, "files.stat", path=str(tmp_path / "d/f"))["stat"]
    assert (found["mode"], found["size"]) == ("0600", 5)
    assert not preview(host, "files.copy", dest=str(tmp_path / "d/f"), content="text\n")["changed"]
    assert not preview(host, "files.lineinfile", path=str(tmp_path / "d/f"), line="text")["changed"]


def test_a_program_may_make_anything(host: Host, tmp_path: Path) -> None:
    target = str(tmp_path / "made/f")
    assert preview(host, "files.copy", dest=target, content="x")["failed"]
    preview(host, "commands.command", cmd=f"mkdir {tmp_path}/made")
    assert preview(host, "files.copy", dest=target, content="x")["changed"]


def test_the_real_run_knows_nothing_of_the_preview(host: Host, tmp_path: Path) -> None:
    preview(host, "files.copy", dest=str(tmp_path / "f"), content="x")
    before = picture(tmp_path)
    assert run("files.stat", {"path": str(tmp_path / "f")}, host)["stat"] == {"exists": False}
    assert picture(tmp_path) == before
