"""See that a line is in a text file, replace it, or remove it."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple
from typing import List as ListOf

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Params, Str
from opsplay.modules.files._editing import (
    EDITING,
    as_bytes,
    compiled,
    keep_ends,
    open_text,
    placed_once,
    plain_pattern,
    save,
)

PARAMS = dict(
    EDITING,
    state=Choice("present", "absent", default="present", help="Whether the line shall be there"),
    line=Str(aliases=("value",), help="The line"),
    regexp=Str(aliases=("regex",), help="The last line that this regular expression finds is replaced, or all removed"),
    search_string=Str(help="As regexp, but a plain text that the line contains"),
    backrefs=Bool(default=False, help="Replace \\1 and the like in line from regexp; without a match change nothing"),
    insertafter=Str(help="A new line comes after the last line that this regular expression finds, or EOF, BOF"),
    insertbefore=Str(help="A new line comes before the last line that this regular expression finds, or BOF"),
    firstmatch=Bool(default=False, help="Let the first line that is found count, not the last"),
    create=Bool(default=False, help="Make the file when it is absent"),
)
CHECK = "exact"
EXCLUSIVE = (("regexp", "search_string"), ("insertbefore", "insertafter"))


def run(host: Host, params: Params) -> Dict[str, Any]:
    refuse_contradictions(host, params)
    for name in ("regexp", "search_string"):
        if params[name] == "":
            host.warn("%s is empty and matches every line of the file; leave it out to match none" % name)
    if params.state == "absent":
        return remove(host, params)
    text = open_text(host, params, params.create, "Destination %s does not exist !")
    lines = keep_ends(text.content or b"")
    message = insert(host, params, lines, as_bytes(params.line))
    result = save(host, params, text, b"".join(lines) if message else None, message)
    return dict(result, backup=host.backup_file)


def refuse_contradictions(host: Host, params: Params) -> None:
    placed_once(host, params)
    for other in ("regexp", "backrefs"):
        if params.search_string is not None and params[other]:
            host.fail("parameters are mutually exclusive: %s|search_string" % other)
    if params.state == "absent":
        if params.regexp is None and params.search_string is None and params.line is None:
            host.fail("one of line, search_string, or regexp is required with state=absent")
        return
    if params.backrefs and params.regexp is None:
        host.fail("regexp is required with backrefs=true")
    if params.line is None:
        host.fail("line is required with state=present")


def insert(host: Host, params: Params, lines: ListOf[bytes], line: bytes) -> str:
    """Put the line where it belongs. Returns what was done, empty for nothing."""
    place, match = find(host, params, lines)
    if place is None:
        for number, current in enumerate(lines):
            if current.rstrip(b"\r\n") == line:
                place = number
    if place is not None:
        wanted = match.expand(line) if params.backrefs and match is not None else line
        wanted += b"" if wanted.endswith(b"\n") else b"\n"
        if lines[place] == wanted:
            return ""
        lines[place] = wanted
        return "line replaced"
    if params.backrefs:
        return ""
    return add(host, params, lines, line)


def find(host: Host, params: Params, lines: ListOf[bytes]) -> Tuple[Optional[int], Any]:
    """The number of the line that regexp or search_string finds, and the match of a regexp."""
    place, match = None, None
    matcher = line_matcher(host, params)
    if matcher is None:
        return None, None
    for number, current in enumerate(lines):
        found = matcher(current)
        if found:
            place, match = number, found
            if params.firstmatch:
                break
    return place, match if params.search_string is None else None


def line_matcher(host: Host, params: Params) -> Any:
    """What tells whether a line is meant, by regexp or search_string; None when neither is given."""
    if params.regexp is not None:
        plain = None if params.backrefs else plain_pattern(params.regexp)
        return (plain or compiled(host, params.regexp, "regexp")).search
    if params.search_string is not None:
        text = as_bytes(params.search_string)
        return lambda line: text in line
    return None


def add(host: Host, params: Params, lines: ListOf[bytes], line: bytes) -> str:
    """Insert a line that is not there yet."""
    if "BOF" in (params.insertbefore, params.insertafter):
        lines.insert(0, line + b"\n")
        return "line added"
    place = neighbour(host, params, lines)
    if place is not None and params.insertafter is not None:
        place += 1
        # The line may be there already, but for the ends of lines.
        if place < len(lines) and lines[place].rstrip(b"\r\n") == line:
            return ""
    if place is None or place == len(lines):
        if lines and lines[-1][-1:] not in (b"\n", b"\r"):
            lines[-1] += b"\n"
        place = len(lines)
    lines.insert(place, line + b"\n")
    return "line added"


def neighbour(host: Host, params: Params, lines: ListOf[bytes]) -> Optional[int]:
    """The number of the line that insertafter or insertbefore finds."""
    name = "insertafter" if params.insertafter is not None else "insertbefore"
    if params[name] in (None, "EOF"):
        return None
    pattern = plain_pattern(params[name]) or compiled(host, params[name], name)
    place = None
    for number, current in enumerate(lines):
        if pattern.search(current):
            place = number
            if params.firstmatch:
                break
    return place


def remove(host: Host, params: Params) -> Dict[str, Any]:
    path = host.real(params.path)
    if not host.exists(path):
        return host.outcome(msg="file not present")
    text = open_text(host, params, False, "%s")
    matcher = line_matcher(host, params) or exactly(as_bytes(params.line))
    lines = keep_ends(text.content or b"")
    kept = [line for line in lines if not matcher(line)]
    found = len(lines) - len(kept)
    result = save(host, params, text, b"".join(kept) if found else None, "%d line(s) removed" % found)
    return dict(result, found=found, backup=host.backup_file)


def exactly(wanted: bytes) -> Any:
    return lambda line: line.rstrip(b"\r\n") == wanted
