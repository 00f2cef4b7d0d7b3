"""find, slurp, tempfile, ini_file and assemble: the small modules that look at files and make them."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path
from typing import Any

import pytest

from opsplay.agent.host import Host
from tests.modules.harness import Case, File, Link, StubAgent, play, run

TREE: dict[str, Any] = {
    "a.conf": File("one\ntwo\n", 0o600),
    "b.log": "x" * 3000,
    ".hidden": "",
    "d/c.conf": "two\n",
    "d/e/f.conf": "",
    "l": Link("a.conf"),
}


def found(folder: Path, **params: Any) -> set[str]:
    """The names that find lists below the folder."""
    result = run("files.find", {"paths": [str(folder)], **params})
    assert not result.get("failed") and not result["changed"], result
    assert result["matched"] == len(result["files"])
    return {os.path.relpath(entry["path"], folder) for entry in result["files"]}


FINDS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"a.conf", "b.log"}),
    ({"hidden": True}, {"a.conf", "b.log", ".hidden"}),
    ({"recurse": True}, {"a.conf", "b.log", "d/c.conf", "d/e/f.conf"}),
    ({"recurse": True, "depth": 2}, {"a.conf", "b.log", "d/c.conf"}),
    ({"depth": 9}, {"a.conf", "b.log"}),
    ({"file_type": "directory", "recurse": True}, {"d", "d/e"}),
    ({"file_type": "link"}, {"l"}),
    ({"file_type": "any"}, {"a.conf", "b.log", "d", "l"}),
    ({"patterns": "*.conf,*.txt"}, {"a.conf"}),
    ({"patterns": [r"[ab]\.\w+$"], "use_regex": True, "excludes": [r".*\.log"]}, {"a.conf"}),
    ({"excludes": "*.log"}, {"a.conf"}),
    ({"size": "1k"}, {"b.log"}),
    ({"size": "-1k"}, {"a.conf"}),
    ({"size": "3000b"}, {"b.log"}),
    ({"age": "1h"}, {"b.log"}),
    ({"age": "-1h"}, {"a.conf"}),
    ({"mode": "0600"}, {"a.conf"}),
    ({"mode": "u=r", "exact_mode": False}, {"a.conf", "b.log"}),
    ({"contains": "two"}, {"a.conf"}),
    ({"contains": "wo"}, set()),
    ({"contains": "wo", "read_whole_file": True}, {"a.conf"}),
    ({"recurse": True, "limit": 1, "patterns": "*.conf"}, {"a.conf"}),
]


@pytest.mark.parametrize(("params", "names"), FINDS, ids=lambda value: str(sorted(value) if isinstance(value, set) else value))
def test_find(params: dict[str, Any], names: set[str], tmp_path: Path) -> None:
    from tests.modules.harness import build

    build(tmp_path, TREE)
    os.utime(tmp_path / "b.log", (0, time.time() - 7200))
    assert found(tmp_path, **params) == names


def test_find_says_what_it_could_not_look_into(tmp_path: Path) -> None:
    result = run("files.find", {"paths": [str(tmp_path), "/nowhere"], "get_checksum": True})
    assert result["skipped_paths"] == {"/nowhere": "'/nowhere' is not a directory"}
    assert result["msg"] == "Not all paths examined, check warnings for details"
    assert run("files.find", {"paths": ["/"], "age": "old"})["msg"] == "failed to process age"


def test_find_returns_checksums_and_follows_no_circle(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\n")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/other").symlink_to("../d")
    result = run("files.find", {"paths": str(tmp_path), "get_checksum": True, "recurse": True, "follow": True})
    assert [entry["checksum"] for entry in result["files"]] == ["3f786850e387550fdab836ed7e6dc881de23001b"]


def test_find_sees_what_a_preview_would_have_made(tmp_path: Path) -> None:
    host = Host(StubAgent())
    run("files.copy", {"dest": f"{tmp_path}/new", "content": "hello"}, host, check=True)
    result = run("files.find", {"paths": [str(tmp_path)], "contains": "hell"}, host, check=True)
    assert [entry["path"] for entry in result["files"]] == [f"{tmp_path}/new"]


def test_slurp(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\0\xff")
    result = run("files.slurp", {"src": f"{tmp_path}/f"})
    assert base64.b64decode(result["content"]) == b"\0\xff"
    assert (result["encoding"], result["source"], result["changed"]) == ("base64", f"{tmp_path}/f", False)
    assert "File not found" in run("files.slurp", {"src": f"{tmp_path}/none"})["msg"]
    assert "is a directory" in run("files.slurp", {"src": str(tmp_path)})["msg"]


def test_slurp_in_a_preview(tmp_path: Path) -> None:
    host = Host(StubAgent())
    run("files.copy", {"dest": f"{tmp_path}/new", "content": "hello"}, host, check=True)
    result = run("files.slurp", {"src": f"{tmp_path}/new"}, host, check=True)
    assert base64.b64decode(result["content"]) == b"hello"
    assert run("files.slurp", {"src": f"{tmp_path}/none"}, host, check=True)["failed"]
    archive = {"path": f"{tmp_path}/new", "dest": f"{tmp_path}/packed.gz"}
    assert run("files.archive", archive, host, check=True)["changed"]
    assert run("files.slurp", {"src": f"{tmp_path}/packed.gz"}, host, check=True)["skipped"]
    run("commands.command", {"cmd": "true"}, host, check=True)
    assert run("files.slurp", {"src": f"{tmp_path}/none"}, host, check=True)["skipped"]


@pytest.mark.parametrize(("state", "mode"), [("file", 0o600), ("directory", 0o700)])
def test_tempfile(state: str, mode: int, tmp_path: Path) -> None:
    params = {"state": state, "path": str(tmp_path), "prefix": "p.", "suffix": ".s"}
    host = Host(StubAgent())
    preview = run("files.tempfile", params, host, check=True)
    assert preview["changed"] and os.listdir(tmp_path) == []
    # What follows in the preview may use it.
    assert run("files.stat", {"path": preview["path"]}, host, check=True)["stat"]["exists"]
    paths = [Path(run("files.tempfile", params)["path"]) for _ in range(2)]
    assert len(set(paths)) == 2
    for path in paths:
        assert path.parent == tmp_path and path.name.startswith("p.") and path.name.endswith(".s")
        assert path.stat().st_mode & 0o7777 == mode and path.is_dir() is (state == "directory")
    assert "no directory" in run("files.tempfile", {"path": "/nowhere"})["msg"]
    assert "slash" in run("files.tempfile", {"prefix": "../x"})["msg"]


INI = "# head\nloose = 1\n[one]\n; opt = old\nopt = a\nopt = b\n\n# tail\n[two]\nopt=x\nflag\n"


def ini(name: str, after: str, before: str = INI, msg: str = "", **params: Any) -> Case:
    result = {"msg": msg} if msg else {}
    return Case(name, {"path": "@/f", **params}, {"f": before}, {"f": after}, before != after, result)


INIS = [
    ini("is there", "[s]\na = 1\n", "[s]\na = 1\n", section="s", option="a", value="1", msg="OK"),
    ini("changed", "[s]\na = 2\n", "[s]\na=1\n", section="s", option="a", value="2", msg="option changed"),
    ini("blanks differ", "[s]\na = 1\n", "[s]\na=1\n", section="s", option="a", value="1"),
    ini("blanks do not count", "[s]\na=1\n", "[s]\na=1\n", section="s", option="a", value="1", ignore_spaces=True),
    ini("without blanks", "[s]\na=1\n", "[s]\n", section="s", option="a", value="1", no_extra_spaces=True),
    ini(
        "added behind the last option",
        "[s]\na = 1\nb = 2\n\n# c\n[t]\n",
        "[s]\na = 1\n\n# c\n[t]\n",
        section="s",
        option="b",
        value="2",
        msg="option added",
    ),
    ini("a new section", "x = 1\n[s]\na = 1\n", "x = 1", section="s", option="a", value="1"),
    ini("only a section", "[s]\n", "", section="s", msg="only section added"),
    ini("a section that is there", "[s]\n", "[s]\n", section="s", msg="OK"),
    ini("before all sections", "x = 2\n[s]\nx = 1\n", "[s]\nx = 1\n", option="x", value="2"),
    ini("a comment becomes the option", "[s]\na = 2\n", "[s]\n#a = 1\n", section="s", option="a", value="2"),
    ini(
        "a comment stays",
        "[s]\na = 2\n#a = 1\n",
        "[s]\n#a = 1\n",
        section="s",
        option="a",
        value="2",
        modify_inactive_option=False,
    ),
    ini("exclusive", "[s]\na = 2\nb = 1\n", "[s]\na = 1\na = 2\nb = 1\n", section="s", option="a", value="2"),
    ini("besides", "[s]\na = 1\na = 2\n", "[s]\na = 1\n", section="s", option="a", value="2", exclusive=False),
    ini("values", "[s]\na = 1\na = 3\n", "[s]\na = 1\na = 2\n", section="s", option="a", values=["1", "3"]),
    ini("more values", "[s]\na = 1\na = 2\n", "[s]\na = 1\n", section="s", option="a", values=["1", "2"]),
    ini("without value", "[s]\na\n", "[s]\n", section="s", option="a", allow_no_value=True),
    ini("without value, there", "[s]\na\n", "[s]\na\n", section="s", option="a", allow_no_value=True),
    ini("loses its value", "[s]\na\n", "[s]\na = 1\n", section="s", option="a", allow_no_value=True),
    ini("absent", "[s]\n", "[s]\na = 1\na = 2\n", section="s", option="a", state="absent", msg="option changed"),
    ini(
        "one value absent",
        "[s]\na = 2\n",
        "[s]\na = 1\na = 2\n",
        section="s",
        option="a",
        value="1",
        state="absent",
        exclusive=False,
    ),
    ini("a comment is no option", "[s]\n#a = 1\n", "[s]\n#a = 1\n", section="s", option="a", state="absent"),
    ini("section absent", "[t]\n", "[s]\na = 1\n[t]\n", section="s", state="absent", msg="section removed"),
    ini("no such section", "[t]\n", "[t]\n", section="s", state="absent", msg="OK"),
    ini(
        "the section that has a value",
        "[s]\nn = 1\n[s]\nn = 2\na = x\n",
        "[s]\nn = 1\n[s]\nn = 2\n",
        section="s",
        option="a",
        value="x",
        section_has_values=[{"option": "n", "value": "2"}],
    ),
    ini(
        "no section has the value",
        "[s]\nn = 1\n[s]\nn = 2\na = x\n",
        "[s]\nn = 1\n",
        section="s",
        option="a",
        value="x",
        section_has_values=[{"option": "n", "value": "2"}],
    ),
    ini("a byte order mark stays", "\ufeff[s]\na = 2\n", "\ufeff[s]\na = 1\n", section="s", option="a", value="2"),
    ini("a longer name is another", "[s]\naa = 1\na = 2\n", "[s]\naa = 1\n", section="s", option="a", value="2"),
    Case("made", {"path": "@/d/f", "section": "s", "option": "a", "value": 1}, after={"d/f": "[s]\na = 1\n"}),
    Case("not made", {"path": "@/f", "option": "a", "value": "1", "create": False}, fails="does not exist"),
    Case("no value", {"path": "@/f", "section": "s", "option": "a"}, {"f": ""}, fails="must be defined"),
    Case("both", {"path": "@/f", "option": "a", "value": "1", "values": ["2"]}, {"f": ""}, fails="mutually exclusive"),
    Case("only the mode", {"path": "@/f", "section": "s", "mode": "0600"}, {"f": "[s]\n"}, {"f": File("[s]\n", 0o600)}),
    Case(
        "through a link",
        {"path": "@/l", "section": "s", "follow": True},
        {"t": "", "l": Link("t")},
        {"t": "[s]\n", "l": Link("t")},
    ),
]


@pytest.mark.parametrize("case", INIS, ids=lambda case: case.name)
def test_ini_file(case: Case, tmp_path: Path) -> None:
    play("files.ini_file", case, tmp_path)


FRAGMENTS = {"s/1": "a", "s/2": "b\n", "s/3": "", "s/.4": "hidden", "s/d/x": "not used"}


def assembled(name: str, after: str, **params: Any) -> Case:
    return Case(name, {"src": "@/s", "dest": "@/f", **params}, FRAGMENTS, {"f": after})


ASSEMBLIES = [
    assembled("in order", "hidden\na\nb\n"),
    assembled("without hidden ones", "a\nb\n", ignore_hidden=True),
    assembled("delimited", "a\n--\nb\n--\n", ignore_hidden=True, delimiter="--"),
    assembled("an escape in the delimiter", "a\n\n\t#\nb\n\n\t#\n", ignore_hidden=True, delimiter="\\n\\t#\\n"),
    assembled("chosen", "b\n", regexp="^2$"),
    Case("no source", {"src": "@/s", "dest": "@/f"}, fails="does not exist"),
    Case("a file as source", {"src": "@/s", "dest": "@/f"}, {"s": ""}, fails="is not a directory"),
    Case("a bad expression", {"src": "@/s", "dest": "@/f", "regexp": "("}, {"s": None}, fails="Invalid Regexp"),
    Case(
        "not valid",
        {"src": "@/s", "dest": "@/f", "validate": "grep -q y %s"},
        {"s/1": "x", "f": "old"},
        fails="failed to validate",
    ),
]


@pytest.mark.parametrize("case", ASSEMBLIES, ids=lambda case: case.name)
def test_assemble(case: Case, tmp_path: Path) -> None:
    play("files.assemble", case, tmp_path)


def test_assemble_returns_checksums(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/1").write_text("a\n")
    result = run("files.assemble", {"src": f"{tmp_path}/s", "dest": f"{tmp_path}/f", "mode": "0600"})
    assert result["checksum"] == "3f786850e387550fdab836ed7e6dc881de23001b"
    assert (result["md5sum"], result["mode"]) == ("60b725f10c9c85c70d97880dfe8191b3", "0600")
