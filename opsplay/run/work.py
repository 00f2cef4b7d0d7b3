"""One task on one host, made ready: its items, and the keywords that hold for all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from opsplay import catalog
from opsplay.actions.base import Answer, Bring
from opsplay.agent.spec import to_bool
from opsplay.errors import TemplateError
from opsplay.model import Task
from opsplay.run.context import PlayContext
from opsplay.run.fences import known_inclusion
from opsplay.run.items import Item, ItemMaker
from opsplay.run.position import Position
from opsplay.run.variables import Layers, NeedsResult
from opsplay.run.ways import Way, way_of
from opsplay.templating.templar import Templar
from opsplay.templating.unknown import UnknownInPreview

# What meta tasks do to all hosts at once.
FOR_ALL = ("end_play", "end_batch", "clear_facts", "clear_host_errors", "refresh_inventory")


@dataclass(frozen=True)
class Work:
    """A task ready to run on a host."""

    task: Task
    entry: catalog.Entry
    host: str
    items: tuple[Item, ...]
    layers: Layers
    is_loop: bool
    way: Way
    check: bool
    diff: bool
    ignore_errors: bool
    no_log: bool
    timeout: float
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    background: tuple[float, float] | None = None
    """for `async`: how long it may take, and how often it is asked for, in seconds"""

    @property
    def delegated_to(self) -> str | None:
        """The host that the task is done on, where that is not its own."""
        return self.way.host if self.way.host != self.host else None

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
    def brings_known(self) -> bool:
        """Whether the task is an include that no condition skips, of what is known and the same for every host."""
        answers = [item.prepared for item in self.items]
        brings = all(isinstance(answer, Answer) and isinstance(answer.effect, Bring) for answer in answers)
        return brings and known_inclusion(self.task) is not None and self.task.register is None

    @property
    def closes_window(self) -> bool:
        """Whether the next task can only be sent when this one's result is known."""
        task = self.task
        judged = any(not all_constant(values) for values in (task.failed_when, task.changed_when))
        return task.retry is not None or judged or returns_facts(self.entry.name) or bool(task.delegate_facts)

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
    return module in ("setup", "getent", "hostname") or module.endswith("_facts")


def prepare(context: PlayContext, host: str, task: Task, position: Position) -> Work:
    """Make a task ready. Raises NeedsResult when it depends on an unfinished one, OpsplayError when it cannot be."""
    entry = catalog.find(task.module)
    assert entry is not None, task.module
    layers = context.layers(host, task, position)
    templar = context.templar(host, layers)
    options = context.run.options
    check = _flag(templar, task.check_mode, options.check, task)
    own = None if task.delegate_to else way_of(context, host, task, layers)
    items = ItemMaker(context, host, task, entry, check, own).items(layers)
    return Work(
        task=task,
        entry=entry,
        host=host,
        items=items,
        layers=layers,
        is_loop=task.loop is not None,
        way=own or (items[0].way if items else way_of(context, host, task, layers)),
        check=check,
        diff=_flag(templar, task.diff, options.diff, task),
        ignore_errors=_flag(templar, task.ignore_errors, False, task),
        no_log=_flag(templar, task.no_log, False, task) or _flag(templar, context.play.no_log, False, task),
        timeout=number(templar, task.timeout, "timeout", task),
        environment=_environment(templar, task),
        name=_title(templar, task),
        background=_background(templar, task) if not check else None,
    )


def again(context: PlayContext, work: Work, index: int) -> Work:
    """The same with one item made ready anew, for its templates may give something else now."""
    own = None if work.task.delegate_to else work.way
    maker = ItemMaker(context, work.host, work.task, work.entry, work.check, own)
    items = list(work.items)
    items[index] = maker.again(items[index])
    return replace(work, items=tuple(items))


def _background(templar: Templar, task: Task) -> tuple[float, float] | None:
    if task.background is None:
        return None
    seconds = number(templar, task.background.seconds, "async", task)
    return (seconds, number(templar, task.background.poll, "poll", task)) if seconds > 0 else None


def runs_once(context: PlayContext, host: str, task: Task, entry: catalog.Entry, position: Position) -> bool:
    """Whether one host of the batch does a task for all. Each for itself where hosts do not wait, as in Ansible."""
    if context.play.strategy == "free":
        return False
    if task.module == "meta" and runs_for_all(context, str(task.free_form)):
        return True
    if not isinstance(task.run_once, str):
        return bool(task.run_once) or bool(getattr(entry.module, "ONCE", False))
    return _flag(context.templar(host, context.layers(host, task, position)), task.run_once, False, task)


def runs_for_all(context: PlayContext, meta: str) -> bool:
    """Whether one host does what a meta task names for all, by its own conditions."""
    return meta in FOR_ALL and context.play.strategy != "free"


def ignores_errors(context: PlayContext, host: str, task: Task) -> bool:
    """Whether the failure of a task that could not be prepared is ignored."""
    try:
        return _flag(context.templar(host, context.layers(host, task)), task.ignore_errors, False, task)
    except TemplateError:
        return False


def _title(templar: Templar, task: Task) -> str:
    """The task's name; one whose template cannot be rendered is shown as it was written."""
    try:
        name = str(templar.render(task.name or task.module))
    except NeedsResult:
        raise
    except (TemplateError, UnknownInPreview):
        return str(task.title)
    return f"{task.role.name} : {name}" if task.role else name


def number(templar: Templar, value: Any, keyword: str, task: Task) -> float:
    """A keyword's number; nothing is 0. Raises TemplateError."""
    rendered = templar.render(value)
    try:
        found = float(rendered or 0)
    except (TypeError, ValueError) as problem:
        raise TemplateError(f"{keyword} is not a number: {rendered!r}", at=task.at) from problem
    if not math.isfinite(found):
        raise TemplateError(f"{keyword} cannot be {rendered!r}", at=task.at)
    return found


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
