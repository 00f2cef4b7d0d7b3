"""What a result means: changed_when, failed_when, until, loops, and what `register` keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from opsplay.errors import OpsplayError, TemplateError
from opsplay.model import Status
from opsplay.run.context import PlayContext
from opsplay.run.items import Item
from opsplay.run.work import Work
from opsplay.templating.unknown import Unknown, UnknownInPreview

# What travels with a result but is not part of it.
APART = ("diff", "warnings", "_undo", "deprecations", "_unknown", "_uncertain", "_error", "_shadow", "_observed",
         "_seconds")  # fmt: skip


@dataclass(frozen=True)
class ItemResult:
    """One item's judged result."""

    status: Status
    data: Mapping[str, Any]
    diff: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    undo: tuple[Mapping[str, Any], ...] = ()
    label: str = ""
    observed: tuple[Mapping[str, Any], ...] = ()
    seconds: float = 0.0
    """of work on the host"""
    is_uncertain: bool = False
    """of a preview: the failure may be for want of what was not done"""
    kept: Mapping[str, Any] | None = None
    """what `register` keeps, where that is not `data`"""


def judge(context: PlayContext, work: Work, item: Item, raw: Mapping[str, Any]) -> ItemResult:
    """The result of one item, with the task's own conditions applied."""
    data = {key: value for key, value in raw.items() if key not in APART}
    data.setdefault("changed", False)
    data.setdefault("failed", False)
    for name in ("stdout", "stderr"):
        if isinstance(data.get(name), str):
            data.setdefault(f"{name}_lines", data[name].splitlines())
    unforeseen: tuple[str, ...] = ()
    # What could not even be tried is no result that conditions could judge.
    if not data.get("skipped") and not raw.get("_error"):
        unforeseen = _apply_conditions(context, work, item, data)
    data.update(item.loop)
    diffs = raw.get("diff") or ()
    return ItemResult(
        status=Status.UNDECIDED if unforeseen else status_of(data),
        data=data,
        diff=tuple(diffs) if isinstance(diffs, (list, tuple)) else (diffs,),
        warnings=tuple(str(warning) for warning in raw.get("warnings", ())),
        undo=tuple(raw.get("_undo", ())),
        label=item.label,
        kept=with_unknown(data, (*(raw.get("_unknown") or ()), *unforeseen), work.name),
        is_uncertain=bool(raw.get("_uncertain")),
        observed=tuple(raw.get("_observed") or ()),
        seconds=float(raw.get("_seconds") or 0.0),
    )


def with_unknown(data: Mapping[str, Any], names: Sequence[str], task: str) -> Mapping[str, Any] | None:
    """A preview's result with unknown values in the place of those that it cannot have; None when it has all."""
    if not names:
        return None
    known = {key: value for key, value in data.items() if key not in ("skipped", "skip_reason")}
    return {**known, **{name: Unknown(f"{name} of '{task}'") for name in names}}


def status_of(data: Mapping[str, Any]) -> Status:
    if data.get("failed"):
        return Status.FAILED
    if data.get("skipped"):
        return Status.SKIPPED
    return Status.CHANGED if data.get("changed") else Status.OK


def _apply_conditions(context: PlayContext, work: Work, item: Item, data: dict[str, Any]) -> tuple[str, ...]:
    """Let `changed_when` and `failed_when` decide. Returns what a preview cannot decide by them."""
    task = work.task
    if task.changed_when is None and task.failed_when is None:
        return ()
    if data.get("cancelled"):
        return ()
    try:
        templar = context.templar(work.host, _with_result(work, item, data))
        if task.changed_when is not None:
            data["changed"] = all(templar.condition(value, task.at) for value in task.changed_when)
        if task.failed_when is not None:
            data["failed_when_result"] = all(templar.condition(value, task.at) for value in task.failed_when)
            data["failed"] = data["failed_when_result"]
    except UnknownInPreview as problem:
        data.update(changed=False, failed=False, msg=f"not foreseen: {problem}")
        return "changed", "failed"
    except TemplateError as problem:
        data.update(failed=True, msg=str(problem))
    return ()


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


def ends_loop(context: PlayContext, work: Work, item: Item, data: Mapping[str, Any]) -> bool:
    """Whether the loop's `break_when` ends it behind this item, whose result it sees."""
    loop = work.task.loop
    if loop is None or not loop.break_when:
        return False
    templar = context.templar(work.host, _with_result(work, item, data))
    return all(templar.condition(condition, work.task.at) for condition in loop.break_when)


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
        status=Status.UNDECIDED if any(result.status is Status.UNDECIDED for result in results) else status_of(data),
        data=data,
        diff=tuple(entry for result in results for entry in result.diff),
        warnings=tuple(dict.fromkeys(warning for result in results for warning in result.warnings)),
        undo=tuple(entry for result in results for entry in result.undo),
        kept=_kept_of_items(work, data, results),
        is_uncertain=any(result.is_uncertain for result in results),
        observed=tuple(entry for result in results for entry in result.observed),
        seconds=sum(result.seconds for result in results),
    )


def _kept_of_items(work: Work, data: Mapping[str, Any], results: tuple[ItemResult, ...]) -> Mapping[str, Any] | None:
    """What `register` keeps of a loop some of whose items a preview does not know."""
    if all(result.kept is None for result in results):
        return None
    known = {key: value for key, value in data.items() if key not in ("skipped", "changed", "failed", "msg")}
    unknown = {name: Unknown(f"{name} of '{work.name}'") for name in ("changed", "failed")}
    return {**known, **unknown, "results": [dict(result.kept or result.data) for result in results]}


def failure_of(problem: OpsplayError) -> ItemResult:
    """The result of a task that an error kept from being done."""
    return ItemResult(Status.FAILED, {"failed": True, "changed": False, "msg": str(problem)})


def not_foreseen(problem: UnknownInPreview) -> ItemResult:
    """A preview's result of a task that depends on what only a real run gives."""
    return ItemResult(Status.UNDECIDED, {"changed": False, "skipped": True, "msg": f"not foreseen: {problem}"})
