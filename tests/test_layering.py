"""Who may import whom: held against every import, those within functions and for type checkers included."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import opsplay

ROOT = Path(opsplay.__file__).parent
STANDARD = frozenset(sys.stdlib_module_names) | {"__future__"}

# A package, or a file of the top, and which others it may import besides itself. Lower layers come first.
FOUNDATION = ("errors", "model", "secrets", "events")
LAYER_1 = ("documents", "config", "templating", "transport", "catalog")
LAYER_2 = ("inventory", "language", "session", "record", "actions")
LAYER_3 = ("run", "sinks")
ALLOWED: dict[str, tuple[str, ...]] = {
    "agent": (),
    "modules": ("agent",),
    "errors": (),
    "model": ("errors",),
    "secrets": ("errors", "model"),
    "events": ("errors", "model", "secrets"),
    "documents": FOUNDATION,
    "config": FOUNDATION,
    "templating": (*FOUNDATION, "documents"),
    "transport": FOUNDATION,
    "catalog": (*FOUNDATION, "agent", "modules", "actions"),
    "inventory": (*FOUNDATION, "documents", "config", "templating"),
    "language": (*FOUNDATION, "documents", "config", "templating", "agent"),
    "session": (*FOUNDATION, "agent", "modules", "transport"),
    "record": (*FOUNDATION, "config"),
    "actions": (*FOUNDATION, "documents", "templating", "session", "agent", "modules"),
    "run": (*FOUNDATION, *LAYER_1, *LAYER_2, "agent"),
    "sinks": (*FOUNDATION, "record"),
    "lab": ("errors",),
    "plan": (*FOUNDATION, *LAYER_1, *LAYER_2, *LAYER_3, "agent", "modules"),
    "web": (*FOUNDATION, *LAYER_1, *LAYER_2, *LAYER_3, "plan", "agent", "modules"),
    "reference": ("agent", "catalog"),
    "host_modules": ("api", "catalog"),
    "api": ("host_modules", *FOUNDATION, *LAYER_1, *LAYER_2, *LAYER_3, "plan", "agent", "modules"),
    "cli": (*FOUNDATION, *LAYER_1, *LAYER_2, *LAYER_3, "plan", "web", "api", "lab", "agent", "modules"),
    "__init__": ("api",),
    "__main__": ("cli",),
}
# One module that is another for every host that we serve: its parameters are that module's.
SAME_MODULE = {("modules/packages/package.py", "opsplay.modules.packages.apt")}
# Within `run`, only these parts of the actions: what an action sees and answers, not the actions themselves.
RUN_SEES_OF_ACTIONS = "opsplay.actions.base"


def imports(source: str) -> Iterator[tuple[int, str]]:
    """The line and the full name of everything that a source imports, relative imports as they are written."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def part_of(name: str) -> str:
    """The package (or the file of the top) that an imported name of opsplay belongs to; "" for opsplay's own names."""
    words = name.split(".")
    return words[1] if len(words) > 1 and not words[1].startswith("__") else ""


def area_of(path: Path) -> str:
    return path.relative_to(ROOT / "modules").parts[0]


def violations(path: Path, source: str) -> list[str]:
    """What a file imports and must not, as readable lines."""
    part = path.relative_to(ROOT).with_suffix("").parts[0]
    found = []
    for line, name in imports(source):
        problem = _ours(path, part, name) if name.split(".")[0] == "opsplay" else _foreign(part, name)
        if problem:
            found.append(f"{path.relative_to(ROOT)}:{line}: {problem}: {name}")
    return found


def _foreign(part: str, name: str) -> str | None:
    if name.startswith("."):
        return "a relative import"
    top = name.split(".")[0]
    if part in ("agent", "modules") and top not in STANDARD:
        return "shipped code has only the standard library"
    if part == "lab" and top == "click":
        return "the lab has no command line of its own"
    return None


def _ours(path: Path, part: str, name: str) -> str | None:
    target = part_of(name)
    if part in ("agent", "modules") and not target:
        return "shipped code sees nothing of the control side"
    if target == "" or (target == part and part != "modules"):
        return None
    if part == "modules" and target == "modules":
        words = name.split(".")
        own = len(words) > 3 and words[2] == area_of(path) and words[3].startswith("_")
        own = own or (str(path.relative_to(ROOT)), name) in SAME_MODULE
        return None if own else "a module sees only the underscore files of its own area"
    if target not in ALLOWED[part]:
        return f"{part} may not import {target}"
    if part == "run" and target == "actions" and not name.startswith(RUN_SEES_OF_ACTIONS):
        return "the engine knows actions by the catalog"
    return None


FILES = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)


def test_every_part_has_its_row() -> None:
    parts = {path.relative_to(ROOT).with_suffix("").parts[0] for path in FILES}
    assert parts <= set(ALLOWED), f"add {parts - set(ALLOWED)} to the table"


def test_nobody_imports_what_is_above() -> None:
    assert [line for path in FILES for line in violations(path, path.read_text())] == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("agent/loop.py", "import yaml"),
        ("agent/loop.py", "from opsplay import errors"),
        ("agent/loop.py", "import opsplay"),
        ("agent/loop.py", "from . import host"),
        ("modules/files/copy.py", "def run():\n    import jinja2"),
        ("modules/files/copy.py", "from opsplay.modules.system import _network"),
        ("modules/files/copy.py", "from opsplay.modules.files import stat"),
        ("modules/files/copy.py", "from opsplay.session.blobs import Content"),
        ("errors.py", "from opsplay.model import Task"),
        ("documents/yaml.py", "if TYPE_CHECKING:\n    from opsplay.run.engine import Run"),
        ("inventory/ini.py", "def late():\n    from opsplay.language import parse"),
        ("run/engine.py", "from opsplay.sinks import terminal"),
        ("run/engine.py", "from opsplay.actions import copy"),
        ("sinks/lines.py", "from opsplay.run.judge import judge"),
        ("lab/fleet.py", "import click"),
        ("lab/fleet.py", "from opsplay.model import Task"),
    ],
)
def test_a_planted_import_is_found(file: str, source: str) -> None:
    assert len(violations(ROOT / file, source)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("agent/loop.py", "import os, json\nfrom opsplay.agent import host"),
        ("modules/files/copy.py", "from opsplay.modules.files import _helpers\nfrom opsplay.agent.spec import Str"),
        ("modules/files/copy.py", "from opsplay.modules.files._helpers import permissions"),
        ("run/engine.py", "from opsplay import events\nfrom opsplay.actions.base import Answer"),
        ("cli/run.py", "from opsplay import __version__\nfrom opsplay.run.engine import Run\nimport click"),
    ],
)
def test_what_is_allowed_passes(file: str, source: str) -> None:
    assert violations(ROOT / file, source) == []


# --- what is loaded when ---


def loaded_by(code: str, *arguments: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after some code."""
    report = "\nimport sys; sys.stderr.write('LOADED ' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code + report, *arguments], capture_output=True, text=True)
    assert "LOADED " in done.stderr, done.stderr
    return set(done.stderr.rpartition("LOADED ")[2].split())


def test_the_types_of_parameters_load_nothing_else_of_opsplay() -> None:
    ours = {name for name in loaded_by("import opsplay.agent.spec") if name.partition(".")[0] == "opsplay"}
    assert ours == {"opsplay", "opsplay.agent", "opsplay.agent.spec"}


COMMAND = """
import sys
from opsplay.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
"""
# What the start of any command may take its time for.
HELP_LOADS = {"click", "opsplay"}
HEAVY = {"paramiko", "fabric", "invoke", "cryptography", "jinja2", "yaml", "rich"}


def foreign(modules: set[str]) -> set[str]:
    """The packages from outside the standard library. Those that only site-packages' .pth files load do not count."""
    before = {name.partition(".")[0] for name in loaded_by("")}
    return {name.partition(".")[0] for name in modules} - before - STANDARD


def test_help_loads_click_and_nothing_else() -> None:
    assert foreign(loaded_by(COMMAND, "--help")) <= HELP_LOADS


def test_listing_hosts_loads_no_transport(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text("- hosts: all\n  tasks:\n    - command: 'true'\n")
    modules = loaded_by(COMMAND, "run", "-i", "one,two", str(tmp_path / "play.yml"), "--list-hosts")
    assert foreign(modules) & HEAVY <= {"jinja2", "yaml"}
