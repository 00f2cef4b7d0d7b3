"""`opsplay check`: every mistake in playbooks, roles, variables and inventories, without a connection."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from opsplay.cli.options import extra_variables, stack, vault_options, words
from opsplay.errors import OpsplayError, Severity, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

check_options = stack(
    click.option("-i", "--inventory", "inventories", multiple=True, metavar="PATH|HOSTS,",
                 help="An inventory that is checked as well, and whose hosts the plays shall have. May be repeated."),
    click.option("-e", "--extra-vars", "extra", multiple=True, metavar="KEY=VALUE|@FILE|JSON",
                 help="Variables that imports need. May be repeated."),
    click.option("-t", "--tags", multiple=True, metavar="TAGS", help="Tags that tasks of the playbooks shall have."),
    click.option("--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True,
                 help="For people, for programs, or for the tools that read SARIF 2.1.0."),
    click.option("--warnings-as-errors", is_flag=True, help="End with exit code 1 for warnings too."),
    click.option("--rules", is_flag=True, help="List all rules, and stop."),
)  # fmt: skip


@click.command()
@click.argument("paths", nargs=-1, type=click.Path())
@check_options
@vault_options
@click.pass_context
def check(context: click.Context, /, paths: tuple[str, ...], form: str, rules: bool, **values: Any) -> None:
    """Find every mistake in PATHS: playbooks, or folders of them with roles, variables and inventories.

    Nothing is connected to and nothing is run, no program of an inventory either. Without PATHS: the current folder.

    \b
      opsplay check
      opsplay check site.yml -i inventories/prod --tags deploy
      opsplay check --format sarif > problems.sarif

    Exit code: 0 no errors, 1 errors.
    """
    from opsplay.cli.passwords import unlock

    if rules:
        show_rules()
        return
    unlock(values)
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        raise UsageError(f"there is no {missing[0]}")
    problems, files = find(paths or (".",), values)
    SHOW[form](problems, files)
    fails = values["warnings_as_errors"] or any(problem.severity is Severity.ERROR for problem in problems)
    context.exit(1 if problems and fails else 0)


def find(paths: Sequence[str], values: dict[str, Any]) -> tuple[list[OpsplayError], int]:
    """All problems of these paths, in order, and how many files were looked at."""
    from opsplay import catalog
    from opsplay.cli.inventories import inventory_problems, unmatched_hosts
    from opsplay.cli.load import renderer
    from opsplay.cli.problems import ordered
    from opsplay.language.rules.plays import unknown_tags
    from opsplay.language.tree import TreeCheck, variables_beside

    extra = extra_variables(values["extra"])
    tree = TreeCheck(catalog, renderer(extra))
    sources = [source for source in values["inventories"] if os.path.exists(source)]
    beside = [folder for path in (*paths, *sources) for folder in variables_beside(path)]
    tree.check([*paths, *beside])
    problems = tree.problems()
    plays = [play for playbook in tree.playbooks for play in playbook.plays]
    problems += unknown_tags(words(values["tags"]), plays)
    problems += inventory_problems(tree.inventories)
    if values["inventories"]:
        problems += unmatched_hosts(plays, values["inventories"], extra)
    return ordered(problems), tree.files


def show_rules() -> None:
    from opsplay.language.rules import RULES

    width = max(map(len, RULES))
    for name, rule in RULES.items():
        severity = click.style(rule.severity.value.ljust(8), fg="red" if rule.severity is Severity.ERROR else "yellow")
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {severity} {rule.summary}")


def show_text(problems: list[OpsplayError], files: int) -> None:
    from opsplay.cli.problems import count, report

    for problem in problems:
        click.echo("\n".join(report(problem)) + "\n")
    looked = f"{files} file{'s' * (files != 1)}"
    if problems:
        bad = any(problem.severity is Severity.ERROR for problem in problems)
        click.echo(f"{click.style(count(problems), fg='red' if bad else 'yellow', bold=True)} in {looked}")
    else:
        click.echo(f"{looked}, {click.style('nothing wrong', fg='green', bold=True)}" if files else "no files to check")


def show_json(problems: list[OpsplayError], files: int) -> None:
    from opsplay.cli.problems import shown

    entries = [
        {
            "file": shown(problem.at) or None,
            "line": (problem.at and problem.at.line) or None,
            "column": (problem.at and problem.at.column) or None,
            "severity": problem.severity.value,
            "rule": problem.rule,
            "message": problem.message,
            "hint": problem.hint,
        }
        for problem in problems
    ]
    click.echo(json.dumps({"files": files, "problems": entries}, indent=2, ensure_ascii=False))


def show_sarif(problems: list[OpsplayError], files: int) -> None:
    from opsplay.cli.sarif import log

    click.echo(json.dumps(log(problems), indent=2, ensure_ascii=False))


SHOW = {"text": show_text, "json": show_json, "sarif": show_sarif}
