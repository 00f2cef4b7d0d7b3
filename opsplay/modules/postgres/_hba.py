"""Rules of pg_hba.conf: as data, as lines, and where the block that holds them lies."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
FIELDS = ("type", "databases", "users", "address", "method", "options", "comment")
# Words that mean something else when they are quoted.
WORDS = ("all", "sameuser", "samerole", "samegroup", "replication", "samehost", "samenet")
BEGIN, END = "# BEGIN opsplay %s", "# END opsplay %s"


class Malformed(Exception):
    """A rule that cannot be written: `str()` says why."""


def line(rule: Any) -> str:
    """A rule as its line. Raises Malformed."""
    if not isinstance(rule, dict):
        raise Malformed("a rule is a dictionary of %s, not %r" % (", ".join(FIELDS), rule))
    unknown = sorted(set(rule) - set(FIELDS))
    if unknown:
        raise Malformed("a rule has no %s; it has %s" % (", ".join(map(str, unknown)), ", ".join(FIELDS)))
    kind = rule.get("type", "host")
    if kind not in TYPES:
        raise Malformed("%r is none of %s" % (kind, ", ".join(TYPES)))
    if not rule.get("method"):
        raise Malformed("a rule needs its method: %r" % (rule,))
    if (kind == "local") == bool(rule.get("address")):
        raise Malformed("a rule of type %s has %s address: %r" % (kind, "no" if kind == "local" else "an", rule))
    parts = [kind, names(rule.get("databases", "all")), names(rule.get("users", "all"))]
    parts += [word(rule["address"])] if kind != "local" else []
    parts.append(word(rule["method"]))
    options = rule.get("options") or {}
    if not isinstance(options, dict):
        raise Malformed("options are a dictionary, not %r" % (options,))
    for name, value in sorted(options.items()):
        text = ("1" if value else "0") if isinstance(value, bool) else str(value)
        parts.append("%s=%s" % (name, word(text)))
    text = " ".join(parts)
    if rule.get("comment"):
        text += "  # %s" % " ".join(str(rule["comment"]).split())
    return text


def names(given: Any) -> str:
    listed = given if isinstance(given, (list, tuple)) else str(given).split(",")
    found = [word(str(one).strip()) for one in listed]
    if not found:
        raise Malformed("a rule without databases or users matches nothing")
    return ",".join(found)


def word(given: Any) -> str:
    """A word, quoted where it must be. Raises Malformed."""
    text = str(given)
    if not text or "\n" in text or "\0" in text:
        raise Malformed("%r cannot be a part of a rule" % text)
    if text.startswith('"') and text.endswith('"') and len(text) > 2:
        return text
    plain = text.lstrip("+@/") if text[0] in "+@/" else text
    if any(char in ' \t,#"' for char in plain):
        return '"%s"' % text.replace('"', '""')
    return text


def without(lines: List[str], name: str) -> Tuple[List[str], int]:
    """The lines without the block of this name, and where it was; -1 when there is none."""
    begin, end = BEGIN % name, END % name
    if begin not in lines:
        return lines, -1
    start = lines.index(begin)
    stop = lines.index(end, start) if end in lines[start:] else len(lines) - 1
    return lines[:start] + lines[stop + 1 :], start


def edited(text: str, name: str, rules: List[str], place: str) -> str:
    """The file with the block in its place: before the first rule, behind the last, or where it is already."""
    lines = text.split("\n")
    while lines and not lines[-1]:
        lines.pop()
    kept, at = without(lines, name)
    if rules:
        first = next((number for number, one in enumerate(kept) if is_rule(one)), len(kept))
        while first > 0 and place == "first" and kept[first - 1].startswith("#") and " opsplay " in kept[first - 1]:
            first -= 1
        wanted = first if place == "first" else len(kept)
        # A block in front of all rules stays where it is, whatever comments stand around it.
        if at >= 0 and place == "first" and not any(is_rule(one) for one in kept[:at]):
            wanted = at
        if at >= 0 and place == "last" and not any(is_rule(one) for one in kept[at:]):
            wanted = at
        kept = kept[:wanted] + [BEGIN % name] + rules + [END % name] + kept[wanted:]
    return "\n".join(kept) + "\n"


def is_rule(text: str) -> bool:
    return bool(text.strip()) and not text.lstrip().startswith("#")


def whole(rules: List[str]) -> str:
    """A file of these rules alone."""
    return "# Rules are read from top to bottom, and the first that matches decides.\n" + "".join(
        rule + "\n" for rule in rules
    )


def describe(errors: List[Dict[str, Any]], text: str) -> str:
    """The server's complaints, each with the line that it is about."""
    lines = text.split("\n")
    found = []
    for row in errors[:5]:
        number = int(row["line_number"])
        found.append("line %d (%s): %s" % (number, lines[number - 1] if number <= len(lines) else "", row["error"]))
    return "; ".join(found)
