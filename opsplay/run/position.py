"""Where a host is in a play, as a frozen value: every ordering rule of blocks, rescue and handlers, without a host.

A position is a stack of frames, the outermost first. `order` is the task's place in the document as a tuple; it is
equal for all hosts and only ever grows, so that two hosts' places can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Union

from opsplay.model import Block, Role, Task

BODY, RESCUE, ALWAYS, HANDLERS, INCLUDED = range(5)

Order = tuple[int, ...]
Entry = Union[Task, Block, "Inclusion"]


@dataclass(frozen=True)
class Inclusion:
    """The entries that one item of an include brings in; `number` tells it from others at the same place."""

    number: int
    entries: tuple[Task | Block, ...]
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """A list of entries, the index of the next, and what the list is to its block.

    `numbers` are the entries' places in the document. `failing` says that a failure waits for `always` to end.
    """

    entries: tuple[Entry, ...]
    numbers: tuple[int, ...]
    index: int = 0
    block: Block | None = None
    section: int = BODY
    failing: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    """the variables of the inclusion that these entries are of"""

    @property
    def is_over(self) -> bool:
        return self.index >= len(self.entries)


@dataclass(frozen=True)
class Position:
    """A stack of frames; empty when the play is over for this host. `failed` when it ended by a failure."""

    frames: tuple[Frame, ...]
    failed: bool = False
    rescued: bool = False
    """whether the last step was a failure that a rescue takes up, at once or behind what must run first"""
    joining: bool = False
    """whether the current task is an include that waits for what the other hosts bring in"""

    @property
    def params(self) -> tuple[Mapping[str, Any], ...]:
        """The variables of the inclusions that the place is in, the innermost first."""
        return tuple(frame.params for frame in reversed(self.frames) if frame.params)

    @property
    def task(self) -> Task | None:
        """The next task, None at the end."""
        if not self.frames:
            return None
        entry = self.frames[-1].entries[self.frames[-1].index]
        assert isinstance(entry, Task)
        return entry

    @property
    def order(self) -> Order:
        """The place of the next task in the document."""
        found: list[int] = []
        for frame in self.frames:
            if frame.block is not None or frame.section in (HANDLERS, INCLUDED):
                found.append(frame.section)
            found.append(frame.numbers[frame.index])
        return (*found, INCLUDED) if self.joining else tuple(found)

    @property
    def in_handlers(self) -> bool:
        return any(frame.section == HANDLERS for frame in self.frames)


def _frame(entries: Iterable[Entry], **fields: object) -> Frame:
    found = tuple(entries)
    return Frame(found, tuple(range(len(found))), **fields)  # type: ignore[arg-type]


def start(entries: Iterable[Task | Block]) -> Position:
    """The position before the first task."""
    return _settle(Position((_frame(entries),)))


def last(entries: Sequence[Task | Block]) -> Position:
    """The position before the last entry, which is a task."""
    frame = _frame(entries)
    return Position((replace(frame, index=len(frame.entries) - 1),))


def succeed(position: Position) -> Position:
    """The position after the current task went well (or was skipped, or its failure ignored)."""
    return _settle(_advance(replace(position, rescued=False)))


def fail(position: Position) -> Position:
    """The position after the current task failed: a rescue, an always, or the end."""
    return _settle(_unwind(replace(position, rescued=is_rescued(position))))


def outside(position: Position) -> Position:
    """The same place, but outside of the blocks that begin with the next task: what fails here is none of theirs."""
    frames = position.frames
    while frames and frames[-1].block is not None and frames[-1].section == BODY and frames[-1].index == 0:
        frames = frames[:-1]
    return replace(position, frames=frames)


def is_rescued(position: Position) -> bool:
    """Whether a failure of the current task is taken up by a block around it."""
    return any(frame.block is not None and frame.section == BODY and frame.block.rescue for frame in position.frames)


def flush(position: Position, handlers: Iterable[tuple[int, Task]]) -> Position:
    """Run these handlers (with their numbers) now, then go on behind the current task."""
    chosen = tuple(handlers)
    if not chosen:
        return succeed(position)
    frame = Frame(tuple(task for _, task in chosen), tuple(number for number, _ in chosen), section=HANDLERS)
    # The frame stands where the flushing task stood, so that orders go on growing.
    return _settle(replace(position, frames=(*position.frames, frame), rescued=False))


def join(position: Position) -> Position:
    """The place right behind an include, where hosts wait until all know what is brought in."""
    return replace(position, joining=True, rescued=False)


def include(position: Position, inclusions: Iterable[Inclusion]) -> Position:
    """Go through what the current task brings in, one inclusion after the other, then go on behind it."""
    chosen = sorted(inclusions, key=lambda inclusion: inclusion.number)
    outer = replace(position, joining=False, rescued=False)
    if not chosen:
        return _settle(_advance(outer))
    frame = Frame(tuple(chosen), tuple(one.number for one in chosen), section=INCLUDED)
    return _settle(replace(outer, frames=(*outer.frames, frame)))


def end_role(position: Position) -> Position:
    """The place behind all tasks of the current task's role."""
    task = position.task
    role = task.role if task is not None else None
    position = succeed(position)
    while role is not None and position.task is not None and _is_of(position.task, role):
        position = succeed(position)
    return position


def _is_of(task: Task, role: Role) -> bool:
    return task.role is not None and role.path in task.role.folders


OVER = Position(())
"""No more tasks for this host in this play."""


def leave(position: Position) -> Position:
    """No more tasks, as when the play is ended: a failure that waited for `always` to end is one now."""
    return replace(OVER, failed=any(frame.failing for frame in position.frames))


def _advance(position: Position) -> Position:
    top = position.frames[-1]
    return replace(position, frames=(*position.frames[:-1], replace(top, index=top.index + 1)))


def _settle(position: Position) -> Position:
    """Enter blocks and leave finished lists until a task is next, or nothing."""
    while position.frames:
        top = position.frames[-1]
        if top.is_over:
            position = _leave(position)
            continue
        entry = top.entries[top.index]
        if isinstance(entry, Task):
            return position
        if isinstance(entry, Inclusion):
            inner = _frame(entry.entries, params=entry.params)
        else:
            inner = _frame(entry.body, block=entry)
        position = replace(position, frames=(*position.frames, inner))
    return position


def _leave(position: Position) -> Position:
    """What follows the end of a list."""
    top, below = position.frames[-1], position.frames[:-1]
    if top.section == HANDLERS or not below:
        return _advance(replace(position, frames=below)) if below else replace(position, frames=())
    if top.section != ALWAYS and top.block is not None and top.block.always:
        return replace(position, frames=(*below, _frame(top.block.always, block=top.block, section=ALWAYS)))
    outer = replace(position, frames=below)
    return _unwind(outer) if top.failing else _advance(outer)


def _unwind(position: Position) -> Position:
    """Carry a failure outwards to the nearest rescue or always."""
    frames = position.frames
    while frames:
        top, below = frames[-1], frames[:-1]
        block = top.block
        if block is not None and top.section == BODY and block.rescue:
            rescue = _frame(block.rescue, block=block, section=RESCUE)
            return replace(position, frames=(*below, rescue))
        if block is not None and top.section in (BODY, RESCUE) and block.always:
            always = _frame(block.always, block=block, section=ALWAYS, failing=True)
            return replace(position, frames=(*below, always))
        frames = below
    return replace(position, frames=(), failed=True)


def handler_number(position: Position) -> int:
    """The number of the handler that is next; -1 outside of handlers."""
    for frame in reversed(position.frames):
        if frame.section == HANDLERS and not frame.is_over:
            return frame.numbers[frame.index]
    return -1


def add_handlers(position: Position, handlers: Iterable[tuple[int, Task]]) -> Position:
    """Handlers that a running handler notified: those that come later in the list join it, in their order."""
    frames = list(position.frames)
    for depth in range(len(frames) - 1, -1, -1):
        frame = frames[depth]
        if frame.section == HANDLERS:
            current = frame.numbers[frame.index] if not frame.is_over else frame.numbers[-1]
            waiting = dict(zip(frame.numbers[frame.index :], frame.entries[frame.index :], strict=True))
            waiting.update({number: task for number, task in handlers if number > current})
            done = frame.index
            numbers = (*frame.numbers[:done], *sorted(waiting))
            entries = (*frame.entries[:done], *(waiting[number] for number in sorted(waiting)))
            frames[depth] = replace(frame, entries=entries, numbers=numbers)
            break
    return replace(position, frames=tuple(frames))
