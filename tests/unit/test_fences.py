"""Fences hold hosts back where others could see them, and never for good; batches, tags, and what is a fence."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.errors import LanguageError, Location
from opsplay.model import Block, Play, Task
from opsplay.run.batches import batches
from opsplay.run.fences import Gate, is_fence, orders_of_fences, template_text
from opsplay.run.options import RunOptions
from opsplay.run.position import HANDLERS, Order
from opsplay.run.program import build, is_chosen

HERE = Location("play.yml", 1)
LENGTH = 6


class Fleet:
    """Hosts that go through their own parts of one document, in whatever turns chance gives them.

    The fences within `joins` (places of includes) are only learned when the first host is let through there.
    """

    def __init__(
        self, routes: dict[str, list[Order]], fences: set[Order], chance: random.Random, joins: set[Order] = frozenset()
    ) -> None:
        self.left = {host: list(route) for host, route in routes.items()}
        self.fences = fences
        self.chance = chance
        self.ready = list(routes)
        self.running: dict[str, Order] = {}
        self.joins = joins
        known = {fence for fence in fences if not any(is_within(fence, join) for join in joins)} | joins
        self.fences = fences | joins
        self.gate = Gate(known, routes, (-1,), self.ready.append)

    def run(self) -> None:
        for host in list(self.left):
            self.gate.move(host, self.at(host))
        while self.ready or self.running:
            if self.running and (not self.ready or self.chance.random() < 0.5):
                self.finish(self.chance.choice(sorted(self.running)))
            else:
                self.start(self.ready.pop(self.chance.randrange(len(self.ready))))
        assert not any(self.left.values()), "some hosts wait for ever"

    def at(self, host: str) -> Order | None:
        """What a host has not finished yet."""
        return self.left[host][0] if self.left[host] else None

    def start(self, host: str) -> None:
        order = self.at(host)
        if order is None:
            return
        if not self.gate.may_run(order) and self.gate.wait(host, order):
            return
        for other in self.left:
            self.check(order, self.at(other))
        if order in self.joins:
            self.gate.add({fence for fence in self.fences if is_within(fence, order)})
        self.running[host] = order

    def check(self, order: Order, other: Order | None) -> None:
        """Nobody starts a fence before all are there, nor what is behind one before all are through."""
        if other is not None:
            assert not (order in self.fences and other < order)
            assert not any(other <= fence < order for fence in self.fences)

    def finish(self, host: str) -> None:
        del self.running[host]
        self.left[host].pop(0)
        self.gate.move(host, self.at(host))
        self.ready.append(host)


def is_within(order: Order, join: Order) -> bool:
    return len(order) > len(join) and order[: len(join)] == join


ORDERS = st.lists(st.tuples(st.integers(0, LENGTH)) | st.tuples(st.integers(0, LENGTH), st.integers(0, 2)), max_size=8)


@given(st.lists(ORDERS, min_size=1, max_size=5), st.sets(st.integers(0, LENGTH)), st.randoms(use_true_random=False))
def test_the_gate_keeps_the_order_and_nobody_waits_for_ever(
    routes: list[list[Order]], fences: set[int], chance: random.Random
) -> None:
    hosts = {f"h{number}": sorted(set(route)) for number, route in enumerate(routes)}
    Fleet(hosts, {(fence,) for fence in fences}, chance).run()


INNER = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2))


@given(
    st.lists(st.lists(INNER, max_size=8), min_size=1, max_size=5),
    st.sets(INNER, max_size=6),
    st.sets(st.integers(0, 3), min_size=1),
    st.randoms(use_true_random=False),
)
def test_fences_that_are_learned_at_an_include_hold_from_then_on(
    routes: list[list[Order]], fences: set[Order], includes: set[int], chance: random.Random
) -> None:
    """Every host that goes into an include passes its join first; those that do not, meet the others behind it."""
    joins: set[Order] = {(number,) for number in includes}
    hosts = {}
    for number, route in enumerate(routes):
        inside = {order[:1] for order in route} & joins
        hosts[f"h{number}"] = sorted({*route, *inside})
    Fleet(hosts, fences, chance, joins).run()


def test_a_host_that_leaves_frees_the_others() -> None:
    released: list[str] = []
    gate = Gate([(1,)], ["a", "b"], (0,), released.append)
    gate.move("a", (1,))
    assert not gate.may_run((1,))
    assert gate.wait("a", (1,))
    gate.move("b", None)
    assert released == ["a"]
    assert gate.may_run((1,))


def test_without_fences_hosts_run_ahead() -> None:
    gate = Gate([], ["a", "b"], (0,), lambda host: None)
    assert gate.may_run((9, 1, 5))


def task(module: str = "command", **fields: Any) -> Task:
    return Task(module, HERE, **fields)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (task("command"), True),
        (task("service"), True),
        (task("unknown_module"), True),
        (task("file"), False),
        (task("setup"), False),
        (task("file", run_once=True), True),
        (task("file", delegate_to="db"), True),
        (task("file", any_errors_fatal=True), True),
        (task("file", args={"path": "{{ hostvars['db'].ip }}"}), True),
        (task("file", when=("inventory_hostname in ansible_play_hosts",)), True),
        (task("file", vars=({"x": "{{ hostvars }}"},)), True),
        (task("meta", free_form="flush_handlers"), False),
        (task("meta", free_form="end_play"), True),
        (task("template", args={"src": "plain.j2"}), False),
        (task("template", args={"src": "others.j2"}), True),
        (task("template", args={"src": "including.j2"}), True),
        (task("template", args={"src": "{{ which }}"}), True),
    ],
)
def test_what_is_a_fence(entry: Task, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    texts = {"plain.j2": "{{ x }}", "others.j2": "{{ hostvars.db.x }}", "including.j2": "{% include 'others.j2' %}"}
    for name, text in texts.items():
        (tmp_path / "templates" / name).write_text(text)
    assert is_fence(entry, template_text(str(tmp_path))) is expected


def test_fences_within_blocks_and_handlers() -> None:
    program = (
        task("file"),
        Block(HERE, (task(),), (task("file"), task()), (task(),)),
        task("meta", free_form="flush_handlers"),
    )
    found = orders_of_fences(program, [task("file"), task()], lambda entry: entry.module == "command")
    assert found == [(1, 0, 0), (1, 1, 1), (1, 2, 0), (2, HANDLERS, 1)]


# --- batches ---


@pytest.mark.parametrize(
    ("count", "serial", "sizes"),
    [
        (5, [], [5]), (5, [1], [1, 1, 1, 1, 1]), (5, [2], [2, 2, 1]), (5, ["2"], [2, 2, 1]), (5, [0], [5]), (5, [-1], [5]),
        (5, [9], [5]), (10, ["30%"], [3, 3, 3, 1]), (10, ["1%"], [1] * 10), (3, ["50%"], [1, 1, 1]), (4, ["100%"], [4]),
        (10, [1, 3], [1, 3, 3, 3]), (10, [1, "20%", 5], [1, 2, 5, 2]), (0, [1], []), (0, [], []), (7, ["33.4%"], [2, 2, 2, 1]),
    ],
)  # fmt: skip
def test_batches(count: int, serial: list[Any], sizes: list[int]) -> None:
    hosts = [f"h{number}" for number in range(count)]
    found = batches(hosts, serial, HERE)
    assert [len(batch) for batch in found] == sizes
    assert [host for batch in found for host in batch] == hosts


@pytest.mark.parametrize("serial", ["x", "5 %%", [1], "1.5"])
def test_a_wrong_batch_size_is_named(serial: Any) -> None:
    with pytest.raises(LanguageError, match=r"^play.yml:1: serial: .* is not a number or a percentage"):
        batches(["a"], [serial], HERE)


# --- tags ---

TAGS = {
    "none": "", "a": "a", "ab": "a b", "always": "always", "never": "never", "never_a": "never a", "always_a": "always a",
}  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "skipped", "run"),
    [
        ("", "", "none a ab always always_a"),
        ("a", "", "a ab always never_a always_a"),
        ("b", "", "ab always always_a"),
        ("all", "", "none a ab always always_a"),
        ("never", "", "always never never_a always_a"),
        ("tagged", "", "a ab always always_a"),
        ("untagged", "", "none always always_a"),
        ("always", "", "always always_a"),
        ("", "a", "none always"),
        ("", "b", "none a always always_a"),
        ("", "always", "none a ab"),
        ("", "all", "always always_a"),
        ("", "tagged", "none"),
        ("", "untagged", "a ab always always_a"),
        ("a", "b", "a always never_a always_a"),
        ("a", "a", "always"),
        ("all", "a", "none always"),
        ("a,b", "", "a ab always never_a always_a"),
        ("a", "always", "a ab never_a"),
        ("all", "never", "none a ab always always_a"),
        ("never", "a", "always never"),
        ("tagged", "always", "a ab"),
        ("all,never", "", "none a ab always never never_a always_a"),
        ("", "all,always", ""),
    ],
)
def test_tags_as_ansible_chooses(wanted: str, skipped: str, run: str) -> None:
    def words(text: str) -> frozenset[str]:
        return frozenset(text.replace(",", " ").split())

    found = [name for name, tags in TAGS.items() if is_chosen(words(tags), words(wanted), words(skipped))]
    assert found == run.split()


def play(*stages: tuple[Task | Block, ...], **fields: Any) -> Play:
    return Play(HERE, "all", stages=stages, **fields)


def names(program: tuple[Task | Block, ...]) -> list[str]:
    found = []
    for entry in program:
        found += [f"[{' '.join(names(entry.body))}]"] if isinstance(entry, Block) else [entry.name or entry.module]
    return found


def named(*entries: str, tags: str = "") -> tuple[Task, ...]:
    return tuple(task("ping", name=name, tags=frozenset(tags.split())) for name in entries)


def test_the_program_of_a_play() -> None:
    stages = (named("a"), (), named("b", "c"))
    assert names(build(play(*stages), RunOptions(gather_facts=False))) == [
        "a", "flush handlers", "flush handlers", "b", "c", "flush handlers"
    ]  # fmt: skip
    # Before the first task nothing can have been notified.
    assert names(build(play((), named("a"), ()), RunOptions(gather_facts=False))) == [
        "a", "flush handlers", "flush handlers"
    ]  # fmt: skip
    assert names(build(play(*stages), RunOptions()))[0] == "Gathering Facts"
    assert names(build(play(*stages, gather_facts=False), RunOptions()))[0] == "a"


def test_a_program_cut_by_tags_and_by_its_first_task() -> None:
    block = Block(HERE, named("in1", tags="t") + named("in2"), named("saved", tags="t"))
    program = play((*named("a"), block, *named("b")))
    quiet = {"gather_facts": False}
    assert names(build(program, RunOptions(tags=frozenset(["t"]), **quiet))) == ["[in1]", "flush handlers"]
    assert names(build(program, RunOptions(start_at="in2", **quiet))) == ["[in2]", "b", "flush handlers"]
    assert names(build(program, RunOptions(start_at="b", **quiet))) == ["b", "flush handlers"]
    assert build(program, RunOptions(start_at="nope", **quiet)) == ()
    assert build(program, RunOptions(tags=frozenset(["nope"]), **quiet)) == ()
