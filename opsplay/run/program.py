"""What a play's hosts do, as one sequence: facts, the stages with a flush of handlers after each, chosen by tags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from opsplay.agent.spec import to_bool
from opsplay.model import Block, Play, Task
from opsplay.run.options import RunOptions

ALWAYS, NEVER = "always", "never"


def build(play: Play, options: RunOptions) -> tuple[Task | Block, ...]:
    """The program; empty when tags leave nothing to do."""
    found: list[Task | Block] = []
    # What runs by itself can be left out by its tag like everything else: --skip-tags always.
    flush = select([flush_of(play)], options)
    for stage in play.stages:
        chosen = select(stage, options)
        # Handlers that a handler notifies too late for its own flush run at the next one.
        if chosen or found:
            found += [*chosen, *flush]
    if options.start_at:
        found = _from(found, options.start_at)
    if gathers(play, options):
        found[:0] = select([_gather(play)], options)
    return tuple(found)


def starts_in(play: Play, options: RunOptions) -> bool:
    """Whether the play has the task that the run starts at."""
    if not options.start_at:
        return False
    return any(_from(select(stage, options), options.start_at) for stage in play.stages)


def gathers(play: Play, options: RunOptions) -> bool:
    """Whether the play begins with facts."""
    wanted = play.gather_facts
    return to_bool(wanted) if wanted is not None else options.gather_facts


def _gather(play: Play) -> Task:
    args = {} if play.gather_subset is None else {"gather_subset": list(play.gather_subset)}
    return Task(
        module="setup",
        at=play.at,
        name="Gathering Facts",
        args=args,
        become=play.become,
        tags=frozenset((ALWAYS,)),
        environment=play.environment,
        ignore_unreachable=play.ignore_unreachable,
    )


def flush_of(play: Play) -> Task:
    """The task at which notified handlers run."""
    return Task(module="meta", at=play.at, name="flush handlers", free_form="flush_handlers",
                tags=frozenset((ALWAYS,)))  # fmt: skip


def select(entries: Iterable[Task | Block], options: RunOptions) -> list[Task | Block]:
    """The tasks that the tags of the command line leave; empty blocks go."""
    found: list[Task | Block] = []
    for entry in entries:
        if isinstance(entry, Task):
            if is_chosen(entry.tags, options.tags, options.skip_tags):
                found.append(_with_chosen_inclusion(entry, options))
            continue
        sections = [tuple(select(section, options)) for section in (entry.body, entry.rescue, entry.always)]
        if any(sections):
            found.append(replace(entry, body=sections[0], rescue=sections[1], always=sections[2]))
    return found


def _with_chosen_inclusion(task: Task, options: RunOptions) -> Task:
    """An include brings in only what the tags leave of its tasks."""
    include = task.include
    if include is None or include.known is None:
        return task
    entries = tuple(select(include.known.entries, options))
    return replace(task, include=replace(include, known=replace(include.known, entries=entries)))


def is_chosen(tags: frozenset[str], wanted: frozenset[str], skipped: frozenset[str]) -> bool:
    """Ansible's rule: `always` runs unless skipped by name, `never` only when a tag of the task is asked for."""
    wide = not wanted or "all" in wanted or ("tagged" in wanted and bool(tags))
    run = ALWAYS in tags or bool(tags & wanted) or (wide and NEVER not in tags) or ("untagged" in wanted and not tags)
    if run and skipped:
        if tags & skipped:
            return False
        if "all" in skipped and (ALWAYS not in tags or ALWAYS in skipped):
            return False
        if "tagged" in skipped and tags:
            return False
        if "untagged" in skipped and not tags:
            return False
    return run


def _from(entries: list[Task | Block], name: str) -> list[Task | Block]:
    """The program from the first task of this name on."""
    for number, entry in enumerate(entries):
        if isinstance(entry, Task) and entry.name == name:
            return entries[number:]
        if isinstance(entry, Block):
            inner = _from(list(entry.body), name)
            if inner:
                return [replace(entry, body=tuple(inner)), *entries[number + 1 :]]
    return []
