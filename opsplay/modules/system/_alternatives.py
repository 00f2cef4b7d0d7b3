"""A group of alternatives as update-alternatives(1) of Debian or Red Hat keeps it: a file, and a link."""

from __future__ import annotations

from typing import Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.shadow import Node

DEBIAN, RED_HAT = "/var/lib/dpkg/alternatives/", "/var/lib/alternatives/"
LINKS = "/etc/alternatives/"


class Alternative:
    """One choice: its priority, the paths of its subcommands by their names, and with Red Hat perhaps its family."""

    __slots__ = ("priority", "subcommands", "family")

    def __init__(self, priority: int, subcommands: Dict[str, str], family: str = "") -> None:
        self.priority = priority
        self.family = family
        self.subcommands = subcommands

    def __str__(self) -> str:
        """As a difference shows it."""
        lines = ["%s %s" % (name, path) for name, path in sorted(self.subcommands.items())]
        if self.family:
            lines.insert(0, "family " + self.family)
        return "".join(line + "\n" for line in ["priority %d" % self.priority] + lines)

    @property
    def rank(self) -> str:
        """Family and priority as Red Hat's file has them: @FAMILY@PRIORITY; without a family the priority alone."""
        return "@%s@%d" % (self.family, self.priority) if self.family else str(self.priority)


class Group:
    """A group: whether it follows the priorities by itself, its link, its subcommands' links, its choices by path."""

    __slots__ = ("name", "is_automatic", "link", "subcommands", "choices", "current")

    def __init__(self, name: str, link: str) -> None:
        self.name = name
        self.is_automatic = True
        self.link = link
        self.subcommands: Dict[str, str] = {}
        self.choices: Dict[str, Alternative] = {}
        self.current: Optional[str] = None

    def best(self) -> Optional[str]:
        """The choice of the highest priority; of several, the one that was there first."""
        return self.best_of(list(self.choices))

    def best_of(self, paths: List[str]) -> Optional[str]:
        return max(paths, key=lambda path: self.choices[path].priority) if paths else None


def read(host: Host, name: str) -> Optional[Group]:
    """The group of this name, None when there is none."""
    try:
        text = host.read(folder(host) + name).decode("utf-8", "surrogateescape")
    except OSError:
        return None
    group = parse(name, text)
    group.current = host.link_target(LINKS + name)
    return group


def folder(host: Host) -> str:
    """Where the groups' files are."""
    return RED_HAT if host.is_directory(RED_HAT) and not host.is_directory(DEBIAN) else DEBIAN


def parse(name: str, text: str) -> Group:
    """A group from its file."""
    lines = iter(text.split("\n"))
    mode = next(lines)
    group = Group(name, next(lines))
    group.is_automatic = mode == "auto"
    for subcommand in iter(lambda: next(lines), ""):
        group.subcommands[subcommand] = next(lines)
    for path in iter(lambda: next(lines), ""):
        family, _, priority = next(lines).lstrip("@").rpartition("@")
        # Red Hat's tool may have a service's name behind the priority.
        choice = Alternative(int(priority.split()[0]), {}, family)
        paths = [(subcommand, next(lines)) for subcommand in group.subcommands]
        choice.subcommands = {subcommand: there for subcommand, there in paths if there}
        group.choices[path] = choice
    return group


def pretend(host: Host, group: Group) -> None:
    """In a preview: let the tasks that follow see the group like this; one without choices is gone."""
    if not host.check:
        return
    if not group.choices:
        for path in (folder(host) + group.name, LINKS + group.name, group.link):
            host.pretend(path, Node("absent"))
        return
    lines = ["auto" if group.is_automatic else "manual", group.link]
    for subcommand, link in group.subcommands.items():
        lines += [subcommand, link]
    lines.append("")
    for path, choice in group.choices.items():
        lines += [path, choice.rank]
        lines += [choice.subcommands.get(subcommand, "") for subcommand in group.subcommands]
    content = "\n".join(lines + ["", ""]).encode("utf-8", "surrogateescape")
    host.pretend(folder(host) + group.name, Node("file", 0o644, content=content))
    host.pretend(LINKS + group.name, Node("link", 0o777, target=group.current or ""))
    host.pretend(group.link, Node("link", 0o777, target=LINKS + group.name))
