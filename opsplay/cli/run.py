"""`opsplay run`: playbooks against an inventory."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from opsplay.cli.options import (
    connection_options,
    extra_variables,
    inventory_options,
    make_run_options,
    run_options,
    sources,
    stack,
    vault_options,
)

if TYPE_CHECKING:
    from opsplay.inventory.model import Inventory
    from opsplay.model import Playbook
    from opsplay.run.engine import UndoKeeper
    from opsplay.run.options import RunOptions
    from opsplay.run.report import Sink

EXTRA = ("-e", "--extra-vars")

choice_options = stack(
    click.option("-t", "--tags", multiple=True, metavar="TAGS", help="Only tasks with one of these tags."),
    click.option("--skip-tags", multiple=True, metavar="TAGS", help="No tasks with one of these tags."),
    click.option("--start-at-task", metavar="NAME", help="Begin at the task of this name."),
    click.option("--list-hosts", is_flag=True, help="Show the hosts of each play, and stop."),
    click.option("--list-tasks", is_flag=True, help="Show the tasks of each play, and stop."),
    click.option("--list-tags", is_flag=True, help="Show the tags of each play, and stop."),
    click.option("--syntax-check", is_flag=True, help="Read and check all files, and stop."),
    click.option("--force-handlers", is_flag=True, help="Run notified handlers even where a task failed."),
    click.option("--step", is_flag=True, help="Ask before each task."),
    click.option("--lockstep", is_flag=True, help="No host begins a task before all are through with the one before."),
)


@click.command()
@click.argument("playbooks", nargs=-1, required=True, type=click.Path())
@inventory_options
@run_options
@choice_options
@connection_options
@vault_options
@click.pass_context
def run(context: click.Context, /, playbooks: tuple[str, ...], **values: Any) -> None:
    """Run PLAYBOOKS against the hosts of an inventory.

    \b
    See first, then do, then see that nothing is left to do:
      opsplay run -i hosts.ini site.yml --check --diff
      opsplay run -i hosts.ini site.yml
      opsplay run -i hosts.ini site.yml

    Exit code: 0 well, 1 an error in the files, 2 a host failed, 4 a host was unreachable, 6 both, 99 interrupted.
    """
    from opsplay.cli import show_all
    from opsplay.cli.load import load_inventory, load_playbooks
    from opsplay.cli.passwords import unlock
    from opsplay.record.provenance import RevisionOf

    revision = RevisionOf(playbooks[0])
    unlock(values)
    extra = extra_variables(values["extra"])
    parsed = load_playbooks(playbooks, extra, show_all if values["verbose"] else None)
    inventory = load_inventory(sources(values["inventories"]), extra)
    if values["syntax_check"]:
        for playbook in parsed:
            click.echo(f"{playbook.path}: well formed")
        return
    options = make_run_options(values, extra)
    if values["list_hosts"] or values["list_tasks"] or values["list_tags"]:
        from opsplay.cli.listing import show_plays

        show_plays(parsed, inventory, options, values)
        return
    found = revision.wait()
    context.exit(execute(parsed, inventory, replace(options, revision=found.commit, dirty=found.dirty)))


def shown_arguments(words: list[str]) -> tuple[str, ...]:
    """The command line as the record keeps it: extra variables by their names alone, for some are secret."""
    found: list[str] = []
    for index, word in enumerate(words):
        before = words[index - 1] if index else ""
        if before in EXTRA or word.startswith("--extra-vars="):
            given = word.partition("=")[2] if word.startswith("--") else word
            names = [part.partition("=")[0] + "=***" if "=" in part else part for part in given.split()]
            found.append(given if given.startswith("@") else " ".join(names) if "{" not in given else "{***}")
        else:
            found.append(word)
    return tuple(found)


def warn(message: str) -> None:
    click.echo(f"{click.style('warning', fg='yellow', bold=True)}: {message}", err=True)


def recorders(run_id: str) -> tuple[tuple[Sink, ...], UndoKeeper | None]:
    """The sinks that write a run down, and what keeps its undo. A disk that cannot be written to fails no run."""
    from opsplay.record.folder import run_directory
    from opsplay.record.index import HistorySink
    from opsplay.record.lines import JsonLines
    from opsplay.record.private import PrivateStore

    try:
        folder = run_directory(run_id)
        return (JsonLines(folder, warn), HistorySink(run_id, warn)), PrivateStore(folder, warn).keep
    except OSError as problem:
        warn(f"there will be no record of this run: {problem}")
        return (), None


def execute(playbooks: list[Playbook], inventory: Inventory, options: RunOptions) -> int:
    """Run with the terminal and the record as sinks; returns the exit code."""
    from opsplay.cli.prompt import Prompter
    from opsplay.run.engine import Run, new_run_id
    from opsplay.sinks.terminal import TerminalSink

    run_id = new_run_id()
    terminal = TerminalSink.for_stream(verbosity=options.verbosity)
    record, undo = recorders(run_id)
    options = replace(options, arguments=shown_arguments(sys.argv[1:]))
    run = Run(inventory, options, (terminal, *record), undo=undo, run_id=run_id)
    run.use_prompter(Prompter(terminal.paused, run.check_interrupted).ask)
    return run.execute(playbooks)
