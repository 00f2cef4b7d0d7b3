"""Two names change what they stand for: in one step of the kernel, or by three renames where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsplay.agent import exchange


@pytest.fixture(params=["one step", "renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "renames":
        monkeypatch.setattr(exchange, "in_one_step", lambda one, other: False)
    return str(request.param)


def test_a_file_and_a_folder(tmp_path: Path, way: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/folder").mkdir()
    (tmp_path / "deep/folder/inner").write_text("y")
    exchange.exchange(str(tmp_path / "file"), str(tmp_path / "deep/folder"))
    assert (tmp_path / "file/inner").read_text() == "y" and (tmp_path / "deep/folder").read_text() == "x"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "file", "folder", "inner"]


@pytest.mark.parametrize("missing", ["one", "other"])
def test_where_one_is_missing_the_other_stays(tmp_path: Path, way: str, missing: str) -> None:
    for name in {"one", "other"} - {missing}:
        (tmp_path / name).write_text(name)
    with pytest.raises(FileNotFoundError):
        exchange.exchange(str(tmp_path / "one"), str(tmp_path / "other"))
    assert [path.read_text() for path in tmp_path.iterdir()] == [path.name for path in tmp_path.iterdir()]


def test_the_kernel_does_it(tmp_path: Path) -> None:
    """Else the test of the step would be one of the renames."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    assert exchange.in_one_step(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "a").read_text() == "b"
