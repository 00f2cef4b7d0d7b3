"""Keep a block of lines between two marker lines in a text file."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple
from typing import List as ListOf

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Params, Str
from opsplay.modules.files._editing import EDITING, as_bytes, compiled, keep_ends, open_text, placed_once, save

PARAMS = dict(
    EDITING,
    state=Choice("present", "absent", default="present", help="Whether the block shall be there"),
    block=Str(default="", aliases=("content",), help="The lines between the markers; an empty block is removed"),
    marker=Str(default="# {mark} ANSIBLE MANAGED BLOCK", help="The marker lines; {mark} is replaced"),
    marker_begin=Str(default="BEGIN", help="What {mark} becomes in the line before the block"),
    marker_end=Str(default="END", help="What {mark} becomes in the line after the block"),
    insertafter=Str(help="A new block comes after the last line that this regular expression finds, or EOF"),
    insertbefore=Str(help="A new block comes before the last line that this regular expression finds, or BOF"),
    create=Bool(default=False, help="Make the file when it is absent"),
    append_newline=Bool(default=False, help="See that an empty line follows the block"),
    prepend_newline=Bool(default=False, help="See that an empty line comes before the block"),
)
CHECK = "exact"
EXCLUSIVE = (("insertbefore", "insertafter"),)


def run(host: Host, params: Params) -> Dict[str, Any]:
    placed_once(host, params)
    text = open_text(host, params, params.create, "Path %s does not exist !")
    if text.content is None and params.state == "absent":
        return host.outcome(msg="File %s not present" % text.path)
    lines = keep_ends(text.content or b"")
    block = wanted_block(params)
    insert(params, lines, block, make_room(host, params, lines))
    content = b"".join(lines)
    message = "File created" if text.content is None else "Block inserted" if block else "Block removed"
    result = save(host, params, text, content, message)
    if host.backup_file:
        result["backup_file"] = host.backup_file
    return result


def markers(params: Params) -> Tuple[bytes, bytes]:
    """The lines before and after the block."""
    begin = params.marker.replace("{mark}", params.marker_begin)
    end = params.marker.replace("{mark}", params.marker_end)
    return as_bytes(begin + "\n"), as_bytes(end + "\n")


def wanted_block(params: Params) -> ListOf[bytes]:
    """The block with its markers; empty when there shall be none."""
    if params.state == "absent" or not params.block:
        return []
    begin, end = markers(params)
    block = as_bytes(params.block)
    return [begin, block if block.endswith(b"\n") else block + b"\n", end]


def make_room(host: Host, params: Params, lines: ListOf[bytes]) -> int:
    """Take the present block out. Returns the number of the line before which the new one belongs."""
    begin, end = markers(params)
    first = last_index(lines, begin)
    last = last_index(lines, end)
    if first is None or last is None:
        return new_place(host, params, lines)
    first, last = min(first, last), max(first, last)
    del lines[first : last + 1]
    return first


def last_index(lines: ListOf[bytes], wanted: bytes) -> Optional[int]:
    """The number of the last line that is a marker; at the end of the file it may lack its line end."""
    found = None
    for number, line in enumerate(lines):
        if line == wanted:
            found = number
    return found


def new_place(host: Host, params: Params, lines: ListOf[bytes]) -> int:
    """Where a block goes that is not there yet."""
    if params.insertbefore == "BOF":
        return 0
    name = "insertbefore" if params.insertbefore is not None else "insertafter"
    if params[name] in (None, "EOF"):
        return len(lines)
    pattern = compiled(host, params[name], name)
    whole = b"".join(lines)
    # 8 is re.MULTILINE: with (?m) the expression is meant for the file as a whole.
    if pattern.flags & 8:
        match = pattern.search(whole)
        if match is None:
            return len(lines)
        return whole.count(b"\n", 0, match.end() if name == "insertafter" else match.start()) + (name == "insertafter")
    found = [number for number, line in enumerate(lines) if pattern.search(line)]
    if not found:
        return len(lines)
    return found[-1] + (1 if name == "insertafter" else 0)


def insert(params: Params, lines: ListOf[bytes], block: ListOf[bytes], place: int) -> None:
    """Put the block before the line of this number, with the empty lines that are asked for."""
    if place > 0 and not lines[place - 1].endswith(b"\n"):
        lines[place - 1] += b"\n"
    present = params.state == "present"
    if present and params.prepend_newline and place > 0 and lines[place - 1] != b"\n":
        lines.insert(place, b"\n")
        place += 1
    lines[place:place] = block
    after = place + len(block)
    if present and params.append_newline and after < len(lines) and lines[after] != b"\n":
        lines.insert(after, b"\n")
