"""`opsplay run`: playbooks against an inventory."""

from __future__ import annotations

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
)

if TYPE_CHECKING:
    from opsplay.inventory.model import Inventory
    from opsplay.model import Playbook
    from opsplay.run.options import RunOptions

choice_options = stack(
    click.option("-t", "--tags", multiple=True, metavar="TAGS", help="Only tasks with one of these tags."),
    click.option("--skip-tags", multiple=True, metavar="TAGS", help="No tasks with one of these tags."),
    click.option("--start-at-task", metavar="NAME", help="Begin at the task of this name."),
    click.option("--list-hosts", is_flag=True, help="Show the hosts of each play, and stop."),
    click.option("--list-tasks", is_flag=True, help="Show the tasks of each play, and stop."),
    click.option("--list-tags", is_flag=True, help="Show the tags of each play, and stop."),
    click.option("--syntax-check", is_flag=True, help="Read and check all files, and stop."),
    click.option("--force-handlers", is_flag=True, help="Run notified handlers even where a task failed."),
    click.option("--lockstep", is_flag=True, help="No host begins a task before all are through with the one before."),
)


@click.command()
@click.argument("playbooks", nargs=-1, required=True, type=click.Path())
@inventory_options
@run_options
@choice_options
@connection_options
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
    from opsplay.cli.load import load_inventory, load_playbooks

    extra = extra_variables(values["extra"])
    parsed = load_playbooks(playbooks, extra)
    inventory = load_inventory(sources(values["inventories"]))
    if values["syntax_check"]:
        for playbook in parsed:
            click.echo(f"{playbook.path}: well formed")
        return
    options = make_run_options(values, extra)
    if values["list_hosts"] or values["list_tasks"] or values["list_tags"]:
        from opsplay.cli.listing import show_plays

        show_plays(parsed, inventory, options, values)
        return
    context.exit(execute(parsed, inventory, options))


def execute(playbooks: list[Playbook], inventory: Inventory, options: RunOptions) -> int:
    """Run with the terminal and the record as sinks; returns the exit code."""
    from opsplay.record.folder import run_directory
    from opsplay.record.lines import JsonLines
    from opsplay.record.private import PrivateStore
    from opsplay.run.engine import Run, new_run_id
    from opsplay.sinks.terminal import TerminalSink

    run_id = new_run_id()
    folder = run_directory(run_id)
    sinks = (TerminalSink.for_stream(verbosity=options.verbosity), JsonLines(folder))
    return Run(inventory, options, sinks, undo=PrivateStore(folder).keep, run_id=run_id).execute(playbooks)
