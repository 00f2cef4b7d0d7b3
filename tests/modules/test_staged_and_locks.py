"""Content on its way into a file, and locks against two runs at once; and the script that is run from such a file."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsplay.agent import locks
from opsplay.agent.host import Host, ModuleFailed, Stream
from opsplay.session import bundle
from tests.modules.harness import StubAgent, leftovers, picture, run


@pytest.fixture
def host() -> Host:
    return Host(StubAgent())


def test_staged_content_is_hashed_and_installed(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "f"
    with host.staged(str(path), "md5") as new:
        for chunk in (b"one", b"", b"two" * 100_000):
            new.write(chunk)
        assert not path.exists() and len(leftovers(tmp_path)) == 1
        assert host.write(str(path), new, mode=0o640)
    data = b"one" + b"two" * 100_000
    assert path.read_bytes() == data and path.stat().st_mode & 0o777 == 0o640
    assert (new.size, new.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert new.digest("md5") == hashlib.md5(data).hexdigest()
    assert leftovers(tmp_path) == []


def test_what_is_there_already_is_not_written_again(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"same")
    before = path.stat().st_ino
    with host.staged(str(path)) as new:
        new.write(b"same")
        assert not host.write(str(path), new)
    assert path.stat().st_ino == before and leftovers(tmp_path) == []


def test_what_is_not_installed_goes(host: Host, tmp_path: Path) -> None:
    with pytest.raises(ModuleFailed), host.staged(f"{tmp_path}/f") as new:
        new.write(b"x")
        host.fail("no")
    assert os.listdir(tmp_path) == []


def test_staged_on_another_file_system(host: Host, tmp_path: Path) -> None:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no second file system")
    with host.staged("/dev/shm/f") as new:
        new.write(b"x")
        assert host.write(f"{tmp_path}/f", new)
        elsewhere = new.path
    assert (tmp_path / "f").read_bytes() == b"x" and not os.path.exists(elsewhere)


def test_a_preview_only_hashes(host: Host, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    before = picture(tmp_path)
    host.begin(1, {"check": True})
    with host.staged(f"{tmp_path}/f") as new:
        new.write(b"new")
        assert host.write(f"{tmp_path}/f", new)
    with host.staged(f"{tmp_path}/g") as new:
        new.write(b"old")
        assert host.write(f"{tmp_path}/g", new)
    assert host.exists(f"{tmp_path}/g") and picture(tmp_path) == before


@pytest.mark.parametrize(("data", "changed"), [(b"abcdef", False), (b"abcdeX", True), (b"abc", True)])
def test_a_stream_is_compared_before_it_is_written(data: bytes, changed: bool, host: Host, tmp_path: Path) -> None:
    opened = []

    def chunks() -> Iterator[bytes]:
        opened.append(1)
        return iter((data[:2], data[2:]))

    (tmp_path / "f").write_bytes(b"abcdef")
    assert host.write(f"{tmp_path}/f", Stream(len(data), chunks), sync=False) is changed
    assert (tmp_path / "f").read_bytes() == data
    assert len(opened) == (2 if data == b"abcdeX" else 1)


# --- locks ---

HOLD = """
import sys, time
sys.path.insert(0, %r)
from opsplay.agent.host import Host
from tests.modules.harness import StubAgent
with Host(StubAgent()).lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def held(name: str, seconds: float) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    program = HOLD % str(Path(__file__).resolve().parents[2])
    other = subprocess.Popen([sys.executable, "-c", program, name, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    return other


@pytest.fixture(params=["name", "path"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"test-{os.getpid()}" if request.param == "name" else f"{tmp_path}/lock"


def test_a_lock_names_its_holder(name: str, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ann")
    monkeypatch.setenv("SSH_CLIENT", "192.0.2.7 1 22")
    monkeypatch.delenv("SUDO_USER", raising=False)
    with held(name, 30) as other:
        with pytest.raises(ModuleFailed) as caught, host.lock(name):
            pass
        message = caught.value.result["msg"]
        assert f"{name} is locked by process {other.pid} (ann from 192.0.2.7 since " in message
        other.kill()
    # The kernel has freed it.
    with host.lock(name):
        pass


def test_a_lock_is_waited_for(name: str, host: Host) -> None:
    agent: Any = host._agent
    with held(name, 1.5) as other:
        started = time.monotonic()
        with host.lock(name, wait=10):
            assert time.monotonic() - started > 0.3
            assert b"waiting for process" in agent.sent[0][2]
        assert other.wait(10) == 0


def test_a_lock_leaves_no_file_of_its_own(host: Host, tmp_path: Path) -> None:
    path = locks.path_of(f"test-{os.getpid()}")
    with host.lock(f"test-{os.getpid()}"):
        assert os.path.exists(path)
    assert not os.path.exists(path)
    with host.lock(f"{tmp_path}/mine"):
        pass
    assert os.path.exists(tmp_path / "mine")


def test_a_preview_takes_no_lock(host: Host, tmp_path: Path) -> None:
    host.begin(1, {"check": True})
    with host.lock(f"{tmp_path}/lock"):
        assert os.listdir(tmp_path) == []


def test_many_want_one_lock(tmp_path: Path) -> None:
    """Counting in a file, read and written apart, comes out right only if nobody does it at the same time."""
    program = HOLD.replace('.lock(sys.argv[1]):', '.lock(sys.argv[1], wait=60):').replace(
        'print("held", flush=True)', "n = int(open(sys.argv[3]).read())"
    ) + "    open(sys.argv[3], 'w').write(str(n + 1))\n"
    (tmp_path / "count").write_text("0")
    argv = [sys.executable, "-c", program % str(Path(__file__).resolve().parents[2]), f"many-{os.getpid()}", "0.01"]
    for process in [subprocess.Popen([*argv, str(tmp_path / "count")]) for _ in range(6)]:
        assert process.wait(60) == 0
    assert (tmp_path / "count").read_text() == "6"


def test_the_lock_travels_with_the_modules_that_name_it() -> None:
    files = bundle.shipped_files()
    assert bundle._imports("def run(host, params):\n    with host.lock('x'):\n        pass\n", files) == {
        "opsplay.agent.locks"
    }
    have = set(bundle.agent_modules(bundle.MAGIC))
    assert "opsplay.agent.locks" not in have | bundle.missing("opsplay.modules.files.slurp", bundle.MAGIC, have)


# --- script ---


def script(text: str, **params: Any) -> dict[str, Any]:
    return run("commands.script", {"_content": text.encode(), **params})


def test_script(tmp_path: Path) -> None:
    text = '#!/bin/sh\necho "$# $1 $PWD"; echo "$0" >&2; exit ${2:-0}\n'
    result = script(text, _arguments="'a b'", _name="it's mine.sh", chdir=str(tmp_path))
    assert (result["rc"], result["stdout_lines"], result["changed"]) == (0, [f"1 a b {tmp_path}"], True)
    assert not os.path.exists(result["stderr"].strip()) and result["stderr"].endswith("/it's mine.sh\n")
    failed = script(text, _arguments="x 3")
    assert (failed["failed"], failed["rc"], failed["msg"]) == (True, 3, "non-zero return code")
    assert script("print(6 * 7)", executable=sys.executable)["stdout"] == "42\n"
    assert script("echo $1", executable="/bin/sh", _arguments="$((2 + 3))")["stdout"] == "5\n"


def test_script_is_spared_and_previewed(tmp_path: Path) -> None:
    assert script("exit 1", creates=str(tmp_path))["msg"] == f"{tmp_path} exists, matching creates option"
    assert script("exit 1", removes="/nowhere")["skipped"]
    preview = run("commands.script", {"_content": b"exit 1", "creates": "/nowhere"}, check=True)
    assert preview["changed"] and not preview.get("skipped")
    assert run("commands.script", {"_content": b"exit 1"}, check=True)["skipped"]


def test_a_killed_agent_s_script_is_swept(tmp_path: Path) -> None:
    left = tmp_path / ".opsplay-999999999-00"
    left.mkdir()
    (left / "f").write_text("x")
    with Host(StubAgent()).staged(f"{tmp_path}/f"):
        pass
    assert not left.exists()


