"""Values and names as SQL writes them."""

from __future__ import annotations

from typing import Any


def literal(value: Any) -> str:
    """A value as an SQL literal, whatever standard_conforming_strings says. Raises ValueError for a NUL byte."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value)
    if "\0" in text:
        raise ValueError("a text of PostgreSQL cannot hold a NUL byte")
    quoted = "'%s'" % text.replace("'", "''").replace("\\", "\\\\")
    return " E" + quoted if "\\" in text else quoted


def identifier(*names: str) -> str:
    """A quoted name, with its schema before it where two are given. Raises ValueError for one that cannot be."""
    for name in names:
        if not name or "\0" in name:
            raise ValueError("%r is no name" % name)
    return ".".join('"%s"' % name.replace('"', '""') for name in names)
