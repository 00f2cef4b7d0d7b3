"""`opsplay lab`: throwaway fleets of real systemd hosts. The lab itself is imported when a command runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsplay.errors import LabError

if TYPE_CHECKING:
    from opsplay.lab import HostSpec, Lab

_NAME = click.option("--name", default="lab", show_default=True, help="The lab's name; labs stand side by side.")


@click.group()
def lab() -> None:
    """Throwaway fleets of real systemd hosts on this machine (needs root)."""


@lab.command()
@click.argument("hosts", nargs=-1, metavar="HOST[:RELEASE]...")
@click.option("--image", type=click.Choice(["base", "full"]), default="base", show_default=True,
              help="What is installed: base, or full with databases, web server, firewall ...")  # fmt: skip
@click.option("--release", default="bookworm", show_default=True, help="Debian release: bullseye, bookworm, trixie.")
@_NAME
@click.option("--inventory", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Where hosts.yml goes  [default: inventories/NAME]")  # fmt: skip
def up(hosts: tuple[str, ...], image: str, release: str, name: str, inventory: Path | None) -> None:
    """Boot hosts, and write an inventory of them. Run it again to add hosts, or to boot dead ones."""
    from opsplay.lab import HostSpec, Lab

    fleet, tell = Lab(name), _progress()
    fleet.up(dict(_spec(host, release, image, HostSpec) for host in hosts), tell)
    path = fleet.write_inventory((inventory or Path("inventories", name)) / "hosts.yml")
    tell(f"wrote {path}")
    click.echo(path)


def _spec(host: str, release: str, image: str, make: type[HostSpec]) -> tuple[str, HostSpec]:
    name, _, own_release = host.partition(":")
    return name, make(own_release or release, image)


@lab.command()
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@_NAME
@click.option("--all", "every", is_flag=True, help="Every lab.")
def down(hosts: tuple[str, ...], name: str, every: bool) -> None:
    """Power hosts off and remove all there is of them; without HOST, the whole lab."""
    from opsplay.lab import Lab, labs

    if every and hosts:
        raise click.UsageError("--all takes no hosts")
    tell = _progress()
    for fleet in labs() if every else [Lab(name)]:
        fleet.down(hosts, tell)
        tell(f"the lab {fleet.name} is down" if not hosts else "done")


@lab.command()
@click.option("--name", help="One lab only  [default: all]")
def status(name: str | None) -> None:
    """Show the hosts, their addresses, and whether they run."""
    from rich.console import Console
    from rich.table import Table

    from opsplay.lab import Lab, labs

    table = Table("lab", "host", "address", "release", "image", "state", box=None)
    for fleet in [Lab(name)] if name else labs():
        try:
            for host in fleet.hosts.values():
                table.add_row(fleet.name, host.name, host.address, host.release, host.image, host.power.value)
        except LabError as error:
            table.add_row(fleet.name, "", "", "", "", f"broken: {error.message}")
    if not table.row_count:
        click.echo("no lab is up", err=True)
        return
    Console().print(table)


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@_NAME
@click.option("--user", default="root", show_default=True, help="root, admin, ops or plain.")
def ssh(host: str, command: tuple[str, ...], name: str, user: str) -> None:
    """Log in to a host, or run a command there. Options of the command go after `--`."""
    from opsplay.lab import Lab

    fleet = Lab(name)
    target = _known(fleet, host)
    options = ["IdentitiesOnly=yes", f"UserKnownHostsFile={fleet.known_hosts}"]
    flags = [f"-o{option}" for option in options]
    sys.stdout.flush()
    os.execvp("ssh", ["ssh", "-i", str(fleet.private_key), *flags, f"{user}@{target}", *command])


def _known(fleet: Lab, host: str) -> str:
    hosts = fleet.hosts
    if host not in hosts:
        raise LabError(f"the lab {fleet.name} has no host {host}", hint=f"it has: {', '.join(hosts) or 'none'}")
    return hosts[host].address


def _progress() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda message: click.echo(f"[{time.monotonic() - began:5.1f} s] {message}", err=True)
