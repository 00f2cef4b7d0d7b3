"""aide's settings, databases and reports."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent.host import Host

FOLDER = "/etc/aide/aide.conf.d"
STATE = "/var/lib/aide"
# aide(1): 1 new, 2 removed and 4 changed files add up; what is above is an error.
MOST_DIFFERENCES = 7
# A result names so many files of a kind, and counts the rest.
NAMED = 1000
SECTIONS = {"Added entries:": "added", "Removed entries:": "removed", "Changed entries:": "changed"}


def parsed(text: str) -> Dict[str, List[str]]:
    """The files of a report by what became of them: `f   ...    H  : /etc/hosts` below the heading of each kind."""
    found: Dict[str, List[str]] = {"added": [], "removed": [], "changed": []}
    kind = ""
    for line in text.splitlines():
        if line in SECTIONS:
            kind = SECTIONS[line]
        elif line.startswith(("Detailed information", "The attributes of")):
            kind = ""
        elif kind and ": /" in line and not line.startswith(("-", " ")):
            found[kind].append(line.partition(": ")[2])
    return found


def bounded(found: Dict[str, List[str]]) -> Dict[str, Any]:
    told: Dict[str, Any] = {kind: paths[:NAMED] for kind, paths in found.items()}
    told["counts"] = {kind: len(paths) for kind, paths in found.items()}
    return told


def databases(text: str) -> Tuple[str, str]:
    """The database that is read and the one that is written, by a configuration's text (aide.conf(5))."""
    defined: Dict[str, str] = {}
    found = {"in": STATE + "/aide.db", "out": STATE + "/aide.db.new"}
    for line in text.splitlines():
        words = line.split(None, 2)
        if words[:1] == ["@@define"] and len(words) == 3:
            defined[words[1]] = words[2].strip()
        key, equals, value = line.partition("=")
        way = {"database": "in", "database_in": "in", "database_out": "out"}.get(key.strip())
        if equals and way and value.strip().startswith("file:"):
            path = value.strip()[5:]
            for name, meaning in defined.items():
                path = path.replace("@@{%s}" % name, meaning)
            found[way] = path
    return found["in"], found["out"]


def standalone(name: str, rules: List[str]) -> str:
    """A configuration of its own, for these rules alone."""
    lines = ["# Managed by opsplay: changes made here are lost."]
    lines += ["database_in=file:%s/%s.db" % (STATE, name), "database_out=file:%s/%s.db.new" % (STATE, name)]
    return "\n".join(lines + rules) + "\n"


def drop_in(rules: List[str]) -> str:
    return "\n".join(["# Managed by opsplay: changes made here are lost."] + rules) + "\n"


def objection(host: Host, text: str, seconds: int) -> str:
    """What aide says against a configuration; empty when it takes it."""
    path = host.temporary.folder("/run")
    try:
        config = os.path.join(path, "aide.conf")
        with open(config, "w") as file:
            file.write(text)
        done = host.query(["aide", "--config-check", "--config", config], timeout=seconds, env={"LC_ALL": "C"})
        said = (done.stderr.strip() or done.stdout.strip() or "exit code %d" % done.rc) if done.rc else ""
        return said.replace(config, "the configuration").partition("\n")[0].replace("ERROR:", "").strip()
    finally:
        host.temporary.discard(path)


class Differences:
    """What aide has found: None of it when the files are as the database says."""

    __slots__ = ("found",)

    def __init__(self, found: Optional[Dict[str, List[str]]]) -> None:
        self.found = found or {"added": [], "removed": [], "changed": []}

    def __bool__(self) -> bool:
        return any(self.found.values())

    def lines(self) -> str:
        signs = (("added", "+"), ("removed", "-"), ("changed", "~"))
        return "".join("%s %s\n" % (sign, path) for kind, sign in signs for path in self.found[kind])


def compare(host: Host, config: str, command: str, seconds: int) -> Differences:
    """Run `aide --check` or `--update`. Fails when it cannot compare."""
    host.progress("aide reads the watched files")
    argv = ["aide", command, "--config", config]
    done = host.query(argv, timeout=seconds, env={"LC_ALL": "C"})
    if done.timed_out:
        host.fail("aide did not end within %d seconds; give it more by timeout" % seconds)
    if done.rc > MOST_DIFFERENCES or done.rc < 0:
        said = done.stderr.strip() or done.stdout.strip() or "exit code %d" % done.rc
        host.fail("aide could not compare: %s" % said.partition("\n")[0].strip(), rc=done.rc)
    found = parsed(done.stdout)
    if done.rc and not any(found.values()):
        host.fail("aide found differences, but its report names none; its settings may send it elsewhere", rc=done.rc)
    return Differences(found)
