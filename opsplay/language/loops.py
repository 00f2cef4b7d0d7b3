"""A task's loop: `loop`, or `with_NAME` and the lookup NAME."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsplay.agent.spec import to_bool
from opsplay.documents.values import place_of
from opsplay.errors import LanguageError, Location
from opsplay.language import keywords
from opsplay.language.inherit import conditions
from opsplay.model import Loop
from opsplay.templating.loops import NAMES

WITH = "with_"


def is_with(key: Any) -> bool:
    """Whether a task's key is an older loop."""
    return isinstance(key, str) and key.startswith(WITH)


def loop_of(entry: Mapping[str, Any], at: Location) -> Loop | None:
    """The loop of a task, if it has one. Raises LanguageError."""
    control = _control(entry, at)
    found = [key for key in entry if key == "loop" or is_with(key)]
    if not found:
        return None
    places: Mapping[str, Location] = getattr(entry, "key_at", {})
    if len(found) > 1:
        both = f"{found[0]} and {found[1]}"
        raise LanguageError(f"two loops in one task: {both}", at=places.get(found[1], at), rule="two-loops")
    name = found[0].removeprefix(WITH) if is_with(found[0]) else None
    if name is not None and name not in NAMES:
        hint = keywords.suggestion(name, NAMES)
        place = places.get(found[0], at)
        hint = hint and hint.replace("'", f"'{WITH}", 1)
        raise LanguageError(f"unknown loop '{found[0]}'", at=place, hint=hint, rule="unknown-loop")
    return Loop(
        entry[found[0]],
        lookup=name,
        variable=str(control.get("loop_var", "item")),
        index_variable=str(control["index_var"]) if "index_var" in control else None,
        label=control.get("label"),
        pause=_seconds(control.get("pause"), at),
        extended=_flag(control.get("extended"), at),
        with_all_items=_flag(control.get("extended_allitems", True), at),
        break_when=conditions(control.get("break_when")),
    )


def _control(entry: Mapping[str, Any], at: Location) -> Mapping[str, Any]:
    control = entry.get("loop_control") or {}
    if not isinstance(control, Mapping):
        raise LanguageError("loop_control must be a mapping", at=place_of(control, at), rule="not-a-mapping")
    errors = keywords.wrong(control, control, keywords.LOOP_CONTROL, "loop_control", place_of(control, at))
    if errors:
        raise errors[0]
    return control


def _seconds(value: Any, at: Location) -> float:
    try:
        return float(value or 0)
    except (TypeError, ValueError) as problem:
        message = "pause of loop_control must be a number of seconds"
        raise LanguageError(message, at=place_of(value, at), rule="keyword-value") from problem


def _flag(value: Any, at: Location) -> bool:
    try:
        return False if value is None else to_bool(value)
    except ValueError as problem:
        message = f"extended of loop_control: {problem}"
        raise LanguageError(message, at=place_of(value, at), rule="keyword-value") from problem
