"""An admin's own SQL before psql sees it: cut into statements, values put in, nothing left that psql would obey."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from opsplay.modules.postgres import _sql

WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789"
# These only look; whatever else begins a statement may change something.
LOOKS = ("select", "with", "values", "table", "show", "explain", "fetch")
# These say how many rows they changed.
COUNTED = ("insert", "update", "delete", "merge", "copy")


class Malformed(Exception):
    """SQL that cannot be handed to psql as it is: `str()` says why."""


class Scanner:
    """Reads SQL as PostgreSQL's lexer does (quotes, dollar quotes, comments), as far as statements need it."""

    def __init__(self, text: str, value_of: Callable[[str], Optional[str]]) -> None:
        self.text = text
        self.value_of = value_of
        self.at = 0
        self.depth = 0
        self.parts: List[str] = []
        self.words: List[str] = []
        self.bodies = 0
        self.found: List[Tuple[List[str], str]] = []

    def statements(self) -> List[Tuple[List[str], str]]:
        """Each statement: its words outside of quotes in small letters, and its text. Raises Malformed."""
        if "standard_conforming_strings" in self.text.lower():
            raise Malformed("standard_conforming_strings changes how SQL is read; leave it alone")
        if "\0" in self.text:
            raise Malformed("SQL cannot hold a NUL byte")
        while self.at < len(self.text):
            self._step()
        self._end()
        return self.found

    def _step(self) -> None:
        char, rest = self.text[self.at], self.text[self.at : self.at + 2]
        if char in "'\"":
            self._quoted(char)
        elif rest == "--":
            end = self.text.find("\n", self.at)
            self._keep(len(self.text) if end < 0 else end)
        elif rest == "/*":
            self._comment()
        elif char == "$":
            self._dollar()
        elif char == "%" and rest == "%(":
            self._named()
        elif char in WORD or ord(char) > 127:
            self._word()
        elif char == "\\":
            raise Malformed("a backslash outside of quotes would be a command of psql: %r" % self._near())
        elif char == ":":
            self._colon()
        elif char == ";" and not self.depth and not self.bodies:
            self.at += 1
            self._end()
        else:
            self.depth += {"(": 1, ")": -1}.get(char, 0)
            if self.depth < 0:
                raise Malformed("a parenthesis is closed that was not opened: %r" % self._near())
            self._keep(self.at + 1)

    def _keep(self, end: int) -> None:
        self.parts.append(self.text[self.at : end])
        self.at = end

    def _near(self) -> str:
        return self.text[max(0, self.at - 20) : self.at + 20]

    def _quoted(self, quote: str) -> None:
        before = self.text[max(0, self.at - 2) : self.at]
        escapes = quote == "'" and before[-1:] in ("e", "E") and before[:-1] not in tuple(WORD)
        end = self.at + 1
        while end < len(self.text):
            if escapes and self.text[end] == "\\":
                end += 2
            elif self.text[end] != quote:
                end += 1
            elif self.text[end + 1 : end + 2] == quote:
                end += 2
            else:
                self._keep(end + 1)
                return
        raise Malformed("a quote is not closed: %r" % self._near())

    def _comment(self) -> None:
        end, level = self.at + 2, 1
        while level:
            if end >= len(self.text):
                raise Malformed("a comment is not closed: %r" % self._near())
            pair = self.text[end : end + 2]
            level += {"/*": 1, "*/": -1}.get(pair, 0)
            end += 2 if pair in ("/*", "*/") else 1
        self._keep(end)

    def _dollar(self) -> None:
        """A dollar quote, a numbered parameter, or just a dollar."""
        end = self.at + 1
        while end < len(self.text) and (self.text[end] in WORD or ord(self.text[end]) > 127):
            end += 1
        name = self.text[self.at + 1 : end]
        if self.text[end : end + 1] == "$" and not name[:1].isdigit():
            mark = self.text[self.at : end + 1]
            closing = self.text.find(mark, end + 1)
            if closing < 0:
                raise Malformed("the quote %s is not closed: %r" % (mark, self._near()))
            self._keep(closing + len(mark))
            return
        self._replace(name if name.isdigit() else "", max(end, self.at + 1))

    def _named(self) -> None:
        """`%(name)s`, or else a modulo."""
        end = self.text.find(")s", self.at)
        name = self.text[self.at + 2 : end] if end > 0 else ""
        whole = name and not name.strip(WORD) and self.text[end + 2 : end + 3] not in tuple(WORD)
        self._replace(name if whole else "", end + 2 if whole else self.at + 1)

    def _replace(self, name: str, end: int) -> None:
        value = self.value_of(name) if name else None
        if value is None:
            self._keep(end)
            return
        self.parts.append(value)
        self.at = end

    def _word(self) -> None:
        end = self.at
        # A dollar may stand within a name.
        while end < len(self.text) and (self.text[end] in WORD + "$" or ord(self.text[end]) > 127):
            end += 1
        word = self.text[self.at : end].lower()
        if word == "atomic" and self.words[-1:] == ["begin"] and self.words[:1] == ["create"]:
            self.bodies += 1
        elif self.bodies:
            self.bodies += {"case": 1, "end": -1}.get(word, 0)
        self.words.append(word)
        self._keep(end)

    def _colon(self) -> None:
        """psql would put a variable of its own in place of `:name`; a blank between them keeps it from that."""
        run = self.at
        while self.text[run : run + 1] == ":":
            run += 1
        self._keep(run)
        if len(self.parts[-1]) == 1:
            self.parts.append(" " if self.text[run : run + 1] not in ("=", "") else "")

    def _end(self) -> None:
        if self.depth or self.bodies:
            raise Malformed("a statement ends before all that it opened is closed")
        text = "".join(self.parts).strip()
        if self.words:
            self.found.append((self.words, text))
        self.parts, self.words = [], []


def statements(text: str, params: Any = None) -> List[Tuple[List[str], str]]:
    """An admin's SQL as statements with its parameters in them: `%(name)s` of a dictionary, `$1` of a list.

    Raises Malformed for what psql would not read as PostgreSQL does, for a parameter that is missing or not used.
    """
    known: Dict[str, Any] = {}
    if isinstance(params, dict):
        known = {str(name): value for name, value in params.items()}
    elif params is not None:
        known = {str(number): value for number, value in enumerate(params, 1)}
    used: Set[str] = set()

    def value_of(name: str) -> Optional[str]:
        if params is None:
            return None
        if name not in known:
            raise Malformed("the query names the parameter %s, which is not given" % name)
        used.add(name)
        return value(known[name])

    found = Scanner(text, value_of).statements()
    for name in sorted(set(known) - used):
        raise Malformed("the parameter %s is given and the query does not use it outside of quotes" % name)
    if not found:
        raise Malformed("there is no statement in the query")
    return found


def value(given: Any) -> str:
    """A parameter as SQL: lists are arrays, dictionaries JSON. Raises Malformed."""
    if isinstance(given, (list, tuple)):
        return "ARRAY[%s]" % ", ".join(value(one) for one in given)
    if isinstance(given, dict):
        import json

        given = json.dumps(given)
    if isinstance(given, float) and given - given != 0:
        # Infinity and NaN.
        given = repr(given)
    try:
        text = _sql.literal(given)
    except ValueError as problem:
        raise Malformed(str(problem)) from None
    # Two minus signs would begin a comment.
    return "(%s)" % text if text.startswith("-") else text
