"""The chain of programs that backups flow through: nothing that fails in it is lost, and its memory is bounded."""

from __future__ import annotations

import gzip
import hashlib
import os
import resource
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from opsplay.agent.host import Cancelled, Host
from opsplay.agent.pipeline import Failed, Program, Tap, flow, from_file, head_of, into_file
from tests.modules.harness import StubAgent

DATA = bytes(range(256)) * 40_000


def shell(text: str, **options: Any) -> Program:
    return Program(["sh", "-c", text], **options)


@pytest.fixture
def host() -> Host:
    return Host(StubAgent())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_both_sides_of_a_filter_are_hashed(host: Host, source: Path, tmp_path: Path) -> None:
    plain, packed, before = Tap(), Tap(), descriptors()
    into_file(host, str(tmp_path / "out"), [Program(["cat", str(source)]), plain, Program(["gzip", "-c"]), packed])
    written = (tmp_path / "out").read_bytes()
    assert gzip.decompress(written) == DATA
    assert (plain.size, plain.sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert (packed.size, packed.sha256) == (len(written), hashlib.sha256(written).hexdigest())
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
    assert (descriptors(), host.children) == (before, set())


def test_programs_side_by_side_and_a_file_as_source(host: Host, source: Path) -> None:
    """Two taps in a row of programs without one between, a side that is read by the agent again."""
    packed, unpacked = Tap(), Tap(keep=4)
    with open(source, "rb") as file:
        flow(host, [Program(["gzip", "-c"]), Program(["cat"]), packed], source=file.fileno())
        file.seek(0)
        flow(host, [Tap(sides=[[Program(["gzip", "-c"]), Program(["gzip", "-dc"]), unpacked]])], source=file.fileno())
    assert packed.size < len(DATA)
    assert (unpacked.sha256, unpacked.kept) == (hashlib.sha256(DATA).hexdigest(), DATA[-4:])


FAILING = [
    ("an earlier one", [shell("echo half; echo no such database >&2; exit 1"), Tap(), Program(["gzip", "-c"]), Tap()],
     "sh failed: no such database"),
    ("one without a tap behind", [shell("echo half; exit 3"), Program(["gzip", "-c"]), Tap()], "sh failed: exit code 3"),
    ("the filter", [Program(["cat", "/dev/zero"]), Tap(), shell("head -c 10 >/dev/null; echo no key >&2; exit 2"), Tap()],
     "sh failed: no key"),
    ("the filter, without a tap before", [Program(["cat", "/dev/zero"]), shell("echo no key >&2; exit 2"), Tap()],
     "sh failed: no key"),
    ("a filter that reads no further", [Program(["cat", "/dev/zero"]), Tap(), Program(["head", "-c", "9"]), Tap()],
     "head ended before it had read everything"),
    ("a side", [Program(["cat", "/dev/zero"]), Tap(sides=[[shell("echo not a dump >&2; exit 1")]])],
     "sh failed: not a dump"),
    ("a killed one", [shell("echo half; kill -9 $$"), Tap(), Program(["gzip", "-c"]), Tap()], "sh failed: killed by signal 9"),
    ("one that is not there", [Program(["no-such-program"]), Tap()], "no-such-program cannot be run: No such file"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "message"), [case[1:] for case in FAILING], ids=[case[0] for case in FAILING])
def test_no_failure_is_lost(host: Host, steps: list[Any], message: str) -> None:
    before = descriptors()
    with pytest.raises(Failed) as caught:
        flow(host, steps)
    assert message in str(caught.value)
    assert (descriptors(), host.children) == (before, set())


def test_a_side_may_stop_early_when_it_says_so(host: Host, source: Path) -> None:
    tap = Tap(sides=[[Program(["head", "-c", "9"], stops_early=True)]])
    flow(host, [Program(["cat", str(source)]), tap])
    assert tap.size == len(DATA)


def test_a_file_is_read_with_its_progress(host: Host, source: Path) -> None:
    end, calls = Tap(), []
    from_file(host, str(source), [shell("cat"), end], text="reading", tick=lambda: calls.append(1))
    assert end.size == source.stat().st_size and calls
    with pytest.raises(Failed, match=f"cannot read {source}.none: No such file"):
        from_file(host, f"{source}.none", [end])


def test_the_head_is_enough(host: Host, source: Path) -> None:
    """What would go on for ever is ended; one that fails before there is enough is named."""
    before = descriptors()
    assert head_of(host, str(source), [], 7) == source.read_bytes()[:7]
    assert head_of(host, "/dev/zero", [shell("cat"), shell("tr '\\0' x")], 512) == b"x" * 512
    assert head_of(host, "/dev/null", [shell("echo few")], 512) == b"few\n"
    with pytest.raises(Failed, match="sh failed: no key"):
        head_of(host, "/dev/null", [shell("echo few; echo no key >&2; exit 3")], 512)
    assert not host.children and descriptors() == before


def test_a_full_disk(host: Host) -> None:
    with open("/dev/full", "wb") as full, pytest.raises(Failed, match="No space left on device"):
        flow(host, [Program(["cat", "/dev/zero"]), Tap()], target=full.fileno())
    assert host.children == set()


def test_a_secret_is_read_from_descriptor_3(host: Host) -> None:
    tap = Tap(keep=100)
    flow(host, [shell("cat <&3", third=b"the key"), tap])
    assert tap.kept == b"the key"


def test_an_interruption_ends_every_program(host: Host) -> None:
    before = descriptors()
    signal.signal(signal.SIGUSR1, lambda number, frame: host.interrupt("cancelled"))
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    with pytest.raises(Cancelled):
        flow(host, [Program(["cat", "/dev/zero"]), Tap(), Program(["cat"]), Tap(sides=[[Program(["cat"])]])])
    timer.join()
    assert (descriptors(), host.children) == (before, set())


def test_memory_is_bounded(host: Host) -> None:
    """A side that is slower than the rest holds it up, and nothing is kept."""
    tap = Tap(sides=[[shell("while dd bs=1M count=40 status=none | grep -q .; do sleep 0.05; done; cat")]])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    flow(host, [Program(["head", "-c", "800M", "/dev/zero"]), tap])
    assert tap.size == 800 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10
