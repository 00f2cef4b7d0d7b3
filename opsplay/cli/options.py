"""Options that several commands share, and what they make together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from opsplay.errors import UsageError

DEFAULT_INVENTORIES = ("inventories/lab", "inventory", "hosts", "/etc/ansible/hosts")

Command = Callable[..., Any]


def stack(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""

    def decorate(function: Command) -> Command:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


inventory_options = stack(
    click.option("-i", "--inventory", "inventories", multiple=True, metavar="PATH|HOSTS,",
                 help="An inventory file or folder, or host names with a comma. May be repeated."),
    click.option("-l", "--limit", metavar="PATTERN", help="Only these hosts of those that are chosen."),
    click.option("-e", "--extra-vars", "extra", multiple=True, metavar="KEY=VALUE|@FILE|JSON",
                 help="Variables that come before all others. May be repeated."),
)  # fmt: skip

vault_options = stack(
    click.option("--vault-id", "vault_ids", multiple=True, metavar="[ID@]SOURCE",
                 help="A vault password: of a file, a program, or prompt. May be repeated."),
    click.option("--vault-password-file", "--vault-pass-file", "vault_password_files", multiple=True, metavar="FILE",
                 help="A file or program that gives the vault password. May be repeated."),
    click.option("-J", "--ask-vault-password", "--ask-vault-pass", "ask_vault_pass", is_flag=True,
                 help="Ask for the vault password."),
)  # fmt: skip

connection_options = stack(
    click.option("-u", "--user", help="Log in as this user, where the inventory names none."),
    click.option("-k", "--ask-pass", is_flag=True, help="Ask for the login password."),
    click.option("--private-key", "--key-file", metavar="FILE", help="The private key to log in with."),
    click.option(
        "-c", "--connection", default="ssh", show_default=True, help="ssh, openssh (the ssh program) or local."
    ),
    click.option(
        "-T", "--timeout", default=10.0, show_default=True, metavar="SECONDS", help="How long a connection may take."
    ),
    click.option("--ssh-common-args", default="", metavar="ARGS", help="Further arguments of ssh, as -o Option=value."),
    click.option("--accept-new-host-keys", is_flag=True, help="Trust unknown hosts, and remember their keys."),
    click.option("-b", "--become", is_flag=True, help="Become another user on the hosts."),
    click.option("--become-user", metavar="USER", help="Whom to become.  [default: root]"),
    click.option("--become-method", default="sudo", show_default=True, help="sudo, su or doas."),
    click.option("-K", "--ask-become-pass", is_flag=True, help="Ask for the password that becoming needs."),
)

run_options = stack(
    click.option("-f", "--forks", default=50, show_default=True, type=click.IntRange(1, 5000), help="Hosts at a time."),
    click.option("-C", "--check", is_flag=True, help="Change nothing; say what would change."),
    click.option("-D", "--diff", is_flag=True, help="Show the differences of what changes."),
    click.option("-v", "--verbose", count=True, help="Say more; up to -vvv."),
    click.option("--heartbeat", type=(float, float), default=(15.0, 90.0), show_default=True, metavar="EVERY DEAD",
                 help="Seconds between signs of life, and of silence until the other side counts as gone."),
)  # fmt: skip


def sources(inventories: tuple[str, ...]) -> list[str]:
    """The inventories to read: those named, else the environment's, else a usual place. Raises UsageError."""
    if inventories:
        return list(inventories)
    environment = os.environ.get("OPSPLAY_INVENTORY") or os.environ.get("ANSIBLE_INVENTORY")
    if environment:
        return environment.split(",") if Path(environment.split(",")[0]).exists() else [environment]
    for name in DEFAULT_INVENTORIES:
        if Path(name).exists():
            return [name]
    raise UsageError("no inventory", hint="name one with -i FILE, or hosts with a comma: -i web1,web2")


def extra_variables(entries: tuple[str, ...]) -> dict[str, Any]:
    """What -e gave: key=value words, JSON or YAML, or @FILE. Raises UsageError or DocumentError."""
    from opsplay.documents import yaml as documents
    from opsplay.documents.values import trust
    from opsplay.documents.variables import load_variables
    from opsplay.errors import Location
    from opsplay.language.arguments import key_values

    found: dict[str, Any] = {}
    at = Location("--extra-vars")
    for entry in entries:
        if entry.startswith("@"):
            found.update(load_variables(Path(entry[1:])))
        elif entry.lstrip().startswith(("{", "[")):
            value = documents.parse(entry, "--extra-vars")[0]
            if not isinstance(value, dict):
                raise UsageError(f"-e {entry}: expected a mapping of names to values")
            found.update(value)
        else:
            values, rest = key_values(entry, at)
            if rest:
                raise UsageError(f"-e {entry}: expected key=value, JSON, or @FILE")
            found.update(trust(values, at))
    return found


def make_run_options(values: dict[str, Any], extra: dict[str, Any]) -> Any:
    """A RunOptions from the values of the shared options; asks for passwords."""
    from opsplay.run.connection import ConnectionDefaults
    from opsplay.run.options import RunOptions
    from opsplay.session.session import Heartbeat

    password = click.prompt("SSH password", hide_input=True, err=True) if values["ask_pass"] else None
    become_password = None
    if values["ask_become_pass"]:
        default = password or ""
        note = " [the SSH password]" if password else ""
        become_password = click.prompt(
            f"Become password{note}", hide_input=True, err=True, default=default, show_default=False
        )
    connection = ConnectionDefaults(
        user=values["user"],
        private_key=values["private_key"],
        password=password,
        become_password=become_password,
        timeout=values["timeout"],
        host_key_checking="accept-new" if values["accept_new_host_keys"] else "yes",
        connection=values["connection"],
        become=values["become"],
        become_user=values["become_user"],
        become_method=values["become_method"],
        extra_ssh_arguments=values["ssh_common_args"],
    )
    every, dead = values["heartbeat"]
    return RunOptions(
        check=values["check"],
        diff=values["diff"],
        forks=values["forks"],
        verbosity=values["verbose"],
        limit=values["limit"],
        extra=extra,
        connection=connection,
        beat=Heartbeat(every, dead),
        lockstep=values.get("lockstep", False),
        step=values.get("step", False),
        force_handlers=values.get("force_handlers", False),
        tags=words(values.get("tags", ())),
        skip_tags=words(values.get("skip_tags", ())),
        start_at=values.get("start_at_task"),
    )


def words(values: tuple[str, ...]) -> frozenset[str]:
    """Words from repeated options, each of which may hold several with commas."""
    return frozenset(word.strip() for value in values for word in value.split(",") if word.strip())
