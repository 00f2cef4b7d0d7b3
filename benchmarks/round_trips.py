"""How many network round trips opsplay needs beyond those of the floor: one host, behind a proxy that delays.

    python benchmarks/round_trips.py [--round-trip 0.1] [--runs 3] [--profile become]

The same is measured through the proxy without a delay, so that work is not mistaken for waiting (needs root).
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import Bench, Comparison
from peers import PROFILES

from opsplay.errors import LabError, OpsplayError
from opsplay.lab.loopback_fleet import LoopbackFleet

_PROXY_PORT = 2222


@dataclass(frozen=True)
class Seconds:
    """Medians: the floor, and opsplay's first and second run without its start-up."""

    floor: float
    first: float
    second: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="Count the round trips of an opsplay run.")
    parser.add_argument("--round-trip", type=float, default=0.1, metavar="SECONDS", help="the delay (default 0.1)")
    parser.add_argument("--runs", type=int, default=3, help="take medians of so many runs (default 3)")
    parser.add_argument("--profile", choices=PROFILES, default="plain")
    wanted = parser.parse_args(arguments)
    if wanted.round_trip <= 0 or wanted.runs < 1:
        parser.error("--round-trip and --runs must be above zero")
    try:
        with LoopbackFleet() as fleet:
            near = _measure(fleet, 0.0, wanted.runs, wanted.profile)
            far = _measure(fleet, wanted.round_trip, wanted.runs, wanted.profile)
    except OpsplayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    _report(near, far, wanted.round_trip)
    return 0


def _measure(fleet: LoopbackFleet, round_trip: float, runs: int, profile: str) -> Seconds:
    result = Comparison(hosts=1, profile=profile)
    with _proxy(fleet, round_trip):
        Bench(fleet, result, Path("/nonexistent"), port=_PROXY_PORT).compare(["opsplay"], runs)
    if result.wrong():
        raise LabError("; ".join(result.wrong()))
    row = result.rows[0]
    first, second = (statistics.median(times) - result.start_up for times in (row.first_seconds, row.second_seconds))
    return Seconds(result.floor, first, second)


@contextlib.contextmanager
def _proxy(fleet: LoopbackFleet, round_trip: float) -> Iterator[None]:
    """The delaying proxy, in the fleet's namespace; it ends when its standard input is closed."""
    endpoints = ["--listen", f"0.0.0.0:{_PROXY_PORT}", "--to", f"127.0.0.1:{fleet.server.port}"]
    program = [sys.executable, "-m", "opsplay.lab.delay", *endpoints, "--round-trip", str(round_trip)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(fleet.command(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        with process:
            try:
                if not (process.stdout and process.stdout.readline().startswith(b"ready")):
                    errors.seek(0)
                    raise LabError("the delaying proxy does not start", hint=errors.read().decode()[-500:])
                yield
            finally:
                process.terminate()


def _report(near: Seconds, far: Seconds, round_trip: float) -> None:
    print(f"{'':24}{'no delay':>10}{f'{round_trip * 1000:g} ms':>10}{'round trips':>14}{'beyond the floor':>18}")
    floor_trips = (far.floor - near.floor) / round_trip
    for name, without, delayed in (
        ("floor", near.floor, far.floor),
        ("opsplay, first run", near.first, far.first),
        ("opsplay, second run", near.second, far.second),
    ):
        trips = (delayed - without) / round_trip
        print(f"{name:24}{without:>8.2f} s{delayed:>8.2f} s{trips:>14.1f}{trips - floor_trips:>18.1f}")
    beyond = (far.first - far.floor) / round_trip
    print(f"\n(first run - floor) / delay = {beyond:.1f}, opsplay's own work included")


if __name__ == "__main__":
    sys.exit(main())
