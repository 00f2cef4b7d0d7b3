"""pip, and what it knows: asked through the interpreter that it belongs to."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host

# Run by the interpreter that pip belongs to: what is installed, pip's version, and which requirements are not met.
# pip brings the package that knows how versions compare; Python 3.7 and older have no importlib.metadata.
_LOOK = r"""
import json, sys
import pip
try:
    from pip._vendor.packaging.requirements import Requirement
    from pip._vendor.packaging.utils import canonicalize_name
except ImportError:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
try:
    from importlib.metadata import distributions
    found = [(d.metadata["Name"], d.version) for d in distributions()]
except ImportError:
    from pip._vendor.pkg_resources import working_set
    found = [(d.project_name, d.version) for d in working_set]
have = {}
for name, version in found:
    if name:
        have.setdefault(canonicalize_name(name), version)
unmet = []
for text in json.load(sys.stdin):
    try:
        wanted = Requirement(text)
        version = have.get(canonicalize_name(wanted.name))
        met = wanted.marker is not None and not wanted.marker.evaluate()
        if not met and not wanted.url and version is not None:
            met = wanted.specifier.contains(version, prereleases=True)
    except Exception:
        met = False
    if not met:
        unmet.append(text)
json.dump({"pip": pip.__version__, "have": have, "unmet": unmet}, sys.stdout)
"""
SCHEMES = ("git+", "hg+", "bzr+", "svn+")


class State:
    """What an environment holds: versions by the distributions' names, pip's own, and the requirements not met."""

    __slots__ = ("pip", "have", "unmet")

    def __init__(self, pip: str, have: Dict[str, str], unmet: List[str]) -> None:
        self.pip = pip
        self.have = have
        self.unmet = unmet

    @property
    def can_foretell(self) -> bool:
        """Whether this pip knows --dry-run and --report: since 22.2."""
        numbers = [int(part) for part in self.pip.split(".")[:2] if part.isdigit()]
        return numbers >= [22, 2]


class Pip:
    """The pip of an environment: its command, and the interpreter that runs it."""

    def __init__(self, host: Host, command: List[str], python: str, cwd: Optional[str], env: Dict[str, str]) -> None:
        self.host = host
        self.command = command
        self.python = python
        self.options: Dict[str, Any] = {"cwd": cwd, "env": env}

    def look(self, requirements: List[str]) -> State:
        """What is there, and which of the requirements are not met. Fails when there is no pip."""
        import json

        done = self.host.query([self.python, "-c", _LOOK], stdin=json.dumps(requirements).encode(), **self.options)
        if done.rc != 0:
            said = done.stderr.strip().split("\n")[-1]
            self.host.fail("pip cannot be used with %s: %s; install python3-pip, or let virtualenv_command make an "
                           "environment that has it" % (self.python, said or done.error), cmd=self.command)  # fmt: skip
        found = json.loads(done.stdout)
        return State(found["pip"], found["have"], found["unmet"])

    def foretell(self, arguments: List[str]) -> List[str]:
        """What an install would bring, as `name version`. Fails with pip's own words."""
        import json

        argv = self.command + ["install", "--dry-run", "--quiet", "--report", "-"] + arguments
        done = self.host.query(argv, **self.options)
        if done.rc != 0:
            self.fail(argv, done)
        found = [entry["metadata"] for entry in json.loads(done.stdout)["install"]]
        return sorted("%s %s" % (entry["name"], entry["version"]) for entry in found)

    def run(self, argv: List[str]) -> Any:
        """Change something. Fails with pip's own words."""
        done = self.host.query(argv, **self.options)
        if done.rc != 0:
            self.fail(argv, done)
        return done

    def fail(self, argv: List[str], done: Any) -> None:
        errors = [line[len("ERROR: ") :] for line in done.stderr.split("\n") if line.startswith("ERROR: ")]
        said = errors[-1] if errors else done.stderr.strip() or done.stdout.strip() or done.error
        if "externally-managed-environment" in done.stderr:
            said = "this Python is the distribution's; use virtualenv, or set break_system_packages: true"
        self.host.fail("pip failed: %s" % said, cmd=argv, rc=done.rc, stdout=done.stdout, stderr=done.stderr)


def requirement_lines(text: str) -> Optional[List[str]]:
    """The requirements of a file that has nothing else; None for one with options, files or addresses."""
    found = []
    for line in text.replace("\\\n", "").split("\n"):
        line = line.partition(" #")[0].strip()
        if line.startswith("-") or "://" in line or is_path(line):
            return None
        if line and not line.startswith("#"):
            found.append(line)
    return found


def is_path(name: str) -> bool:
    return name.startswith((".", "/")) or name.endswith((".whl", ".tar.gz", ".zip"))


def is_address(name: str) -> bool:
    """Whether only pip can know what a name stands for."""
    return name.startswith(SCHEMES) or "://" in name or is_path(name)


def whole_names(parts: List[str]) -> List[str]:
    """Names with their version specifiers and extras, put together again where a comma has split them."""
    found: List[str] = []
    for part in parts:
        if found and (part[:1] in "<>=!~" or found[-1].count("[") > found[-1].count("]")):
            found[-1] += "," + part
        elif part:
            found.append(part)
    return found


def system_pip(host: Host) -> List[str]:
    """The command of the pip of the interpreter that the agent runs on."""
    return [sys.executable or host.which("python3") or "python3", "-m", "pip"]


def python_of(host: Host, program: str) -> str:
    """The interpreter that a pip program begins with, else the agent's own."""
    try:
        with open(os.path.realpath(program), "rb") as opened:
            first = opened.readline(256).decode("utf-8", "replace")
    except OSError:
        first = ""
    words = first[2:].split() if first.startswith("#!") else []
    if words and words[0].endswith("/env") and len(words) > 1:
        return host.which(words[1]) or words[1]
    return words[0] if words and "python" in words[0] else sys.executable
