"""A lane is forked while the agent's main thread may be importing: the child must not wait for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys, threading, time
from opsplay.agent.lanes import forget_imports_under_way

def fork():
    time.sleep(0.3)
    pid = os.fork()
    if not pid:
        forget_imports_under_way()
        import slow
        os.write(1, b"child %d " % slow.value)
        os._exit(0)
    os.waitpid(pid, 0)

thread = threading.Thread(target=fork)
thread.start()
import slow
thread.join()
"""


def test_a_child_imports_what_its_parent_was_importing(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(1)\nvalue = 1\n")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=20,
        env={"PYTHONPATH": f"{root}:{tmp_path}", "PATH": "/usr/bin"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("child 1 ", "")
