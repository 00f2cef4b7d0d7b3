"""Sets of files against a full set: whatever has changed, base and increment together are the tree of their moment."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from opsplay.agent import backups, chain, locks
from opsplay.agent.host import Host
from opsplay.agent.spec import Params
from opsplay.modules.backup import _increments, _trees, backup_restore
from tests.modules.harness import StubAgent, run
from tests.modules.test_old_pythons import interpreters

SET, BACK, CATALOG, ROTATE = "backup.backup_set", "backup.backup_restore", "backup.backup_catalog", "backup.backup_rotate"
NAMES = ("a", "b", "c", "d e", "-n", "né", "new\nline", "b\\n", os.fsdecode(b"bad\xff"), "x.tmp")
MANY = 50_000
# An example takes seconds, and shrinking would take hundreds of them.
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)


class Site:
    """A tree of files, and the folder where its sets lie."""

    def __init__(self, root: Path) -> None:
        self.tree, self.dir = root / "tree", root / "sets"
        self.tree.mkdir(parents=True)

    def make(self, kind: str = "full", **params: Any) -> dict[str, Any]:
        given = {"paths": [str(self.tree)], "exclude": ["*.tmp"]}
        found = run(SET, {"name": "s", "dir": str(self.dir), "archives": {"data": given}, "type": kind, **params})
        assert not found.get("failed"), found
        return found

    def back(self, folder: str = "", **params: Any) -> dict[str, Any]:
        return run(BACK, {"src": folder or str(self.dir / "s" / "latest"), "keep_old": False, **params})

    def counts(self, made: dict[str, Any]) -> dict[str, int]:
        found: dict[str, int] = made["manifest"]["parts"][0]["increment"]
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def picture(tree: Path) -> dict[str, Any]:
    """All that a restore has to bring back of a tree; names of one file are told as a group."""
    found: dict[str, Any] = {}
    groups: dict[int, list[str]] = {}
    for path in [tree, *sorted(tree.rglob("*"))]:
        name, there = str(path.relative_to(tree)), path.lstat()
        if ".tmp" in name or stat.S_ISSOCK(there.st_mode):
            continue
        content = os.readlink(path) if path.is_symlink() else ""
        if stat.S_ISREG(there.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            groups.setdefault(there.st_ino, []).append(name)
        extra = {each: os.getxattr(path, each, follow_symlinks=False) for each in os.listxattr(path, follow_symlinks=False)}
        found[name] = (there.st_mode, there.st_uid, there.st_gid, there.st_mtime_ns, content, extra)
    found["groups"] = sorted(names for names in groups.values() if len(names) > 1)
    return found


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def room(tree: Path, path: Path) -> None:
    """Folders above a path; a file that stands in the way goes."""
    for above in [each for each in reversed(path.parents) if tree in each.parents]:
        if not above.is_dir() or above.is_symlink():
            clear(above)
            above.mkdir()
    clear(path)


def change(tree: Path, what: str, names: list[str], number: int) -> None:
    """One change of a tree. Those that need a file do nothing without one."""
    path = tree.joinpath(*names)
    makers: dict[str, Callable[[], Any]] = {
        "write": lambda: path.write_bytes(b"%d" % number * 5),
        "sparse": lambda: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), (number + 1) << 16),
        "folder": path.mkdir,
        "link": lambda: path.symlink_to(NAMES[number]),
        "pipe": lambda: os.mkfifo(path),
        "socket": lambda: socket_at(path),
    }
    if what in makers:
        room(tree, path)
        makers[what]()
        return
    if not os.path.lexists(path):
        return
    there = path.lstat()
    if what == "remove":
        clear(path)
    elif what == "rename":
        target = tree / NAMES[number]
        if target not in (path, *path.parents):
            clear(target)
            path.rename(target)
    elif path.is_symlink():
        return
    elif what == "mode":
        path.chmod(0o700 + number)
    elif what == "owner":
        os.chown(path, 1000 + number, 33)
    elif what == "touch":
        os.utime(path, ns=(number, 1_600_000_000_123_456_789 + number))
    elif what == "attribute" and (path.is_dir() or path.is_file()):
        os.setxattr(path, "user.opsplay", b"%d" % number)
    elif path.is_file() and what == "another name":
        target = tree / NAMES[number]
        if not os.path.lexists(target):
            target.hardlink_to(path)
    elif path.is_file() and what == "secretly":
        # The same size, and the old time of change set again.
        path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
        os.utime(path, ns=(there.st_atime_ns, there.st_mtime_ns))


def socket_at(path: Path) -> None:
    where = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(where)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(("write", "write", "write", "sparse", "folder", "link", "pipe", "socket", "remove", "rename",
                         "mode", "owner", "touch", "attribute", "another name", "secretly")),
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
        st.integers(0, 7),
    ),
    max_size=25,
)  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="owners need root")
@settings(max_examples=25, deadline=None, phases=UNSHRUNK, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=CHANGES, then=CHANGES, last=CHANGES, settled=st.booleans())
def test_full_and_increment_are_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Any, then: Any, last: Any, settled: bool
) -> None:
    """Whatever is done to whatever tree, and whether times can be relied upon or not; and once more, after a restore."""
    if os.path.lexists(tmp_path / "tree"):
        shutil.rmtree(tmp_path / "tree")
        shutil.rmtree(tmp_path / "sets", ignore_errors=True)
    monkeypatch.setattr(_trees, "SETTLED", -(10**18) if settled else 10**18)
    site = Site(tmp_path)
    for each in first:
        change(site.tree, *each)
    full, whole = site.make(), picture(site.tree)
    # A tick of the clock, within which a second change of a file would not show.
    time.sleep(0.02)
    for each in then:
        change(site.tree, *each)
    made, after = site.make("incremental"), picture(site.tree)
    assert made["increment_of"] == full["stamp"] and not any("full one" in said for said in made["warnings"])
    shutil.rmtree(site.tree)
    assert site.back().get("changed") and picture(site.tree) == after
    assert not site.back()["changed"]
    time.sleep(0.02)
    for each in last:
        change(site.tree, *each)
    # Every inode is another one now: the contents decide.
    again, then_after = site.make("incremental"), picture(site.tree)
    assert again["increment_of"] == full["stamp"]
    for folder, wanted in ((made["folder"], after), (again["folder"], then_after), (full["folder"], whole)):
        shutil.rmtree(site.tree)
        assert not site.back(folder).get("failed") and picture(site.tree) == wanted


def test_only_what_changed_is_stored(site: Site) -> None:
    for number in range(20):
        (site.tree / f"f{number}").write_text("x" * 5000)
    site.make()
    (site.tree / "f1").write_text("y" * 5000)
    os.utime(site.tree / "f2")
    (site.tree / "f3").chmod(0o600)
    (site.tree / "f4").unlink()
    (site.tree / "new").write_text("new")
    made = site.make("incremental")
    assert site.counts(made) == {"kept": 18, "stored": 3, "removed": 1, "bytes": 5003}
    assert made["manifest"]["databases"] == "none" and made["size"] < 30_000
    assert os.readlink(site.dir / "s" / "latest") == made["stamp"]


def test_a_change_that_hides_its_times_is_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same size, and mtime set back: ctime shows it; where even that is the same, in one tick, the content does."""
    path = site.tree / "f"
    path.write_bytes(b"before")
    site.make()
    there = path.stat()
    path.write_bytes(b"behind")
    os.utime(path, ns=(there.st_atime_ns, there.st_mtime_ns))
    entries = _trees.look([str(path)])
    was = entries[str(path)]._replace(sha256=hashlib.sha256(b"before").hexdigest())
    host = Host(StubAgent())
    assert not was.settled, "it was changed just now"
    assert _trees.compare(host, str(path), was, entries[str(path)]) is None
    assert _trees.compare(host, str(path), was._replace(ctime=1), entries[str(path)]) is None
    assert _trees.compare(host, str(path), was._replace(settled=True), entries[str(path)]) == []
    assert site.counts(site.make("incremental"))["stored"] == 2


def test_a_change_through_a_mapping_is_found(site: Site) -> None:
    """While a page is dirty, the kernel does not count further changes of it: neither ctime nor mtime moves."""
    path = site.tree / "f"
    path.write_bytes(b"a" * 8192)
    if subprocess.run(["stat", "-fc", "%T", path], capture_output=True, text=True).stdout.strip() == "tmpfs":
        pytest.skip("a tmpfs writes no page back, and so never tells")
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 8192) as mapped:
        os.fsync(file.fileno())
        mapped[0:6] = b"before"
        time.sleep(_trees.SETTLED / 1e9 + 0.2)
        site.make()
        mapped[0:6] = b"behind"
        made = site.make("incremental")
    assert site.counts(made)["bytes"] == 8192
    path.unlink()
    assert not site.back(made["folder"]).get("failed") and path.read_bytes()[:6] == b"behind"


def test_what_is_there_is_told_and_only_then_exchanged(site: Site) -> None:
    (site.tree / "sub").mkdir()
    for name in ("a", "b", "c", "sub/d"):
        (site.tree / name).write_text(name)
    site.make()
    (site.tree / "b").write_text("other")
    site.make("incremental")
    wanted = picture(site.tree)
    assert not site.back()["changed"]
    (site.tree / "a").write_text("A")
    (site.tree / "b").unlink()
    (site.tree / "more").write_text("more")
    (site.tree / "c").chmod(0o600)
    clear(site.tree / "sub")
    (site.tree / "sub").write_text("no folder")
    before = picture(site.tree)
    preview = run(BACK, {"src": str(site.dir / "s" / "latest")}, check=True)
    said = preview["diff"][0]["before"]
    tree = str(site.tree)[1:]
    for line in ("a: Mod time differs", "a: Contents differ", "b: is missing", "c: Mode differs", "sub: File type differs",
                 "sub/d: is missing"):  # fmt: skip
        assert f"{tree}/{line}\n" in said, said
    assert f"/{tree}/more: not in the archive\n" in said and picture(site.tree) == before
    assert site.back()["restored"] == [str(site.tree)] and picture(site.tree) == wanted


# --- what an increment stands on ---


def cut(base: Path) -> None:
    with open(base / "data.tar", "r+b") as file:
        file.truncate(1000)


def flip(base: Path) -> None:
    data = bytearray((base / "data.tar").read_bytes())
    data[600] ^= 1
    (base / "data.tar").write_bytes(data)


def another(base: Path) -> None:
    """A base whose content and manifest fit each other, and which is not the one that the increment saw."""
    flip(base)
    data = json.loads((base / "manifest.json").read_text())
    data["files"][0]["sha256"] = hashlib.sha256((base / "data.tar").read_bytes()).hexdigest()
    (base / "manifest.json").write_bytes(backups.encoded(data))


@pytest.mark.parametrize(
    ("harm", "said", "chosen"),
    [
        (shutil.rmtree, "which is not there", False),
        (cut, "where data.tar has 1000 bytes", False),
        (flip, "is damaged", True),
        (another, "whose manifest is another one", False),
    ],
)  # fmt: skip
def test_another_base_is_refused(site: Site, harm: Callable[[Path], Any], said: str, chosen: bool) -> None:
    """Nothing is touched; the catalog does not choose such an increment, or finds the damage when it reads it."""
    (site.tree / "f").write_text("f")
    full = site.make()
    made = site.make("incremental")
    catalog = {"dir": str(site.dir), "name": ["s"], "select": "latest_verified"}
    assert run(CATALOG, catalog)["selected"]["stamp"] == made["stamp"]
    harm(Path(full["folder"]))
    (site.tree / "f").write_text("now")
    before = picture(site.tree)
    result = site.back(made["folder"])
    assert result["failed"] and said in result["msg"] and "nothing was changed" in result["msg"]
    assert picture(site.tree) == before
    found = run(CATALOG, dict(catalog, check=True))
    assert found.get("failed") or found["selected"]["stamp"] == full["stamp"]
    assert not chosen or said in found["msg"]
    assert chosen or f"not chosen: the increment {made['stamp']} stands on " in " ".join(found["warnings"])


def test_without_its_list_the_next_one_is_full(site: Site) -> None:
    (site.tree / "f").write_text("f")
    first = site.make("incremental")
    assert first["type"] == "full" and "there is no verified full set" in " ".join(first["warnings"])
    listing = site.dir / "s" / (backups.LISTING + first["stamp"])
    assert stat.S_IMODE(listing.stat().st_mode) == 0o600
    data = listing.read_bytes()
    listing.write_bytes(data[:-5])
    second = site.make("incremental")
    assert second["type"] == "full" and "is not the list that the full set" in " ".join(second["warnings"])
    listing.write_bytes(data)
    (site.dir / "s" / (backups.LISTING + second["stamp"])).unlink()
    third = site.make("incremental")
    assert third["type"] == "full" and "what the full set" in " ".join(third["warnings"])
    failed = run(SET, {"name": "s", "dir": str(site.dir), "archives": {"data": {"paths": [str(site.tree)]}},
                       "type": "incremental", "base": second["stamp"]})  # fmt: skip
    assert failed["failed"] and failed["msg"].startswith("base: what the full set")
    assert site.make("incremental", base=first["stamp"])["increment_of"] == first["stamp"]


def test_a_base_stays_while_an_increment_stands_on_it(site: Site) -> None:
    """And its list goes with it, once nothing stands on it."""
    (site.tree / "f").write_text("f")
    first = site.make()
    site.make()
    on_first = site.make("incremental", base=first["stamp"])
    for _ in range(2):
        site.make()
    age(site.dir / "s", 40)
    newest = site.make()
    rules = {"dir": str(site.dir), "keep_days": 30, "keep_min": 1}
    tagged = Path(on_first["folder"]) / "manifest.json"
    data = json.loads(tagged.read_text())
    tagged.write_bytes(backups.encoded(dict(data, tag="kept")))
    preview = run(ROTATE, rules, check=True)
    result = run(ROTATE, rules)
    assert len(result["removed"]) == 3 and preview["removed"] == result["removed"]
    left = {path.name for path in (site.dir / "s").iterdir()}
    stamps = {first["stamp"], newest["stamp"]}
    assert left == stamps | {on_first["stamp"], "latest"} | {backups.LISTING + stamp for stamp in stamps}
    tagged.write_bytes(backups.encoded(dict(data, tag="")))
    assert run(ROTATE, rules)["removed"] == [on_first["folder"], first["folder"]]
    assert {path.name for path in (site.dir / "s").iterdir()} == {newest["stamp"], "latest", backups.LISTING + newest["stamp"]}


def age(folder: Path, days: float) -> None:
    """Let all sets seem to have been finished so long ago, with references that still hold."""
    for backup in sorted(backups.backups_below(str(folder)), key=lambda each: bool(each.increment_of)):
        data = dict(backup.data, finished=backups.moment(time.time() - days * 86400))
        if backup.increment_of:
            base = backups.load(str(folder / backup.increment_of["stamp"]))
            data["increment_of"] = chain.reference(Host(StubAgent()), base)
        Path(backup.path("manifest.json")).write_bytes(backups.encoded(data))


def test_a_preview_of_an_increment_makes_nothing(site: Site) -> None:
    (site.tree / "f").write_text("f")
    full = site.make()
    before = sorted(os.listdir(site.dir / "s"))
    params = {"name": "s", "dir": str(site.dir), "archives": {"data": {"paths": [str(site.tree)]}}, "type": "incremental"}
    preview = run(SET, params, check=True)
    assert preview["changed"] and preview["increment_of"] == full["stamp"] and preview["type"] == "incremental"
    assert sorted(os.listdir(site.dir / "s")) == before


def test_live_data_may_go_while_it_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that goes between the look and the archive is left out; without `live` that is a failure."""
    (site.tree / "f").write_text("f")
    site.make()
    look = _trees.look

    def fleeting(*found: Any) -> Any:
        entries = look(*found)
        (site.tree / "fleeting").unlink(missing_ok=True)
        return entries

    monkeypatch.setattr(_trees, "look", fleeting)
    for live in (False, True):
        (site.tree / "fleeting").write_text("gone soon")
        (site.tree / "stays").write_text("stays")
        given = {"paths": [str(site.tree)], "live": live}
        made = run(SET, {"name": "s", "dir": str(site.dir), "archives": {"data": given}, "type": "incremental"})
        assert bool(made.get("failed")) is not live and (live or "fleeting: Cannot stat" in made["msg"]), made
    shutil.rmtree(site.tree)
    assert not site.back().get("failed")
    assert sorted(path.name for path in site.tree.iterdir()) == ["f", "stays"]


@pytest.mark.parametrize("python", interpreters())
def test_what_reads_an_archive_on_every_python(tmp_path: Path, python: str) -> None:
    """Names that are no UTF-8, holes, links: in the C locale, as an agent may have it."""
    tree, content = tmp_path / "tree", b"content" * 9999
    tree.mkdir()
    (tree / NAMES[8]).write_bytes(content)
    os.truncate(os.open(tree / NAMES[5], os.O_CREAT | os.O_WRONLY), 1 << 20)
    (tree / "x\ny").hardlink_to(tree / NAMES[8])
    (tree / "link").symlink_to(NAMES[5])
    os.utime(tree / "x\ny", ns=(1, 1_700_000_000_123_456_789))
    words = ["--create", "--acls", "--xattrs", "--sort=name", "--sparse", "--file=-", f"--directory={tmp_path}", "tree"]
    archive = subprocess.run(["tar", *words], check=True, capture_output=True).stdout
    reader = _trees.reader(str(tmp_path / "members"))
    subprocess.run([python, *reader.argv[1:]], input=archive, check=True, env={"LC_ALL": "C"})
    found = _trees.members(str(tmp_path / "members"))
    file, other = sorted([f"/tree/{NAMES[8]}", "/tree/x\ny"], key=lambda name: found[name].kind)
    assert (found[file].kind, found[other].kind, found["/tree"].kind) == ("f", "h", "d")
    assert found[file].sha256 == hashlib.sha256(content).hexdigest() and found[file].mtime == 1_700_000_000_123_456_789
    assert _trees.absolute(found[other].link) == file and found["/tree/link"].link == NAMES[5]
    assert (found[f"/tree/{NAMES[5]}"].size, found[f"/tree/{NAMES[5]}"].sha256) == (1 << 20, "")


def test_an_increment_of_many_files_is_many_times_faster(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """50,000 files that have not changed: their contents are not read, and next to nothing is written."""
    for folder in range(MANY // 500):
        (site.tree / str(folder)).mkdir()
        for number in range(500):
            with open(site.tree / str(folder) / str(number), "wb") as file:
                file.write(b"%d" % number * 700)
    subprocess.run(["sync", "-f", str(site.tree)], check=True)
    time.sleep(_trees.SETTLED / 1e9)
    full, made = site.make(), site.make("incremental")
    counts, ratio = site.counts(made), full["seconds"] / made["seconds"]
    with capsys.disabled():
        print(f"\n{MANY} files: full {full['seconds']} s, {full['size'] >> 20} MiB; increment {made['seconds']} s, "
              f"{made['size'] >> 10} KiB: {ratio:.1f} times as fast")  # fmt: skip
    assert (counts["kept"], counts["bytes"]) == (MANY, 0) and made["size"] * 20 < full["size"]


HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_two_restores_at_once_wait_for_each_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not hold and goes back would put the old files in the place of those that the other has restored."""
    (site.tree / "f").write_text("f")
    made = site.make()
    (site.tree / "f").write_text("other")
    monkeypatch.setattr(backup_restore, "WAIT", 0)
    argv = [sys.executable, "-c", HOLDER, locks.path_of("backup-restore")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        result = site.back(made["folder"])
        assert holder.stdin is not None
        holder.stdin.close()
    assert result["failed"] and "backup-restore is locked by process" in result["msg"]
    assert (site.tree / "f").read_text() == "other"
    assert site.back(made["folder"])["changed"] and (site.tree / "f").read_text() == "f"


def test_a_set_without_files_brings_back_no_file(site: Site) -> None:
    """All archives of a set that has none are none: its databases are brought back by others."""
    (site.tree / "f").write_text("f")
    programs = {"words": {"argv": ["echo", "words"]}}
    made = site.make(archives={}, programs=programs)
    result = site.back(made["folder"])
    assert not result.get("failed") and not result["changed"] and result["restored"] == [], result
    wrong = site.back(made["folder"], parts=["data"])
    assert "has no archive data; it has none" in wrong["msg"]


def test_what_is_as_the_set_has_it_stays_with_many_and_odd_names(site: Site) -> None:
    for name in NAMES[:-1]:
        (site.tree / name).write_text(name.encode("utf-8", "surrogateescape").hex())
    below = site.tree / ("d" * 200)
    below.mkdir()
    for number in range(6000):
        (below / f"{number:06d}").touch()
    made = site.make()
    assert site.back(made["folder"])["changed"] is False


def test_hard_links_between_the_paths_of_an_archive_come_back(site: Site) -> None:
    one, other = site.tree / "one", site.tree / "other"
    for folder in (one, other):
        folder.mkdir()
    (one / "f").write_text("content")
    os.link(one / "f", other / "g")
    archives = {"data": {"paths": [str(one), str(other)]}}
    for kind in ("full", "incremental"):
        made = site.make(kind, archives=archives)
        (one / "f").unlink()
        (other / "g").write_text("changed")
        result = site.back(made["folder"])
        assert not result.get("failed"), result["msg"]
        assert (one / "f").read_text() == (other / "g").read_text() == "content"
        assert sorted(os.listdir(site.tree)) == ["one", "other"]
        assert "hard links" in str(result["warnings"])
        (other / "g").unlink()
        os.link(one / "f", other / "g")


def test_an_increment_does_not_stand_on_what_its_key_cannot_open(site: Site) -> None:
    """Keys were exchanged: who has the new one could not open the base."""
    (site.tree / "f").write_text("f")
    known = site.make()
    manifest = Path(known["folder"]) / "manifest.json"
    data = json.loads(manifest.read_text())
    manifest.write_bytes(backups.encoded(dict(data, encryption={"method": "age", "recipients": ["age1old", "age1both"]})))

    def stands(*recipients: str) -> str:
        crypt = {"method": "age", "recipients": list(recipients)}
        try:
            params = Params(base="", encrypt=crypt)
            return _increments.chosen(Host(StubAgent()), params, str(site.dir / "s")).backup.stamp
        except _increments.Unfit as problem:
            return str(problem)

    assert stands("age1old", "age1both") == stands("age1both") == known["stamp"]
    assert "is not encrypted to age1new, and one key has to open both" in stands("age1both", "age1new")
