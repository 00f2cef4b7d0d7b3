"""Results come out task by task in the playbook's order, however the hosts run ahead of each other, and none is lost."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from opsplay.events import ItemFinished, TaskFinished
from opsplay.sinks.lines import task_lines
from opsplay.sinks.ordering import Ordering, TaskBlock

Order = tuple[int, ...]


def finished(host: str, order: Order) -> TaskFinished:
    return TaskFinished(host, order, f"task {order}", "command", "play.yml:1", "ok", {})


def item(host: str, order: Order) -> ItemFinished:
    return ItemFinished(host, order, f"task {order}", "ok", "label", {})


ROUTES = st.lists(
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple), max_size=6), min_size=1, max_size=5
)


@given(ROUTES, st.randoms(use_true_random=False))
def test_blocks_come_in_order_and_whole(routes: list[list[Order]], chance: random.Random) -> None:
    left = {f"h{number}": sorted(set(route)) for number, route in enumerate(routes)}
    expected: dict[Order, list[str]] = {}
    for host, route in left.items():
        for order in route:
            expected.setdefault(order, []).append(host)
    ordering = Ordering(left)
    shown: list[TaskBlock] = []
    open_hosts = list(left)
    while open_hosts:
        host = chance.choice(open_hosts)
        if left[host]:
            order = left[host].pop(0)
            ordering.add_item(item(host, order))
            shown += ordering.add(finished(host, order))
        else:
            open_hosts.remove(host)
            shown += ordering.leave(host)
    assert ordering.rest() == []
    orders = [block.order for block in shown]
    assert orders == sorted(expected)
    for block in shown:
        assert [event.host for event in block.finished] == expected[block.order], "in the order of the hosts"
        assert {host: len(items) for host, items in block.items.items()} == dict.fromkeys(expected[block.order], 1)


def test_a_block_waits_only_for_hosts_that_can_still_add_to_it() -> None:
    ordering = Ordering(["a", "b"])
    assert ordering.add(finished("a", (0,))) == []
    assert ordering.add(finished("a", (1,))) == []
    assert [block.order for block in ordering.add(finished("b", (1,)))] == [(0,), (1,)]
    assert ordering.add(finished("a", (2,))) == []
    assert [block.order for block in ordering.leave("b")] == [(2,)]


def test_what_is_left_at_the_end_of_a_play_is_shown() -> None:
    ordering = Ordering(["a", "b"])
    ordering.add(finished("a", (0,)))
    assert [block.order for block in ordering.rest()] == [(0,)]
    assert ordering.rest() == []


def test_what_a_program_said_is_shown_as_it_said_it() -> None:
    data = {"changed": True, "rc": 0, "cmd": ["ls"], "stdout": "one\ntwo", "stdout_lines": ["one", "two"], "stderr": "hm"}
    event = TaskFinished("h1", (0,), "list", "command", "play.yml:1", "changed", data)
    block = TaskBlock((0,), "list", False, [event])
    text = [["".join(piece for piece, _ in line).strip() for line in task_lines(block, level)] for level in (0, 1, 2)]
    assert text[0] == ["TASK list", "changed     h1"]
    assert text[1] == ["TASK list  play.yml:1", "changed     h1", "one", "two", "hm"]
    assert '"stdout": "one\\ntwo"' in text[2][-1] and '"rc": 0' in text[2][-1]
