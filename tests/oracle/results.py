"""What a run gave, in a form that two tools can be compared in: exit code, recap, every task's result."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

COUNTS = ("ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored")


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What differs from run to run, or is how a tool works and not what it found.
PASSING = words(
    """start end delta atime mtime ctime inode dev version invocation diff warnings deprecations exception src
    backup_file backup ansible_job_id results_file _ansible_no_log _ansible_parsed _ansible_item_label
    _ansible_verbose_always
    _ansible_verbose_override ansible_facts include include_args skip_reason skipped_reason false_condition attempts
    md5sum elapsed pid child_pid stop failed_when_suppressed_exception extract_results
    cache_update_time"""
)
# The same in other words: messages of failures are for people.
WORDS = frozenset(("msg", "module_stderr", "module_stdout", "rc", "cmd", "reason", "exception", "argument_errors",
                   "async_result"))
# What apt says of its way to the packages, and dpkg's progress on a terminal.
OF_THE_WAY = ("Need to get ", "Get:", "Fetched ", "(Reading database", "debconf: ", "Preconfiguring packages")
APT = ("apt", "package", "ansible.builtin.apt", "ansible.builtin.package")
UNITS = ("systemd", "systemd_service", "service", "ansible.builtin.systemd", "ansible.builtin.service")
OF_THE_MACHINE = ("CPUUsageNSec", "ControlGroupId", "InvocationID", "Effective", "Memory", "Tasks", "IP", "IO",
                  "LimitNPROC", "LimitSIGPENDING")  # fmt: skip
FIND = ("find", "ansible.builtin.find")
# Includes are reported in different places; what they bring in is compared.
UNCOMPARED = ("include_tasks", "include_role", "meta", "ansible.builtin.include_tasks", "ansible.builtin.include_role")


@dataclass
class Results:
    """One run: `tasks` are, by host, (task, status, data) in the order in which they ended."""

    code: int
    recap: dict[str, dict[str, int]] = field(default_factory=dict)
    tasks: dict[str, list[list[Any]]] = field(default_factory=dict)
    state: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of_ansible(cls, code: int, lines: Iterable[str]) -> Results:
        """Of what the callback wrote down."""
        found = cls(code)
        for entry in map(json.loads, lines):
            if "recap" in entry:
                names = {"failed": "failures"}
                found.recap = {
                    host: {count: counts.get(names.get(count, count), 0) for count in COUNTS}
                    for host, counts in entry["recap"].items()
                    if any(counts.values())
                }
            else:
                found._add(entry)
        return found

    @classmethod
    def of_opsplay(cls, code: int, events: Iterable[Mapping[str, Any]]) -> Results:
        """Of the record."""
        found = cls(code)
        for event in events:
            if event["event"] == "task_finished":
                found._add(event)
            elif event["event"] == "run_finished":
                found.recap = {
                    tally["host"]: {count: tally[count] for count in COUNTS}
                    for tally in event["tallies"]
                    if any(tally[count] for count in COUNTS)
                }
        return found

    def _add(self, entry: Mapping[str, Any]) -> None:
        if entry["module"] in UNCOMPARED:
            return
        status = "failed" if entry["status"] == "rescued" else entry["status"]
        data = {} if entry["task"] == "Gathering Facts" else settled(entry["module"], clean(entry["data"], status))
        self.tasks.setdefault(entry["host"], []).append([entry["task"], status, data])

    def save(self, path: Path, version: str) -> None:
        path.write_text(json.dumps({"ansible-core": version, **asdict(self)}, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        document = json.loads(path.read_text())
        document.pop("ansible-core")
        return cls(**document)


def clean(data: Any, status: str) -> Any:
    """A result without what cannot be the same twice."""
    if isinstance(data, Mapping) and "censored" in data:
        return {"censored": True, "changed": data.get("changed", False)}
    if isinstance(data, Mapping):
        failed = status in ("failed", "ignored", "unreachable") or data.get("failed") is True
        worded = failed or status == "skipped" or data.get("skipped") or "results" in data
        hidden = PASSING | WORDS if worded else PASSING
        kept = {key: clean(value, "") for key, value in data.items() if key not in hidden}
        # False and absent say the same of these.
        return {key: value for key, value in kept.items() if value or key not in ("failed", "skipped", "unreachable")}
    if isinstance(data, list):
        return [clean(item, "") for item in data]
    return data


def settled(module: str, data: Any) -> Any:
    """Without what modules return of the moment: apt's downloads, a unit's processes, the order of a folder's names."""
    if isinstance(data.get("results"), list):
        return {**data, "results": [settled(module, item) for item in data["results"]]}
    if module in APT and isinstance(data.get("stdout"), str):
        # On the oracle's terminal both streams are one.
        said = [*data.pop("stdout").splitlines(), *data.pop("stderr", "").splitlines()]
        kept = sorted(line for line in said if line and not line.startswith(OF_THE_WAY))
        return {**data, "stdout_lines": kept, "stderr_lines": []}
    if module in UNITS and isinstance(data.get("status"), dict):
        return {**data, "status": dict(filter(None, map(of_unit, data["status"].items())))}
    if module in FIND and isinstance(data.get("files"), list):
        return {**data, "files": sorted(data["files"], key=lambda file: str(file["path"]))}
    return data


def of_unit(entry: tuple[str, str]) -> tuple[str, str] | None:
    """A property of a unit without times, process numbers and what the machine's memory decides; its words in an order
    of their own."""
    key, value = entry
    if re.search(r"Timestamp|PID$", key) or key.startswith(OF_THE_MACHINE):
        return None
    value = re.sub(r"(start_time|stop_time|pid|code|status)=[^;]*;?", "", value) if key.startswith("Exec") else value
    return key, " ".join(sorted(value.split()))


def differences(theirs: Results, ours: Results) -> list[str]:
    """What is not the same, a line each: the oracle's on the left. What we return in addition is no difference."""
    found = []
    if theirs.code != ours.code:
        found.append(f"exit code: {theirs.code} | {ours.code}")
    for host in sorted(theirs.recap.keys() | ours.recap.keys()):
        left, right = theirs.recap.get(host, {}), ours.recap.get(host, {})
        found += [f"{host}: recap {name}: {left.get(name)} | {right.get(name)}" for name in COUNTS
                  if left.get(name) != right.get(name)]  # fmt: skip
    for host in sorted(theirs.tasks.keys() | ours.tasks.keys()):
        found += _of_host(host, theirs.tasks.get(host, []), ours.tasks.get(host, []))
    for host in sorted(theirs.state.keys() | ours.state.keys()):
        left, right = theirs.state.get(host, {}), ours.state.get(host, {})
        found += [f"{host}: {name}: {left.get(name)} | {right.get(name)}" for name in sorted(left.keys() | right.keys())
                  if left.get(name) != right.get(name)]  # fmt: skip
    return found


def _of_host(host: str, theirs: list[list[Any]], ours: list[list[Any]]) -> Iterable[str]:
    names = [[task, status] for task, status, _ in theirs], [[task, status] for task, status, _ in ours]
    if names[0] != names[1]:
        unlike = (number for number, pair in enumerate(zip(*names, strict=False)) if pair[0] != pair[1])
        first = next(unlike, min(map(len, names)))
        yield f"{host}: task {first}: {names[0][first:first + 2]} | {names[1][first:first + 2]}"
        return
    for (task, _, left), (_, _, right) in zip(theirs, ours, strict=True):
        yield from within(f"{host}: {task}", left, right)


def within(path: str, left: Any, right: Any) -> Iterable[str]:
    """Differences inside a result, by their path."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key, value in left.items():
            if key not in right:
                yield f"{path}.{key}: {value!r} | absent"
            else:
                yield from within(f"{path}.{key}", value, right[key])
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, pair in enumerate(zip(left, right, strict=True)):
            yield from within(f"{path}[{index}]", *pair)
    elif left != right or type(left) is not type(right):
        yield f"{path}: {left!r} | {right!r}"
