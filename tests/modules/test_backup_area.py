"""backup_catalog and backup_rotate on folders of backups: what is chosen, what goes, and what a preview foretells."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from opsplay.agent import backups, retention
from opsplay.agent.host import Host
from tests.modules.harness import StubAgent, picture, run

CATALOG, ROTATE = "backup.backup_catalog", "backup.backup_rotate"
DAY = 86400.0


def make(root: Path, days: float, name: str = "app", level: str = "read", proven: bool = False, **more: Any) -> Path:
    """A backup that is so many days old, with a file and a manifest."""
    at = time.time() - days * DAY
    folder = root / name / time.strftime(backups.STAMP, time.gmtime(at))
    folder.mkdir(parents=True)
    (folder / "app.dump").write_bytes(b"the dump")
    entry = {"name": "app.dump", "size": 8, "sha256": hashlib.sha256(b"the dump").hexdigest()}
    data = {
        "version": 1, "kind": "pg_backup", "name": name, "started": backups.moment(at), "finished": backups.moment(at),
        "files": [entry], "verified": {"level": level} if level else None, **more,
    }  # fmt: skip
    (folder / "manifest.json").write_bytes(backups.encoded(data))
    if proven:
        (folder / "proven.json").write_text(json.dumps({"at": "x"}))
    return folder


def names(result: dict[str, Any]) -> list[str]:
    return [entry["folder"] for entry in result["backups"]]


def test_newest_first_and_by_manifest(tmp_path: Path) -> None:
    """A touched old one, an unfinished one and a folder of something else are not taken for the newest."""
    old, new = make(tmp_path, 5), make(tmp_path, 1, level="list")
    other = make(tmp_path, 3, name="redis")
    os.utime(old, (time.time() + 100, time.time() + 100))
    os.utime(old / "manifest.json", (time.time() + 100, time.time() + 100))
    (tmp_path / "app" / ".opsplay-1-x").mkdir()
    (tmp_path / "app" / "29990101T000000Z").mkdir()
    before = picture(tmp_path)
    result = run(CATALOG, {"dir": str(tmp_path)})
    assert names(result) == [str(new), str(other), str(old)] and not result["changed"]
    assert names(run(CATALOG, {"dir": str(tmp_path), "name": "app"})) == [str(new), str(old)]
    chosen = [
        run(CATALOG, {"dir": str(tmp_path), "name": "app", "select": kind, "level": level})["selected"]["folder"]
        for kind, level in (("latest", "read"), ("latest_verified", "read"), ("latest_verified", "list"))
    ]
    assert chosen == [str(new), str(old), str(new)]
    assert picture(tmp_path) == before


def test_before_a_moment(tmp_path: Path) -> None:
    """The data's moment counts, that of the snapshot; zones are understood, and needed."""
    early, late = make(tmp_path, 9, proven=True), make(tmp_path, 4)
    moment = time.time() - 5 * DAY
    forms = [
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)),
        time.strftime("%Y-%m-%d %H:%M:%S+02:00", time.gmtime(moment + 7200)),
        time.strftime("%Y-%m-%dT%H:%M-0100", time.gmtime(moment - 3600)),
    ]
    for form in forms:
        result = run(CATALOG, {"dir": str(tmp_path), "before": form, "select": "latest"})
        assert result["selected"]["folder"] == str(early), form
    assert run(CATALOG, {"dir": str(tmp_path), "select": "latest_proven"})["selected"]["folder"] == str(early)
    assert run(CATALOG, {"dir": str(tmp_path), "select": "latest"})["selected"]["folder"] == str(late)
    failed = run(CATALOG, {"dir": str(tmp_path), "before": "2026-11-28T02:00:00"})
    assert "is no moment with a zone" in failed["msg"]


CHOSEN = [
    ({"select": "latest_proven"}, "there is no proven backup in"),
    ({"select": "latest", "before": "2001-01-01T00:00:00Z"}, "there is no backup from before 2001-01-01T00:00:00Z in"),
    ({"max_age": 26}, "hours old; max_age is 26"),
    ({"max_age": 26, "tags": True}, ""),
    ({"select": "latest", "check": True}, "is damaged: its sha256 is not the manifest's"),
]


@pytest.mark.parametrize(("params", "message"), CHOSEN, ids=lambda value: str(value)[:30])
def test_what_is_not_good_enough(tmp_path: Path, params: dict[str, Any], message: str) -> None:
    folder = make(tmp_path, 2)
    (folder / "app.dump").write_bytes(b"tHe dump")
    make(tmp_path, 0.1, tag="emergency")
    result = run(CATALOG, {"dir": str(tmp_path), **params})
    assert (message in result["msg"]) if message else not result.get("failed"), result


def test_what_a_restore_has_replaced_is_chosen_by_its_stamp_alone(tmp_path: Path) -> None:
    """A restore to an emergency's set that is run again takes the same set again."""
    need, replaced = make(tmp_path, 2, tag="emergency"), make(tmp_path, 1, tag="before-restore")
    chosen = run(CATALOG, {"dir": str(tmp_path), "select": "latest", "tags": True})["selected"]
    assert chosen["stamp"] == need.name
    named = {"dir": str(tmp_path), "select": "latest", "tags": True, "stamp": replaced.name}
    assert run(CATALOG, named)["selected"]["stamp"] == replaced.name


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    assert run(CATALOG, {"dir": str(tmp_path)})["backups"] == []
    assert "no backups at all" in run(CATALOG, {"dir": str(tmp_path), "select": "latest"})["msg"]


def point(root: Path, folder: Path) -> None:
    (root / folder.parent.name / "latest").symlink_to(folder.name)


def test_rotation(tmp_path: Path) -> None:
    """A preview foretells what goes; a second run finds nothing; what lies beside stays."""
    old = [make(tmp_path, age) for age in (41, 40, 39)]
    tagged, kept = make(tmp_path, 60, tag="before-2.0"), [make(tmp_path, age) for age in (3, 2, 1)]
    other = make(tmp_path, 90, name="redis")
    point(tmp_path, old[0])
    (tmp_path / "app" / "note.txt").write_text("mine")
    before = picture(tmp_path)
    preview = run(ROTATE, {"dir": str(tmp_path), "keep_days": 30}, check=True)
    assert picture(tmp_path) == before
    result = run(ROTATE, {"dir": str(tmp_path), "keep_days": 30})
    assert result["removed"] == preview["removed"] == [str(path) for path in old[1:]]
    assert result["changed"] and preview["diff"] == result["diff"]
    assert sorted(result["kept"]) == sorted(str(path) for path in [old[0], tagged, *kept, other])
    assert sorted(path.name for path in (tmp_path / "app").iterdir()) == sorted(
        [old[0].name, tagged.name, *(path.name for path in kept), "latest", "note.txt"]
    )
    again = run(ROTATE, {"dir": str(tmp_path), "keep_days": 30})
    assert not again["changed"] and again["removed"] == []


def test_tagged_copies_go_where_that_is_wanted(tmp_path: Path) -> None:
    """A drill's copies of tagged sets: the newest stays, whatever its tag."""
    old = [make(tmp_path, age, tag="before-2.0") for age in (9, 8)]
    newest = make(tmp_path, 1, tag="before-2.1")
    rule = {"dir": str(tmp_path), "keep_daily": 1, "keep_min": 1}
    assert run(ROTATE, rule)["removed"] == []
    preview = run(ROTATE, {**rule, "tags": True}, check=True)
    result = run(ROTATE, {**rule, "tags": True})
    assert result["removed"] == preview["removed"] == [str(path) for path in old] and result["kept"] == [str(newest)]
    assert not run(ROTATE, {**rule, "tags": True})["changed"]


def test_rotation_needs_a_rule(tmp_path: Path) -> None:
    assert "nothing would ever go" in run(ROTATE, {"dir": str(tmp_path)})["msg"]


def test_latest_always_leads_somewhere(tmp_path: Path) -> None:
    """Readers that follow `latest` while it moves 200 times always find a whole backup."""
    folders = [make(tmp_path, age) for age in (3, 2)]
    found = [backups.load(str(folder)) for folder in folders]
    host = Host(StubAgent())
    backups.point_latest(host, found[0])
    missed, stop, reads = [], threading.Event(), 0

    def read() -> None:
        nonlocal reads
        while not stop.is_set():
            try:
                (tmp_path / "app" / "latest" / "manifest.json").read_bytes()
                reads += 1
            except OSError as problem:
                missed.append(problem)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        backups.point_latest(host, found[number % 2])
    stop.set()
    reader.join()
    assert (missed, reads > 50) == ([], True)
    assert os.readlink(tmp_path / "app" / "latest") == folders[1].name


def test_named_by_when_it_was_begun(tmp_path: Path) -> None:
    """Whoever ends first: of two that were begun in one second the later one gets the next; none replaces another."""
    host, began, found = Host(StubAgent()), 1_795_000_000.7, []
    data = {"version": 1, "kind": "pg_backup", "name": "app", "files": [], "started": backups.moment(began),
            "finished": backups.moment()}  # fmt: skip
    for number in range(3):
        hidden = host.temporary.folder(str(tmp_path))
        (Path(hidden) / "app.dump").write_text(str(number))
        found.append(backups.publish(host, hidden, data, began))
    seconds = [time.strftime(backups.STAMP, time.gmtime(began + more)) for more in range(3)]
    assert [backup.stamp for backup in found] == seconds
    assert [(tmp_path / stamp / "app.dump").read_text() for stamp in seconds] == ["0", "1", "2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == seconds
    assert (tmp_path / seconds[0] / "manifest.json").stat().st_mode & 0o777 == 0o600


# --- manifests that lie ---

HOSTILE: list[tuple[Any, str]] = [
    ({"name": "/etc/passwd"}, "the entry 1 of its files is named '/etc/passwd', which is no name within the set"),
    ({"name": "../app.dump"}, "is named '../app.dump', which is no name within the set"),
    ({"name": "a/../../app.dump"}, "is named 'a/../../app.dump'"),
    ({"name": "./app.dump"}, "is named './app.dump'"),
    ({"name": "app\0.dump"}, "which is no name within the set"),
    ({"name": ""}, "the entry 1 of its files is named ''"),
    ({"name": None}, "the entry 1 of its files is named None"),
    ({"name": 7}, "the entry 1 of its files is named 7"),
    ({"name": "manifest.json"}, "its entry manifest.json names what lies beside the files"),
    ({"name": "proven.json"}, "its entry proven.json names what lies beside the files"),
    ({"size": "8"}, "its entry app.dump has the size '8', which is no number of bytes"),
    ({"size": -1}, "its entry app.dump has the size -1"),
    ({"size": 1.5}, "its entry app.dump has the size '1.5'"),
    ({"size": True}, "its entry app.dump has the size True"),
    ({"size": None}, "its entry app.dump has the size None"),
    ({"plain_size": [8]}, "its entry app.dump has the plain_size '[8]'"),
    ({"sha256": 5}, "its entry app.dump has the sha256 5, which is none"),
    ({"sha256": "ABC"}, "its entry app.dump has the sha256 'ABC'"),
    ("app.dump", "the entry 1 of its files is 'app.dump', which is no object"),
    ([None, None], "the entry 1 of its files is '[None, None]', which is no object"),
]
WHOLE: list[tuple[dict[str, Any], str]] = [
    ({"files": {"app.dump": 1}}, "its manifest has no list of files"),
    ({"files": None}, "its manifest has no list of files"),
    ({"started": 5}, "its manifest has 5 as started, which is no time"),
    ({"finished": "soon"}, "its manifest has 'soon' as finished, which is no time"),
    ({"kind": ["backup_set"]}, "its manifest has the kind"),
    ({"verified": "yes"}, "its manifest has the verified 'yes', which is no object"),
    ({"encryption": {"method": 1}}, "its manifest does not say by what it is encrypted"),
    ({"increment_of": {"stamp": 1}}, "its manifest does not say what it is an increment of"),
    ({"database": {"tables": ["users"]}}, "its manifest has the table 'users', which is none"),
    ({"parts": "all"}, "its manifest has the parts 'all', which are no list"),
    ({"parts": [{"name": "../x", "kind": "archive", "paths": []}]}, "the part 1 of it is"),
    ({"parts": [{"name": "x", "kind": "pg_backup", "folders": ["/etc"]}]}, "its part x has the folder '/etc'"),
    ({"parts": [{"name": "x", "kind": "archive", "paths": ["etc"]}]}, "its part x has the path 'etc', which is none"),
    ({"parts": [{"name": "x", "kind": "archive", "paths": ["/srv/../etc"]}]}, "its part x has the path '/srv/../etc'"),
]


def lie(folder: Path, change: Any) -> None:
    """Let a manifest say something else: of its only entry, or of the whole."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    if isinstance(change, dict) and not set(change) & set(WHOLE_FIELDS):
        data["files"][0].update(change)
    elif isinstance(change, dict):
        data.update(change)
    else:
        data["files"][0] = change
    path.write_text(json.dumps(data))


WHOLE_FIELDS = {field for change, _ in WHOLE for field in change}


@pytest.mark.parametrize(("change", "said"), HOSTILE + WHOLE)
def test_a_manifest_that_lies_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    """By whatever reads it: the set and the entry are named, nothing is touched; an older good one is still found."""
    good, bad = make(tmp_path, 2), make(tmp_path, 1)
    lie(bad, change)
    seen = picture(tmp_path)
    for module, params in (("backup.backup_restore", {}), ("redis.redis_restore", {}),
                           ("backup.stream_restore", {"part": "p", "argv": ["cat"], "confirm": "x"})):  # fmt: skip
        result = run(module, {"src": str(bad), **params})
        assert result["failed"] and said in result["msg"] and str(bad) in result["msg"], result
    found = run(CATALOG, {"dir": str(tmp_path), "select": "latest_verified", "check": True})
    assert found["selected"]["folder"] == str(good)
    assert f"not counted as a backup: {bad} is refused: {said}"[:60] in " ".join(found["warnings"])
    assert run(ROTATE, {"dir": str(tmp_path), "keep_days": 30})["removed"] == []
    assert picture(tmp_path) == seen


def test_entries_that_are_there_twice_or_lie_in_a_file(tmp_path: Path) -> None:
    folder = make(tmp_path, 1)
    [entry] = json.loads((folder / "manifest.json").read_text())["files"]
    for more, said in (({}, "its entry app.dump is there twice"),
                       ({"name": "app.dump/x"}, "its entry app.dump is a file, and a folder of other ones")):  # fmt: skip
        lie(folder, {"files": [entry, {**entry, **more}]})
        result = run("backup.backup_restore", {"src": str(folder)})
        assert result["failed"] and said in result["msg"], result


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, where: str) -> None:
    """Size and hash fit, but it is not the set's own file."""
    folder, outside = make(tmp_path, 1), tmp_path / "outside"
    outside.mkdir()
    (folder / "app.dump").rename(outside / "app.dump")
    if where == "file":
        (folder / "app.dump").symlink_to(outside / "app.dump")
    else:
        (folder / "in").symlink_to(outside)
        lie(folder, {"name": "in/app.dump"})
    result = run("backup.backup_restore", {"src": str(folder)})
    assert result["failed"] and "app.dump is no file of its own, or a link leads away from it" in result["msg"], result
    assert "is no file of its own" in run(CATALOG, {"dir": str(tmp_path), "select": "latest", "check": True})["msg"]


@pytest.mark.parametrize("what", ["prune", "latest"])
def test_a_set_that_is_there_is_not_said_to_have_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The pruning behind it fails: the task fails, and says what is there; the numbers tell of a set."""
    old = make(tmp_path / "sets", 90)
    (tmp_path / "conf").write_text("x")
    params = {"name": "app", "dir": str(tmp_path / "sets"), "archives": {"c": {"paths": [str(tmp_path / "conf")]}},
              "keep_days": 1, "keep_min": 1, "metrics_dir": str(tmp_path)}  # fmt: skip
    name = {"prune": "withdraw", "latest": "point_latest"}[what]
    full = OSError(28, "No space left on device")

    def fails(*_: Any) -> None:
        raise full

    monkeypatch.setattr(retention if what == "prune" else backups, name, fails)
    result = run("backup.backup_set", params)
    made = sorted(path for path in (tmp_path / "sets/app").iterdir() if path.name[0] == "2")
    assert result["failed"] and len(made) == 2 and made[0] == old, result
    assert f"the set app is there, published and proven: {made[1]}; " in result["msg"]
    said = {"prune": "only the pruning of older sets failed: ", "latest": "latest could not be moved to it"}[what]
    assert said in result["msg"] and "No space left" in result["msg"] and "as they were" not in result["msg"]
    assert 'opsplay_backup_set_success{name="app"} 1' in (tmp_path / "opsplay_backup_set_app.prom").read_text()
    monkeypatch.undo()
    assert not run("backup.backup_catalog", {"dir": str(tmp_path / "sets"), "select": "latest", "check": True}).get(
        "failed"
    )
