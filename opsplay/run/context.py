"""One play in one run: its variables, and the templars that see them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opsplay.documents.keyring import Encrypted
from opsplay.documents.values import Template, place_of
from opsplay.documents.variables import load_variables
from opsplay.errors import LanguageError, UndefinedVariable
from opsplay.inventory.patterns import select
from opsplay.model import Play, Role, Task
from opsplay.run.names import run_names
from opsplay.run.position import Position
from opsplay.run.services import Services
from opsplay.run.variables import HostVarsView, Layers, OneHostView
from opsplay.templating.environment import missing
from opsplay.templating.lookups import make_lookups
from opsplay.templating.search import SearchPath
from opsplay.templating.templar import Templar


class PlayContext:
    """A play and the run that it belongs to."""

    def __init__(self, run: Services, play: Play, folder: str) -> None:
        self.run = run
        self.play = play
        self.folder = folder
        self.roles = list(play.roles)
        self.answers: dict[str, Any] = {}
        self._read: dict[str, Mapping[str, Any]] = {}
        self._globals: dict[tuple[str, ...], dict[str, Any]] = {}
        self._hostvars = HostVarsView(run.inventory, self._view)

    def layers(self, host: str, task: Task, position: Position | None = None) -> Layers:
        """The variables that hold for a task on a host, but for a loop's."""
        role = task.role
        inclusions = position.params if position is not None else ()
        return Layers(
            defaults=(*(layer for public in self.roles for layer in public.defaults), *(role.defaults if role else ())),
            play=(self.play.vars, self.answers, *self._files(host), *(v for role in self.roles for v in role.exports)),
            role=role.vars if role else (),
            task=task.vars,
            params=(*inclusions, *reversed(task.params), *(reversed(role.params) if role else ())),
            item=(role_names(role),) if role else (),
            folders=self.folders(task),
        )

    def folders(self, task: Task) -> tuple[str, ...]:
        """Where a task's files are looked for: in its roles, beside the file that it stands in, beside the play."""
        beside = (os.path.dirname(os.path.abspath(task.at.file)),) if task.at.file else ()
        return tuple(dict.fromkeys((*(task.role.folders if task.role else ()), *beside, self.folder)))

    def _globals_of(self, folders: tuple[str, ...]) -> dict[str, Any]:
        """The functions of templates, whose lookups look for files in these folders."""
        if folders not in self._globals:
            lookups = make_lookups(SearchPath(folders or (self.folder,)), self._select, self.run.warn)
            self._globals[folders] = {**lookups, "hostvars": self._hostvars}
        return self._globals[folders]

    def _files(self, host: str) -> tuple[Mapping[str, Any], ...]:
        """The play's files of variables. Names that need facts wait until the host has some."""
        found: list[Mapping[str, Any]] = []
        for entry in self.play.vars_files:
            try:
                found.append(self._variables_file(entry, host, tuple(found)))
            except UndefinedVariable:
                if self.run.variables.of(host).facts:
                    raise
        return tuple(found)

    def _variables_file(self, entry: Any, host: str, before: tuple[Mapping[str, Any], ...]) -> Mapping[str, Any]:
        names = entry if isinstance(entry, list) else [entry]
        templar = self.templar(host, Layers(play=(self.play.vars, self.answers, *before)))
        paths = [Path(self.folder) / str(templar.render(name)) for name in names]
        for path in paths:
            if str(path) in self._read:
                return self._read[str(path)]
            if path.exists():
                return self._read.setdefault(str(path), load_variables(path))
        at = place_of(names[0], self.play.at)
        raise LanguageError(f"there is no file of variables {paths[0]}", at=at)

    def render_play(self, value: Any) -> Any:
        """A value of the play itself, such as its hosts: it sees what is known before any host of it."""
        run = self.run
        names = {
            "groups": run.variables.groups,
            **run_names(run.options, run.inventory, self.folder),
            **self.play.vars,
            **run.options.extra,
        }
        return Templar(lambda name: names.get(name, missing), self._globals_of((self.folder,))).render(value)

    def templar(self, host: str, layers: Layers) -> Templar:
        """Renders with a host's variables and these layers."""
        names = self.run.variables.names
        find = self.run.variables.lookup(host, layers)
        return Templar(find, self._globals_of(layers.folders), lambda: names(host) | layers.names())

    def connection_lookup(self, host: str, layers: Layers) -> Callable[[str], Any]:
        """Rendered variables without the facts that the host sent."""
        find = self.run.variables.lookup(host, layers, facts=False)
        templar = Templar(find, self._globals_of(layers.folders))

        def lookup(name: str) -> Any:
            value = find(name)
            return templar.render(value) if isinstance(value, (Template, Encrypted, dict, list)) else value

        return lookup

    def _select(self, pattern: Any) -> list[str]:
        return select(pattern, self.run.inventory)

    def _view(self, host: str) -> OneHostView:
        return OneHostView(host, self.templar(host, Layers()), self.run.variables.names(host))


def role_names(role: Role) -> dict[str, Any]:
    """What Ansible tells a role's templates of the role."""
    return {
        "role_name": role.name,
        "ansible_role_name": role.name,
        "role_path": role.path,
    }


def folder_of(playbook: str) -> str:
    """The folder that a playbook's files are relative to."""
    return os.path.dirname(os.path.abspath(playbook))
