"""Rules of handlers: those that a task names and nobody defines, and those that nobody notifies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from opsplay.documents.values import Template, place_of
from opsplay.errors import LanguageError, LanguageWarning, Location, OpsplayError
from opsplay.language import keywords
from opsplay.language.rules.steps import Step
from opsplay.model import Handler, Play
from opsplay.templating.compiler import is_template

EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


class HandlerUse:
    """The handlers of all plays that are read together, and which of them are notified somewhere."""

    def __init__(self) -> None:
        self._defined: dict[Location, Handler] = {}
        self._notified: set[Location] = set()

    def look(self, play: Play, found: Sequence[Step], is_whole: bool) -> Iterator[OpsplayError]:
        """The handlers that a play's tasks name in vain. Nothing can be said of a play that is not read as a whole."""
        self._defined.update({handler.task.at: handler for handler in play.handlers})
        if not is_whole:
            self._notified.update(handler.task.at for handler in play.handlers)
            return
        names = [name for handler in play.handlers for name in names_of(handler)]
        for name, step in notifications(found):
            meant = [handler for handler in play.handlers if any(agree(name, own) for own in names_of(handler))]
            self._notified.update(handler.task.at for handler in meant)
            if not meant and not is_template(name):
                hint = keywords.suggestion(name, names)
                message = f"no handler is named, or listens to, '{name}'"
                error = LanguageError if step.is_certain else LanguageWarning
                yield error(message, at=place_of(name, step.task.at), hint=hint, rule="unknown-handler")

    def unused(self) -> Iterator[OpsplayError]:
        """The handlers that no task of any play notifies."""
        for at, handler in self._defined.items():
            if at not in self._notified:
                message = f"nobody notifies the handler '{handler.task.title}'"
                yield LanguageWarning(message, at=at, rule="unused-handler")


def notifications(found: Sequence[Step]) -> Iterator[tuple[str, Step]]:
    """What tasks notify."""
    for step in found:
        for name in flat(step.task.notify):
            yield name, step


def flat(value: Any) -> Iterator[str]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from flat(item)
    elif value is not None:
        yield value if isinstance(value, str) else str(value)


def names_of(handler: Handler) -> tuple[str, ...]:
    """What reaches a handler: its name, also behind its role's, and the topics that it listens to."""
    task = handler.task
    qualified = (Template(f"{task.role.name} : {task.name}"),) if task.role else ()
    return (task.name, *qualified, *handler.listen)


def agree(one: str, other: str) -> bool:
    """Whether two names can be the same, whatever the templates in them give."""
    if one == other or (is_template(one) and is_template(other)):
        return True
    return _fits(one, other) or _fits(other, one)


def _fits(pattern: str, name: str) -> bool:
    if not is_template(pattern):
        return False
    pieces = [re.escape(piece) for piece in EXPRESSION.split(pattern)]
    return re.fullmatch(".*".join(pieces), name, re.DOTALL) is not None
