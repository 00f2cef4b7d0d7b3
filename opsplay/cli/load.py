"""Read what the command line names: inventories and playbooks, every error of all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from opsplay import catalog
from opsplay.language.parse import Parser
from opsplay.templating.environment import missing
from opsplay.templating.templar import Templar

if TYPE_CHECKING:
    from opsplay.errors import OpsplayError
    from opsplay.inventory.model import Inventory
    from opsplay.model import Playbook


def load_playbooks(
    paths: Iterable[str], extra: Mapping[str, Any], warn: Callable[[list[OpsplayError]], object] | None = None
) -> list[Playbook]:
    """The playbooks of these files; `warn` is told what does not stop a run. Raises Problems."""
    parser = Parser(catalog, renderer(extra))
    playbooks = [parser.read(path) for path in paths]
    parser.refuse()
    if warn is not None:
        warn([*parser.warnings, *parser.unused()])
    return playbooks


def renderer(extra: Mapping[str, Any]) -> Callable[[Any, Mapping[str, Any]], Any]:
    """Renders what is known before any host: with extra variables, and weaker ones that the place knows."""

    def render(value: Any, known: Mapping[str, Any]) -> Any:
        return Templar(lambda name: extra.get(name, known.get(name, missing))).render(value)

    return render


def load_inventory(sources: list[str], extra: Mapping[str, Any] | None = None) -> Inventory:
    """The inventory of these sources; constructed ones may use the extra variables. Raises Problems."""
    from opsplay.inventory.sources import load

    return load(sources, extra)
