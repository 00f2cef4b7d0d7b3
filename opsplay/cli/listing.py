"""`--list-hosts`, `--list-tasks`, `--list-tags`: what a run would do, without a connection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click

from opsplay.inventory.model import Inventory
from opsplay.model import Block, Play, Playbook, Task
from opsplay.run.context import PlayContext, folder_of
from opsplay.run.engine import Run
from opsplay.run.options import RunOptions
from opsplay.run.program import build


def show_plays(playbooks: list[Playbook], inventory: Inventory, options: RunOptions, wanted: dict[str, Any]) -> None:
    """Print each play with what is wanted of it."""
    run = Run(inventory, options)
    for playbook in playbooks:
        click.echo(f"\nplaybook: {playbook.path}")
        for number, play in enumerate(playbook.plays, 1):
            tags = ", ".join(sorted(play.tags))
            context = PlayContext(run, play, folder_of(playbook.path))
            play = replace(play, hosts=context.render_play(play.hosts))
            pattern = ", ".join(play.hosts) if isinstance(play.hosts, list) else play.hosts
            click.echo(f"\n  play #{number} ({pattern}): {play.title}\tTAGS: [{tags}]")
            if wanted["list_hosts"]:
                _show_hosts(run.hosts_of(play))
            if wanted["list_tasks"]:
                _show_tasks(play, options)
            if wanted["list_tags"]:
                found = sorted({tag for task in tasks_of(build(play, options)) for tag in task.tags} | play.tags)
                click.echo(f"      TASK TAGS: [{', '.join(found)}]")


def _show_hosts(hosts: list[str]) -> None:
    click.echo(f"    hosts ({len(hosts)}):")
    for host in hosts:
        click.echo(f"      {host}")


def _show_tasks(play: Play, options: RunOptions) -> None:
    click.echo("    tasks:")
    for task in tasks_of(build(play, options)):
        if task.module not in ("meta",):
            click.echo(f"      {task.title}\tTAGS: [{', '.join(sorted(task.tags))}]")


def tasks_of(entries: tuple[Task | Block, ...]) -> Iterator[Task]:
    """Every task of a program."""
    for entry in entries:
        if isinstance(entry, Block):
            yield from entry.tasks()
        else:
            yield entry
