"""Install and remove Python packages with pip, in a virtual environment or beside it."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List

from opsplay.agent import words
from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.spec import Bool, Choice, Params, Path, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.packages import _pip
from opsplay.modules.packages._pip import Pip, State

PARAMS = {
    "name": ListOf(of=Str(), help="The packages, e.g. bottle, bottle==0.11, bottle>0.10,<0.20; an address or a path"),
    "version": Str(help="The version of the one package"),
    "requirements": Str(help="A file of requirements on the host"),
    "virtualenv": Path(help="The virtual environment to use, which is made where it is not there"),
    "virtualenv_command": Path(default="virtualenv", help="What makes it; without virtualenv on the host: -m venv"),
    "virtualenv_python": Str(help="The Python that it is made with"),
    "virtualenv_site_packages": Bool(default=False, help="Let it see the packages of the system"),
    "state": Choice("present", "absent", "latest", "forcereinstall", default="present", help="What shall be there"),
    "extra_args": Str(help="Further arguments for pip"),
    "editable": Bool(default=False, help="Install what a path or an address names for being edited"),
    "chdir": Path(help="The directory in which pip runs"),
    "executable": Path(help="The pip to use, by its name or path"),
    "umask": Str(help="The umask for new files, as octal digits"),
    "break_system_packages": Bool(default=False, help="Allow changes to the distribution's own Python (PEP 668)"),
}
CHECK = "partial"
INSTALL = {"present": [], "latest": ["-U"], "forcereinstall": ["-U", "--force-reinstall"]}


def run(host: Host, params: Params) -> Dict[str, Any]:
    names = checked_names(host, params)
    before = os.umask(int(params.umask, 8)) if params.umask else None
    try:
        return Task(host, params, names).run()
    finally:
        if before is not None:
            os.umask(before)


def checked_names(host: Host, params: Params) -> List[str]:
    """The packages, each with its version. Fails for what cannot be meant."""
    names = _pip.whole_names(params.name or [])
    if not names and not params.requirements and not params.virtualenv:
        host.fail("one of the following is required: name, requirements, virtualenv")
    if names and params.requirements:
        host.fail("name and requirements cannot be given together: make them two tasks")
    if params.executable and params.virtualenv:
        host.fail("executable and virtualenv cannot be given together: an environment has its own pip")
    if params.umask and params.umask.strip("01234567"):
        host.fail("umask must be octal digits, as in \"0022\", not %s" % params.umask)
    if params.version is not None:
        if len(names) != 1:
            host.fail("version is for one package; write the versions of several behind their names, as in a==1.0")
        if params.state == "latest":
            host.fail("version is incompatible with state=latest")
        if any(sign in names[0] for sign in "<>=!~"):
            host.fail("version and the version in the name %s cannot be given together" % names[0])
        names = ["%s==%s" % (names[0], params.version)]
    return names


class Task:
    """One run of the module."""

    def __init__(self, host: Host, params: Params, names: List[str]) -> None:
        self.host = host
        self.params = params
        self.names = names
        self.cwd = host.expand(params.chdir) if params.chdir else None
        self.env = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "LC_ALL": "C.UTF-8"}
        if params.break_system_packages:
            self.env["PIP_BREAK_SYSTEM_PACKAGES"] = "1"
        self.folder = host.expand(os.path.join(self.cwd or "", params.virtualenv)) if params.virtualenv else ""
        self.result: Dict[str, Any] = {
            "cmd": None, "name": params.name, "version": params.version, "state": params.state,
            "requirements": params.requirements, "virtualenv": params.virtualenv, "stdout": "", "stderr": "",
        }  # fmt: skip

    def run(self) -> Dict[str, Any]:
        if self.folder and not self.host.exists(os.path.join(self.folder, "bin/activate")):
            self.make_environment()
        if self.host.check and self.is_to_come():
            self.foretell_all()
        elif self.names or self.params.requirements:
            pip = self.pip()
            (self.remove if self.params.state == "absent" else self.install)(pip)
        return self.host.outcome(**self.result)

    def is_to_come(self) -> bool:
        """In a preview: whether the pip to ask is not there before earlier tasks, or this one, have brought it."""
        host, given = self.host, self.params.executable
        if self.folder:
            return not os.path.exists(os.path.join(self.folder, "bin/activate"))
        if not host.shadow.brings_unknown_files:
            return False
        command = [given] if given else _pip.system_pip(host)
        return host.which(command[0]) is None or host.query(command + ["--version"]).rc != 0

    def pip(self) -> Pip:
        """The pip that is asked for, with its interpreter."""
        host, given = self.host, self.params.executable
        if self.folder:
            python = os.path.join(self.folder, "bin/python")
            programs = [os.path.join(self.folder, "bin", name) for name in ("pip3", "pip")]
            found = [path for path in programs if os.path.exists(path)][:1]
            return Pip(host, found or [python, "-m", "pip"], python, self.cwd, self.env)
        if given:
            program = host.expand(given) if "/" in given else host.which(given)
            if program is None or not os.path.exists(program):
                host.fail("there is no %s on this host; install python3-pip first" % given)
            return Pip(host, [program], _pip.python_of(host, program), self.cwd, self.env)
        command = _pip.system_pip(host)
        return Pip(host, command, command[0], self.cwd, self.env)

    # --- the environment ---

    def make_environment(self) -> None:
        argv = self.environment_command() + [self.folder]
        self.host.note("", "virtual environment\n", self.folder)
        done = self.host.run(argv, foreseen=True, cwd=self.cwd, env=self.env)
        if self.host.check:
            self.host.pretend(self.folder, Node("directory", 0o755))
            self.host.pretend(os.path.join(self.folder, "bin/activate"), Node("file"))
        elif done.rc != 0:
            said = done.stderr.strip() or done.stdout.strip() or done.error
            self.host.fail("cannot make %s: %s" % (self.folder, said), cmd=argv, rc=done.rc)
        self.result.update(stdout=done.stdout, stderr=done.stderr)

    def environment_command(self) -> List[str]:
        host = self.host
        given = words.split(self.params.virtualenv_command)
        program = host.which(host.expand(given[0]) if "/" in given[0] else given[0])
        python = self.params.virtualenv_python
        is_venv = "pyvenv" in given[0] or "venv" in given[1:]
        if program is None and given == ["virtualenv"]:
            # Python's own does the same, so that the playbook goes on.
            program, given, is_venv = host.which(python or sys.executable), ["python", "-m", "venv"], True
        elif is_venv and python:
            host.fail("virtualenv_python cannot be used with %s; it makes an environment of its own Python"
                      % self.params.virtualenv_command)  # fmt: skip
        if program is None and host.check and host.shadow.brings_unknown_files:
            program = given[0]
        if program is None:
            host.fail("there is no %s on this host; install it, or give another virtualenv_command" % given[0])
        argv = [program] + given[1:]
        if self.params.virtualenv_site_packages:
            argv.append("--system-site-packages")
        return argv if is_venv else argv + ["-p" + (python or sys.executable)]

    # --- the packages ---

    def install(self, pip: Pip) -> None:
        params = self.params
        arguments = INSTALL[params.state] + self.arguments()
        argv = pip.command + ["install"] + arguments
        self.result.update(cmd=argv)
        # A file of requirements is pip's to judge.
        state = pip.look(self.names)
        is_plain = not any(_pip.is_address(name) for name in self.names) and not params.editable
        if self.names and is_plain and params.state == "present" and not state.unmet:
            return
        if self.host.check:
            self.preview(pip, state, arguments)
            return
        done = pip.run(argv)
        self.result.update(stdout=done.stdout, stderr=done.stderr)
        self.note(state, pip.look([]))
        if "Successfully installed" in done.stdout and (params.state == "forcereinstall" or not is_plain):
            self.host.changed = True

    def arguments(self) -> List[str]:
        """What pip is given behind its command."""
        params = self.params
        found = words.split(params.extra_args) if params.extra_args else []
        if params.requirements:
            return found + ["-r", params.requirements]
        for name in self.names:
            is_edited = params.editable and _pip.is_address(name)
            found += ["-e", name] if is_edited else [name]
        return found

    def preview(self, pip: Pip, state: State, arguments: List[str]) -> None:
        if state.can_foretell:
            for line in pip.foretell(arguments):
                name, _, version = line.partition(" ")
                old = state.have.get(distribution(name), "")
                self.host.note("%s %s\n" % (name, old) if old else "", line + "\n", "Python packages")
            return
        names = self.names
        if self.params.requirements:
            path = self.host.expand(os.path.join(self.cwd or "", self.params.requirements))
            lines = _pip.requirement_lines(self.host.read(path).decode("utf-8", "replace"))
            if lines is not None and self.params.state == "present" and not pip.look(lines).unmet:
                return
            names = lines or ["-r " + self.params.requirements]
        self.host.warn("pip %s cannot foretell what it does; the packages are taken to change" % state.pip)
        self.foretell(names)

    def foretell_all(self) -> None:
        """In a preview, for a pip that is not there yet."""
        if self.params.state != "absent":
            self.foretell(self.names or (["-r " + self.params.requirements] if self.params.requirements else []))

    def foretell(self, names: List[str]) -> None:
        for name in names:
            self.host.note("", name + "\n", "Python packages")

    def remove(self, pip: Pip) -> None:
        names = self.names
        extra = words.split(self.params.extra_args) if self.params.extra_args else []
        where = ["-r", self.params.requirements] if self.params.requirements else names
        argv = pip.command + ["uninstall", "-y"] + extra + where
        self.result.update(cmd=argv)
        state = pip.look([])
        if names and not any(distribution(name) in state.have for name in names):
            return
        if self.host.check:
            if not names:
                self.host.warn("what the file of requirements names is taken to be there")
                self.host.changed = True
            self.note(state, State(state.pip, without(state.have, names), []))
            return
        done = pip.run(argv)
        self.result.update(stdout=done.stdout, stderr=done.stderr)
        self.note(state, pip.look([]))

    def note(self, before: State, after: State) -> None:
        """Record what became of the packages."""
        for name in sorted(before.have.keys() | after.have.keys()):
            old, new = before.have.get(name), after.have.get(name)
            if old != new:
                said = ["%s %s\n" % (name, version) if version else "" for version in (old, new)]
                self.host.note(said[0], said[1], "Python packages")


def distribution(name: str) -> str:
    """The name of a distribution as it is compared (PEP 503), without extras and versions."""
    import re

    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;@]", name.strip())[0]).lower()


def without(have: Dict[str, str], names: List[str]) -> Dict[str, str]:
    gone = {distribution(name) for name in names}
    return {name: version for name, version in have.items() if name not in gone}
