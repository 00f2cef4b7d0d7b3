"""`opsplay inventory`: hosts, groups and variables as they are understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from opsplay.cli.options import inventory_options, sources
from opsplay.errors import UsageError

if TYPE_CHECKING:
    from opsplay.inventory.model import Inventory


@click.command()
@inventory_options
@click.option("--list", "what", flag_value="list", help="Everything as JSON, in the form of ansible-inventory.")
@click.option("--graph", "what", flag_value="graph", help="The tree of groups and hosts.")
@click.option("--host", help="The variables of one host as JSON.")
def inventory(
    inventories: tuple[str, ...], limit: str | None, extra: tuple[str, ...], what: str | None, host: str | None
) -> None:
    """Show hosts, groups and variables as they are understood."""
    from opsplay.cli.load import load_inventory

    found = load_inventory(sources(inventories))
    if host:
        _show_host(found, host)
    elif what == "graph":
        _show_group(found, "all", 0, set())
    elif what == "list":
        click.echo(json.dumps(as_list(found, limit), indent=4, sort_keys=True, default=str))
    else:
        raise UsageError("nothing to show", hint="give --list, --graph or --host NAME")


def _show_host(found: Inventory, host: str) -> None:
    from opsplay.inventory.patterns import suggestion
    from opsplay.inventory.variables import InventoryVariables

    if host not in found.hosts:
        raise UsageError(f"there is no host '{host}' in the inventory", hint=suggestion(host, found))
    click.echo(json.dumps(InventoryVariables(found).of(host), indent=4, sort_keys=True, default=str))


def _show_group(found: Inventory, name: str, depth: int, above: set[str]) -> None:
    click.echo("  |" * depth + ("--" if depth else "") + f"@{name}:")
    group = found.groups[name]
    for child in sorted(group.children):
        if child not in above:
            _show_group(found, child, depth + 1, above | {name})
    for host in sorted(group.hosts):
        click.echo("  |" * (depth + 1) + "--" + host)


def as_list(found: Inventory, limit: str | None) -> dict[str, Any]:
    """The document that `ansible-inventory --list` prints."""
    from opsplay.inventory.patterns import limit as limited
    from opsplay.inventory.variables import InventoryVariables

    chosen = limited(limit, found) if limit else set(found.hosts)
    variables = InventoryVariables(found)
    hostvars = {host: variables.of(host) for host in found.hosts if host in chosen}
    document: dict[str, Any] = {"_meta": {"hostvars": {host: values for host, values in hostvars.items() if values}}}
    for name, group in found.groups.items():
        entry: dict[str, Any] = {}
        hosts = [host for host in group.hosts if host in chosen]
        if hosts and name != "all":
            entry["hosts"] = hosts
        if group.children:
            entry["children"] = list(group.children)
        if entry:
            document[name] = entry
    return document
