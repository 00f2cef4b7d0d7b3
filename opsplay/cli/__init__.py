"""The command line: the only code that exits, and that hands a console to a sink. Subcommands load when used."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Iterable
from typing import Any

import click

from opsplay import __version__
from opsplay.errors import OpsplayError, Problems

# Name -> where it lives, and its line in the help: so that `opsplay --help` imports none of them.
COMMANDS = {
    "run": ("opsplay.cli.run:run", "Run playbooks against the hosts of an inventory."),
    "check": ("opsplay.cli.check:check", "Find every mistake in playbooks, roles and inventories, connecting nowhere."),
    "exec": ("opsplay.cli.exec:exec_", "Run one module on hosts, without a playbook."),
    "inventory": ("opsplay.cli.inventory:inventory", "Show hosts, groups and variables as they are understood."),
    "vault": ("opsplay.cli.vault:vault", "Encrypt files and values, and work with them."),
    "history": ("opsplay.cli.history:history", "List the runs that were made."),
    "show": ("opsplay.cli.history:show", "Show what a run did."),
    "doc": ("opsplay.cli.doc:doc", "Show what a module does and what it accepts."),
    "lab": ("opsplay.cli.lab:lab", "Start and stop throwaway fleets of real systemd hosts."),
}


class LazyGroup(click.Group):
    """Subcommands by name; each is imported only when it is called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            context.fail(f"There is no command '{args[0]}'.{hint}")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="opsplay")
def cli() -> None:
    """Run Ansible playbooks over SSH, with nothing installed on the hosts.

    \b
      opsplay run -i hosts.ini site.yml --check --diff     see what would change
      opsplay run -i hosts.ini site.yml                    make it so
      opsplay exec -i hosts.ini web -m command -a uptime   one command on a group
      opsplay lab up web1 web2 db1                         three real hosts to try it on
    """


def show(problem: OpsplayError) -> None:
    """Print an error, its place and its remedy on standard error; of several each, and how many there are."""
    found = show_all(problem.errors if isinstance(problem, Problems) else [problem])
    if found > 1:
        click.echo(f"{found} errors; nothing was done", err=True)


def show_all(problems: Iterable[OpsplayError]) -> int:
    """Print problems by file and line on standard error; returns their number."""
    from opsplay.cli.problems import ordered, report

    found = ordered(problems)
    for problem in found:
        click.echo("\n".join(report(problem)), err=True)
    return len(found)


def main(arguments: list[str] | None = None) -> None:
    """The entry point: exit codes are ansible-playbook's."""
    try:
        code = cli.main(args=arguments, prog_name="opsplay", standalone_mode=False)
    except OpsplayError as problem:
        show(problem)
        code = problem.exit_code
    except click.ClickException as problem:
        problem.show()
        code = problem.exit_code
    except (KeyboardInterrupt, click.Abort):
        # Whoever presses Ctrl-C once more while threads end wants no traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        click.echo("interrupted", err=True)
        code = 99
    sys.exit(code if isinstance(code, int) else 0)
