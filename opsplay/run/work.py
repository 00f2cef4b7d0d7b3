"""One task on one host, made ready: loop items, conditions, rendered and validated arguments, whom to become."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from opsplay import catalog
from opsplay.actions.base import ActionFailed, Answer, Prepared, Remote
from opsplay.agent.spec import ParameterError, Params, to_bool, validate
from opsplay.errors import Location, TemplateError, UndefinedVariable
from opsplay.model import Loop, Task
from opsplay.run.connection import escalation_of, target_of
from opsplay.run.context import PlayContext
from opsplay.run.variables import Layers, NeedsResult
from opsplay.session.blobs import BlobStore
from opsplay.session.bootstrap import Escalation
from opsplay.templating.loops import expand_with
from opsplay.templating.templar import OMIT, Templar
from opsplay.transport.base import Target


@dataclass(frozen=True)
class Item:
    """One item of a loop (or the whole task): what to do, and the variables it was made with."""

    prepared: Prepared
    layers: Layers
    value: Any = None
    label: str = ""


@dataclass(frozen=True)
class Work:
    """A task ready to run on a host."""

    task: Task
    entry: catalog.Entry
    host: str
    items: tuple[Item, ...]
    is_loop: bool
    target: Target
    become: Escalation | None
    check: bool
    diff: bool
    ignore_errors: bool
    no_log: bool
    timeout: float
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    @property
    def is_local(self) -> bool:
        """Whether nothing has to be sent to the host."""
        return all(isinstance(item.prepared, Answer) for item in self.items)

    @property
    def is_only_skipped(self) -> bool:
        """Whether the task does nothing and leaves nothing that a later task could see."""
        answers = [item.prepared for item in self.items]
        quiet = all(isinstance(answer, Answer) and answer.result.get("skipped") for answer in answers)
        return quiet and self.task.register is None and self.task.retry is None

    @property
    def closes_window(self) -> bool:
        """Whether the next task can only be sent when this one's result is known."""
        task = self.task
        judged = any(not all_constant(values) for values in (task.failed_when, task.changed_when))
        return task.retry is not None or judged or returns_facts(self.entry.name)

    @property
    def goes_on_after_failure(self) -> bool:
        never = (
            self.task.failed_when is not None and all_constant(self.task.failed_when) and not all(self.task.failed_when)
        )
        return self.ignore_errors or never


def all_constant(conditions: tuple[Any, ...] | None) -> bool:
    """Whether conditions need no result to be judged."""
    return conditions is None or all(isinstance(value, bool) for value in conditions)


def returns_facts(module: str) -> bool:
    """Whether a module may return facts that later tasks see."""
    return module == "setup" or module.endswith("_facts")


class TaskControl:
    """The control side as an action sees it, for one item on one host."""

    def __init__(self, context: PlayContext, host: str, layers: Layers, at: Location, check: bool) -> None:
        self._context = context
        self._host = host
        self._layers = layers
        self.templar: Templar = context.templar(host, layers)
        self.at = at
        self.check = check

    @property
    def blobs(self) -> BlobStore:
        return self._context.run.sessions.blobs

    @property
    def verbosity(self) -> int:
        return self._context.run.options.verbosity

    def find_file(self, folder: str, name: str) -> str:
        if os.path.isabs(name) and os.path.exists(name):
            return name
        bases = dict.fromkeys((os.path.dirname(os.path.abspath(self.at.file)), self._context.folder))
        tried = [os.path.join(base, inner, name) for base in bases for inner in (folder, "")]
        for path in tried:
            if os.path.exists(path):
                return path
        raise ActionFailed(f"there is no file '{name}'; looked in {', '.join(os.path.dirname(path) for path in tried)}")

    def template_variables(self, extra: Mapping[str, Any]) -> Templar:
        return self._context.templar(self._host, replace(self._layers, item=(extra, *self._layers.item)))


def prepare(context: PlayContext, host: str, task: Task) -> Work:
    """Make a task ready. Raises NeedsResult when it depends on an unfinished one, OpsplayError when it cannot be."""
    entry = catalog.find(task.module)
    assert entry is not None, task.module
    layers = Layers(play=context.layers, task=task.vars)
    templar = context.templar(host, layers)
    lookup = context.connection_lookup(host, layers)
    options = context.run.options
    context.run.learn_secrets(host, lookup)
    check = _flag(templar, task.check_mode, options.check, task)
    items = _items(context, host, task, entry, layers, check)
    return Work(
        task=task,
        entry=entry,
        host=host,
        items=items,
        is_loop=task.loop is not None,
        target=target_of(host, lookup, task, context.play, options.connection),
        become=escalation_of(host, lookup, task, templar.render, options.connection),
        check=check,
        diff=_flag(templar, task.diff, options.diff, task),
        ignore_errors=_flag(templar, task.ignore_errors, False, task),
        no_log=_flag(templar, task.no_log, False, task) or _flag(templar, context.play.no_log, False, task),
        timeout=float(templar.render(task.timeout) or 0),
        environment=_environment(templar, task),
        name=_title(templar, task),
    )


def _title(templar: Templar, task: Task) -> str:
    """The task's name; one whose template cannot be rendered is shown as it was written."""
    try:
        return str(templar.render(task.title))
    except NeedsResult:
        raise
    except TemplateError:
        return str(task.title)


def _flag(templar: Templar, value: Any, default: bool, task: Task) -> bool:
    if isinstance(value, bool):
        return value
    if value is None:
        return default
    try:
        return to_bool(templar.render(value))
    except ValueError as problem:
        raise TemplateError(str(problem), at=task.at) from problem


def _environment(templar: Templar, task: Task) -> dict[str, str]:
    merged: dict[str, str] = {}
    for layer in task.environment:
        rendered = templar.render(layer)
        for part in rendered if isinstance(rendered, list) else [rendered]:
            if isinstance(part, Mapping):
                merged.update({str(key): str(value) for key, value in part.items()})
    return merged


def _items(
    context: PlayContext, host: str, task: Task, entry: catalog.Entry, layers: Layers, check: bool
) -> tuple[Item, ...]:
    if task.loop is None:
        return (_item(context, host, task, entry, layers, check),)
    values = _loop_values(context, host, task, task.loop, layers)
    if values is None:
        return (_item(context, host, task, entry, layers, check),)
    found = []
    for index, value in enumerate(values):
        inner = replace(layers, item=(_loop_variables(task.loop, values, index),))
        templar = context.templar(host, inner)
        label = templar.render(task.loop.label) if task.loop.label is not None else value
        found.append(replace(_item(context, host, task, entry, inner, check), value=value, label=label_text(label)))
    return tuple(found)


def label_text(value: Any) -> str:
    """How an item is named in the output."""
    return value if isinstance(value, str) else repr(value)


def _loop_values(context: PlayContext, host: str, task: Task, loop: Loop, layers: Layers) -> list[Any] | None:
    """The items; None when the loop is undefined but the task is skipped anyway."""
    templar = context.templar(host, layers)
    try:
        values = templar.render(loop.source)
    except UndefinedVariable:
        if not _holds(templar, task):
            return None
        raise
    if loop.lookup is not None:
        return expand_with(loop.lookup, values, context.folder)
    if not isinstance(values, list):
        hint = "give it a list" if not isinstance(values, dict) else 'use loop: "{{ … | dict2items }}"'
        raise TemplateError(f"the loop's value is not a list but {type(values).__name__}", at=task.at, hint=hint)
    return values


def _holds(templar: Templar, task: Task) -> bool:
    try:
        return all(templar.condition(condition, task.at) for condition in task.when)
    except UndefinedVariable:
        return True


def _loop_variables(loop: Loop, values: list[Any], index: int) -> dict[str, Any]:
    found = {loop.variable: values[index], "ansible_loop_var": loop.variable}
    if loop.index_variable:
        found[loop.index_variable] = index
        found["ansible_index_var"] = loop.index_variable
    if loop.extended:
        length = len(values)
        found["ansible_loop"] = {
            "allitems": values, "index": index + 1, "index0": index, "first": index == 0, "last": index == length - 1,
            "length": length, "revindex": length - index, "revindex0": length - index - 1,
            **({"previtem": values[index - 1]} if index else {}),
            **({"nextitem": values[index + 1]} if index < length - 1 else {}),
        }  # fmt: skip
    return found


def _item(context: PlayContext, host: str, task: Task, entry: catalog.Entry, layers: Layers, check: bool) -> Item:
    control = TaskControl(context, host, layers, task.at, check)
    for condition in task.when:
        if not control.templar.condition(condition, task.at):
            skipped = {"changed": False, "skipped": True, "skip_reason": "Conditional result was False"}
            return Item(
                Answer({**skipped, "false_condition": condition if isinstance(condition, bool) else str(condition)}),
                layers,
            )
    try:
        return Item(_act(context, control, task, entry), layers)
    except ActionFailed as problem:
        return Item(Answer({**problem.data, "failed": True, "changed": False, "msg": problem.message}), layers)


def _act(context: PlayContext, control: TaskControl, task: Task, entry: catalog.Entry) -> Prepared:
    params = arguments(context, control.templar, task, entry)
    if entry.is_action:
        prepared: Prepared = entry.module.prepare(control, params)
        return prepared
    return Remote(entry.code, params)


def arguments(context: PlayContext, templar: Templar, task: Task, entry: catalog.Entry) -> Params:
    """The rendered, validated parameters. Raises TemplateError; ActionFailed for a value of the wrong type."""
    unrendered = getattr(entry.module, "UNRENDERED", ())
    given: dict[str, Any] = {}
    for name, value in task.args.items():
        rendered = value if name in unrendered else templar.render(value)
        if rendered is not OMIT:
            given[name] = _without_omitted(rendered) if name not in unrendered else rendered
    if task.free_form is not None and entry.free_form:
        given[entry.free_form] = templar.render(task.free_form)
    if entry.open_ended:
        return Params(given)
    try:
        params = validate(entry.params, given)
    except ParameterError as problem:
        raise ActionFailed(f"{entry.name}: {problem.message}") from problem
    for name in entry.secret_params:
        context.run.redactor.register(_secret_text(params[name]))
    return params


def _secret_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _without_omitted(value: Any) -> Any:
    """Omitted entries inside of dictionaries and lists go as well."""
    if isinstance(value, dict):
        return {key: _without_omitted(item) for key, item in value.items() if item is not OMIT}
    if isinstance(value, list):
        return [_without_omitted(item) for item in value if item is not OMIT]
    return value
