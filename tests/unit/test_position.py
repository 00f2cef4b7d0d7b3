"""The reducer against a slow and obvious interpreter: blocks, rescue, always, handlers, and the order of places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from hypothesis import given
from hypothesis import strategies as st

from opsplay.errors import Location
from opsplay.model import Block, Include, Included, Task
from opsplay.run import position as places
from opsplay.run.fences import orders_of_fences
from opsplay.run.position import INCLUDED, Inclusion, Position

HERE = Location("play.yml", 1)
FLUSH = "flush_handlers"
INCLUDE = "include_tasks"

Entry = Task | Block
# A task is named after what it does: ok, or fails; a flush runs the handlers that were notified so far.
TASKS = st.sampled_from(["ok", "ok", "ok", "fails", "flush"])


def task(kind: str, number: int = 0) -> Task:
    if kind == "flush":
        return Task("meta", HERE, f"flush{number}", free_form=FLUSH)
    return Task("command", HERE, f"{kind}{number}")


def include(entries: tuple[Entry, ...], number: int, known: bool) -> Task:
    """An include whose tasks are known before the run, or when its host is there."""
    included = Included(f"file{number}.yml", entries)
    return Task(INCLUDE, HERE, f"include{number}", include=Include(lambda params: included, included if known else None))


@st.composite
def programs(draw: st.DrawFn) -> tuple[Entry, ...]:
    """A tree of blocks whose tasks all have names of their own."""
    count = iter(range(1000))

    def entries(depth: int, least: int) -> tuple[Entry, ...]:
        found: list[Entry] = []
        for _ in range(draw(st.integers(least, 3))):
            if depth and draw(st.booleans()):
                found.append(include(entries(depth - 1, 0), next(count), draw(st.booleans())))
            elif depth and draw(st.booleans()):
                found.append(Block(HERE, entries(depth - 1, 0), entries(depth - 1, 0), entries(depth - 1, 0)))
            else:
                found.append(task(draw(TASKS), next(count)))
        return tuple(found)

    return entries(3, 1)


# A handler by its number: whether it fails, and which handlers it notifies. Ordinary tasks notify what they draw.
HANDLERS = st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 4))), min_size=5, max_size=5)
NOTIFIED = st.lists(st.sets(st.integers(0, 4), max_size=2), min_size=1, max_size=20)


class Failed(Exception):
    """A task of the model failed."""


class Model:
    """Runs a program as one reads it."""

    def __init__(self, handlers: Sequence[tuple[bool, set[int]]], notified: Sequence[set[int]]) -> None:
        self.handlers = handlers
        self.notified = notified
        self.waiting: set[int] = set()
        self.done: list[str] = []
        self.steps = 0
        self.rescues = 0
        self.rescuers = 0
        """how many blocks around would take up a failure"""

    def run(self, program: Sequence[Entry]) -> bool:
        """Whether it ended well."""
        try:
            self.entries(program)
        except Failed:
            return False
        return True

    def entries(self, program: Sequence[Entry]) -> None:
        for entry in program:
            if isinstance(entry, Block):
                self.block(entry)
            elif entry.free_form == FLUSH:
                self.flush()
            elif entry.include is not None:
                self.entries(entry.include.load({}).entries)
            else:
                self.one(entry)

    def one(self, entry: Task) -> None:
        self.done.append(entry.name)
        if entry.name.startswith("fails"):
            self.fail()
        self.waiting |= self.notified[self.steps % len(self.notified)]
        self.steps += 1

    def fail(self) -> NoReturn:
        self.rescues += self.rescuers > 0
        raise Failed

    def block(self, block: Block) -> None:
        try:
            try:
                self.rescuers += bool(block.rescue)
                try:
                    self.entries(block.body)
                finally:
                    self.rescuers -= bool(block.rescue)
            except Failed:
                if not block.rescue:
                    raise
                self.entries(block.rescue)
        except Failed:
            self.entries(block.always)
            raise
        self.entries(block.always)

    def flush(self) -> None:
        """Notified handlers by number; those that a handler notifies join if they come later, else they wait."""
        chosen, self.waiting = self.waiting, set()
        for number in range(len(self.handlers)):
            if number not in chosen:
                continue
            self.done.append(f"handler{number}")
            fails, notifies = self.handlers[number]
            if fails:
                self.fail()
            chosen |= {other for other in notifies if other > number}
            self.waiting |= {other for other in notifies if other <= number}


class Reducer:
    """Drives the reducer as the engine does."""

    def __init__(self, handlers: Sequence[tuple[bool, set[int]]], notified: Sequence[set[int]]) -> None:
        self.handlers = [
            Task("command", HERE, f"handler{number}", args={"fails": fails, "notifies": notifies})
            for number, (fails, notifies) in enumerate(handlers)
        ]
        self.notified = notified
        self.waiting: set[int] = set()
        self.done: list[str] = []
        self.orders: list[places.Order] = []
        self.steps = 0
        self.rescues = 0

    def run(self, program: Sequence[Entry]) -> bool:
        position = places.start(program)
        while position.task is not None:
            self.orders.append(position.order)
            position = self.step(position, position.task)
            self.rescues += position.rescued
        return not position.failed

    def step(self, position: Position, current: Task) -> Position:
        if current.free_form == FLUSH:
            numbers, self.waiting = sorted(self.waiting), set()
            return places.flush(position, [(number, self.handlers[number]) for number in numbers])
        if current.include is not None:
            return self.include(position, current.include)
        self.done.append(current.name)
        if current.name.startswith("handler"):
            return self.handler(position, current)
        if current.name.startswith("fails"):
            return places.fail(position)
        self.waiting |= self.notified[self.steps % len(self.notified)]
        self.steps += 1
        return places.succeed(position)

    def include(self, position: Position, entry: Include) -> Position:
        if entry.known is None and not position.joining:
            return places.join(position)
        return places.include(position, [Inclusion(0, entry.load({}).entries)])

    def handler(self, position: Position, current: Task) -> Position:
        assert position.in_handlers
        if current.args["fails"]:
            return places.fail(position)
        number = int(current.name.removeprefix("handler"))
        position = places.add_handlers(position, [(other, self.handlers[other]) for other in current.args["notifies"]])
        self.waiting |= {other for other in current.args["notifies"] if other <= number}
        return places.succeed(position)


@given(programs(), HANDLERS, NOTIFIED)
def test_the_reducer_runs_what_the_model_runs(
    program: tuple[Entry, ...], handlers: list[tuple[bool, set[int]]], notified: list[set[int]]
) -> None:
    model, reducer = Model(handlers, notified), Reducer(handlers, notified)
    assert reducer.run(program) == model.run(program)
    assert reducer.done == model.done
    assert reducer.rescues == model.rescues
    assert reducer.waiting == model.waiting


@given(programs(), HANDLERS, NOTIFIED)
def test_places_only_ever_grow(
    program: tuple[Entry, ...], handlers: list[tuple[bool, set[int]]], notified: list[set[int]]
) -> None:
    reducer = Reducer(handlers, notified)
    reducer.run(program)
    assert reducer.orders == sorted(set(reducer.orders))


@given(programs(), HANDLERS, NOTIFIED)
def test_every_place_is_known_before_the_run(
    program: tuple[Entry, ...], handlers: list[tuple[bool, set[int]]], notified: list[set[int]]
) -> None:
    """The places of fences are computed from the program alone: where tasks then run must be among them."""
    reducer = Reducer(handlers, notified)
    reducer.run(program)
    known = orders_of_fences(program, reducer.handlers, lambda task: True)
    assert known == sorted(set(known))
    joins = [order[:-1] for order in known if order[-1] == INCLUDED]
    behind_joins = {order for order in reducer.orders for join in joins if order[: len(join) + 1] == (*join, INCLUDED)}
    assert set(reducer.orders) - behind_joins <= set(known)


@given(programs(), HANDLERS, NOTIFIED, st.integers(1, 5))
def test_hosts_that_fail_at_different_tasks_meet_at_the_same_places(
    program: tuple[Entry, ...], handlers: list[tuple[bool, set[int]]], notified: list[set[int]], offset: int
) -> None:
    """The same task has the same place for every host, whatever befell it before."""
    first, second = Reducer(handlers, notified), Reducer(handlers, notified[offset:] + notified[:offset])
    first.run(program)
    second.run(program)
    named = [dict(zip(run.done, list(run.orders), strict=False)) for run in (first, second) if not flushes(run)]
    if len(named) == 2:
        shared = named[0].keys() & named[1].keys()
        assert all(named[0][name] == named[1][name] for name in shared)


def flushes(run: Reducer) -> bool:
    return len(run.done) != len(run.orders) or any(name.startswith("handler") for name in run.done)
