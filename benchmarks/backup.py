"""What pg_backup costs beyond pg_dump: the same database, format and jobs, turn by turn on one real host (needs root).

    python benchmarks/backup.py [--gib 10] [--runs 3] [--formats custom,plain,directory]

The plain tool is pg_dump into a file (or folder) that is brought to the disk by sync. pg_backup does the same besides
its snapshot, row counts, hashes, manifest, and the proof `list`; `read` and `restore` are told apart. Printed are the
ratios of the medians, and the most memory that the agent had.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from opsplay.lab import HostSpec, Lab, LabHost  # noqa: E402
from tests.lab.driver import Driver  # noqa: E402

JOBS = 2
# A row of this table takes about 1.1 KiB and packs as texts do.
ROWS_PER_GIB = 900_000
FILL = """
CREATE TABLE texts (id bigserial PRIMARY KEY, made timestamptz DEFAULT now(), body text);
INSERT INTO texts (body)
SELECT (SELECT string_agg(md5(n::text || i::text) || ' lorem ipsum ', '') FROM generate_series(1, 22) i)
FROM generate_series(1, ROWS) n;
CREATE TABLE numbers AS SELECT n AS id, random() AS x, n % 97 AS y FROM generate_series(1, ROWS) n;
ANALYZE;
"""
OUT = "/var/tmp/bench"
PLAIN = {
    "custom": f"pg_dump --format=custom --file={OUT}/plain big",
    "plain": f"pg_dump --format=plain --file={OUT}/plain big",
    "directory": f"pg_dump --format=directory --jobs={JOBS} --file={OUT}/plain big",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="What pg_backup costs beyond pg_dump.")
    parser.add_argument("--gib", type=float, default=1.0, help="the size of the database (default 1)")
    parser.add_argument("--runs", type=int, default=3, help="take medians of so many turns (default 3)")
    parser.add_argument("--formats", default="custom,plain,directory", help="which formats")
    parser.add_argument("--proofs", action="store_true", help="time the proofs `read` and `restore`, too (custom)")
    wanted = parser.parse_args(arguments)
    with Lab("bench-backup") as lab, tempfile.TemporaryDirectory() as folder:
        host = lab.up({"db1": HostSpec(release="bookworm", image="full")})["db1"]
        driver = Driver(Path(folder), lab)
        size = fill(host, wanted.gib)
        print(f"database {size / 2**30:.2f} GiB, medians of {wanted.runs} turns, directory with {JOBS} jobs")
        for kind in wanted.formats.split(","):
            compare(host, driver, kind, wanted.runs)
        if wanted.proofs:
            for level in ("read", "restore"):
                took, peak = ours(host, driver, "custom", level)
                print(f"custom    with verify={level}: {took:6.1f} s, agent {peak:.0f} MiB")
    return 0


def fill(host: LabHost, gib: float) -> int:
    """Make the database; its size in bytes."""
    sql(host, "CREATE DATABASE big", "postgres")
    sql(host, FILL.replace("ROWS", str(int(ROWS_PER_GIB * gib))), "big")
    return int(sql(host, "CHECKPOINT; SELECT pg_database_size('big')", "big"))


def sql(host: LabHost, text: str, database: str) -> str:
    argv = ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", database]
    return host.run(argv, stdin=text, timeout=3600).stdout.strip()


def compare(host: LabHost, driver: Driver, kind: str, runs: int) -> None:
    """Turn by turn, so that what else the machine does touches both."""
    plain, own, peaks = [], [], []
    for _ in range(runs):
        plain.append(theirs(host, kind))
        took, peak = ours(host, driver, kind, "list")
        own.append(took)
        peaks.append(peak)
    ratio = statistics.median(own) / statistics.median(plain)
    print(f"{kind:<9} pg_dump {statistics.median(plain):6.1f} s, pg_backup {statistics.median(own):6.1f} s, "
          f"ratio {ratio:.2f}, agent {max(peaks):.0f} MiB")  # fmt: skip


def theirs(host: LabHost, kind: str) -> float:
    """Seconds of pg_dump with what it wrote on the disk."""
    host.run(f"rm -rf {OUT}; install -d -o postgres {OUT}; sync")
    began = time.monotonic()
    host.run(f"runuser -u postgres -- {PLAIN[kind]} && sync -f {OUT}", timeout=3600)
    took = time.monotonic() - began
    host.run(f"rm -rf {OUT}")
    return took


def ours(host: LabHost, driver: Driver, kind: str, level: str) -> tuple[float, float]:
    """Seconds of the module as it says them, and the most MiB that an agent had meanwhile."""
    host.run(f"rm -rf {OUT}; sync")
    task = {"db": "big", "dir": OUT, "format": kind, "verify": level, "jobs": JOBS if kind == "directory" else 1}
    play = [{"hosts": "db1", "gather_facts": False, "tasks": [{"name": "backup", "pg_backup": task}]}]
    seen = Memory(host)
    seen.start()
    done = driver.run(json.dumps(play), timeout=7200)
    seen.over.set()
    seen.join()
    if done.code:
        raise SystemExit(done.out)
    host.run(f"rm -rf {OUT}")
    return float(done.results("db1")["backup"]["data"]["seconds"]), seen.peak


class Memory(threading.Thread):
    """Watches how much memory the agent has had at most."""

    def __init__(self, host: LabHost) -> None:
        super().__init__(daemon=True)
        self._host = host
        self.peak = 0.0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.5):
            look = "for p in $(pgrep -f 'import os,sys,zlib'); do grep VmHWM /proc/$p/status; done"
            for line in self._host.run(look, check=False).stdout.splitlines():
                self.peak = max(self.peak, int(line.split()[1]) / 1024)


if __name__ == "__main__":
    sys.exit(main())
