"""What `opsplay check` says of inventories. Their programs are not run: what those would print stays unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from opsplay.cli.load import load_inventory, renderer
from opsplay.documents.values import place_of
from opsplay.errors import LanguageWarning, Location, OpsplayError, Problems, TemplateError
from opsplay.inventory.model import Inventory
from opsplay.inventory.patterns import parts_of, select, suggestion
from opsplay.inventory.scripts import is_script
from opsplay.inventory.sources import files_of
from opsplay.language.rules.steps import steps_of
from opsplay.model import Play

FOLDERS = ("inventory", "inventories")
# Modules that add to the inventory while a play runs.
ADDING = ("add_host", "group_by")


def inventory_problems(files: Iterable[str]) -> list[OpsplayError]:
    """What is wrong in the inventories among these files."""
    problems: list[OpsplayError] = []
    for source in dict.fromkeys(map(source_of, files)):
        problems += load([source])[1]
    return problems


def source_of(file: str) -> str:
    """The inventory that a file is of: within a folder of inventories, the entry that holds it."""
    parts = Path(file).parts
    for number, name in enumerate(parts[:-1]):
        if name in FOLDERS:
            return str(Path(*parts[: number + 2]))
    return file


def load(sources: Iterable[str], extra: Mapping[str, Any] | None = None) -> tuple[Inventory | None, list[OpsplayError]]:
    """An inventory as far as files tell, and what is wrong with it; None when it is not known as a whole."""
    plain, is_whole = [], True
    for source in sources:
        path = Path(source)
        if not path.exists():
            plain.append(source)
            continue
        for file in files_of(path):
            if is_script(file, _beginning(file)):
                is_whole = False
            else:
                plain.append(str(file))
    try:
        inventory = load_inventory(plain, extra)
    except Problems as problem:
        return None, problem.errors
    return inventory if is_whole else None, []


def _beginning(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(1024)
    except OSError:
        return b""


def unmatched_hosts(plays: Iterable[Play], sources: Iterable[str], extra: Mapping[str, Any]) -> list[OpsplayError]:
    """What is wrong with an inventory, and the patterns of plays that none of its hosts matches."""
    plays = list(plays)
    inventory, problems = load(sources, extra)
    adds = any(step.task.module in ADDING for play in plays for step in steps_of(play))
    if inventory is not None and not adds:
        for play in plays:
            problems += _unmatched(play, inventory, extra)
    return problems


def _unmatched(play: Play, inventory: Inventory, extra: Mapping[str, Any]) -> Iterator[OpsplayError]:
    patterns = play.hosts if isinstance(play.hosts, list) else [play.hosts]
    for pattern in filter(lambda pattern: isinstance(pattern, str), patterns):
        at = place_of(pattern, play.at)
        try:
            for part in parts_of(renderer(extra)(pattern, play.vars) or []):
                name = part.lstrip("&")
                if not part.startswith("!") and not select(name, inventory, at):
                    yield _nobody(name, at, inventory)
        except TemplateError:
            # Variables of hosts cannot choose the hosts; what else is missing shows when the play runs.
            continue
        except OpsplayError as problem:
            yield problem


def _nobody(name: str, at: Location, inventory: Inventory) -> OpsplayError:
    message = f"no host of the inventory matches '{name}'"
    return LanguageWarning(message, at=at, hint=suggestion(name, inventory), rule="unmatched-hosts")
