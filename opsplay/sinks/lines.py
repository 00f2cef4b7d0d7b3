"""A run as styled lines: what the terminal and a log file show, task by task."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opsplay.events import HostTally, ItemFinished, PlayStarted, RunFinished, TaskFinished
from opsplay.sinks.ordering import TaskBlock

# (text, style) pieces of one line.
Line = list[tuple[str, str]]

STYLES = {
    "ok": "green",
    "changed": "yellow",
    "skipped": "cyan",
    "undecided": "magenta",
    "failed": "bold red",
    "unreachable": "bold magenta",
    "unknown": "bold magenta",
    "ignored": "cyan",
    "rescued": "cyan",
}
# Hosts that need no line of their own are named together, up to this many.
NAMED = 12
QUIET = ("ok", "skipped", "changed")
STATUS_WIDTH = 12
# The names of a loop's changed items are shown up to this width.
ITEMS_WIDTH = 60
# How a command's result begins that a preview did not run.
WOULD_RUN = "Command would have run"
INDENT = " " * (STATUS_WIDTH + 2)
# A difference longer than this is cut; -vv shows it whole.
DIFF_LINES = 80

# What of a program's result its output makes superfluous; -vv shows it.
OF_PROGRAMS = ("stdout", "stdout_lines", "stderr", "stderr_lines", "cmd", "start", "end", "delta", "rc", "msg")
DULL = ("changed", "failed", "skipped", "invocation", "item", "ansible_loop_var", "skip_reason", "false_condition")


def play_line(event: PlayStarted) -> Line:
    hosts = named(list(event.hosts))
    batch = f" (batch {event.batch} of {event.batches})" if event.batches > 1 else ""
    return [("PLAY ", "bold"), (event.play, "bold"), (batch, ""), (f"  {hosts or 'no hosts matched'}", "dim")]


def task_lines(block: TaskBlock, verbosity: int) -> Iterator[Line]:
    """A task's heading and results: hosts of a kind together, those with something to say on lines of their own."""
    hidden = block.finished and all(event.module == "meta" for event in block.finished)
    if hidden or not block.finished:
        return
    kind = "HANDLER " if block.handler else "TASK "
    heading: Line = [(kind, "bold"), (block.name, "bold")]
    if verbosity:
        heading.append((f"  {block.finished[0].place}", "dim"))
    yield heading
    quiet: dict[tuple[str, str], list[str]] = {}
    for event in block.finished:
        if _is_quiet(event, block, verbosity):
            quiet.setdefault((event.status, _note(event, block)), []).append(host_label(event))
    for (status, note), hosts in sorted(quiet.items(), key=lambda entry: QUIET.index(entry[0][0])):
        yield from _together(status, hosts, note)
    loud = [event for event in block.finished if not _is_quiet(event, block, verbosity)]
    yield from _alike_together((event, _said(event, block, verbosity)) for event in loud)


def _said(event: TaskFinished, block: TaskBlock, verbosity: int) -> list[Line]:
    """What a host's result says, but for the host: a first line that may be empty, and all others."""
    return list(_host_lines(event, block.items.get(event.host, []), verbosity))


def _alike_together(results: Iterable[tuple[TaskFinished, list[Line]]]) -> Iterator[Line]:
    """Hosts whose results say the same are named together."""
    alike: dict[str, tuple[TaskFinished, list[Line], list[str]]] = {}
    for event, said in results:
        alike.setdefault(f"{event.status} {said}", (event, said, []))[2].append(host_label(event))
    for event, (first, *others), hosts in alike.values():
        yield [("  " + event.status.ljust(STATUS_WIDTH), STYLES[event.status]), (named(hosts), "bold"), *first]
        yield from others


def named(hosts: list[str]) -> str:
    """The first hosts by name, the others by their number."""
    more = f" and {len(hosts) - NAMED} more" if len(hosts) > NAMED else ""
    return ", ".join(hosts[:NAMED]) + more


def _is_quiet(event: TaskFinished, block: TaskBlock, verbosity: int) -> bool:
    """Whether a host's result needs no line of its own."""
    if event.status not in QUIET or verbosity or (event.module == "debug" and event.status != "skipped"):
        return False
    return not (event.diff or event.warnings or any(item.diff for item in block.items.get(event.host, ())))


def host_label(event: TaskFinished) -> str:
    """The host, and the one that did its task in its stead."""
    return f"{event.host} -> {event.delegated_to}" if event.delegated_to else event.host


def _note(event: TaskFinished, block: TaskBlock) -> str:
    """What is worth saying of a quiet result: the file or role that was included, the items that changed."""
    included = event.data.get("include")
    if event.status == "skipped" and str(event.data.get("msg", "")).startswith(WOULD_RUN):
        return "would run"
    return str(included) if included else _changed_items(event, block)


def _changed_items(event: TaskFinished, block: TaskBlock) -> str:
    """Which items of a loop changed something, as short as it can be."""
    items = block.items.get(event.host, [])
    changed = [item.label for item in items if item.status == "changed"]
    if not changed:
        return ""
    text = ", ".join(changed)
    # Items that are not to be shown have no label.
    return f"({text})" if all(changed) and len(text) <= ITEMS_WIDTH else f"({len(changed)} of {len(items)} items)"


def _together(status: str, hosts: list[str], note: str) -> Iterator[Line]:
    words = ("  " + status.ljust(STATUS_WIDTH), STYLES[status]), (named(hosts), "")
    yield [*words, (f"  {note}" if note else "", "dim")]


def _host_lines(event: TaskFinished, items: list[ItemFinished], verbosity: int) -> Iterator[Line]:
    first, *rest = _message(event).splitlines() or [""]
    yield [(f"  {first}", "" if event.status in ("ok", "changed") else STYLES[event.status])] if first else []
    for text in rest:
        yield [(INDENT + text, "")]
    for item in items:
        if event.module == "debug" and item.status == "ok":
            yield [(INDENT + debug_text(item.data), "")]
        elif item.status not in ("ok", "skipped") or verbosity:
            yield from _item_lines(item)
    yield from _detail_lines(event, verbosity)
    for difference in event.diff:
        yield from diff_lines(difference, verbosity)
    for warning in event.warnings:
        yield [(INDENT + "warning: " + warning, "yellow")]


def _item_lines(item: ItemFinished) -> Iterator[Line]:
    message = str(item.data.get("msg") or "") if item.status == "failed" else ""
    status = (INDENT + item.status.ljust(STATUS_WIDTH), STYLES[item.status])
    yield [status, (item.label, ""), (f"  {message}" if message else "", "red")]
    for difference in item.diff:
        yield from diff_lines(difference, 0)


def _message(event: TaskFinished) -> str:
    if event.module == "debug" and not event.items:
        return debug_text(event.data)
    if event.status in ("failed", "unreachable", "ignored", "unknown", "undecided"):
        return str(event.data.get("censored") or event.data.get("msg") or "failed")
    return ""


def debug_text(data: Mapping[str, Any]) -> str:
    """What debug prints: its message, or the variable with its value."""
    shown = {key: value for key, value in data.items() if key not in DULL}
    if set(shown) == {"msg"}:
        value = shown["msg"]
        return value if isinstance(value, str) else json.dumps(value, indent=2, default=str, ensure_ascii=False)
    return "\n".join(f"{key}: {_compact(value)}" for key, value in shown.items())


def _compact(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) < 80 else json.dumps(value, indent=2, default=str, ensure_ascii=False)


def _detail_lines(event: TaskFinished, verbosity: int) -> Iterator[Line]:
    """What a failed command said; with -v every result."""
    if event.status in ("failed", "ignored", "unknown"):
        for key in ("cmd", "stdout", "stderr", "exception"):
            text = event.data.get(key)
            if text and (key != "exception" or verbosity):
                words = text if isinstance(text, str) else " ".join(map(str, text))
                for number, line in enumerate(words.rstrip().splitlines()[-20:]):
                    label = f"{key}: " if not number else " " * (len(key) + 2)
                    yield [(INDENT + label, "dim"), (line, "")]
    elif verbosity and event.module != "debug":
        yield from _result_lines(event.data, verbosity)


def _result_lines(data: Mapping[str, Any], verbosity: int) -> Iterator[Line]:
    """A whole result: what a program said as it said it, the rest as JSON."""
    said = "stdout" in data and verbosity < 2
    if said:
        for key, style in (("stdout", ""), ("stderr", "yellow")):
            yield from ([(INDENT + line, style)] for line in str(data.get(key) or "").rstrip().splitlines())
    hidden = {*DULL, "ansible_facts", *(OF_PROGRAMS if said else ())}
    shown = {key: value for key, value in data.items() if key not in hidden}
    if shown:
        yield [(INDENT + json.dumps(shown, default=str, ensure_ascii=False), "dim")]


def diff_lines(difference: Mapping[str, Any], verbosity: int) -> Iterator[Line]:
    """A difference as unified lines, in colour."""
    header = str(difference.get("after_header") or difference.get("before_header") or "")
    if difference.get("prepared") is not None:
        before, after = "", str(difference["prepared"])
    else:
        before, after = _as_text(difference.get("before")), _as_text(difference.get("after"))
    if difference.get("binary"):
        yield [(INDENT + f"{header}: {difference.get('size', 0)} bytes, not shown", "dim")]
        return
    if max(before.count("\n"), after.count("\n")) <= 1 and "/" not in header.split(" ")[0]:
        yield from _short_difference(before.strip(), after.strip())
        return
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), header, header, lineterm="", n=3))
    limit = len(lines) if verbosity > 1 else DIFF_LINES
    for line in lines[:limit]:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
        yield [(INDENT + line, "bold" if line[:3] in ("+++", "---") else style)]
    if len(lines) > limit:
        yield [(INDENT + f"… {len(lines) - limit} more lines; -vv shows them", "dim")]


def _short_difference(before: str, after: str) -> Iterator[Line]:
    """A change of something that is no file, in a line or two."""
    for sign, text, style in (("-", before, "red"), ("+", after, "green")):
        if text:
            yield [(f"{INDENT}{sign} {text}", style)]


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True, default=str) + "\n"


def recap_lines(event: RunFinished) -> Iterator[Line]:
    """The recap, in the form that Ansible's users and tools know, with the reason where a host stopped."""
    yield [("RECAP", "bold"), (f"  {event.seconds:.1f} s", "dim")]
    width = max([len(tally.host) for tally in event.tallies], default=0)
    for tally in event.tallies:
        yield _tally_line(tally, width)
        if tally.reason:
            for number, text in enumerate(tally.reason.splitlines()):
                yield [("    " + ("because: " if not number else "         "), "dim"), (text, "red")]
    for owner, values in event.statistics.items():
        yield [(f"{'STATISTICS' if owner == 'run' else owner}  ", "bold"), (_compact(values), "")]
    if event.interrupted:
        yield [("interrupted: what was running on the hosts has been ended", "bold red")]


def _tally_line(tally: HostTally, width: int) -> Line:
    counts = ("ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored")
    state = "failed" if tally.failed else "unreachable" if tally.unreachable else "changed" if tally.changed else "ok"
    line: Line = [(tally.host.ljust(width), STYLES[state]), (" : ", "")]
    for name in counts:
        number = getattr(tally, name)
        line.append((f"{name}={number}".ljust(len(name) + 5), STYLES[name] if number else "dim"))
    if tally.undecided:
        line.append((f"undecided={tally.undecided}", STYLES["undecided"]))
    return line
