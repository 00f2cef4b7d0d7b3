"""Host patterns: names, groups, wildcards, ~regular expressions, slices; a:b unites, :& intersects, :! excludes."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opsplay.errors import InventoryError, Location
from opsplay.inventory.model import ALL, Inventory

SLICE = re.compile(r"^(.+)\[(-?\d+)(?:([:-])(-?\d*))?\]$")
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def split(pattern: str) -> list[str]:
    """The parts of a pattern: at commas, or at colons that are not within brackets, an IPv6 address, or (?:…)."""
    if "," in pattern:
        return [part for piece in pattern.split(",") for part in split(piece.strip()) if part]
    if _is_address(pattern.lstrip("&!")):
        return [pattern]
    return [part.strip() for part in re.split(r"(?<!\(\?):(?![^\[]*\])", pattern) if part.strip()]


def _is_address(text: str) -> bool:
    """Whether this is an IPv6 address, and so its colons no separators."""
    if text.count(":") < 2 or not re.fullmatch(r"[0-9a-fA-F:.]+", text):
        return False
    from ipaddress import IPv6Address

    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def parts_of(pattern: Any) -> list[str]:
    """The single patterns of one that is a text or a list, which may hold lists."""
    if isinstance(pattern, (list, tuple)):
        return [part for piece in pattern for part in parts_of(piece)]
    return split(str(pattern))


def select(pattern: Any, inventory: Inventory, at: Location | None = None) -> list[str]:
    """The hosts that a pattern names, each once. Unknown names give nothing, and so does a pattern that is empty."""
    parts = parts_of(pattern)
    if not parts:
        return []
    plain = [part for part in parts if part[0] not in "&!"]
    chosen: dict[str, None] = {}
    for part in plain or [ALL]:
        chosen.update(dict.fromkeys(_match(part, inventory, at)))
    for part in parts:
        if part[0] == "&":
            wanted = set(_match(part[1:], inventory, at))
            chosen = {name: None for name in chosen if name in wanted}
    for part in parts:
        if part[0] == "!":
            excluded = set(_match(part[1:], inventory, at))
            chosen = {name: None for name in chosen if name not in excluded}
    return list(chosen)


def limit(pattern: str, inventory: Inventory) -> set[str]:
    """The hosts that `--limit` leaves; `@FILE` reads patterns, one a line. Raises InventoryError when none match."""
    parts: list[str] = []
    for piece in pattern.split(","):
        parts += _from_file(piece[1:]) if piece.startswith("@") else [piece]
    found = set(select(parts, inventory))
    words = [word for part in parts for word in split(part) if word[0] not in "&!"]
    missing = [word for word in words if not _match(word, inventory, None)]
    if missing and not found:
        raise InventoryError(f"--limit {pattern}: no host matches", hint=suggestion(missing[0], inventory))
    return found


def _from_file(name: str) -> list[str]:
    try:
        return Path(name).read_text().split()
    except OSError as problem:
        raise InventoryError(f"--limit @{name}: {problem.strerror}") from problem


def suggestion(name: str, inventory: Inventory) -> str | None:
    """A hint with the known name that is nearest; that a group has no hosts is told where it is the name itself."""
    if name in inventory.groups:
        return f"the group '{name}' has no hosts yet"
    close = difflib.get_close_matches(name, [*inventory.hosts, *inventory.groups], n=1)
    return f"did you mean '{close[0]}'?" if close else None


def _match(pattern: str, inventory: Inventory, at: Location | None) -> list[str]:
    sliced = SLICE.match(pattern)
    if sliced and not pattern.startswith("~"):
        return _slice(sliced, _match_whole(sliced.group(1), inventory, at))
    return _match_whole(pattern, inventory, at)


def _match_whole(pattern: str, inventory: Inventory, at: Location | None) -> list[str]:
    if pattern in ("all", "*"):
        return inventory.hosts_in(ALL)
    if pattern.startswith("~"):
        try:
            regex = re.compile(pattern[1:])
        except re.error as problem:
            raise InventoryError(f"bad regular expression in the host pattern {pattern}: {problem}", at=at) from problem
        return _by_name(lambda name: regex.match(name) is not None, inventory)
    if any(char in pattern for char in "*?["):
        return _by_name(lambda name: fnmatch.fnmatchcase(name, pattern), inventory)
    if pattern in inventory.groups:
        return inventory.hosts_in(pattern)
    if pattern in inventory.hosts:
        return [pattern]
    if pattern in LOCAL_NAMES:
        host = inventory.add_implicit_host(pattern)
        host.vars.setdefault("ansible_connection", "local")
        return [pattern]
    return []


def _by_name(matches: Callable[[str], bool], inventory: Inventory) -> list[str]:
    found: dict[str, None] = {}
    for group in inventory.groups:
        if matches(group):
            found.update(dict.fromkeys(inventory.hosts_in(group)))
    found.update({name: None for name, host in inventory.hosts.items() if matches(name) and not host.is_implicit})
    return list(found)


def _slice(sliced: re.Match[str], hosts: list[str]) -> list[str]:
    first, separator, last = int(sliced.group(2)), sliced.group(3), sliced.group(4)
    if separator is None:
        return hosts[first : first + 1] if first != -1 else hosts[-1:]
    end = int(last) if last else len(hosts) - 1
    return hosts[first : end + 1] if end != -1 else hosts[first:]
