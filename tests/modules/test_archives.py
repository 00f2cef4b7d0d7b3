"""archive and unarchive: what is packed, what comes of it, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opsplay.agent.host import Host
from tests.modules.harness import StubAgent, leftovers, picture, run

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree to pack."""
    top = tmp_path / "src/app"
    (top / "conf").mkdir(parents=True)
    (top / "conf/a").write_text("alpha\n")
    (top / "run").write_text("#!/bin/sh\n")
    (top / "run").chmod(0o755)
    (top / "big").write_bytes(os.urandom(3 << 20))
    (top / "link").symlink_to("conf/a")
    os.utime(top / "conf/a", (1_600_000_000, 1_600_000_000))
    return top


def twice(module: str, params: dict[str, Any], folder: Path, **checks: Any) -> dict[str, Any]:
    """Preview, which touches nothing and foretells; do it; do it again, which changes nothing."""
    untouched = picture(folder)
    preview = run(module, params, check=True)
    assert picture(folder) == untouched
    result = run(module, params)
    assert not result.get("failed"), result
    assert preview["changed"] and result["changed"]
    again = run(module, params)
    assert not again["changed"], again
    assert leftovers(folder) == []
    return result


FORMS = ["gz", "bz2", "xz", "tar", "zip"]


@pytest.mark.parametrize("form", FORMS)
def test_there_and_back(form: str, tree: Path, tmp_path: Path) -> None:
    packed, out = tmp_path / f"a.{form}", tmp_path / "out"
    out.mkdir()
    made = twice("files.archive", {"path": str(tree), "dest": str(packed), "format": form, "mode": "0640"}, tmp_path)
    assert (made["dest_state"], made["arcroot"], made["mode"]) == ("archive", f"{tree.parent}/", "0640")
    assert made["expanded_paths"] == [str(tree)] and made["missing"] == []
    params = {"src": str(packed), "dest": str(out), "remote_src": True, "list_files": True}
    result = twice("files.unarchive", params, tmp_path)
    assert set(result["files"]) == {"app/", "app/conf/", "app/conf/a", "app/run", "app/big", "app/link"}
    assert (out / "app/big").read_bytes() == (tree / "big").read_bytes()
    assert os.readlink(out / "app/link") == "conf/a"
    assert (out / "app/run").stat().st_mode & 0o777 == 0o755
    assert int((out / "app/conf/a").stat().st_mtime) == 1_600_000_000
    assert "diff" not in run("files.unarchive", params)


@pytest.mark.parametrize(("form", "program"), [("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz")])
def test_a_single_file_is_compressed(form: str, program: str, tree: Path, tmp_path: Path) -> None:
    result = twice("files.archive", {"path": f"{tree}/big", "format": form}, tmp_path)
    assert (result["dest"], result["dest_state"]) == (f"{tree}/big.{form}", "compress")
    plain = subprocess.run([program, "-dc", result["dest"]], capture_output=True, check=True).stdout
    assert plain == (tree / "big").read_bytes()


def names(packed: Path) -> list[str]:
    with tarfile.open(packed) as archive:
        return sorted(archive.getnames())


PACKED: list[tuple[dict[str, Any], list[str]]] = [
    ({"path": ["@/conf", "@/run"]}, ["conf", "conf/a", "run"]),
    ({"path": "@/*", "exclude_path": "@/b*"}, ["conf", "conf/a", "link", "run"]),
    ({"path": "@/", "exclusion_patterns": ["big", "conf/*"]}, ["conf", "link", "run"]),
    ({"path": "@/run", "force_archive": True}, ["run"]),
    ({"path": ["@/run", "@/none"]}, ["run"]),
]


@pytest.mark.parametrize(("params", "expected"), PACKED, ids=lambda value: str(value))
def test_what_is_packed(params: dict[str, Any], expected: list[str], tree: Path, tmp_path: Path) -> None:
    from tests.modules.harness import placed

    result = twice("files.archive", {**placed(params, tree), "dest": f"{tmp_path}/a.tgz"}, tmp_path)
    assert names(tmp_path / "a.tgz") == expected
    missing = [f"{tree}/none"] if "@/none" in params["path"] else []
    assert result["missing"] == missing
    assert result["dest_state"] == ("incomplete" if missing else "archive")


def test_archive_removes_the_sources(tree: Path, tmp_path: Path) -> None:
    params = {"path": str(tree), "dest": f"{tmp_path}/a.tgz", "remove": True}
    assert run("files.archive", params, check=True)["changed"] and tree.exists()
    assert run("files.archive", params)["changed"] and not tree.exists()
    again = run("files.archive", params)
    assert not again["changed"] and again["dest_state"] == "archive"


def test_archive_refuses(tree: Path, tmp_path: Path) -> None:
    assert "must specify 'dest'" in run("files.archive", {"path": str(tree)})["msg"]
    assert "no source paths" in run("files.archive", {"path": "/none", "dest": f"{tmp_path}/a"})["msg"]
    inside = {"path": str(tree), "dest": f"{tree}/a.tgz", "remove": True}
    assert "can not contain itself" in run("files.archive", inside)["msg"]
    assert not (tree / "a.tgz").exists()
    # Without remove the archive leaves itself out.
    assert run("files.archive", {"path": str(tree), "dest": f"{tree}/a.tgz"})["changed"]
    assert "app/a.tgz" not in names(tree / "a.tgz")


def test_archive_of_what_a_preview_would_have_made(tree: Path, tmp_path: Path) -> None:
    host = Host(StubAgent())
    run("files.copy", {"dest": f"{tree}/new", "content": "x"}, host, check=True)
    assert run("files.archive", {"path": str(tree), "dest": f"{tmp_path}/a.tgz"}, host, check=True)["changed"]
    run("commands.command", {"cmd": "true"}, host, check=True)
    assert run("files.archive", {"path": "/none", "dest": f"{tmp_path}/b.tgz"}, host, check=True)["changed"]
    unpacked = {"src": f"{tmp_path}/a.tgz", "dest": str(tmp_path), "remote_src": True}
    assert run("files.unarchive", unpacked, host, check=True)["changed"]


# --- unpacking ---


def tar(path: Path, *members: tuple[str, Any]) -> Path:
    """A tar archive of members: a name with its content, None for a directory, or a TarInfo's fields."""
    with tarfile.open(path, "w:gz") as archive:
        for name, what in members:
            info = tarfile.TarInfo(name)
            info.mtime = 1_600_000_000
            if isinstance(what, dict):
                for field, value in what.items():
                    setattr(info, field, value)
                archive.addfile(info)
            elif what is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            else:
                info.size = len(what)
                archive.addfile(info, io.BytesIO(what))
    return path


def unpack(packed: Path, dest: Path, **params: Any) -> dict[str, Any]:
    dest.mkdir(exist_ok=True)
    return run("files.unarchive", {"src": str(packed), "dest": str(dest), "remote_src": True, **params})


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


SELECTED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["top/a.txt", "top/d/b.txt", "top/d/c.bin"]),
    ({"exclude": ["top/d"]}, ["top/a.txt"]),
    ({"exclude": ["*.txt"]}, ["top/d/c.bin"]),
    ({"exclude": ["d/b*"]}, ["top/a.txt", "top/d/c.bin"]),
    ({"include": ["top/d"]}, ["top/d/b.txt", "top/d/c.bin"]),
    ({"include": ["top/a.txt"]}, ["top/a.txt"]),
    ({"extra_opts": ["--strip-components=1"]}, ["a.txt", "d/b.txt", "d/c.bin"]),
    ({"extra_opts": ["--strip-components=2"]}, ["b.txt", "c.bin"]),
    ({"extra_opts": ["--transform", "s/^top/new/"]}, ["new/a.txt", "new/d/b.txt", "new/d/c.bin"]),
    ({"extra_opts": ["--strip-components=1", "--exclude=*.bin"]}, ["a.txt", "d/b.txt"]),
]


@pytest.mark.parametrize(("params", "expected"), SELECTED, ids=lambda value: str(value))
def test_what_is_unpacked(params: dict[str, Any], expected: list[str], tmp_path: Path) -> None:
    packed = tar(tmp_path / "a", ("top", None), ("top/a.txt", b"a"), ("top/d/b.txt", b"b"), ("top/d/c.bin", b"c"))
    assert unpack(packed, tmp_path / "out", **params)["changed"]
    assert listing(tmp_path / "out") == expected
    again = unpack(packed, tmp_path / "out", **params)
    assert not again["changed"], again
    assert leftovers(tmp_path) == []


ESCAPES: list[list[tuple[str, Any]]] = [
    [("ok", b"x"), ("../evil", b"x")],
    [("d/../../evil", b"x")],
    [("l", {"type": tarfile.SYMTYPE, "linkname": ".."}), ("l/evil", b"x")],
    [("d", None), ("d/l", {"type": tarfile.SYMTYPE, "linkname": "/tmp"}), ("d/l/evil", b"x")],
    [("h", {"type": tarfile.LNKTYPE, "linkname": "../secret"})],
]


@pytest.mark.parametrize("members", ESCAPES, ids=lambda members: members[-1][0])
def test_members_that_leave_the_directory_are_refused(members: list[tuple[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    packed = tar(tmp_path / "a", *members)
    result = unpack(packed, tmp_path / "out")
    assert result["failed"] and "would lie outside" in result["msg"]
    assert listing(tmp_path / "out") == [] and not (tmp_path / "evil").exists()


def test_a_link_that_is_there_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/l").symlink_to(tmp_path / "other")
    result = unpack(tar(tmp_path / "a", ("l/f", b"x")), tmp_path / "out")
    assert "would lie outside" in result["msg"] and listing(tmp_path / "other") == []


def test_absolute_names_lie_below_the_directory(tmp_path: Path) -> None:
    unpack(tar(tmp_path / "a", ("/abs/f", b"x"), ("./g", b"y")), tmp_path / "out")
    assert listing(tmp_path / "out") == ["abs/f", "g"]


def test_links_hard_links_and_what_is_special(tmp_path: Path) -> None:
    packed = tar(
        tmp_path / "a",
        ("f", b"x"),
        ("h", {"type": tarfile.LNKTYPE, "linkname": "f"}),
        ("l", {"type": tarfile.SYMTYPE, "linkname": "/etc/hosts"}),
        ("p", {"type": tarfile.FIFOTYPE}),
    )
    result = unpack(packed, tmp_path / "out")
    assert (tmp_path / "out/h").stat().st_ino == (tmp_path / "out/f").stat().st_ino
    assert os.readlink(tmp_path / "out/l") == "/etc/hosts"
    assert "a device or a pipe" in result["warnings"][0]
    assert not unpack(packed, tmp_path / "out")["changed"]


@ROOT_ONLY
def test_owners_and_modes(tmp_path: Path) -> None:
    fields = {"uid": 1234, "gid": 1235, "mode": 0o4750, "uname": "nobody-here", "gname": "", "size": 0}
    packed = tar(tmp_path / "a", ("f", fields))
    unpack(packed, tmp_path / "out")
    found = (tmp_path / "out/f").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1234, 1235, 0o4750)
    assert unpack(packed, tmp_path / "out", owner="daemon", group="daemon", mode="u=rw,g=r,o=")["changed"]
    found = (tmp_path / "out/f").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1, 1, 0o640)
    assert not unpack(packed, tmp_path / "out", owner="daemon", group="daemon", mode="u=rw,g=r,o=")["changed"]


def test_what_was_changed_comes_back_and_what_is_newer_stays(tmp_path: Path) -> None:
    packed = tar(tmp_path / "a", ("f", b"one\n"))
    unpack(packed, tmp_path / "out")
    (tmp_path / "out/f").write_text("two\n")
    assert not unpack(packed, tmp_path / "out", keep_newer=True)["changed"]
    result = unpack(packed, tmp_path / "out")
    assert result["changed"] and (tmp_path / "out/f").read_text() == "one\n"
    assert (result["diff"][0]["before"], result["diff"][0]["after"]) == ("two\n", "one\n")
    os.utime(tmp_path / "out/f", (1, 1))
    assert unpack(packed, tmp_path / "out")["changed"]


def test_creates(tmp_path: Path) -> None:
    packed = tar(tmp_path / "a", ("f", b"one\n"))
    result = unpack(packed, tmp_path / "out", creates=str(packed))
    assert result["skipped"] and listing(tmp_path / "out") == []


@pytest.mark.parametrize("data", [b"no archive", b"", gzip.compress(b"no tar")], ids=["text", "empty", "gzip"])
def test_what_is_no_archive(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    assert unpack(tmp_path / "a", tmp_path / "out")["failed"]


@pytest.mark.parametrize("form", ["gz", "xz", "bz2", "zip"])
def test_a_damaged_archive_leaves_nothing(form: str, tree: Path, tmp_path: Path) -> None:
    packed = tmp_path / "a"
    run("files.archive", {"path": str(tree), "dest": str(packed), "format": form})
    packed.write_bytes(packed.read_bytes()[: 1 << 20])
    result = unpack(packed, tmp_path / "out")
    assert result["failed"] and "is no archive that can be unpacked" in result["msg"], result
    assert listing(tmp_path / "out") == []


def test_zip_with_a_password_or_from_elsewhere(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("plain", "x")
        archive.writestr("../evil", "x")
    assert "would lie outside" in unpack(tmp_path / "a", tmp_path / "out")["msg"]


@pytest.mark.skipif(not Path("/usr/bin/zstd").exists(), reason="needs zstd")
def test_zstd(tree: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "--zstd", "-cf", tmp_path / "a", "-C", tree.parent, "app"], check=True)
    assert unpack(tmp_path / "a", tmp_path / "out")["handler"] == "TarZstdArchive"
    assert (tmp_path / "out/app/conf/a").read_text() == "alpha\n"


def test_from_the_control_side(tree: Path, tmp_path: Path) -> None:
    packed = tar(tmp_path / "a", ("f", os.urandom(3 << 20)))
    data, agent = packed.read_bytes(), StubAgent()
    digest = hashlib.sha256(data).hexdigest()
    agent.contents[digest] = data
    (tmp_path / "out").mkdir()
    params = {"src": "a", "dest": f"{tmp_path}/out", "_blob": {"sha256": digest, "size": len(data)}}
    host = Host(agent)
    assert run("files.unarchive", params, host, check=True)["changed"] and listing(tmp_path / "out") == []
    assert run("files.unarchive", params, host)["changed"]
    assert not run("files.unarchive", params, host)["changed"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_from_a_url(server: str, tmp_path: Path) -> None:
    tar(tmp_path / "a.tgz", ("f", b"one\n"))
    (tmp_path / "out").mkdir()
    params = {"src": f"{server}/a.tgz", "dest": f"{tmp_path}/out", "remote_src": True}
    assert run("files.unarchive", params)["changed"]
    assert not run("files.unarchive", params)["changed"]
    assert "HTTP Error 404" in run("files.unarchive", {**params, "src": f"{server}/none.tgz"})["msg"]
