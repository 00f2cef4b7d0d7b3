"""The text of a crontab: entries under marker lines, variables, and foreign lines that stay as they are."""

from __future__ import annotations

from typing import List, Optional

MARKER = "#Ansible: "


class Crontab:
    """The lines of a crontab. An entry is its marker line with the line below."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        if self.lines[-1] == "":
            self.lines.pop()

    def __str__(self) -> str:
        return "".join(line + "\n" for line in self.lines)

    # --- jobs ---

    def jobs(self) -> List[str]:
        """The names of all marked entries."""
        return [line[len(MARKER) :] for line in self.lines if line.startswith(MARKER)]

    def set_job(self, name: str, line: str) -> None:
        """Make the entry's line this one; a line just like it that has no marker gets the marker."""
        places = self._markers(name)
        if not places:
            if not self._adopt(name, line):
                self.lines += [MARKER + name, line]
            return
        for place in reversed(places):
            if self._has_line(place):
                self.lines[place + 1] = line
            else:
                self.lines.insert(place + 1, line)

    def remove_job(self, name: str) -> None:
        """Remove the entry, however often it is there."""
        for place in reversed(self._markers(name)):
            del self.lines[place : place + (2 if self._has_line(place) else 1)]

    def _markers(self, name: str) -> List[int]:
        return [place for place, line in enumerate(self.lines) if line == MARKER + name]

    def _has_line(self, place: int) -> bool:
        """Whether a marker has a line of its own: not the end, a blank line, or the next marker."""
        below = self.lines[place + 1] if place + 1 < len(self.lines) else ""
        return bool(below.strip()) and not below.startswith(MARKER)

    def _adopt(self, name: str, line: str) -> bool:
        for place, existing in enumerate(self.lines):
            if existing == line and not (place and self.lines[place - 1].startswith(MARKER)):
                self.lines.insert(place, MARKER + name)
                return True
        return False

    # --- variables ---

    def variables(self) -> List[str]:
        """The names of all variables."""
        return [name for name in map(variable_name, self.lines) if name]

    def set_variable(self, name: str, value: str, after: Optional[str] = None, before: Optional[str] = None) -> bool:
        """Set a variable; a new one goes to the top, or beside another. Returns whether that other one is there."""
        line = '%s="%s"' % (name, value)
        place = self._variable(name)
        if place is not None:
            self.lines[place] = line
            return True
        place = 0
        if after or before:
            found = self._variable(str(after or before))
            if found is None:
                return False
            place = found + 1 if after else found
        self.lines.insert(place, line)
        return True

    def remove_variable(self, name: str) -> None:
        """Remove a variable's line."""
        self.lines = [line for line in self.lines if variable_name(line) != name]

    def _variable(self, name: str) -> Optional[int]:
        for place, line in enumerate(self.lines):
            if variable_name(line) == name:
                return place
        return None


def variable_name(line: str) -> str:
    """The variable that a line sets (crontab(5)); empty when it is a job, a comment or blank."""
    name, equals, _ = line.partition("=")
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1]
    if not equals or not name or name[0] in "#@*" or any(char.isspace() for char in name):
        return ""
    return name


def job_line(schedule: str, user: Optional[str], job: str, disabled: bool) -> str:
    """An entry's line. Files of the system name the user after the schedule."""
    words = [schedule] + ([user] if user else []) + [job]
    return ("#" if disabled else "") + " ".join(words)
