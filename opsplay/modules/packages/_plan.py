"""What apt-get would do, from its simulation: the same words make the preview, the difference and the real run."""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host


class Step:
    """A package that would be installed (no `old`), changed, or removed (no `new`)."""

    __slots__ = ("name", "old", "new", "purged")

    def __init__(self, name: str, old: str, new: str, purged: bool = False) -> None:
        self.name = name
        self.old = old
        self.new = new
        self.purged = purged


class Plan:
    """The steps, and names that the present package lists do not know."""

    def __init__(self, steps: List[Step], output: str = "") -> None:
        self.steps = steps
        self.output = output
        self.unknown: List[str] = []

    def __bool__(self) -> bool:
        return bool(self.steps)

    def fetched(self) -> List[Step]:
        """The steps that need a package file."""
        return [step for step in self.steps if step.new]

    def names(self) -> List[str]:
        return [step.name for step in self.steps]

    def note(self, host: Host) -> None:
        """Record the plan as the task's change, and let a preview know what it would leave."""
        old = [step for step in self.steps if step.old or not step.new]
        before = "".join("%s %s\n" % (step.name, step.old or "(configuration)") for step in old)
        after = "".join("%s %s\n" % (step.name, step.new) for step in self.steps if step.new)
        host.note(before, after, "packages")
        if host.check:
            for step in self.steps:
                host.shadow.packages[step.name] = bool(step.new)

    def describe(self) -> Dict[str, Any]:
        """The plan as a return value."""
        return {
            "installed": {step.name: step.new for step in self.steps if step.new and not step.old},
            "upgraded": {step.name: [step.old, step.new] for step in self.steps if step.new and step.old},
            "removed": {step.name: step.old for step in self.steps if not step.new},
        }


def parse(output: str) -> Plan:
    """The plan in the output of `apt-get --simulate`, whose lines are:

    Inst name [old] (new origin [arch]) …, Remv name [old], Purg name [old], Conf name (…).
    """
    steps: Dict[str, Step] = {}
    for line in output.split("\n"):
        words = line.split()
        if len(words) < 2 or words[0] not in ("Inst", "Remv", "Purg"):
            continue
        name = words[1]
        old = words[2].strip("[]") if len(words) > 2 and words[2].startswith("[") else ""
        new = line.partition("(")[2].split(" ")[0].rstrip(")") if words[0] == "Inst" else ""
        if name in steps and steps[name].new and not new:
            continue
        steps[name] = Step(name, old, new, words[0] == "Purg")
    return Plan([steps[name] for name in sorted(steps)], output)


def unknown_names(errors: str) -> List[str]:
    """The entries that apt-get does not know, from its errors."""
    found = []
    for line in errors.split("\n"):
        if line.startswith("E: Unable to locate package "):
            found.append(line.rpartition(" ")[2])
        elif line.startswith("E: Package '") and "no installation candidate" in line:
            found.append(line.split("'")[1])
        elif line.startswith(("E: Version '", "E: Release '")) and "was not found" in line:
            found.append(line.split("'")[3])
        elif line.startswith(("E: Couldn't find any package by glob '", "E: Couldn't find any package by regex '")):
            found.append(line.split("'")[2])
    return sorted(set(found))
