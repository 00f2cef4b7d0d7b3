"""One play in one run: its variables, and the templars that see them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from opsplay.documents.values import Template, place_of
from opsplay.errors import LanguageError
from opsplay.inventory.variables import load_variables
from opsplay.model import Play
from opsplay.run.services import Services
from opsplay.run.variables import HostVarsView, Layers, OneHostView
from opsplay.templating.environment import missing
from opsplay.templating.lookups import make_lookups
from opsplay.templating.templar import Templar


class PlayContext:
    """A play and the run that it belongs to."""

    def __init__(self, run: Services, play: Play, folder: str) -> None:
        self.run = run
        self.play = play
        self.folder = folder
        self._globals = {**make_lookups(folder), "hostvars": HostVarsView(run.inventory.hosts, self._view)}

    @cached_property
    def layers(self) -> tuple[Mapping[str, Any], ...]:
        """The play's variables and its files of variables, the strongest last."""
        return (self.play.vars, *(self._variables_file(entry) for entry in self.play.vars_files))

    def _variables_file(self, entry: Any) -> Mapping[str, Any]:
        names = entry if isinstance(entry, list) else [entry]
        paths = [Path(self.folder) / str(self.render_play(name)) for name in names]
        for path in paths:
            if path.exists():
                return load_variables(path)
        at = place_of(names[0], self.play.at)
        raise LanguageError(f"there is no file of variables {paths[0]}", at=at)

    def render_play(self, value: Any) -> Any:
        """A value of the play itself, such as its hosts: it sees extra variables and the play's own."""
        return Templar(lambda name: self.run.options.extra.get(name, self.play.vars.get(name, missing))).render(value)

    def templar(self, host: str, layers: Layers) -> Templar:
        """Renders with a host's variables and these layers."""
        return Templar(self.run.variables.lookup(host, layers), self._globals)

    def connection_lookup(self, host: str, layers: Layers) -> Callable[[str], Any]:
        """Rendered variables without the facts that the host sent."""
        find = self.run.variables.lookup(host, layers, facts=False)
        templar = Templar(find, self._globals)

        def lookup(name: str) -> Any:
            value = find(name)
            return templar.render(value) if isinstance(value, (Template, dict, list)) else value

        return lookup

    def _view(self, host: str) -> OneHostView:
        return OneHostView(self.templar(host, Layers()), self.run.variables.names(host))


def folder_of(playbook: str) -> str:
    """The folder that a playbook's files are relative to."""
    return os.path.dirname(os.path.abspath(playbook))
