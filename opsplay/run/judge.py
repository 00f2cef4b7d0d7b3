"""What a result means: changed_when, failed_when, until, loops, and what `register` keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from opsplay.errors import TemplateError
from opsplay.model import Status
from opsplay.run.context import PlayContext
from opsplay.run.work import Item, Work

# What travels with a result but is not part of it.
APART = ("diff", "warnings", "_undo", "deprecations")


@dataclass(frozen=True)
class ItemResult:
    """One item's judged result."""

    status: Status
    data: Mapping[str, Any]
    diff: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    undo: tuple[Mapping[str, Any], ...] = ()
    label: str = ""


def judge(context: PlayContext, work: Work, item: Item, raw: Mapping[str, Any]) -> ItemResult:
    """The result of one item, with the task's own conditions applied."""
    data = {key: value for key, value in raw.items() if key not in APART}
    data.setdefault("changed", False)
    data.setdefault("failed", False)
    if not data.get("skipped"):
        _apply_conditions(context, work, item, data)
    if work.is_loop and work.task.loop is not None:
        data[work.task.loop.variable] = item.value
        data["ansible_loop_var"] = work.task.loop.variable
    diffs = raw.get("diff") or ()
    return ItemResult(
        status=status_of(data),
        data=data,
        diff=tuple(diffs) if isinstance(diffs, (list, tuple)) else (diffs,),
        warnings=tuple(str(warning) for warning in raw.get("warnings", ())),
        undo=tuple(raw.get("_undo", ())),
        label=item.label,
    )


def status_of(data: Mapping[str, Any]) -> Status:
    if data.get("failed"):
        return Status.FAILED
    if data.get("skipped"):
        return Status.SKIPPED
    return Status.CHANGED if data.get("changed") else Status.OK


def _apply_conditions(context: PlayContext, work: Work, item: Item, data: dict[str, Any]) -> None:
    task = work.task
    if task.changed_when is None and task.failed_when is None:
        return
    if data.get("cancelled"):
        return
    try:
        templar = context.templar(work.host, _with_result(work, item, data))
        if task.changed_when is not None:
            data["changed"] = all(templar.condition(value, task.at) for value in task.changed_when)
        if task.failed_when is not None:
            data["failed_when_result"] = all(templar.condition(value, task.at) for value in task.failed_when)
            data["failed"] = data["failed_when_result"]
    except TemplateError as problem:
        data.update(failed=True, msg=str(problem))


def _with_result(work: Work, item: Item, data: Mapping[str, Any]) -> Any:
    if work.task.register is None:
        return item.layers
    return replace(item.layers, item=({work.task.register: dict(data)}, *item.layers.item))


def is_settled(context: PlayContext, work: Work, item: Item, data: Mapping[str, Any]) -> bool:
    """Whether `until` is content with a result. Without conditions, a result that is no failure is."""
    retry = work.task.retry
    if retry is None or data.get("skipped"):
        return True
    if not retry.until:
        return not data.get("failed")
    templar = context.templar(work.host, _with_result(work, item, data))
    return all(templar.condition(value, work.task.at) for value in retry.until)


def combine(work: Work, results: tuple[ItemResult, ...]) -> ItemResult:
    """The task's result: the only item's, or the loop's with `results`."""
    if not work.is_loop:
        return results[0]
    if not results:
        empty = {"changed": False, "skipped": True, "skipped_reason": "No items in the list", "results": []}
        return ItemResult(Status.SKIPPED, {**empty, "skip_reason": "No items in the list"})
    failed = any(result.data.get("failed") for result in results)
    skipped = all(result.data.get("skipped") for result in results)
    data: dict[str, Any] = {
        "results": [dict(result.data) for result in results],
        "changed": any(result.data.get("changed") for result in results),
        "failed": failed,
        "msg": "One or more items failed" if failed else "All items skipped" if skipped else "All items completed",
    }
    if skipped:
        data["skipped"] = True
    return ItemResult(
        status=status_of(data),
        data=data,
        diff=tuple(entry for result in results for entry in result.diff),
        warnings=tuple(dict.fromkeys(warning for result in results for warning in result.warnings)),
        undo=tuple(entry for result in results for entry in result.undo),
    )
