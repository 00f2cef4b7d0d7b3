"""What hosts bring in at an include, and tasks that one host runs for all."""

from __future__ import annotations

from typing import Any

from opsplay.errors import Location
from opsplay.model import Include, Included, Role, Task
from opsplay.run import position as places
from opsplay.run.inclusions import Inclusions
from opsplay.run.once import Once
from opsplay.run.position import INCLUDED, Inclusion, Order, Position

HERE = Location("play.yml", 1)


def task(name: str, **fields: Any) -> Task:
    return Task("command", HERE, name, **fields)


def included(name: str) -> Included:
    return Included(f"{name}.yml", (task(name),))


A, B, C = included("a"), included("b"), included("c")
INCLUDE = Task("include_tasks", HERE, include=Include(lambda params: A))


def walk(position: Position) -> list[tuple[str, Order]]:
    """Every task that follows, with its place."""
    found = []
    while position.task is not None:
        found.append((position.task.name, position.order))
        position = places.succeed(position)
    return found


def test_hosts_that_bring_in_the_same_meet_at_the_same_place() -> None:
    opened: list[tuple[Order, Inclusion]] = []
    inclusions = Inclusions(["h1", "h2", "h3"], lambda order, one: opened.append((order, one)))
    joined = places.join(places.start((INCLUDE, task("end"))))
    assert joined.order == (0, INCLUDED)
    # They say what they bring in in any order; the numbers follow the order of the hosts and their items.
    inclusions.offer((0,), "h3", [(C, {"item": 3})])
    inclusions.offer((0,), "h2", [(B, {"item": 2}), (C, {"item": 3})])
    inclusions.offer((0,), "h1", [(A, {"item": 1}), (B, {"item": 2})])
    ways = {host: walk(inclusions.enter(joined, host)) for host in ("h2", "h3", "h1")}
    assert ways["h1"] == [("a", (0, INCLUDED, 0, 0)), ("b", (0, INCLUDED, 1, 0)), ("end", (1,))]
    assert ways["h2"] == [("b", (0, INCLUDED, 1, 0)), ("c", (0, INCLUDED, 2, 0)), ("end", (1,))]
    assert ways["h3"] == [("c", (0, INCLUDED, 2, 0)), ("end", (1,))]
    assert [one.number for _, one in opened] == [0, 1, 2]


def test_the_same_file_with_other_variables_is_another_piece() -> None:
    inclusions = Inclusions(["h1"], lambda order, one: None)
    inclusions.offer((0,), "h1", [(A, {"item": 1}), (A, {"item": 2}), (A, {"item": 1})])
    position = inclusions.enter(places.join(places.start((INCLUDE,))), "h1")
    assert [order for _, order in walk(position)] == [(0, INCLUDED, number, 0) for number in range(3)]
    assert position.params == ({"item": 1},)


def test_a_host_that_comes_late_gets_further_numbers() -> None:
    inclusions = Inclusions(["h1", "h2"], lambda order, one: None)
    joined = places.join(places.start((INCLUDE,)))
    inclusions.offer((0,), "h2", [(B, {})])
    assert walk(inclusions.enter(joined, "h2")) == [("b", (0, INCLUDED, 0, 0))]
    inclusions.offer((0,), "h1", [(A, {}), (B, {})])
    assert walk(inclusions.enter(joined, "h1")) == [("b", (0, INCLUDED, 0, 0)), ("a", (0, INCLUDED, 1, 0))]


def test_the_end_of_a_role_is_behind_all_of_its_tasks() -> None:
    outer, inner = Role("outer", "/outer"), Role("inner", "/inner", parents=(Role("outer", "/outer"),))
    position = places.start((task("1", role=outer), task("2", role=inner), task("3", role=outer), task("4")))
    behind = places.end_role(position).task
    assert behind is not None and behind.name == "4"


def everybody(host: str) -> bool:
    return True


def test_one_host_runs_a_task_for_all() -> None:
    resumed: list[str] = []
    once: Once[str] = Once(["h1", "h2", "h3"], lambda order: {"h2", "h3"}, resumed.append)
    assert not once.is_for("h3", (0,), everybody)
    assert once.is_for("h2", (0,), everybody)
    assert once.outcome("h3", (0,)) is None
    once.finish((0,), "done")
    assert resumed == ["h3"]
    assert once.outcome("h3", (0,)) == "done"
    # Whoever comes later finds the outcome, and is nobody's leader.
    assert not once.is_for("h1", (0,), everybody)
    assert once.outcome("h1", (0,)) == "done"
