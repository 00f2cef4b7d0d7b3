"""Running programs: both outputs drained, time-outs kept, nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from opsplay.agent import process


def run(*argv: str, **options: object) -> process.Completed:
    children: set[int] = set()
    before = len(os.listdir("/proc/self/fd"))
    done = process.run(list(argv), children, **options)  # type: ignore[arg-type]
    assert not children
    assert len(os.listdir("/proc/self/fd")) == before, "descriptors leak"
    return done


def shell(line: str, **options: object) -> process.Completed:
    return run("/bin/sh", "-c", line, **options)


def test_both_outputs_and_the_exit_code() -> None:
    done = shell("echo out; echo err >&2; exit 7")
    assert (done.rc, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_a_signal_is_a_negative_code() -> None:
    assert shell("kill -9 $$").rc == -9


def test_missing_program_and_directory() -> None:
    done = run("no-such-program")
    assert (done.rc, done.error) == (127, "No such file or directory: no-such-program")
    assert "/no/such/folder" in run("/bin/true", cwd="/no/such/folder").error


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    assert run(str(path)).rc == 126
    path.chmod(0o755)
    assert run(str(path)).error


def test_large_output_on_both_streams_and_large_input() -> None:
    code = "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d); sys.stderr.buffer.write(d[::-1])"
    data = os.urandom(1 << 20) * 3
    done = run(sys.executable, "-c", code, stdin=data)
    assert (done.rc, done.out == data, done.err == data[::-1]) == (0, True, True)


def test_output_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "OUTPUT_KEPT", 100000)
    done = shell("head -c 3000000 /dev/zero")
    assert done.truncated and done.rc == 0
    assert 100000 <= len(done.out) < 200000


def test_a_program_that_reads_no_input() -> None:
    assert run("/bin/true", stdin=b"x" * (1 << 20)).rc == 0


def test_input_after_both_outputs_are_closed(tmp_path: Path) -> None:
    target = tmp_path / "f"
    data = b"x" * (1 << 20)
    assert run("/bin/sh", "-c", f"exec >&- 2>&-; cat > {target}", stdin=data).rc == 0
    assert target.read_bytes() == data


def test_time_out_ends_the_whole_group(tmp_path: Path) -> None:
    started = time.monotonic()
    done = shell(f"sleep 60 & echo $! > {tmp_path}/pid; trap '' TERM; sleep 60", timeout=0.3)
    assert done.timed_out and done.rc != 0
    assert time.monotonic() - started < 3
    pid = int((tmp_path / "pid").read_text())
    assert gone(pid)


def test_time_out_while_outputs_are_closed() -> None:
    started = time.monotonic()
    assert shell("exec >&- 2>&-; sleep 60", timeout=0.3).timed_out
    assert time.monotonic() - started < 3


def test_what_was_said_before_a_time_out_is_kept() -> None:
    assert shell("echo early; sleep 60", timeout=0.3).stdout == "early\n"


def test_a_daemon_that_holds_the_output_is_not_waited_for(tmp_path: Path) -> None:
    started = time.monotonic()
    done = shell(f"echo ready; sleep 30 & echo $! > {tmp_path}/pid")
    assert (done.rc, done.stdout) == (0, "ready\n")
    assert time.monotonic() - started < 2
    pid = int((tmp_path / "pid").read_text())
    assert not gone(pid)
    os.kill(pid, signal.SIGKILL)


def test_a_daemon_that_never_stops_talking_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LINGER_MOST", 0.3)
    started = time.monotonic()
    done = shell(f"(while :; do echo x; sleep 0.01; done) & echo $! > {tmp_path}/pid")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert done.rc == 0
    assert time.monotonic() - started < 2


def test_no_zombie_stays() -> None:
    shell("sleep 60", timeout=0.1)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_session_of_its_own_and_the_default_signals() -> None:
    assert shell("ps -o sid= -p $$ | tr -d ' '; echo $$").stdout.split()[0] != str(os.getsid(0))
    ignored = [
        line for line in run("cat", "/proc/self/status").stdout.splitlines() if line.startswith(("SigI", "SigB"))
    ]
    assert [int(line.split()[1], 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGUSR1 - 1) for line in ignored] == [
        0,
        0,
    ]


def test_environment_and_directory(tmp_path: Path) -> None:
    done = run("/bin/sh", "-c", "echo $WORD; pwd", env={"WORD": "x"}, cwd=str(tmp_path))
    assert done.stdout == f"x\n{tmp_path}\n"


def test_an_interruption_ends_the_program() -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    children: set[int] = set()
    try:
        with pytest.raises(Interrupted):
            process.run(["sleep", "60"], children)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not children
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def gone(pid: int) -> bool:
    """Whether a process has ended, within a second; a zombie of another parent has ended, too."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False
