"""Roles and files of tasks that no playbook brings in, read as if one did.

What such a file needs of others (handlers, files beside a playbook) is unknown, so nothing is said of that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from opsplay.errors import Location, OpsplayError
from opsplay.language.includes import Reading, read_handlers, read_tasks
from opsplay.language.inherit import PLAIN
from opsplay.language.roles import RoleRequest, load_role
from opsplay.language.rules import plays
from opsplay.language.tasks import TaskParser
from opsplay.model import Block, Play, Role, Task


def loose_problems(path: str, role: str | None, reading: Reading) -> Iterator[OpsplayError]:
    """What is wrong in a file of tasks or handlers, or for a role's `main` files in all of them."""
    at = Location(path)
    reading.left_out.append(at)
    try:
        entries = _entries(path, role, TaskParser(reading, os.path.dirname(path)))
    except OpsplayError as problem:
        yield problem
        return
    play = Play(at, hosts="all", stages=(entries,), handlers=tuple(reading.handlers))
    yield from plays.problems({}, at, play, reading, plays.Shared(acts_here=True))


def _entries(path: str, role: str | None, parser: TaskParser) -> tuple[Task | Block, ...]:
    at = Location(path)
    if role is None:
        return read_tasks(parser, path, PLAIN, at)
    if Path(path).stem == "main":
        return load_role(parser, RoleRequest(os.path.abspath(role), at), PLAIN).entries
    area = Path(path).relative_to(role).parts[0]
    inherited = replace(PLAIN, role=Role(os.path.basename(role), os.path.abspath(role)))
    if area == "tasks":
        return read_tasks(parser, path, inherited, at)
    if area == "handlers":
        parser.reading.handlers += list(read_handlers(parser, path, inherited, at))
    return ()


def base_of(path: str) -> str:
    """The folder that a playbook would lie in: the nearest above that has roles, else the file's own."""
    for folder in Path(path).parents:
        if (folder / "roles").is_dir():
            return str(folder)
    return os.path.dirname(path)
