"""Settings in files of keys and values: changed in their place, comments and order kept."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from opsplay.agent.host import Host


def read_text(host: Host, path: str) -> str:
    """A file's text; empty when it is not there, or when a preview cannot know it."""
    if not host.exists(path) or not host.knows(path):
        return ""
    return host.read(path).decode("utf-8", "surrogateescape")


def setting(line: str) -> Optional[Tuple[str, str]]:
    """Key and value of a line (`KEY value`, `key = value` or a bare key); None for comments and empty lines."""
    text = line.partition("#")[0].strip()
    if not text:
        return None
    words = text.replace("=", " = ", 1).split(None, 1)
    value = words[1].strip() if len(words) > 1 else ""
    return words[0], value[1:].strip() if value.startswith("=") else value


def commented(line: str, key: str) -> bool:
    """Whether a line shows this key as a comment, as files of packages do with their defaults."""
    text = line.strip()
    found = setting(text.lstrip("# \t")) if text.startswith("#") else None
    return found is not None and found[0] == key


def edited(text: str, wanted: Dict[str, Optional[str]], written: str) -> str:
    """The text with each key at its value: in its place, behind the comment that shows it, or at the end.

    A value of None takes the key out, an empty one writes the bare key. `written` is how a line looks, with %s for key
    and value.
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    for key, value in wanted.items():
        places = [number for number, line in enumerate(lines) if (setting(line) or ("",))[0] == key]
        if value is not None and len(places) == 1 and setting(lines[places[0]]) == (key, value):
            continue
        shown = [number + 1 for number, line in enumerate(lines) if commented(line, key)]
        place = places[0] if places else shown[-1] if shown else len(lines)
        kept = [line for number, line in enumerate(lines[place:], place) if number not in places]
        line = [] if value is None else [key if value == "" else written % (key, value)]
        lines = lines[:place] + line + kept
    return "".join(line + "\n" for line in lines)


def without(text: str, keys: List[str]) -> str:
    """The text with the lines of these keys made comments."""
    lines = [("# " + line) if (setting(line) or ("",))[0] in keys else line for line in text.split("\n")]
    return "\n".join(lines)
