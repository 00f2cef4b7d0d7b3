"""`opsplay exec`: one module on hosts, without a playbook."""

from __future__ import annotations

from typing import Any

import click

from opsplay.cli.options import (
    connection_options,
    extra_variables,
    inventory_options,
    make_run_options,
    run_options,
    sources,
    vault_options,
)


@click.command("exec")
@click.argument("pattern")
@click.option("-m", "--module-name", "module", default="command", show_default=True, help="The module to run.")
@click.option("-a", "--args", "arguments", default="", help="Its arguments: key=value words, JSON, or a command line.")
@inventory_options
@run_options
@connection_options
@vault_options
@click.pass_context
def exec_(context: click.Context, /, pattern: str, module: str, arguments: str, **values: Any) -> None:
    """Run one module on the hosts that PATTERN names.

    \b
      opsplay exec -i hosts.ini all -m ping
      opsplay exec -i hosts.ini web -a 'uptime'
      opsplay exec -i hosts.ini db1 -b -m apt -a 'name=postgresql state=present'
    """
    from opsplay import catalog
    from opsplay.cli.load import load_inventory
    from opsplay.cli.passwords import unlock
    from opsplay.cli.run import execute
    from opsplay.documents import yaml as documents
    from opsplay.documents.values import Mapping, Sequence, Template
    from opsplay.errors import Location, Problems
    from opsplay.language.parse import Parser
    from opsplay.model import Playbook

    unlock(values)
    at = Location("the command line")
    task = Mapping(at)
    value = documents.parse(arguments, "--args")[0] if arguments.lstrip().startswith("{") else Template(arguments, at)
    task.update({"name": module, module: value})
    play = Mapping(at)
    tasks = Sequence(at)
    tasks.append(task)
    tasks.item_at.append(at)
    play.update(name="exec", hosts=Template(pattern, at), gather_facts=False, tasks=tasks)
    extra = extra_variables(values["extra"])
    parser = Parser(catalog, lambda value, known: value)
    plays = parser.document([play], "exec")
    if parser.errors:
        raise Problems(parser.errors)
    values["verbose"] = max(1, values["verbose"])
    inventory = load_inventory(sources(values["inventories"]), extra)
    options = make_run_options(values, extra)
    context.exit(execute([Playbook("exec", tuple(plays))], inventory, options))
