"""Lookups that only rearrange what they are given: the loops of older playbooks (`with_nested` and its kin)."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from opsplay.errors import TemplateError

SHORT_SEQUENCE = re.compile(r"(?:(\d+)-)?(\d+)(?:/(-?\d+))?(?::(.+))?")
SEQUENCE_WORDS = ("start", "end", "count", "stride", "format")
ENDLESS = 1_000_000


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def items(terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """All terms, one level of lists taken apart."""
    return [item for term in terms for item in as_list(term)]


def flattened(terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """All terms, every level of lists taken apart; what is nothing goes."""
    found: list[Any] = []
    for term in terms:
        if isinstance(term, (list, tuple)):
            found += flattened(list(term), options)
        elif term not in (None, "None", "null"):
            found.append(term)
    return found


def pairs(terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """The keys and values of dictionaries."""
    found = []
    for term in itertools.chain.from_iterable(map(as_list, terms)):
        if not isinstance(term, Mapping):
            raise TemplateError(f"dict: expected a dictionary, not {term!r}", hint="use items for a list")
        found += [{"key": key, "value": value} for key, value in term.items()]
    return found


def nested(terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """Every combination of one item of each list."""
    if not terms:
        raise TemplateError("nested needs at least one list")
    return [list(group) for group in itertools.product(*map(as_list, terms))]


def together(terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """The first items of all lists, then the second ones; nothing where a list is shorter."""
    if not terms:
        raise TemplateError("together needs at least one list")
    return [list(group) for group in itertools.zip_longest(*map(as_list, terms))]


def indexed(terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """Each item with its number, from 0."""
    return [[number, item] for number, item in enumerate(items(terms, options))]


def subelements(terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """Each element of a list without its inner list, with each entry of that."""
    settings = {**options, **(terms[2] if len(terms) > 2 and isinstance(terms[2], Mapping) else {})}
    if len(terms) < 2 or not isinstance(terms[1], str):
        raise TemplateError("subelements needs a list and the name of the inner list")
    elements = list(terms[0].values()) if isinstance(terms[0], Mapping) else as_list(terms[0])
    found = []
    for element in elements:
        if isinstance(element, Mapping) and element.get("skipped"):
            continue  # the result of a task that was skipped for this item
        rest, inner = _take(element, terms[1].split("."), bool(settings.get("skip_missing")))
        found += [[rest, entry] for entry in inner]
    return found


def _take(element: Any, path: list[str], skip_missing: bool) -> tuple[Any, list[Any]]:
    """An element without what lies at a path, and the list that lies there."""
    name, *deeper = path
    if not isinstance(element, Mapping) or name not in element:
        if skip_missing:
            return element, []
        raise TemplateError(f"subelements: there is no '{name}' in {element!r}")
    rest = {key: value for key, value in element.items() if key != name}
    if deeper:
        rest[name], inner = _take(element[name], deeper, skip_missing)
        return rest, inner
    if not isinstance(element[name], list):
        raise TemplateError(f"subelements: '{name}' is no list in {element!r}")
    return rest, element[name]


def sequences(terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """Numbers as text: `start=1 end=9 stride=2 format=web%02d`, `count=4`, or in short `1-9/2:web%02d`."""
    given = terms or ([""] if options else [])
    return [text for term in given for text in _sequence({**_words(str(term)), **options})]


def _words(term: str) -> dict[str, Any]:
    short = SHORT_SEQUENCE.fullmatch(term.strip())
    if short:
        start, end, stride, form = short.groups()
        given = {"start": start, "end": end, "stride": stride, "format": form}
        return {name: value for name, value in given.items() if value is not None}
    found: dict[str, Any] = {}
    for word in term.split():
        name, equals, value = word.partition("=")
        if not equals or name not in SEQUENCE_WORDS:
            raise TemplateError(f"sequence: cannot read {word!r}", hint="write it as start=1 end=4, or count=4")
        found[name] = value
    return found


def _sequence(given: Mapping[str, Any]) -> list[str]:
    start, stride = _number(given, "start", 1), _number(given, "stride", 1)
    if "count" in given and "end" in given:
        raise TemplateError("sequence: only one of end and count can be given")
    if "count" in given:
        end = start + (_number(given, "count", 0) - 1) * stride
        if _number(given, "count", 0) == 0:
            return []
    elif "end" in given:
        end = _number(given, "end", 0)
    else:
        raise TemplateError("sequence: end or count must be given")
    if stride == 0:
        return []
    if (end - start) * stride < 0:
        sign = "negative" if stride > 0 else "positive"
        raise TemplateError(f"sequence: from {start} to {end} the stride must be {sign}")
    numbers = range(start, end + (1 if stride > 0 else -1), stride)
    if len(numbers) > ENDLESS:
        raise TemplateError(f"sequence: {len(numbers)} numbers are too many")
    form = str(given.get("format", "%d"))
    try:
        return [form % number for number in numbers]
    except (TypeError, ValueError) as problem:
        raise TemplateError(f"sequence: bad format {form!r}", hint="write it as host%02d") from problem


def _number(given: Mapping[str, Any], name: str, default: int) -> int:
    try:
        text = str(given.get(name, default))
        return int(text, 16 if text.lower().startswith("0x") else 10)
    except ValueError as problem:
        raise TemplateError(f"sequence: {name} is not a number: {given[name]!r}") from problem


LISTINGS: dict[str, Callable[[list[Any], Mapping[str, Any]], list[Any]]] = {
    "items": items,
    "list": lambda terms, options: list(terms),
    "flattened": flattened,
    "dict": pairs,
    "nested": nested,
    "cartesian": nested,
    "together": together,
    "indexed_items": indexed,
    "subelements": subelements,
    "sequence": sequences,
    "random_choice": lambda terms, options: [random.choice(terms)] if terms else [],
}
