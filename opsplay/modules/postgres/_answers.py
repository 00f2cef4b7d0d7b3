"""Statements run one by one, with their rows typed and what they changed counted."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from opsplay.modules.postgres._connect import Connection
from opsplay.modules.postgres._statements import COUNTED, LOOKS

DML = ("insert", "update", "delete", "merge")
# Statements whose rows can be taken as JSON.
WRAPPED = ("select", "values", "table", "with")


class Answer:
    """What a statement gave: its rows (None: it has none) and how many it returned or changed."""

    __slots__ = ("rows", "count", "changed")

    def __init__(self, rows: Optional[List[Dict[str, Any]]], count: int, changed: bool) -> None:
        self.rows = rows
        self.count = count
        self.changed = changed


def only_looks(words: List[str]) -> bool:
    """Whether a statement is of a kind that reads; a function that it calls may write all the same."""
    return words[0] in LOOKS and "into" not in words and not any(word in DML for word in words)


def ask(conn: Connection, words: List[str], sql: str) -> Answer:
    """Run one statement. Raises SqlError."""
    if words[0] in WRAPPED and only_looks(words):
        found = conn.rows(sql)
        return Answer(found, len(found), False)
    if words[0] in DML and "returning" in words:
        text = "WITH q AS (%s\n) SELECT coalesce(json_agg(row_to_json(q)), '[]') FROM q"
        returned = _json(conn.execute(text % sql))
        return Answer(returned, len(returned), bool(returned))
    rows, count = _as_text(conn, sql)
    if words[0] in COUNTED:
        return Answer(rows, count, count > 0)
    return Answer(rows, len(rows) if rows is not None else 0, not only_looks(words))


def _json(text: str) -> List[Dict[str, Any]]:
    import json

    return list(json.loads(text))


def _as_text(conn: Connection, sql: str) -> Tuple[Optional[List[Dict[str, Any]]], int]:
    """Rows as texts, None for a statement without, and the count that the server gave."""
    import csv
    import os

    null = "opsplay-null-%s" % os.urandom(6).hex()
    text = "\\pset format csv\n\\pset tuples_only off\n\\pset null %s\n%s\n;\n" % (null, sql)
    text += "\\pset format unaligned\n\\pset tuples_only on\n\\pset null ''\n\\echo :ROW_COUNT\n"
    said = conn.execute(text).rstrip("\n").split("\n")
    count = int(said.pop())
    lines = list(csv.reader(line + "\n" for line in said))
    if not said or not lines or not lines[0]:
        return None, count
    return [_record(lines[0], line, null) for line in lines[1:]], count


def _record(names: List[str], line: List[str], null: str) -> Dict[str, Any]:
    return {name: None if text == null else text for name, text in zip(names, line)}  # noqa: B905
