"""What a value of postgresql.conf means, so that 256MB, 262144kB and 32768 pages of 8 kB are the same."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.modules.postgres import _sql

MEMORY = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
TIME = {"us": 1, "ms": 1000, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
# PostgreSQL's own list of those settings whose lists are of quoted names (GUC_LIST_QUOTE).
NAME_LISTS = ("local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
              "temp_tablespaces", "unix_socket_directories")  # fmt: skip
BOOLEANS = {"true": "on", "yes": "on", "on": "on", "1": "on", "false": "off", "no": "off", "off": "off", "0": "off"}


class Wrong(Exception):
    """A value that the setting cannot have: `str()` says why."""


def text_of(value: Any) -> str:
    """A value of YAML as the configuration writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ", ".join(text_of(one) for one in value)
    return str(value)


def meaning(row: Dict[str, Any], value: Any) -> Any:
    """What compares equal for all spellings of a value. `row` is the setting's of pg_settings. Raises Wrong."""
    text = text_of(value).strip()
    kind = row["vartype"]
    if kind == "bool":
        return boolean(text)
    if kind == "enum":
        return choice(row, text)
    if kind in ("integer", "real"):
        number = amount(text, row["unit"] or "")
        number = float(round(number)) if kind == "integer" else number
        low, high = float(row["min_val"]), float(row["max_val"])
        if not low <= number <= high:
            unit = " " + row["unit"] if row["unit"] else ""
            raise Wrong("%s is outside of %s to %s%s" % (text, row["min_val"], row["max_val"], unit))
        return number
    if row["name"] in NAME_LISTS:
        return names_of(text)
    return text


def boolean(text: str) -> str:
    found = {BOOLEANS[word] for word in BOOLEANS if text and word.startswith(text.lower())}
    if len(found) != 1:
        raise Wrong("%r is neither on nor off" % text)
    return found.pop()


def choice(row: Dict[str, Any], text: str) -> str:
    words = [word.lower() for word in row["enumvals"]]
    if text.lower() in words:
        return text.lower()
    # Some take booleans, too, which pg_settings does not list: the server judges those.
    if text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()] if BOOLEANS[text.lower()] in words else text.lower()
    raise Wrong("%r is none of %s" % (text, ", ".join(row["enumvals"])))


def amount(text: str, base: str) -> float:
    """A number in the setting's own unit. Raises Wrong."""
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") if text[:2].lower() != "0x" else text
    unit = text[len(digits) :]
    try:
        number = float(int(digits, 16)) if digits[:2].lower() == "0x" else float(digits)
    except ValueError:
        raise Wrong("%r is no number" % text) from None
    if not unit:
        return number
    count = base.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    name = base[len(count) :]
    table = MEMORY if name in MEMORY else TIME if name in TIME else {}
    if unit not in table:
        known = ", ".join(table) or "none: it is a plain number"
        raise Wrong("%r has the unit %s; there is %s" % (text, unit, known))
    return number * table[unit] / (table[name] * int(count or 1))


def names_of(text: str) -> List[str]:
    return [part.strip().strip('"') for part in text.split(",") if part.strip()]


def same(row: Dict[str, Any], one: Optional[Any], other: Optional[Any]) -> bool:
    """Whether two values of a setting mean the same; one that cannot be read is only like itself."""
    if one is None or other is None:
        return one is other
    try:
        return bool(meaning(row, one) == meaning(row, other))
    except Wrong:
        return text_of(one) == text_of(other)


def assignment(name: str, value: Any) -> str:
    """The right side of ALTER SYSTEM SET: a list of names as separate literals, or it would be one name."""
    if name in NAME_LISTS:
        return ", ".join(_sql.literal(one) for one in names_of(text_of(value))) or "''"
    return _sql.literal(text_of(value))
