"""`opsplay doc`: what a module does and what it accepts."""

from __future__ import annotations

import click

from opsplay.errors import UsageError


@click.command()
@click.argument("module", required=False)
def doc(module: str | None) -> None:
    """Show what MODULE does and what it accepts; without a name, list all modules."""
    from opsplay import catalog

    if module is None:
        entries = catalog.entries()
        width = max(len(name) for name in entries)
        for name in sorted(entries):
            click.echo(f"{click.style(name.ljust(width), bold=True)}  {entries[name].summary}")
        return
    entry = catalog.find(module)
    if entry is None:
        raise UsageError(
            f"there is no module '{module}'", hint=catalog.suggestion(module) or "opsplay doc lists them all"
        )
    click.echo(page(entry))


def page(entry: object) -> str:
    """A module's documentation as text."""
    from opsplay.catalog import Entry

    assert isinstance(entry, Entry)
    lines = [click.style(entry.name.upper(), bold=True), "", *(entry.module.__doc__ or "").strip().splitlines(), ""]
    check = getattr(entry.module, "CHECK", "exact")
    lines += [f"Check mode: {check}", "", click.style("Parameters", bold=True)]
    for name, param in sorted(entry.params.items()):
        if name.startswith("_") and name != "_raw_params":
            continue
        shown = "(free form)" if name == "_raw_params" else name
        facts = [param.describe()]
        if param.required:
            facts.append("required")
        elif param.default is not None:
            facts.append(f"default {param.default!r}")
        if param.aliases:
            facts.append("also " + ", ".join(param.aliases))
        lines += [
            f"  {click.style(shown, bold=True)}  {click.style('; '.join(facts), dim=True)}",
            f"      {param.help}",
        ]
    return "\n".join(lines)
