"""The same work under opsplay and its peers, side by side on one throw-away fleet (needs root, touches loopback only).

    python benchmarks/compare.py --hosts 10 --hosts 50
    python benchmarks/compare.py --hosts 200 --peers opsplay,floor,pyinfra --profile become --runs 3

README.md beside this file says how to read the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench import Bench, Comparison, Row
from peers import PEERS, PROFILES, install_peers
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from opsplay.errors import OpsplayError
from opsplay.lab.loopback_fleet import LoopbackFleet

_FLOOR = "floor"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code: 1 when the lab failed or the tools did not do the same work."""
    wanted = _parse(arguments)
    names = [name for name in wanted.peers if name != _FLOOR]
    try:
        venv = wanted.peers_venv or (install_peers() if set(names) - {"opsplay"} else Path("/nonexistent"))
        results = [
            _compare(Comparison(hosts, profile), names, venv.absolute(), wanted.runs)
            for hosts in wanted.hosts or [10]
            for profile in wanted.profile or ["plain"]
        ]
    except OpsplayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if wanted.json:
        wanted.json.write_text(
            json.dumps({"machine": _machine(), "comparisons": list(map(_as_json, results))}, indent=2)
        )
    wrong = [problem for result in results for problem in result.wrong()]
    for problem in wrong:
        print(f"wrong: {problem}", file=sys.stderr)
    return 1 if wrong else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure opsplay and its peers at the same work, in one run.")
    parser.add_argument("--hosts", type=int, action="append", help="hosts in the fleet; may be repeated (default 10)")
    parser.add_argument(
        "--peers",
        type=_names,
        default=["opsplay", _FLOOR, *list(PEERS)[1:]],
        metavar="A,B,...",
        help=f"what to measure, of {', '.join([_FLOOR, *PEERS])} (default all)",
    )
    parser.add_argument("--profile", choices=PROFILES, action="append", help="may be repeated (default plain)")
    parser.add_argument("--runs", type=int, default=1, help="measure everything so often; the table has medians")
    parser.add_argument("--peers-venv", type=Path, help="a virtual environment with the peers, instead of our own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single measurement there too")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in (_FLOOR, *PEERS):
            raise argparse.ArgumentTypeError(f"no such peer: {name!r}")
    return names


def _compare(result: Comparison, names: Sequence[str], peers_venv: Path, runs: int) -> Comparison:
    with LoopbackFleet() as fleet:
        Bench(fleet, result, peers_venv).compare(names, runs)
    # Wide enough for the table where the output is no terminal, too.
    console = Console()
    console.width = max(console.width, 120)
    console.print(_table(result))
    return result


def _table(result: Comparison) -> Table:
    title = f"{result.hosts} hosts, {result.profile} ({', '.join(_machine().values())})"
    if result.start_up_seconds:
        title += f"; opsplay starts up in {result.start_up:.2f} s"
    table = Table(title=title, title_justify="left", title_style="", box=SIMPLE_HEAD, padding=(0, 1))
    for heading in ("", "first run", "floors", "second run", "floors", "memory", "changes", "then", "end state"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    spread = f"{min(result.floor_seconds):.2f}-{max(result.floor_seconds):.2f}"
    table.add_row(_FLOOR, f"{result.floor:.2f} s", "1.0", spread, "", _mebibytes(result.floor_peak_bytes))
    for row in result.rows:
        table.add_row(row.tool, *_times(row, result.floor), _mebibytes(row.peak_bytes), *_outcome(row))
        if row.tool == "opsplay":
            table.add_row("  without start-up", *_times(row, result.floor, less=result.start_up))
    return table


def _times(row: Row, floor: float, *, less: float = 0.0) -> list[str]:
    cells = []
    for runs in (row.first_seconds, row.second_seconds):
        seconds = statistics.median(runs) - less
        cells += [f"{seconds:.2f} s", f"{seconds / floor:.1f}"]
    return cells


def _outcome(row: Row) -> list[str]:
    return [str(max(row.first_changes)), str(max(row.second_changes)), " ".join(sorted({s[:8] for s in row.states}))]


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def _machine() -> dict[str, str]:
    return {"cores": f"{os.cpu_count()} cores", "python": f"Python {platform.python_version()}"}


def _as_json(result: Comparison) -> dict[str, object]:
    return {**asdict(result), "floor": result.floor, "start_up": result.start_up}


if __name__ == "__main__":
    sys.exit(main())
