"""The history of all runs: an SQLite index over the JSON lines, which stay the record itself.

A run is written when it ends, in one transaction. Runs that were killed are found by their folder the next time
somebody asks, and are read in as far as they came. The database can be deleted: it is made anew.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsplay.errors import OpsplayError, UsageError
from opsplay.record.folder import state_directory

VERSION = 1
SCHEMA = """
create table runs (
    id text primary key, started real, ended real, user text, machine text, playbooks text, inventory text,
    arguments text, check_mode integer, limit_to text, tags text, revision text, dirty integer,
    code integer, interrupted integer
);
create table hosts (
    run text references runs(id) on delete cascade, host text, ok integer, changed integer, unreachable integer,
    failed integer, skipped integer, rescued integer, ignored integer, undecided integer, reason text,
    primary key (run, host)
);
create table results (
    run text references runs(id) on delete cascade, number integer, host text, play text, task text, module text,
    place text, status text, changed integer, handler integer, delegated_to text, seconds real, observed text,
    primary key (run, number)
);
create table pending_handlers (run text references runs(id) on delete cascade, host text, handler text);
create index results_by_host on results (host, changed);
"""
COUNTS = ("ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored", "undecided")
# A database that another run writes to is waited for, in seconds.
PATIENCE = 20.0

Event = Mapping[str, Any]


class HistoryUnusable(OpsplayError):
    """The history can be neither read nor written."""


@dataclass(frozen=True)
class RunRow:
    """One run, as a line of the history. Times are seconds since the epoch; `code` None for a run that was killed."""

    id: str
    started: float
    ended: float | None
    user: str
    machine: str
    playbooks: tuple[str, ...]
    check: bool
    limit: str | None
    revision: str | None
    dirty: bool
    code: int | None
    hosts: int
    changed: int
    failed: int


class History:
    """The index, in the user's state folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_directory()

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """The database, within one transaction. Raises HistoryUnusable."""
        path = self._folder / "history.db"
        try:
            with self._opened(path) as database:
                yield database
        except (sqlite3.Error, OSError) as problem:
            hint = "where it is damaged, delete it: it is made anew from the records of the runs"
            raise HistoryUnusable(f"{path} cannot be used: {problem}", hint=hint) from problem

    @contextlib.contextmanager
    def _opened(self, path: Path) -> Iterator[sqlite3.Connection]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with contextlib.closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as database:
            database.execute("pragma foreign_keys = on")
            database.execute("begin immediate")
            try:
                if database.execute("pragma user_version").fetchone()[0] != VERSION:
                    _make(database)
                yield database
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("rollback")
                raise
            database.execute("commit")

    def add(self, run_id: str, events: Iterable[Event]) -> None:
        """Write one run down, in the place of what was known of it."""
        rows = Rows(run_id, events)
        with self._database() as database:
            database.execute("delete from runs where id = ?", (run_id,))
            rows.write(database)

    def runs(self, host: str | None = None, playbook: str | None = None, failed: bool = False) -> list[RunRow]:
        """The runs, the newest first; only those of a host, of a playbook whose path ends so, or that failed."""
        self._catch_up()
        wanted, values = ["1"], []
        if host:
            wanted.append("id in (select run from hosts where host = ?)")
            values.append(host)
        if playbook:
            wanted.append("playbooks like ?")
            values.append(f'%{playbook}"%')
        if failed:
            wanted.append("(code is null or code != 0)")
        query = f"select * from runs where {' and '.join(wanted)} order by started desc, id desc"
        with self._database() as database:
            database.row_factory = sqlite3.Row
            return [_run_row(database, row) for row in database.execute(query, values)]

    def find(self, name: str) -> RunRow:
        """A run by its id, the beginning of its id, or `last`. Raises UsageError."""
        runs = self.runs()
        if name == "last" and runs:
            return runs[0]
        found = [run for run in runs if run.id == name] or [run for run in runs if run.id.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"{len(found)} runs begin with {name}", hint="give more of the id")
        raise UsageError(f"there is no run {name}", hint="opsplay history lists them")

    def results(self, run_id: str) -> list[dict[str, Any]]:
        """Every result of a run in the order in which they came, with what was observed behind its changes."""
        with self._database() as database:
            database.row_factory = sqlite3.Row
            found = database.execute("select * from results where run = ? order by number", (run_id,))
            return [{**dict(row), "observed": json.loads(row["observed"] or "[]")} for row in found]

    def tallies(self, run_id: str) -> list[dict[str, Any]]:
        """The recap of a run."""
        with self._database() as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute("select * from hosts where run = ? order by host", (run_id,))]

    def pending_handlers(self, run_id: str) -> list[tuple[str, str]]:
        """(host, handler) of those that were notified and did not run."""
        with self._database() as database:
            found = database.execute("select host, handler from pending_handlers where run = ?", (run_id,))
            return [(host, handler) for host, handler in found]

    def forget(self, before: float) -> int:
        """Remove the runs that began before a time (seconds since the epoch), with all that was kept of them."""
        old = [run.id for run in self.runs() if run.started < before]
        for run_id in old:
            shutil.rmtree(self._folder / "runs" / run_id, ignore_errors=True)
        with self._database() as database:
            database.executemany("delete from runs where id = ?", [(run_id,) for run_id in old])
        return len(old)

    def _catch_up(self) -> None:
        """Read in the runs that have a folder and no line: those that were killed."""
        folders = {path.parent.name: path for path in (self._folder / "runs").glob("*/events.jsonl")}
        with self._database() as database:
            known = {name for (name,) in database.execute("select id from runs")}
        for name in sorted(folders.keys() - known):
            self.add(name, read_events(folders[name]))


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a run's JSON lines; a line that was cut off by a kill ends them."""
    with open(path, encoding="ascii") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                return


class Rows:
    """One run's rows, of its events."""

    def __init__(self, run_id: str, events: Iterable[Event]) -> None:
        self.id = run_id
        self.start: Event = {}
        self.end: Event = {}
        self.results: list[tuple[Any, ...]] = []
        self.pending: list[tuple[str, str]] = []
        self._play = ""
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        kind = event["event"]
        if kind == "run_started":
            self.start = event
        elif kind == "run_finished":
            self.end = event
        elif kind == "play_started":
            self._play = event["play"]
        elif kind == "handlers_pending":
            self.pending += [(event["host"], handler) for handler in event["handlers"]]
        elif kind == "task_finished" and event["module"] != "meta":
            observed = json.dumps(event["observed"]) if event.get("observed") else None
            self.results.append(
                (self.id, len(self.results), event["host"], self._play, event["task"], event["module"],
                 event["place"], event["status"], bool(event["data"].get("changed")), event["handler"],
                 event["delegated_to"], event["duration"], observed)
            )  # fmt: skip

    def write(self, database: sqlite3.Connection) -> None:
        start, end = self.start, self.end
        run = (
            self.id, start.get("at"), end.get("at"), start.get("user", ""), start.get("machine", ""),
            json.dumps(start.get("playbooks", [])), json.dumps(start.get("inventory", [])),
            json.dumps(start.get("arguments", [])), bool(start.get("check")), start.get("limit"),
            json.dumps(start.get("tags", [])), start.get("revision"), bool(start.get("dirty")),
            end.get("exit_code"), bool(end.get("interrupted")),
        )  # fmt: skip
        database.execute(f"insert into runs values ({marks(run)})", run)
        for tally in end.get("tallies", ()):
            row = (self.id, tally["host"], *(tally.get(count, 0) for count in COUNTS), tally["reason"])
            database.execute(f"insert into hosts values ({marks(row)})", row)
        if self.results:
            database.executemany(f"insert into results values ({marks(self.results[0])})", self.results)
        rows = [(self.id, host, handler) for host, handler in self.pending]
        database.executemany("insert into pending_handlers values (?, ?, ?)", rows)


def marks(row: tuple[Any, ...]) -> str:
    return ", ".join("?" * len(row))


def _make(database: sqlite3.Connection) -> None:
    """Begin anew: whatever another version has written is read in again from the JSON lines."""
    for (name,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
        database.execute(f"drop table {name}")
    for statement in SCHEMA.split(";"):
        database.execute(statement)
    database.execute(f"pragma user_version = {VERSION}")


def _run_row(database: sqlite3.Connection, row: sqlite3.Row) -> RunRow:
    sums = "count(*), coalesce(sum(changed), 0), coalesce(sum(failed + unreachable), 0)"
    counts = database.execute(f"select {sums} from hosts where run = ?", (row["id"],)).fetchone()
    hosts, changed, failed = counts
    return RunRow(
        id=row["id"], started=row["started"] or 0.0, ended=row["ended"], user=row["user"], machine=row["machine"],
        playbooks=tuple(json.loads(row["playbooks"])), check=bool(row["check_mode"]), limit=row["limit_to"],
        revision=row["revision"], dirty=bool(row["dirty"]), code=row["code"], hosts=hosts, changed=changed,
        failed=failed,
    )  # fmt: skip
