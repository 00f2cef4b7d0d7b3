"""`opsplay history` and `opsplay show`: what was run, by whom, and what it did."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from opsplay.record.history import History, RunRow

STYLES = {"changed": "yellow", "failed": "red", "unreachable": "magenta", "ok": "green", "undecided": "magenta"}
LOUD = ("changed", "failed", "unreachable", "ignored", "rescued", "undecided")


@click.command()
@click.option("--host", help="Only runs that this host took part in.")
@click.option("--playbook", metavar="NAME", help="Only runs of a playbook whose path ends so.")
@click.option("--failed", is_flag=True, help="Only runs that did not end well.")
@click.option("-n", "--number", default=20, show_default=True, help="How many, the newest first; 0 for all.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each.")
@click.option("--forget", metavar="DAYS", type=int, help="Remove the runs that are older, with what undo would need.")
def history(
    host: str | None, playbook: str | None, failed: bool, number: int, as_json: bool, forget: int | None
) -> None:
    """List the runs of this user on this machine.

    \b
      opsplay history --host db1 --failed      what went wrong on db1
      opsplay show last                        what the newest run did
    """
    from opsplay.record.history import History

    if forget is not None:
        gone = History().forget(time.time() - forget * 86400)
        click.echo(f"{gone} run{'' if gone == 1 else 's'} removed")
        return
    runs = History().runs(host, playbook, failed)
    for run in runs[:number] if number else runs:
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(run)))
        else:
            click.echo(line_of(run))
    if not runs and not as_json:
        click.echo("no runs yet")


def line_of(run: RunRow) -> str:
    """One run in a line."""
    started = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
    names = " ".join(os.path.basename(path) for path in run.playbooks)
    marks = [word for word, holds in (("check", run.check), (f"-l {run.limit}", run.limit)) if holds]
    revision = f"  {run.revision[:10]}{'+' if run.dirty else ''}" if run.revision else ""
    style, state = state_of(run)
    return (
        f"{click.style(run.id, bold=True)}  {started}  {run.user}  {click.style(state.ljust(11), fg=style)}  "
        f"{names}{' ' + ' '.join(marks) if marks else ''}  {click.style(counts_of(run) + revision, dim=True)}"
    )


def counts_of(run: RunRow) -> str:
    took = f", {run.ended - run.started:.1f} s" if run.ended else ""
    failed = f", {run.failed} failed" if run.failed else ""
    return f"{run.hosts} host{'s' if run.hosts != 1 else ''}, {run.changed} changed{failed}{took}"


def state_of(run: RunRow) -> tuple[str, str]:
    """How a run ended, with the colour for it."""
    if run.code is None:
        return "magenta", "killed"
    if run.code == 99:
        return "magenta", "interrupted"
    if run.code:
        return "red", "failed"
    return ("yellow", "changed") if run.changed else ("green", "ok")


@click.command()
@click.argument("run", default="last")
@click.argument("host", required=False)
@click.option("--all", "everything", is_flag=True, help="Also the tasks that changed nothing.")
@click.option("--diff", is_flag=True, help="The differences that the run showed.")
@click.option("--slow", is_flag=True, help="The tasks that took longest on the hosts.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each result.")
def show(run: str, host: str | None, everything: bool, diff: bool, slow: bool, as_json: bool) -> None:
    """Show what RUN did, on all hosts or on HOST.

    RUN is an id of `opsplay history`, the beginning of one, or `last`.
    """
    from opsplay.record.history import History

    known = History()
    found = known.find(run)
    results = [row for row in known.results(found.id) if host in (None, row["host"])]
    if as_json:
        for row in results:
            click.echo(json.dumps(row))
        return
    click.echo(line_of(found))
    _show_origin(found)
    if slow:
        _show_slow(results)
        return
    for tally in known.tallies(found.id):
        if host in (None, tally["host"]):
            click.echo(tally_line(tally))
    differences = _differences(found.id) if diff else {}
    _show_results([row for row in results if everything or row["changed"] or row["status"] in LOUD], differences)
    _show_pending(known, found, host)


def _show_origin(run: RunRow) -> None:
    for path in run.playbooks:
        click.echo(click.style(f"  playbook {path}", dim=True))
    if run.revision:
        click.echo(click.style(f"  commit {run.revision}{', with changes' if run.dirty else ''}", dim=True))
    click.echo(click.style(f"  by {run.user} on {run.machine}", dim=True))


def tally_line(tally: dict[str, Any]) -> str:
    counts = [f"{name}={tally[name]}" for name in ("ok", "changed", "failed", "unreachable", "skipped") if tally[name]]
    because = click.style(f"  {tally['reason']}", fg="red") if tally["reason"] else ""
    return f"{click.style(tally['host'], bold=True)}: {' '.join(counts)}{because}"


def _show_results(results: list[dict[str, Any]], differences: dict[tuple[str, str], list[Any]]) -> None:
    first = {(row["place"], row["task"]): row["number"] for row in reversed(results)}
    task = ("", "")
    for row in sorted(results, key=lambda row: (first[row["place"], row["task"]], row["host"])):
        if (row["place"], row["task"]) != task:
            task = row["place"], row["task"]
            click.echo(f"\n{click.style(row['task'], bold=True)}  {click.style(row['place'], dim=True)}")
        status = click.style(row["status"].ljust(11), fg=STYLES.get(row["status"]))
        where = f" -> {row['delegated_to']}" if row["delegated_to"] else ""
        click.echo(f"  {status} {row['host']}{where}")
        for difference in differences.get((row["host"], row["task"]), ()):
            for line in difference_lines(difference):
                click.echo(f"      {line}")


def difference_lines(difference: dict[str, Any]) -> list[str]:
    """A recorded difference as unified lines, in colour."""
    before, after = (str(difference.get(side) or "").splitlines() for side in ("before", "after"))
    name = str(difference.get("after_header") or difference.get("before_header") or "")
    colours = {"+": "green", "-": "red", "@": "cyan"}
    lines = difflib.unified_diff(before, after, name, name, lineterm="")
    return [click.style(line, fg=colours.get(line[:1])) for line in lines]


def _differences(run_id: str) -> dict[tuple[str, str], list[Any]]:
    from opsplay.record.folder import run_directory
    from opsplay.record.history import read_events

    found: dict[tuple[str, str], list[Any]] = {}
    for event in read_events(run_directory(run_id) / "events.jsonl"):
        if event["event"] in ("task_finished", "item_finished") and event["diff"]:
            found.setdefault((event["host"], event["task"]), []).extend(event["diff"])
    return found


def _show_slow(results: list[dict[str, Any]], count: int = 20) -> None:
    for row in sorted(results, key=lambda row: -(row["seconds"] or 0))[:count]:
        place = click.style(row["place"], dim=True)
        click.echo(f"  {row['seconds'] or 0:8.2f} s  {row['host']}  {row['task']}  {place}")


def _show_pending(known: History, run: RunRow, host: str | None) -> None:
    pending = [(name, handler) for name, handler in known.pending_handlers(run.id) if host in (None, name)]
    if pending:
        click.echo(f"\n{click.style('handlers that were notified and did not run', fg='yellow')}")
        for name, handler in pending:
            click.echo(f"  {name}: {handler}")
