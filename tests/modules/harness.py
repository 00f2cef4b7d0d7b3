"""Runs a module in process, as the agent does, on a folder that a case describes.

A case is a state before, parameters, and the outcome. `play` runs it in check mode first, which must touch nothing and
predict the same, then really, then once more, which must change nothing.
"""

from __future__ import annotations

import importlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import opsplay.modules
from opsplay.agent import spec
from opsplay.agent.host import Host, ModuleFailed

MODULES = Path(next(iter(opsplay.modules.__path__)))


class StubAgent:
    """Stands in for the agent: records what a module sends to the control side, and serves blobs from memory."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int, bytes]] = []
        self.contents: dict[str, bytes] = {}
        self.blobs = self
        self._waiting: list[bytes] = []

    def flush(self) -> None: ...

    def send(self, kind: int, number: int, payload: bytes) -> None:
        self.sent.append((kind, number, payload))
        if kind == 19:  # NEED
            import json

            need = json.loads(payload)
            data = self.contents.get(need["sha256"], b"")
            self._waiting.append(data[need["offset"] : need["offset"] + need["length"]])

    def get(self) -> bytes:
        return self._waiting.pop(0)


@dataclass(frozen=True)
class Link:
    """A symbolic link in a case's state."""

    target: str


@dataclass(frozen=True)
class File:
    """A file in a case's state, with its mode."""

    content: str
    mode: int = 0o644


State = dict[str, Any]  # a path to its text, a File, a Link, or None for a directory


@dataclass(frozen=True)
class Case:
    """What is there, what is asked, and what must come of it.

    `@` in parameters and expected values stands for the folder. `after` names only what shall be looked at: text, File,
    Link, None for a directory, ... (Ellipsis) for "gone". `result` names only keys that shall be compared. `fails` is a
    part of the message. `again` tells whether a second run changes something, too.
    """

    name: str
    params: dict[str, Any]
    before: State = field(default_factory=dict)
    after: State = field(default_factory=dict)
    changed: bool = True
    result: dict[str, Any] = field(default_factory=dict)
    fails: str = ""
    again: bool = False
    predicted: bool = True


def build(folder: Path, state: State) -> None:
    """Make what a case starts from."""
    for name, what in state.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            path.mkdir(exist_ok=True)
        elif isinstance(what, Link):
            path.symlink_to(what.target)
        else:
            made = what if isinstance(what, File) else File(what)
            path.write_bytes(made.content.encode())
            path.chmod(made.mode)


def picture(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below the folder that a module could have changed, times included."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        key = (status.st_mode, status.st_uid, status.st_gid, status.st_ino, status.st_mtime_ns, content)
        found[str(path.relative_to(folder))] = key
    return found


def run(module: ModuleType | str, params: dict[str, Any], host: Host | None = None, **options: Any) -> dict[str, Any]:
    """Run a module as the agent does and return its result; `options` are check, diff and the like."""
    loaded = load(module) if isinstance(module, str) else module
    host = host or Host(StubAgent())
    host.begin(1, {"diff": True, **options})
    directory, umask, environment = os.getcwd(), os.umask(0o022), dict(os.environ)
    try:
        return host.finish(loaded.run(host, spec.validate(loaded.PARAMS, params)))
    except ModuleFailed as problem:
        return host.finish(problem.result)
    finally:
        host.clean_up()
        os.umask(umask)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)


def load(name: str) -> ModuleType:
    """A module by its name below opsplay.modules."""
    return importlib.import_module(f"opsplay.modules.{name}")


def play(name: str, case: Case, folder: Path) -> dict[str, Any]:
    """Run a case in check mode, really, and again. Returns the result of the real run."""
    module = load(name)
    build(folder, case.before)
    params = placed(case.params, folder)
    untouched = picture(folder)
    preview = run(module, params, check=True)
    assert picture(folder) == untouched, "check mode touched the host"
    result = run(module, params)
    if case.fails:
        assert result.get("failed"), result
        assert case.fails in result["msg"]
        assert picture(folder) == untouched, "a failed task left something behind"
        return result
    assert not result.get("failed"), result
    assert result["changed"] is case.changed, result
    if module.CHECK == "exact" and case.predicted:
        assert preview["changed"] is case.changed, preview
        assert without_times(preview.get("diff")) == without_times(result.get("diff"))
    for key, value in placed(case.result, folder).items():
        assert result.get(key) == value, (key, result.get(key))
    check_state(folder, case.after)
    assert leftovers(folder) == []
    again = run(module, params)
    assert again["changed"] is case.again, again
    return result


def placed(value: Any, folder: Path) -> Any:
    """The value with `@` replaced by the folder, in every string."""
    if isinstance(value, str):
        return value.replace("@", str(folder))
    if isinstance(value, dict):
        return {key: placed(item, folder) for key, item in value.items()}
    return [placed(item, folder) for item in value] if isinstance(value, list) else value


def without_times(diff: Any) -> Any:
    """The difference as it is compared: moments differ between a preview and the real run."""
    return [entry for entry in diff or () if not entry["before"].startswith("atime")]


def leftovers(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob(".opsplay-*")]


def check_state(folder: Path, state: State) -> None:
    """Compare what is below the folder with what a case expects."""
    for name, what in state.items():
        path = folder / name
        if what is ...:
            assert not os.path.lexists(path), f"{name} is still there"
        elif what is None:
            assert path.is_dir(), f"{name} is no directory"
        elif isinstance(what, Link):
            assert os.readlink(path) == what.target
        else:
            text = what.content if isinstance(what, File) else what
            assert path.read_bytes().decode() == text, name
            if isinstance(what, File):
                assert f"{stat.S_IMODE(path.stat().st_mode):04o}" == f"{what.mode:04o}", name
