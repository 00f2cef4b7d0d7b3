"""Editing the lines of an INI file, which keeps everything else in it as it is."""

from __future__ import annotations

from typing import List, Optional, Tuple

from opsplay.agent.spec import Params

BLANKS = " \t"
COMMENTS = ("#", ";")


class Wanted:
    """What a task asks for: the parameters of ini_file, with the values as a list and the conditions read.

    A condition is an option and the values that it has.
    """

    def __init__(self, params: Params, values: List[str], conditions: List[Tuple[str, List[str]]]) -> None:
        self.section: Optional[str] = params.section
        self.option: Optional[str] = params.option
        self.values = values
        self.conditions = conditions
        self.present = params.state == "present"
        self.exclusive: bool = params.exclusive
        self.ignore_spaces: bool = params.ignore_spaces
        self.edits_comments: bool = params.modify_inactive_option
        self._form = "%s=%s\n" if params.no_extra_spaces else "%s = %s\n"

    def line(self, value: Optional[str], option: str = "") -> str:
        """The line of an option; None for no value and no equals sign."""
        option = option or self.option or ""
        return option + "\n" if value is None else self._form % (option, value)

    def lines(self) -> List[str]:
        """The option's lines."""
        if self.option is None:
            return []
        return [self.line(value) for value in self.values] or [self.line(None)]


class Line:
    """A line of a section, with the value it gives the option; None when it is about something else.

    `active` is False for a setting that is commented out. `settled` marks what stays.
    """

    __slots__ = ("text", "value", "active", "settled")

    def __init__(self, text: str, option: str) -> None:
        self.text = text
        self.value: Optional[str] = None
        self.settled = False
        rest = text.rstrip("\n").lstrip(BLANKS)
        self.active = not rest.startswith(COMMENTS)
        if not self.active:
            rest = rest[1:].lstrip(BLANKS)
        after = rest[len(option) :].lstrip(BLANKS)
        if rest.startswith(option) and (not after or after.startswith("=")):
            self.value = after[1:].lstrip(BLANKS)

    @property
    def sets(self) -> bool:
        """Whether it gives the option a value."""
        return self.active and self.value is not None


def lines_of(text: str) -> List[str]:
    """The lines with their ends, the last one's added where it is missing."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line + "\n" for line in lines]


def edit(lines: List[str], wanted: Wanted) -> str:
    """Make the lines what is wanted. Returns what was done, in Ansible's words."""
    start, end = find_section(lines, wanted)
    if start == end and wanted.section:
        return add_section(lines, wanted) if wanted.present else "OK"
    body = lines[start:end]
    if wanted.present:
        message = put(body, wanted) if wanted.option is not None else "OK"
    else:
        message = take(body, wanted)
    lines[start:end] = body
    return message


def find_section(lines: List[str], wanted: Wanted) -> Tuple[int, int]:
    """Where the section's header is and where the section ends; two equal numbers when it is not there."""
    if not wanted.section:
        return 0, next((number for number, line in enumerate(lines) if line.startswith("[")), len(lines))
    start = -1
    for number, line in enumerate(lines + ["["]):
        if start >= 0 and line.startswith("["):
            if has_values(lines[start:number], wanted.conditions):
                return start, number
            start = -1
        if is_header(line, wanted.section):
            start = number
    return 0, 0


def is_header(line: str, section: str) -> bool:
    name, rest = section.strip(), line[1:].lstrip()
    return line.startswith("[") and rest.startswith(name) and rest[len(name) :].lstrip().startswith("]")


def has_values(body: List[str], conditions: List[Tuple[str, List[str]]]) -> bool:
    """Whether a section holds every option of the conditions, with each value that they name."""
    for option, values in conditions:
        found = [line.value for line in (Line(text, option) for text in body) if line.sets]
        if not found or not set(values) <= set(found):
            return False
    return True


def add_section(lines: List[str], wanted: Wanted) -> str:
    lines.append("[%s]\n" % wanted.section)
    for option, values in wanted.conditions:
        if option != wanted.option:
            lines.extend([wanted.line(value, option) for value in values] or [wanted.line(None, option)])
        elif not wanted.exclusive:
            wanted.values += [value for value in values if value not in wanted.values]
    lines.extend(wanted.lines())
    return "only section added" if wanted.option is None else "section and option added"


def put(body: List[str], wanted: Wanted) -> str:
    """See that the section has the option's lines, in the place of lines of the option where there are any."""
    lines = [Line(text, wanted.option or "") for text in body]
    usable = [line for line in lines if line.value is not None and (line.active or wanted.edits_comments)]
    missing: List[Optional[str]] = [*wanted.values] or [None]
    for line in usable:
        value = line.value if wanted.values else line.value or None
        if value in missing:
            missing.remove(value)
            settle(line, value, wanted)
    if wanted.exclusive or not wanted.values:
        for line in usable:
            if missing and not line.settled:
                settle(line, missing.pop(0), wanted)
    if wanted.exclusive:
        lines = [line for line in lines if line.settled or not line.sets]
    before, body[:] = list(body), [line.text for line in lines]
    if missing:
        place = end_of_settings(body)
        body[place:place] = [wanted.line(value) for value in missing]
        return "option added"
    return "OK" if body == before else "option changed"


def settle(line: Line, value: Optional[str], wanted: Wanted) -> None:
    """Let this line give the option its value."""
    line.settled = True
    if not (wanted.ignore_spaces and line.active and line.value == (value or "")):
        line.text = wanted.line(value)


def end_of_settings(body: List[str]) -> int:
    """The number of the line after the last that is neither blank nor a comment."""
    for number in range(len(body), 0, -1):
        text = body[number - 1].strip()
        if text and not text.startswith(COMMENTS):
            return number
    return 0


def take(body: List[str], wanted: Wanted) -> str:
    """Remove the option's lines, or the whole section."""
    before = list(body)
    if wanted.option is None:
        del body[:]
        return "section removed" if before else "OK"
    lines = [Line(text, wanted.option) for text in body]
    gone = [line for line in lines if line.sets and (wanted.exclusive or line.value in wanted.values)]
    body[:] = [line.text for line in lines if line not in gone]
    return "option changed" if gone else "OK"
