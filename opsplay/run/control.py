"""The control side as an action sees it: `Control` of opsplay.actions.base."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opsplay.actions.base import ActionFailed
from opsplay.errors import Location
from opsplay.model import Task
from opsplay.run.context import PlayContext
from opsplay.run.variables import Layers
from opsplay.session.blobs import BlobStore
from opsplay.templating.search import SearchPath
from opsplay.templating.templar import Templar


class TaskControl:
    """For one item of a task on one host."""

    def __init__(self, context: PlayContext, host: str, layers: Layers, task: Task, check: bool) -> None:
        self._context = context
        self.host = host
        self._layers = layers
        self.templar: Templar = context.templar(host, layers)
        self.at: Location = task.at
        self.check = check

    @property
    def blobs(self) -> BlobStore:
        return self._context.run.sessions.blobs

    @property
    def verbosity(self) -> int:
        return self._context.run.options.verbosity

    def find_file(self, folder: str, name: str) -> str:
        if os.path.isabs(name) and os.path.exists(name):
            return name
        tried = SearchPath(self._layers.folders).candidates(name, [folder])
        for path in tried:
            if os.path.exists(path):
                return path
        raise ActionFailed(f"there is no file '{name}'; looked in {', '.join(os.path.dirname(path) for path in tried)}")

    def template_variables(self, extra: Mapping[str, Any]) -> Templar:
        return self._context.templar(self.host, replace(self._layers, item=(extra, *self._layers.item)))
