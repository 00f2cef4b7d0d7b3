"""Who published the installed packages, as apt knows from its lists."""

from __future__ import annotations

from typing import Dict, List

from opsplay.agent.host import Host
from opsplay.modules.packages import _lists

C_LOCALE = {"LC_ALL": "C"}


def origins(host: Host, names: List[str]) -> Dict[str, str]:
    """The origin, e.g. Debian, by the names given (with architecture); those that no list has are left out."""
    if not names or not _lists.are_here():
        return {}
    publishers = publishers_of_lists(host.query(["apt-cache", "policy"], env=C_LOCALE).stdout)
    found: Dict[str, str] = {}
    text = host.query(["apt-cache", "policy", "--"] + names, env=C_LOCALE).stdout
    name, is_installed = "", False
    for line in text.split("\n"):
        if line and not line.startswith(" "):
            name, is_installed = line.rstrip(":"), False
        elif line.startswith(" *** "):
            is_installed = True
        elif line.startswith("     ") and not line.startswith("        "):
            is_installed = False
        elif is_installed and name not in found:
            found[name] = publishers.get(source_of(line), "")
    return found


def publishers_of_lists(text: str) -> Dict[str, str]:
    """The publisher of each list that `apt-cache policy` names; a `release` line follows the list's own."""
    found: Dict[str, str] = {}
    source = ""
    for line in text.split("\n"):
        word, _, rest = line.strip().partition(" ")
        if word == "release" and source:
            fields = dict(field.partition("=")[::2] for field in rest.split(","))
            found[source] = fields.get("o", "")
        elif word.lstrip("-").isdigit():
            source = rest
    return found


def source_of(line: str) -> str:
    """A list as both outputs write it, without its priority."""
    return line.strip().partition(" ")[2]
