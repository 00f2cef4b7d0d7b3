"""Read what the command line names: inventories and playbooks, every error of all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from opsplay import catalog
from opsplay.language.parse import Parser
from opsplay.templating.environment import missing
from opsplay.templating.templar import Templar

if TYPE_CHECKING:
    from opsplay.inventory.model import Inventory
    from opsplay.model import Playbook


def load_playbooks(paths: Iterable[str], extra: Mapping[str, Any]) -> list[Playbook]:
    """The playbooks of these files. Raises Problems."""
    templar = Templar(lambda name: extra.get(name, missing))
    return [Parser(catalog, templar.render).playbook(path) for path in paths]


def load_inventory(sources: list[str]) -> Inventory:
    """The inventory of these sources. Raises Problems."""
    from opsplay.inventory.sources import load

    return load(sources)
