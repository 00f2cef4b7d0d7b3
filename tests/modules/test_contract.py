"""What every module must keep to, whoever wrote it."""

from __future__ import annotations

import ast
import importlib
import sys
from types import ModuleType

import pytest

from opsplay.agent import spec
from opsplay.session.strip import strip
from tests.modules.harness import MODULES

NAMES = sorted(
    ".".join(path.relative_to(MODULES).with_suffix("").parts)
    for path in MODULES.rglob("*.py")
    if not path.name.startswith("_")
)
FILES = sorted([*MODULES.rglob("*.py"), *MODULES.with_name("agent").glob("*.py")], key=str)
# Imported where they are used and only when they are: what they cost is said in docs/architecture.md.
DEAR = {"re", "json", "subprocess", "tempfile", "hashlib", "shlex", "glob", "shutil", "datetime", "socket", "platform"}


@pytest.fixture(params=NAMES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"opsplay.modules.{request.param}")


def test_modules_are_found() -> None:
    assert {"files.copy", "files.file", "commands.command", "system.setup"} <= set(NAMES)


def test_documented(module: ModuleType) -> None:
    assert module.__doc__ and module.__doc__.splitlines()[0].endswith(".")
    undocumented = [name for name, param in module.PARAMS.items() if not param.help]
    assert undocumented == []


def test_declares_its_check_mode(module: ModuleType) -> None:
    assert module.CHECK in ("exact", "partial", "skipped")


def test_parameters_are_of_known_types(module: ModuleType) -> None:
    assert all(isinstance(param, spec.Param) for param in module.PARAMS.values())
    names = [*module.PARAMS, *(alias for param in module.PARAMS.values() for alias in param.aliases)]
    assert len(names) == len(set(names)), "a name stands for two parameters"
    for name, param in module.PARAMS.items():
        if param.default is not None:
            assert param.convert(param.default) == param.default, name


def test_unknown_parameter_is_refused_by_name(module: ModuleType) -> None:
    with pytest.raises(spec.ParameterError) as caught:
        spec.validate(module.PARAMS, {"no_such_parameter": 1})
    assert caught.value.name == "no_such_parameter"
    assert "no_such_parameter" in caught.value.message


def test_missing_parameter_is_refused_by_name(module: ModuleType) -> None:
    required = [name for name, param in module.PARAMS.items() if param.required]
    for missing in required:
        given = {name: sample(module.PARAMS[name]) for name in required if name != missing}
        with pytest.raises(spec.ParameterError) as caught:
            spec.validate(module.PARAMS, given)
        assert caught.value.name == missing
        assert missing in caught.value.message


def sample(param: spec.Param) -> object:
    """A value that a required parameter accepts."""
    choices = getattr(param, "choices", None)
    if choices:
        return choices[0]
    for value in ("x", 1, "0644", {}, []):
        try:
            param.convert(value)
        except ValueError:
            continue
        return value
    raise AssertionError(param.describe())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(MODULES.parent)))
def test_shipped_source(path: object) -> None:
    """The standard library and shipped files only; no dear import at the top; nothing newer than Python 3.6."""
    source = strip(path.read_text())  # type: ignore[attr-defined]
    tree = ast.parse(source, feature_version=(3, 7))
    area = ".".join(path.relative_to(MODULES.parent.parent).parts[:-1])  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        for name in imported(node):
            if name.startswith("opsplay"):
                assert name.startswith(("opsplay.agent", "opsplay.modules")), name
            else:
                assert name.split(".")[0] in sys.stdlib_module_names | BUILT_IN, name
        assert not isinstance(node, (ast.NamedExpr, ast.AnnAssign)), f"line {node.lineno}"
        assert not isinstance(node, ast.Call) or not is_subprocess(node), "host.query and host.run run programs"
    top = {name.split(".")[0] for node in tree.body for name in imported(node)}
    assert not top & DEAR, f"{area}: imported at the top: {top & DEAR}"


BUILT_IN = {"_frozen_importlib", "_queue", "_json", "_socket", "_signal", "_thread", "_sha1", "_sha256", "_struct"}


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []


def is_subprocess(node: ast.Call) -> bool:
    text = ast.unparse(node.func)
    return text.startswith("subprocess.") or text in ("os.system", "os.popen")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(MODULES.parent)))
def test_size(path: object) -> None:
    """A function fits on a screen, a file on a few."""
    source = path.read_text()  # type: ignore[attr-defined]
    assert len(source.splitlines()) <= 310
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 70, node.name
