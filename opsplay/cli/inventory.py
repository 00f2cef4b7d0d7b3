"""`opsplay inventory`: hosts, groups and variables as they are understood, in the forms of ansible-inventory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from opsplay.cli.options import extra_variables, inventory_options, sources, stack, vault_options
from opsplay.documents.keyring import Encrypted
from opsplay.documents.values import Template
from opsplay.errors import UsageError
from opsplay.inventory.model import ALL, PRIORITY, Inventory
from opsplay.inventory.patterns import limit as limited
from opsplay.inventory.patterns import suggestion
from opsplay.inventory.scripts import UNSAFE, VAULT
from opsplay.inventory.variables import InventoryVariables

show_options = stack(
    click.option("--list", "what", flag_value="list", help="Everything, as JSON."),
    click.option("--graph", "what", flag_value="graph", help="The tree of groups and hosts, of GROUP if it is named."),
    click.option("--host", metavar="NAME", help="The variables of one host, as JSON."),
    click.option("--vars", "with_vars", is_flag=True, help="With --graph: variables too."),
    click.option("-y", "--yaml", "as_yaml", is_flag=True, help="With --list and --host: YAML, which can be read back."),
    click.option("--export", is_flag=True, help="With --list: variables where they are defined, not merged."),
    click.option("--output", type=click.File("w", lazy=True), default="-", help="With --list: write to this file."),
    click.option(
        "--playbook-dir", metavar="FOLDER", help="Where group_vars and host_vars beside the playbooks are."
    ),
)


@click.command()
@click.argument("group", default=ALL)
@inventory_options
@show_options
@vault_options
def inventory(group: str, what: str | None, host: str | None, **values: Any) -> None:
    """Show hosts, groups and variables as they are understood."""
    from opsplay.cli.load import load_inventory
    from opsplay.cli.passwords import unlock

    unlock(values)
    extra = extra_variables(values["extra"])
    found = load_inventory(sources(values["inventories"]), extra)
    view = View(found, values["playbook_dir"], extra, values["export"])
    written = dumped if values["as_yaml"] else json_text
    if host:
        if host not in found.hosts:
            raise UsageError(f"there is no host '{host}' in the inventory", hint=suggestion(host, found))
        shown = written(marked(view.of_host(host)))
    elif what == "graph":
        if group not in found.groups:
            raise UsageError(f"there is no group '{group}' in the inventory", hint=suggestion(group, found))
        shown = "\n".join(view.tree(group, values["with_vars"]))
    elif what == "list":
        chosen = limited(values["limit"], found) if values["limit"] else set(found.hosts)
        shown = written(view.as_yaml(ALL, chosen, set()) if values["as_yaml"] else view.as_json(chosen))
    else:
        raise UsageError("nothing to show", hint="give --list, --graph or --host NAME")
    click.echo(shown, file=values["output"])


class View:
    """An inventory as it is shown. With `export`, hosts have just their own variables, and groups have theirs."""

    def __init__(self, found: Inventory, playbook_folder: str | None, extra: Mapping[str, Any], export: bool) -> None:
        self._found = found
        # As with ansible-inventory: without that option hosts have what lies in the current folder, groups have not.
        self._variables = InventoryVariables(found, playbook_folder or ".")
        self._of_groups = InventoryVariables(found, playbook_folder)
        self._extra = extra
        self._export = export

    def of_host(self, host: str) -> dict[str, Any]:
        if self._export:
            return self._variables.own(host)
        return {**self._variables.of(host), **self._extra}

    def of_group(self, name: str) -> dict[str, Any]:
        values = self._of_groups.of_group(name)
        priority = self._found.groups[name].priority
        return {**values, PRIORITY: priority} if priority != 1 else values

    def as_json(self, chosen: set[str]) -> dict[str, Any]:
        """Groups by name, and all hosts' variables below `_meta`."""
        hostvars = {host: self.of_host(host) for host in self._found.hosts_in(ALL) if host in chosen}
        document: dict[str, Any] = {
            "_meta": {
                "hostvars": {host: marked(values) for host, values in hostvars.items() if values},
                "profile": "inventory_legacy",
            }
        }
        for name, group in self._found.groups.items():
            entry: dict[str, Any] = {
                "hosts": [host for host in group.hosts if host in chosen] if name != ALL else [],
                "children": list(group.children),
                "vars": marked(self.of_group(name)) if self._export else {},
            }
            entry = {key: value for key, value in entry.items() if value}
            if entry:
                document[name] = entry
        return document

    def as_yaml(self, name: str, chosen: set[str], shown: set[str]) -> dict[str, Any]:
        """A group with all below it; hosts and groups (with an @) that were shown already are just named."""
        group = self._found.groups[name]
        children: dict[str, Any] = {}
        for child in group.children:
            if f"@{child}" in shown:
                children[child] = {}
            elif body := self.as_yaml(child, chosen, shown):
                children |= body
                shown.add(f"@{child}")
        hosts: dict[str, Any] = {}
        for host in group.hosts if name != ALL else ():
            if host in chosen:
                hosts[host] = {} if host in shown else marked(self.of_host(host))
                shown.add(host)
        whole = {"children": children, "hosts": hosts, "vars": marked(self.of_group(name)) if self._export else {}}
        filled = {key: value for key, value in whole.items() if value}
        return {name: filled} if filled else {}

    def tree(self, name: str, with_vars: bool, depth: int = 0) -> Iterator[str]:
        """The lines of a group and of all below it."""
        yield branch(f"@{name}:", depth)
        group = self._found.groups[name]
        for child in group.children:
            yield from self.tree(child, with_vars, depth + 1)
        for host in group.hosts if name != ALL else ():
            yield branch(host, depth + 1)
            if with_vars:
                yield from variable_lines(self.of_host(host), depth + 2)
        if with_vars:
            yield from variable_lines(self.of_group(name), depth + 1)


def variable_lines(values: Mapping[str, Any], depth: int) -> Iterator[str]:
    for name in sorted(values):
        yield branch(f"{{{name} = {values[name]}}}", depth)


def branch(text: str, depth: int) -> str:
    return "  |" * depth + "--" * (depth > 0) + text


def json_text(document: Any) -> str:
    return json.dumps(document, indent=4, sort_keys=True, ensure_ascii=False)


def dumped(document: Any) -> str:
    """As YAML that can be read back: what JSON marks has a tag here."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def mapping(self, value: dict[str, Any]) -> yaml.Node:
            if value.keys() == {VAULT}:
                return self.represent_scalar("!vault", value[VAULT], style="|")
            if value.keys() == {UNSAFE}:
                return self.represent_scalar("!unsafe", value[UNSAFE])
            return self.represent_dict(value)

    Dumper.add_representer(dict, Dumper.mapping)
    Dumper.add_representer(Template, lambda dumper, value: dumper.represent_str(str(value)))
    text: str = yaml.dump(document, Dumper=Dumper, default_flow_style=False, allow_unicode=True)
    return text.rstrip("\n")


def marked(value: Any) -> Any:
    """Variables with Ansible's marks for vaults, and for texts that are no templates."""
    if isinstance(value, Encrypted):
        return {VAULT: value.text}
    if isinstance(value, Mapping):
        return {str(name): marked(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [marked(item) for item in value]
    return {UNSAFE: value} if isinstance(value, str) and not isinstance(value, Template) else value
