"""The items of a task on a host: its loop, its conditions, and for each item what is to be done and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from opsplay import catalog
from opsplay.actions.base import ActionFailed, Answer, Prepared, Remote
from opsplay.errors import TemplateError, UndefinedVariable
from opsplay.model import Loop, Task
from opsplay.run.arguments import arguments
from opsplay.run.context import PlayContext
from opsplay.run.control import TaskControl
from opsplay.run.variables import Layers
from opsplay.run.ways import Way, way_of
from opsplay.templating.lookups import context_of
from opsplay.templating.loops import expand_with
from opsplay.templating.templar import OMIT, Templar


@dataclass(frozen=True)
class Item:
    """One item of a loop (or the whole task): what to do, and the variables it was made with."""

    prepared: Prepared
    layers: Layers
    way: Way
    loop: Mapping[str, Any] = field(default_factory=dict)
    """the loop's own variables: the item, and its place where the task asks for it"""
    label: str = ""
    notify: tuple[str, ...] = ()
    """the handlers that it notifies when the task changed something"""


class ItemMaker:
    """Makes the items of one task for one host. `way` is where all of them are done, None when each says where."""

    def __init__(
        self, context: PlayContext, host: str, task: Task, entry: catalog.Entry, check: bool, way: Way | None
    ) -> None:
        self._context = context
        self._host = host
        self._task = task
        self._entry = entry
        self._check = check
        self._way = way

    def items(self, layers: Layers) -> tuple[Item, ...]:
        """Every item. Raises TemplateError when the loop cannot be had, NeedsResult, UnknownInPreview."""
        loop = self._task.loop
        values = None if loop is None else self._loop_values(loop, layers)
        if loop is None or values is None:
            return (self._item(layers),)
        found: list[Item] = []
        for index in range(len(values)):
            found.append(self._looped(loop, layers, values, index))
            layers = self._with_what_it_sets(layers, found[-1].prepared)
        return tuple(found)

    def _with_what_it_sets(self, layers: Layers, prepared: Prepared) -> Layers:
        """The variables of the next item: what `set_fact` sets adds up in a loop."""
        if self._task.module != "set_fact" or self._task.delegate_facts or not isinstance(prepared, Answer):
            return layers
        facts = prepared.result.get("ansible_facts")
        return replace(layers, made={**layers.made, **facts}) if facts else layers

    def _looped(self, loop: Loop, layers: Layers, values: list[Any], index: int) -> Item:
        variables = loop_variables(loop, values, index)
        inner = replace(layers, item=(variables, *layers.item))
        label = values[index] if loop.label is None else self._context.templar(self._host, inner).render(loop.label)
        return replace(self._item(inner), loop=variables, label=label_text(label))

    def again(self, item: Item) -> Item:
        """The same item of the same loop, with its templates rendered now."""
        return replace(self._item(item.layers), loop=item.loop, label=item.label)

    def _loop_values(self, loop: Loop, layers: Layers) -> list[Any] | None:
        """The values; None when the loop is undefined but the task is skipped anyway."""
        templar = self._context.templar(self._host, layers)
        try:
            values = templar.render(loop.source)
        except UndefinedVariable:
            if not self._holds(templar):
                return None
            raise
        if loop.lookup is not None:
            return expand_with(loop.lookup, values, context_of(templar))
        if isinstance(values, list):
            return values
        hint = "give it a list" if not isinstance(values, dict) else 'use loop: "{{ … | dict2items }}"'
        raise TemplateError(f"the loop's value is not a list but {type(values).__name__}", at=self._task.at, hint=hint)

    def _holds(self, templar: Templar) -> bool:
        try:
            return all(templar.condition(condition, self._task.at) for condition in self._task.when)
        except UndefinedVariable:
            return True

    def _item(self, layers: Layers) -> Item:
        """One item; what cannot be rendered fails it, and it alone."""
        way = self._way
        try:
            skipped = self._skipped(layers)
            if skipped is not None:
                return Item(skipped, layers, way or self._own_way(layers))
            way = way or self._delegated_way(layers)
            if way.host != self._host:
                layers = replace(layers, machine=way.host)
            return Item(self._act(layers), layers, way, notify=self._notified(layers))
        except ActionFailed as problem:
            failure = {**problem.data, "msg": problem.message}
        except TemplateError as problem:
            failure = {"msg": str(problem), "_error": True}
        return Item(Answer({**failure, "failed": True, "changed": False}), layers, way or self._own_way(layers))

    def _skipped(self, layers: Layers) -> Answer | None:
        """The answer of an item that a condition skips; None when all hold."""
        templar = self._context.templar(self._host, layers)
        for condition in self._task.when:
            if not templar.condition(condition, self._task.at):
                shown = condition if isinstance(condition, bool) else str(condition)
                why = {"skip_reason": "Conditional result was False", "false_condition": shown}
                return Answer({"changed": False, "skipped": True, **why})
        return None

    def _notified(self, layers: Layers) -> tuple[str, ...]:
        found = self._context.templar(self._host, layers).render(list(self._task.notify)) if self._task.notify else ()
        return tuple(str(name) for entry in found for name in (entry if isinstance(entry, list) else [entry]))

    def _own_way(self, layers: Layers) -> Way:
        return way_of(self._context, self._host, self._task, layers)

    def _delegated_way(self, layers: Layers) -> Way:
        """Where `delegate_to` has the item done."""
        name = self._context.templar(self._host, layers).render(self._task.delegate_to)
        return way_of(self._context, self._host if name is OMIT else str(name), self._task, layers)

    def _act(self, layers: Layers) -> Prepared:
        control = TaskControl(self._context, self._host, layers, self._task, self._check)
        params = arguments(self._context, control.templar, self._task, self._entry)
        if self._entry.is_action:
            prepared: Prepared = self._entry.module.prepare(control, params)
            return prepared
        return Remote(self._entry.code, params)


def label_text(value: Any) -> str:
    """How an item is named in the output."""
    return value if isinstance(value, str) else repr(value)


def loop_variables(loop: Loop, values: list[Any], index: int) -> dict[str, Any]:
    """What a loop defines for one of its items."""
    found = {loop.variable: values[index], "ansible_loop_var": loop.variable}
    if loop.index_variable:
        found[loop.index_variable] = index
        found["ansible_index_var"] = loop.index_variable
    if loop.extended:
        length = len(values)
        found["ansible_loop"] = {
            **({"allitems": values} if loop.with_all_items else {}),
            "index": index + 1, "index0": index, "first": index == 0, "last": index == length - 1,
            "length": length, "revindex": length - index, "revindex0": length - index - 1,
            **({"previtem": values[index - 1]} if index else {}),
            **({"nextitem": values[index + 1]} if index < length - 1 else {}),
        }  # fmt: skip
    return found
