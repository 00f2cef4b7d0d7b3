"""The tasks of a play one by one, with what the rules ask of each: whether it runs for certain, and who takes part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opsplay.model import Block, Play, Task

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Step:
    """A task; `is_certain` when every host comes to it and its failure would be one of the run."""

    task: Task
    is_certain: bool


def steps(entries: Iterable[Task | Block], is_certain: bool = True) -> Iterator[Step]:
    """Every task of these, those that known includes bring in too."""
    for entry in entries:
        if isinstance(entry, Block):
            yield from steps(entry.body, is_certain and not entry.rescue)
            yield from steps(entry.rescue, False)
            yield from steps(entry.always, is_certain)
            continue
        certain = is_certain and _is_unconditional(entry)
        yield Step(entry, certain)
        if entry.include is not None and entry.include.known is not None:
            yield from steps(entry.include.known.entries, certain)


def steps_of(play: Play) -> list[Step]:
    """Every task of a play, its handlers' last; a handler runs only when it is notified."""
    found = [step for stage in play.stages for step in steps(stage)]
    return [*found, *steps((handler.task for handler in play.handlers), is_certain=False)]


def acts_here(play: Play, found: Iterable[Step]) -> bool:
    """Whether tasks of a play may write files on the control side, which others then may use."""
    if play.connection is not None or any(name in str(play.hosts) for name in LOCAL_HOSTS):
        return True
    return any(
        step.task.module == "fetch" or step.task.delegate_to is not None or step.task.connection is not None
        for step in found
    )


def _is_unconditional(task: Task) -> bool:
    spared = task.ignore_errors is not False or task.failed_when is not None
    return not (task.when or task.loop or spared or "never" in task.tags)
