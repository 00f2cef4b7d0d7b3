"""The file module: what is there, what is asked, what comes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.modules.harness import Case, File, Link, play, run

CASES = [
    Case("directory is made", {"path": "@/d", "state": "directory"}, after={"d": None}, result={"state": "directory"}),
    Case("directories above too", {"path": "@/a/b/c", "state": "directory", "mode": "0750"}, after={"a/b/c": None}),
    Case("directory is there", {"path": "@/d", "state": "directory"}, {"d": None}, changed=False),
    Case("directory over a file", {"path": "@/d", "state": "directory"}, {"d": "x"}, fails="already exists as a file"),
    Case(
        "directory through a link",
        {"path": "@/l", "state": "directory", "mode": "0700"},
        {"d": None, "l": Link("d")},
        {"l": Link("d")},
        result={"mode": "0700", "path": "@/d"},
    ),
    Case(
        "recurse",
        {"path": "@/d", "state": "directory", "recurse": True, "mode": "u=rwX,go="},
        {"d/a": "x", "d/e/b": File("y", 0o755)},
        {"d/a": File("x", 0o600), "d/e/b": File("y", 0o700)},
    ),
    Case("recurse needs a directory", {"path": "@/f", "recurse": True}, {"f": "x"}, fails="recurse needs"),
    Case("mode", {"path": "@/f", "mode": "0600"}, {"f": "x"}, {"f": File("x", 0o600)}, result={"mode": "0600"}),
    Case("mode in symbols", {"path": "@/f", "mode": "u+x,go-r"}, {"f": "x"}, {"f": File("x", 0o700)}),
    Case("mode is right", {"path": "@/f", "mode": "0644"}, {"f": "x"}, changed=False),
    Case("set-id bits", {"path": "@/f", "mode": "4755"}, {"f": "x"}, result={"mode": "04755"}),
    Case("file is absent", {"path": "@/f", "state": "file"}, fails="is absent, cannot continue"),
    Case("removed", {"path": "@/f", "state": "absent"}, {"f": "x"}, {"f": ...}, result={"state": "absent"}),
    Case("removed with all below", {"path": "@/d", "state": "absent"}, {"d/a/b": "x", "d/l": Link("/")}, {"d": ...}),
    Case("nothing to remove", {"path": "@/f", "state": "absent"}, changed=False),
    Case(
        "a removed link spares its target", {"path": "@/l", "state": "absent"}, {"f": "x", "l": Link("f")}, {"f": "x"}
    ),
    Case("touch makes", {"path": "@/f", "state": "touch", "mode": "0600"}, after={"f": File("", 0o600)}, again=True),
    Case("touch changes times", {"path": "@/f", "state": "touch"}, {"f": "x"}, {"f": "x"}, again=True),
    Case(
        "touch that keeps times",
        {"path": "@/f", "state": "touch", "access_time": "preserve", "modification_time": "preserve"},
        {"f": "x"},
        changed=False,
    ),
    Case("a given time", {"path": "@/f", "modification_time": "202001020304.05"}, {"f": "x"}, {"f": "x"}),
    Case("no time", {"path": "@/f", "state": "touch", "access_time": "soon"}, fails="is not a time of the form"),
    Case("link is made", {"path": "@/l", "state": "link", "src": "f"}, {"f": "x"}, {"l": Link("f")}),
    Case("link is right", {"path": "@/l", "state": "link", "src": "f"}, {"f": "x", "l": Link("f")}, changed=False),
    Case("link is turned", {"path": "@/l", "state": "link", "src": "g"}, {"g": "", "l": Link("f")}, {"l": Link("g")}),
    Case("link to nothing", {"path": "@/l", "state": "link", "src": "f"}, fails="src file does not exist"),
    Case(
        "link to nothing, forced", {"path": "@/l", "state": "link", "src": "f", "force": True}, after={"l": Link("f")}
    ),
    Case(
        "link over a file",
        {"path": "@/l", "state": "link", "src": "f"},
        {"f": "", "l": ""},
        fails="refusing to convert",
    ),
    Case(
        "link over a file, forced",
        {"path": "@/l", "state": "link", "src": "f", "force": True},
        {"f": "x", "l": "y"},
        {"l": Link("f")},
    ),
    Case(
        "link over a full directory",
        {"path": "@/l", "state": "link", "src": "f", "force": True},
        {"f": "x", "l/a": "y"},
        fails="not empty",
    ),
    Case("link without a source", {"path": "@/l", "state": "link"}, fails="src is required"),
    Case("hard link", {"path": "@/h", "state": "hard", "src": "@/f"}, {"f": "x"}, {"h": "x"}, result={"state": "hard"}),
    Case("hard link over a file", {"path": "@/h", "state": "hard", "src": "@/f"}, {"f": "x", "h": "y"}, fails="force"),
    Case(
        "hard link over a file, forced",
        {"path": "@/h", "state": "hard", "src": "@/f", "force": True},
        {"f": "x", "h": "y"},
        {"h": "x"},
    ),
    Case("hard link to nothing", {"path": "@/h", "state": "hard", "src": "@/f"}, fails="does not exist"),
    Case("source without a link", {"path": "@/f", "src": "@/g", "state": "file"}, {"f": "x"}, fails="src needs"),
    Case(
        "unknown owner", {"path": "@/f", "owner": "no-such-user"}, {"f": "x"}, fails="there is no user 'no-such-user'"
    ),
    Case("folder is missing", {"path": "@/a/f", "state": "touch"}, fails="the folder"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_file(case: Case, tmp_path: Path) -> None:
    play("files.file", case, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_of_a_tree(tmp_path: Path) -> None:
    case = Case(
        "owner",
        {"path": "@/d", "state": "directory", "recurse": True, "owner": "65534", "group": "65534"},
        {"d/a": "x", "d/l": Link("a")},
    )
    play("files.file", case, tmp_path)
    assert {os.lstat(path).st_uid for path in (tmp_path / "d", tmp_path / "d/a", tmp_path / "d/l")} == {65534}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_changing_the_owner_keeps_the_set_id_bits(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    (tmp_path / "f").chmod(0o4755)
    run("files.file", {"path": str(tmp_path / "f"), "owner": "65534"})
    assert (tmp_path / "f").stat().st_mode & 0o7777 == 0o4755


def test_a_directory_in_a_set_group_id_folder_keeps_its_bits(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(0o2755)
    result = run("files.file", {"path": str(tmp_path / "d"), "state": "directory", "mode": "u=rwx,go=rx"})
    assert result["changed"] is False


def test_a_failure_tells_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    failed = run("files.file", {"path": str(tmp_path / "f"), "src": "/etc/hosts", "state": "link"})
    assert failed["failed"] and (failed["path"], failed["state"], failed["size"]) == (str(tmp_path / "f"), "file", 1)
