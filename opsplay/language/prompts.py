"""`vars_prompt`: what a play asks for when it begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from opsplay.agent.spec import to_bool
from opsplay.documents.values import place_of
from opsplay.errors import LanguageError, Location, OpsplayError
from opsplay.language import keywords
from opsplay.model import Prompt


def prompts_of(value: Any, at: Location, errors: list[OpsplayError]) -> tuple[Prompt, ...]:
    """The prompts of a play; what is wrong with them is added to `errors`."""
    if value is None:
        return ()
    if not isinstance(value, list):
        errors.append(LanguageError("vars_prompt must be a list", at=at, rule="not-a-list"))
        return ()
    return tuple(_each(value, at, errors))


def _each(entries: list[Any], at: Location, errors: list[OpsplayError]) -> Iterator[Prompt]:
    for entry in entries:
        place = place_of(entry, at)
        if not isinstance(entry, Mapping) or not entry.get("name"):
            errors.append(LanguageError("a prompt must be a mapping with a name", at=place, rule="not-a-mapping"))
            continue
        errors += keywords.wrong(entry, entry, keywords.PROMPT, "vars_prompt", place)
        try:
            yield _prompt(entry)
        except ValueError as problem:
            errors.append(LanguageError(f"vars_prompt: {problem}", at=place, rule="keyword-value"))


def _prompt(entry: Mapping[str, Any]) -> Prompt:
    size = entry.get("salt_size")
    return Prompt(
        name=str(entry["name"]),
        text=str(entry.get("prompt") or entry["name"]),
        default=entry.get("default"),
        private=to_bool(entry.get("private", True)),
        confirm=to_bool(entry.get("confirm", False)),
        encrypt=str(entry["encrypt"]) if entry.get("encrypt") else None,
        salt=str(entry["salt"]) if entry.get("salt") else None,
        salt_size=int(size) if size else None,
    )
