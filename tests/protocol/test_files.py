"""Modes as chmod makes them, and the replacement of files."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsplay.agent import files, words
from opsplay.agent.temporary import Temporary

PERMISSIONS = st.text("rwxXst", max_size=4)
COPIED = st.sampled_from("ugo")
CLAUSES = st.builds(
    lambda who, operations: who + "".join(operator + letters for operator, letters in operations),
    st.text("ugoa", max_size=3),
    st.lists(st.tuples(st.sampled_from("+-="), PERMISSIONS | COPIED), min_size=1, max_size=2),
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.lists(CLAUSES, min_size=1, max_size=3).map(",".join),
    current=st.integers(0, 0o7777),
    directory=st.booleans(),
    umask=st.sampled_from([0o022, 0o027, 0o077, 0]),
)
def test_symbolic_modes_are_those_of_chmod(
    mode: str, current: int, directory: bool, umask: int, tmp_path: Path
) -> None:
    path = tmp_path / ("d" if directory else "f")
    if not path.exists():
        path.mkdir() if directory else path.touch()
    path.chmod(current)
    before = os.umask(umask)
    try:
        ours = files.apply_mode(mode, current, directory)
        subprocess.run(["chmod", "--", mode, str(path)], check=True, stderr=subprocess.DEVNULL)
    finally:
        os.umask(before)
    theirs = stat.S_IMODE(path.stat().st_mode)
    assert f"{ours:04o}" == f"{theirs:04o}"


def test_numbers_are_taken_as_they_are() -> None:
    assert files.apply_mode(0o4755, 0, True) == 0o4755


def test_replace_keeps_attributes_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    try:
        os.setxattr(path, "user.note", b"kept")
    except OSError as problem:
        if problem.errno != errno.ENOTSUP:
            raise
    temporary = Temporary()
    files.replace(temporary, str(path), iter((b"ne", b"w")), 0o600, (-1, -1))
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)
    if os.listxattr(path):
        assert os.getxattr(path, "user.note") == b"kept"
    assert os.listdir(tmp_path) == ["f"]
    assert not temporary.paths


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")

    def refuse(beside: str) -> None:
        assert Path(beside).read_text() == "new"
        raise ValueError("not valid")

    with pytest.raises(ValueError, match="not valid"):
        files.replace(Temporary(), str(path), iter((b"new",)), 0o644, (-1, -1), refuse)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_what_a_killed_agent_left_is_swept(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / f".opsplay-{gone.pid}-abc").write_text("left")
    mine = tmp_path / f".opsplay-{os.getpid()}-abc"
    mine.write_text("of a living agent")
    files.replace(Temporary(), str(tmp_path / "f"), iter((b"x",)), 0o644, (-1, -1))
    assert sorted(os.listdir(tmp_path)) == [mine.name, "f"]


def test_remove_tree_never_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/f").write_text("x")
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/l").symlink_to(tmp_path / "kept")
    (tmp_path / "d/f").write_text("x")
    files.remove_tree(str(tmp_path / "d"))
    assert not (tmp_path / "d").exists()
    assert (tmp_path / "kept/f").exists()


@given(st.text(" ab'\"\\$\n\té", max_size=30))
def test_words_are_those_of_shlex(text: str) -> None:
    import shlex

    try:
        expected: object = shlex.split(text)
    except ValueError as problem:
        expected = str(problem)
    try:
        found: object = words.split(text)
    except ValueError as problem:
        found = str(problem)
    assert found == expected


@given(st.text("$AB{}_/ ", max_size=20))
def test_variables_are_those_of_expandvars(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("A", "1$B")
        patch.setenv("B_", "two")
        assert words.expand_variables(text) == os.path.expandvars(text)
