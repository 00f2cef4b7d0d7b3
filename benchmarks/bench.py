"""One comparison: a fleet, the tools one after the other, the floor in between, and what came of it."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from floor import Endpoints
from measure import Measured, digest, end_leftovers, run_measured
from peers import PEERS, WORKLOAD, Job, Peer, opsplay_command, prepare

from opsplay.lab.loopback import host_address
from opsplay.lab.loopback_fleet import LoopbackFleet

_FLOOR = Path(__file__).resolve().with_name("floor.py")
_START_UPS = 3


@dataclass
class Row:
    """What one tool did, one entry a run: seconds, changes that it reported, the state it left, its peak of memory."""

    tool: str
    first_seconds: list[float] = field(default_factory=list)
    second_seconds: list[float] = field(default_factory=list)
    first_changes: list[int] = field(default_factory=list)
    second_changes: list[int] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    peak_bytes: int = 0


@dataclass
class Comparison:
    """All rows for one number of hosts; seconds of the floor and of opsplay's start-up, one entry a measurement."""

    hosts: int
    profile: str
    floor_seconds: list[float] = field(default_factory=list)
    floor_peak_bytes: int = 0
    start_up_seconds: list[float] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def floor(self) -> float:
        """The median of the floor's seconds."""
        return statistics.median(self.floor_seconds)

    @property
    def start_up(self) -> float:
        """The median of the start-up's seconds, 0 when opsplay took no part."""
        return statistics.median(self.start_up_seconds or [0.0])

    def wrong(self) -> list[str]:
        """What makes the comparison unfair: a second run that changed something, work or end states that differ."""
        found = [f"{row.tool} changed something in a second run" for row in self.rows if any(row.second_changes)]
        if len({state for row in self.rows for state in row.states}) > 1:
            states = ", ".join(f"{row.tool} {' '.join(state[:8] for state in row.states)}" for row in self.rows)
            found.append(f"the end states differ: {states}")
        # pyinfra counts operations of its own making; the others run the same tasks.
        counts = {changes for row in self.rows if row.tool != "pyinfra" for changes in row.first_changes}
        if len(counts) > 1:
            found.append(f"the first runs' counts of changes differ: {', '.join(map(str, sorted(counts)))}")
        return found


class Bench:
    """A fleet and what is measured on it."""

    def __init__(
        self, fleet: LoopbackFleet, comparison: Comparison, peers_venv: Path, *, port: int | None = None
    ) -> None:
        self.result = comparison
        self._fleet = fleet
        self._peers_venv = peers_venv
        self._port = port or fleet.server.port

    def compare(self, names: Sequence[str], runs: int) -> None:
        """Measure the tools `runs` times, with a floor before each run of a tool, into the comparison."""
        self.result.rows = [Row(name) for name in names]
        for _ in range(runs):
            for row in self.result.rows:
                print(f"{self.result.hosts} hosts, {self.result.profile}: {row.tool} ...", file=sys.stderr)
                self.measure_tool(PEERS[row.tool], row)
        if not names:
            for _ in range(max(3, runs)):
                self.measure_floor()

    def measure_tool(self, peer: Peer, row: Row) -> None:
        """A first and a second run of one tool in a fresh work directory."""
        job = self._job()
        if peer.name == "opsplay":
            for _ in range(_START_UPS):
                listing = self._run([*opsplay_command(job), "--list-hosts"], peer, job)
                self.result.start_up_seconds.append(listing.seconds)
        for runs, changes in ((row.first_seconds, row.first_changes), (row.second_seconds, row.second_changes)):
            self.measure_floor()
            done = self._run(peer.command(job), peer, job)
            runs.append(done.seconds)
            changes.append(peer.changes(done.output, job))
            row.peak_bytes = max(row.peak_bytes, done.peak_bytes)
        end_leftovers(self._fleet)
        row.states.append(digest(job.workdir))

    def measure_floor(self) -> None:
        """The floor, once."""
        file = self._fleet.directory / "endpoints.json"
        server = self._fleet.server
        addresses = [host_address(server, index) for index in range(1, self.result.hosts + 1)]
        server.trust(addresses, port=self._port)
        Endpoints(addresses, self._port, server.user, str(server.private_key), str(server.known_hosts)).write(file)
        done = run_measured(
            self._fleet,
            [sys.executable, str(_FLOOR), str(file)],
            environment=os.environ,
            directory=self._fleet.directory,
            log=file.with_suffix(".log"),
        )
        self.result.floor_seconds.append(float(done.output))
        self.result.floor_peak_bytes = max(self.result.floor_peak_bytes, done.peak_bytes)

    def _run(self, command: list[str], peer: Peer, job: Job) -> Measured:
        log = job.directory / "output.log"
        return run_measured(self._fleet, command, environment=peer.environment_of(job), directory=WORKLOAD, log=log)

    def _job(self) -> Job:
        directory = Path(tempfile.mkdtemp(prefix="run-", dir=self._fleet.directory))
        directory.chmod(0o755)
        job = Job(directory, self.result.hosts, self.result.profile, self._peers_venv)
        prepare(job, self._fleet.server, port=self._port)
        return job
