"""Files of KEY=value lines as systemd (EnvironmentFile=) and sh (`. file`) read them, where the two agree."""

from __future__ import annotations

from typing import Dict, List, Optional

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
PLAIN = frozenset(LETTERS + "0123456789_@%+=:,./-")
# Within double quotes a backslash takes the meaning from these, for sh and for systemd alike.
ESCAPED = '"\\$`'


class Piece:
    """A stretch of the file: an assignment (which may go over lines), or a line that is none.

    `value` is None where systemd and sh would read it differently, or not at all.
    """

    __slots__ = ("text", "key", "value", "prefix")

    def __init__(self, text: str, key: str = "", value: Optional[str] = None, prefix: str = "") -> None:
        self.text = text
        self.key = key
        self.value = value
        self.prefix = prefix


def is_name(key: str) -> bool:
    """Whether this can be a variable's name."""
    return bool(key) and not key[0].isdigit() and not set(key) - set(LETTERS + "0123456789_")


def written(value: str) -> str:
    """The value in quotes in which systemd and sh both take it literally. Raises ValueError where there are none."""
    odd = sorted(char for char in value if ord(char) < 32 and char not in "\n\t" or ord(char) == 127)
    if odd:
        raise ValueError("holds the control character %r" % odd[0])
    if not set(value) - PLAIN:
        return value
    if "'" not in value and "\\" not in value:
        return "'%s'" % value
    return '"%s"' % "".join("\\" + char if char in ESCAPED else char for char in value)


def pieces(text: str) -> List[Piece]:
    """The file, taken apart. All texts together are the file again."""
    found = []
    place = 0
    while place < len(text):
        end = end_of_line(text, place)
        line = text[place:end]
        body = line.lstrip(" \t")
        prefix = "export " if body.startswith("export ") else ""
        key, equals, _ = body[len(prefix) :].lstrip(" ").partition("=")
        if not equals or body[:1] in ("#", ";") or not is_name(key):
            found.append(Piece(line))
            place = end
            continue
        start = place + line.index("=") + 1
        value, end = read(text, start)
        found.append(Piece(text[place:end], key, value, prefix))
        place = end
    return found


def end_of_line(text: str, place: int) -> int:
    return text.find("\n", place) + 1 or len(text)


def read(text: str, start: int) -> "tuple[Optional[str], int]":
    """The value that begins at `start`, and where the next line begins."""
    value, quote, place, agreed, blank = "", "", start, True, False
    while place < len(text):
        char = text[place]
        following = text[place + 1 : place + 2]
        if quote:
            if char == quote:
                quote = ""
            elif quote == '"' and char == "\\" and following in tuple(ESCAPED):
                value += following
                place += 1
            else:
                # sh would expand these, systemd would not; older systemds know escapes within single quotes.
                agreed = agreed and not (char in "$`" and quote == '"') and char != "\\"
                value += char
        elif char == "\n":
            return (value if agreed else None), place + 1
        elif char in "'\"" and not blank:
            quote = char
        elif char in PLAIN and not blank:
            value += char
        else:
            # Blanks at the end are for nobody; whatever else is read in two ways.
            blank = True
            agreed = agreed and char in " \t"
            if char == "\\" and following == "\n":
                place += 1
        place += 1
    if quote:
        # It never ends: only this line is taken for it.
        return None, end_of_line(text, start)
    return (value if agreed else None), place


def edited(text: str, wanted: Dict[str, str], unwanted: List[str], exclusive: bool) -> List[Piece]:
    """The pieces with each wanted key at its value, in the place of the first; the last one counts when read."""
    found = pieces(text)
    last = {piece.key: piece.value for piece in found if piece.key}
    result: List[Piece] = []
    done = set()
    for piece in found:
        key = piece.key
        if key and (key in unwanted or (exclusive and key not in wanted)):
            continue
        if key not in wanted or last[key] == wanted[key]:
            result.append(piece)
        elif key not in done:
            line = "%s%s=%s\n" % (piece.prefix, key, written(wanted[key]))
            result.append(Piece(line, key, wanted[key], piece.prefix))
        done.add(key)
    missing = [key for key in wanted if key not in done]
    if missing and result and not result[-1].text.endswith("\n"):
        result[-1].text += "\n"
    result += [Piece("%s=%s\n" % (key, written(wanted[key])), key, wanted[key]) for key in missing]
    return result


def masked(found: List[Piece], changed: "set[str]", word: str) -> str:
    """The pieces as they may be shown: comments as they are, values hidden, `word` behind those that change."""
    lines = []
    for piece in found:
        if not piece.key:
            lines.append(piece.text if piece.text.endswith("\n") else piece.text + "\n")
        else:
            note = word if piece.key in changed else ""
            lines.append("%s%s=********%s\n" % (piece.prefix, piece.key, note))
    return "".join(lines)
