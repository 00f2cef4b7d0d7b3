"""The copy module with content as the control side prepares it, and on the host itself."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from opsplay.agent.host import Host
from tests.modules.harness import Case, File, Link, StubAgent, play, run

SHA1 = hashlib.sha1(b"new\n").hexdigest()


def content(text: str, **more: Any) -> dict[str, Any]:
    return {"_content": text.encode(), "_checksum": hashlib.sha1(text.encode()).hexdigest(), **more}


CASES = [
    Case(
        "new file", content("new\n", dest="@/f"), after={"f": File("new\n")}, result={"checksum": SHA1, "dest": "@/f"}
    ),
    Case("mode from the first byte", content("new\n", dest="@/f", mode="0600"), after={"f": File("new\n", 0o600)}),
    Case("content differs", content("new\n", dest="@/f"), {"f": File("old", 0o640)}, {"f": File("new\n", 0o640)}),
    Case("content is the same", content("new\n", dest="@/f"), {"f": "new\n"}, changed=False),
    Case("only the mode differs", content("x", dest="@/f", mode="0600"), {"f": "x"}, {"f": File("x", 0o600)}),
    Case("not forced", content("new\n", dest="@/f", force=False), {"f": "old"}, {"f": "old"}, changed=False),
    Case("not forced, new", content("new\n", dest="@/f", force=False), after={"f": "new\n"}),
    Case("into a directory", content("x", dest="@/d", _name="n"), {"d": None}, {"d/n": "x"}, result={"dest": "@/d/n"}),
    Case("into a new directory", content("x", dest="@/d/", _name="n"), after={"d/n": "x"}),
    Case("content over a directory", content("x", dest="@/d"), {"d": None}, fails="can not use content with a dir"),
    Case("missing folder", content("x", dest="@/d/f"), fails="the folder"),
    Case("a link is replaced", content("x", dest="@/l"), {"t": "old", "l": Link("t")}, {"t": "old", "l": File("x")}),
    Case(
        "a link is followed",
        content("x", dest="@/l", follow=True),
        {"t": "old", "l": Link("t")},
        {"t": "x", "l": Link("t")},
    ),
    Case("mode is preserved", content("x", dest="@/f", mode="preserve", _mode=0o751), after={"f": File("x", 0o751)}),
    Case("content as a dictionary", {"content": {"a": 1}, "dest": "@/f"}, after={"f": '{"a": 1}'}),
    Case("not valid", content("x", dest="@/f", validate="grep -q y %s"), {"f": "old"}, fails="failed to validate"),
    Case("valid", content("x", dest="@/f", validate="grep -q x %s"), after={"f": "x"}),
    Case("wrong checksum", content("x", dest="@/f", checksum="0" * 40), fails="does not match the expected checksum"),
    Case("nothing to copy", {"dest": "@/f"}, fails="src (or content) is required"),
    Case(
        "from the host",
        {"src": "@/s", "dest": "@/f", "remote_src": True},
        {"s": File("new\n", 0o600)},
        {"f": File("new\n")},
        result={"checksum": SHA1},
    ),
    Case(
        "from the host with its mode",
        {"src": "@/s", "dest": "@/f", "remote_src": True, "mode": "preserve"},
        {"s": File("x", 0o711)},
        {"f": File("x", 0o711)},
    ),
    Case("from the host, missing", {"src": "@/s", "dest": "@/f", "remote_src": True}, fails="not found"),
    Case(
        "a directory of the host",
        {"src": "@/s", "dest": "@/d", "remote_src": True},
        {"s/a": "1", "s/b/c": "2", "d": None},
        {"d/s/a": "1", "d/s/b/c": "2"},
    ),
    Case(
        "what a directory of the host holds",
        {"src": "@/s/", "dest": "@/d", "remote_src": True, "directory_mode": "0700"},
        {"s/a": "1", "s/b/c": "2"},
        {"d/a": "1", "d/b/c": "2"},
    ),
    Case(
        "a tree",
        {
            "dest": "@/d",
            "_name": "e",
            "_tree": [
                {"path": "e", "kind": "directory", "mode": 0o755},
                {"path": "e/f", "kind": "file", "mode": 0o600, "content": b"x"},
                {"path": "l", "kind": "link", "target": "e/f"},
            ],
        },
        {"d/kept": "y"},
        {"d/e/f": File("x"), "d/l": Link("e/f"), "d/kept": "y"},
    ),
    Case(
        "a tree that would leave its folder",
        {"dest": "@/d", "_tree": [{"path": "../f", "kind": "file", "content": b"x"}]},
        {"d": None},
        fails="would lie outside",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_copy(case: Case, tmp_path: Path) -> None:
    play("files.copy", case, tmp_path)


def test_backup(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    result = run("files.copy", content("new", dest=str(tmp_path / "f"), backup=True))
    assert Path(result["backup_file"]).read_text() == "old"
    assert "backup_file" not in run("files.copy", content("new", dest=str(tmp_path / "f"), backup=True))


@pytest.mark.parametrize("size", [0, 1, 5 << 20, (12 << 20) + 7])
def test_blob_is_fetched_only_when_it_differs(tmp_path: Path, size: int) -> None:
    agent, data = StubAgent(), os.urandom(size)
    digest = hashlib.sha256(data).hexdigest()
    agent.contents[digest] = data
    host = Host(agent)
    params = {"dest": str(tmp_path / "f"), "_blob": {"sha256": digest, "size": size}, "mode": "0640"}
    assert run("files.copy", params, host, check=True)["changed"]
    assert not agent.sent
    assert run("files.copy", params, host)["changed"]
    assert (tmp_path / "f").read_bytes() == data
    asked = len(agent.sent)
    assert not run("files.copy", params, host)["changed"]
    # A second file of the same content is copied on the host.
    assert run("files.copy", dict(params, dest=str(tmp_path / "g")), host)["changed"]
    assert (tmp_path / "g").read_bytes() == data
    assert len(agent.sent) == asked


def test_content_that_changed_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    agent = StubAgent()
    digest = hashlib.sha256(b"what was promised").hexdigest()
    agent.contents[digest] = b"something elsewhere"[:17]
    (tmp_path / "f").write_text("old")
    params = {"dest": str(tmp_path / "f"), "_blob": {"sha256": digest, "size": 17}}
    result = run("files.copy", params, Host(agent))
    assert result["failed"] and "changed on the control side" in result["msg"]
    assert (tmp_path / "f").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["f"]


def test_undo_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    result = run("files.copy", content("new", dest=str(tmp_path / "f")), keep_undo=True)
    entry = result["_undo"][0]
    assert (entry["kind"], entry["mode"], entry["content"]) == ("file", 0o644, "b2xk")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_an_existing_file_keeps_its_group_in_a_set_group_id_folder(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    os.chown(folder, 0, 65534)
    folder.chmod(0o2775)
    (folder / "f").write_text("old")
    os.chown(folder / "f", 0, 0)
    run("files.copy", content("new", dest=str(folder / "f")))
    assert (folder / "f").stat().st_gid == 0
    run("files.copy", content("new", dest=str(folder / "g")))
    assert (folder / "g").stat().st_gid == 65534


def test_a_failed_check_tells_what_it_said_and_of_which_content(tmp_path: Path) -> None:
    given = content("new", dest=str(tmp_path / "f"), validate="sh -c 'echo bad >&2; exit 3' %s")
    failed = run("files.copy", given)
    assert (failed["exit_status"], failed["stderr"]) == (3, "bad\n")
    assert failed["checksum"] == "c2a6b03f190dfb2b4aa91f8af8d477a9bc3401dc"
