"""What travels to hosts: stripped sources that keep their lines and their meaning, and run on old Pythons."""

from __future__ import annotations

import ast
import marshal
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
import vermin

from opsplay.session import bundle
from opsplay.session.strip import strip

SHIPPED = bundle.shipped_files()
OLDEST = (3, 6)
# Newer than the oldest Python, and only used where `hasattr` has found them.
ASKED_FOR = (
    "os.posix_spawn",
    "os.POSIX_SPAWN_DUP2",
    "ssl.SSLContext.minimum_version",
    "ssl.SSLContext.maximum_version",
)


class Model(ast.NodeTransformer):
    """The same tree without what `strip` takes away: slow, plain, and blind to the text."""

    def visit(self, node: ast.AST) -> Any:
        node = super().generic_visit(node)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            alone = len(node.body) == 1
            node.body[0] = ast.copy_location(ast.Pass() if alone else ast.Expr(ast.Constant(0)), node.body[0])
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign):
            plain = ast.Pass() if node.value is None else ast.Assign([node.target], node.value)
            return ast.copy_location(plain, node)
        if isinstance(node, ast.ImportFrom) and node.module in ("__future__", "typing"):
            return ast.copy_location(ast.Pass(), node)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return ast.copy_location(ast.Pass(), node)
        return node


def statement_lines(tree: ast.AST) -> list[int]:
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)]


def assert_same_program(source: str) -> None:
    stripped = strip(source)
    assert len(stripped.splitlines()) == len(source.splitlines())
    expected, found = Model().visit(ast.parse(source)), ast.parse(stripped)
    assert ast.dump(found) == ast.dump(expected)
    assert statement_lines(found) == statement_lines(expected)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_keep_their_program_and_their_lines(name: str) -> None:
    assert_same_program(SHIPPED[name].read_text())


def test_shipped_files_name_nothing_that_was_stripped(tmp_path: Path) -> None:
    """An alias of a type, made when the module is loaded, would be a NameError on the host."""
    for name, path in SHIPPED.items():
        (tmp_path / f"{name}.py").write_text(strip(path.read_text()))
    argv = ["ruff", "check", "--isolated", "--select", "F821", "--output-format", "concise", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_run_on_the_oldest_python(name: str) -> None:
    stripped = strip(SHIPPED[name].read_text())
    config = vermin.Config()
    for feature in ASKED_FOR:
        config.add_exclusion(feature)
    visitor = vermin.visit(stripped, config)
    least = visitor.minimum_versions()[1]
    assert least is None or least <= OLDEST, visitor.output_text()
    assert "typing" not in {word for node in ast.walk(ast.parse(stripped)) for word in imported(node)}


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [str(node.module)] if isinstance(node, ast.ImportFrom) else []


@pytest.mark.parametrize(
    "source",
    [
        '"""Only a docstring."""\n',
        'def f():\n    """Doc."""\n',
        'def f():\n    """Doc\n    of three\n    lines."""\n    return 1\n',
        'class C:\n    """Doc."""\n    x: int = 1\n    y: str\n',
        "def f(\n    a: int,  # one\n    *rest: str,\n    b: 'Dict[str, int]' = {},\n    **more: Any,\n) -> None:\n    pass\n",
        "def f(a: Dict[str,\n           int] = {1: '->'}) -> List[\n    int\n]:\n    return a\n",
        "def f(a='->') -> int: return 1\n",
        "from typing import (\n    Any,\n    List,\n)\nx = 1\n",
        "if TYPE_CHECKING:\n    from a import b\n    from c import d\nx = 1\n",
        "x: Dict[str, int] = {\n    'a': 1,\n}\n",
        "grüße: str = 'ü'  # naïve\nclass Ö:\n    ä: 'Ü' = 'ß'\n",
        "text = '''\n# no comment\n   # neither\n'''\n# a comment\nx = 1  # another\n",
        "x = [\n    1,\n    # within brackets\n    2,\n]\n",
        "def f():\n    # only a comment before\n    'doc'\n    def g(a: int) -> int:\n        'doc'\n        return a\n    return g\n",
        "@wrap(lambda a: a)\ndef f(a: int = (lambda b: b)(1)) -> Any:\n    return a\n",
        "if x:\n    y: int\nelse:\n    z: int = 2\n",
        "self.sources: Dict[str, Any] = {}\n",
        "x: Dict[\n    str, int\n] = (\n    f()\n)\n",
        "def f(a: int, /, b: int, *, c: int) -> int: return a\n",
    ],
)
def test_tricky_sources(source: str) -> None:
    assert_same_program(source)


def test_a_stripped_module_behaves_as_before() -> None:
    """The codec of frames, stripped, understands what the one of this process has made."""
    from opsplay.agent import protocol

    copy: dict[str, Any] = {"__name__": "stripped"}
    exec(compile(strip(Path(protocol.__file__).read_text()), "stripped", "exec"), copy)
    mark = b"m" * protocol.MARK_LENGTH
    frame = protocol.pack(protocol.RESULT, 1, 7, b"payload", mark)
    assert copy["pack"](copy["RESULT"], 1, 7, b"payload", mark) == frame
    assert list(copy["Decoder"](mark).feed(frame)) == [(protocol.RESULT, 1, 7, b"payload")]


def old_pythons() -> list[str]:
    """Interpreters of 3.6 to 3.9 on the path, or that pyenv keeps."""
    found = []
    for minor in range(6, 10):
        kept = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3"))
        on_path = shutil.which(f"python3.{minor}")
        if kept or (on_path and "shims" not in on_path):
            found.append(str(kept[-1]) if kept else str(on_path))
    return found


@pytest.mark.parametrize("python", old_pythons(), ids=lambda path: path.split("/")[-3])
def test_old_pythons_compile_what_is_shipped(python: str, tmp_path: Path) -> None:
    sources = {name: strip(path.read_text()) for name, path in SHIPPED.items()}
    (tmp_path / "sources").write_bytes(marshal.dumps(sources, 2))
    program = (
        "import marshal,sys\nfor name,text in marshal.load(open(sys.argv[1],'rb')).items(): compile(text, name, 'exec')"
    )
    subprocess.run([python, "-I", "-S", "-c", program, str(tmp_path / "sources")], check=True)


# --- the bundle ---


@pytest.mark.parametrize("magic", [bundle.MAGIC, "0" * 8])
def test_every_module_travels_with_what_it_imports(magic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    agent = set(bundle.agent_modules(magic))
    for name in SHIPPED:
        if name.startswith("opsplay.agent."):
            continue
        travelling = agent | bundle.missing(name, magic, agent)
        assert name in travelling
        for part in travelling:
            assert set(bundle.shipped(magic).part(part).imports) <= travelling, part


def test_what_a_host_has_already_does_not_travel_again() -> None:
    name = "opsplay.modules.files.copy"
    first = bundle.missing(name, bundle.MAGIC, set(bundle.agent_modules(bundle.MAGIC)))
    assert bundle.missing(name, bundle.MAGIC, set(first) | set(bundle.agent_modules(bundle.MAGIC))) == frozenset()


@pytest.mark.parametrize(("magic", "kind"), [(bundle.MAGIC, "code"), ("0" * 8, "str")])
def test_the_boot_payload_is_code_or_source(magic: str, kind: str) -> None:
    payload = bundle.boot_payload(magic, {"beat": 15})
    assert int.from_bytes(payload[:4], "big") == len(payload) - 4
    boot, rest = marshal.loads(zlib.decompress(payload[4:]))
    assert type(boot).__name__ == kind
    assert rest["settings"] == {"beat": 15}
    assert bundle.BOOT not in rest["sources"]
    assert {type(value).__name__ for value in rest["sources"].values()} == {kind}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def run(host):\n    host.call('services.systemd', name='x')", {"modules.services.systemd"}),
        ("class A:\n    def b(self):\n        self.host.call('files.copy')", {"modules.files.copy"}),
        ("def run(host):\n    with host.lock('x'):\n        pass", {"agent.locks"}),
        ("class A:\n    def b(self):\n        return self.host.lock('x')", {"agent.locks"}),
        ("def run(host):\n    subprocess.call('files.copy')\n    host.call('no.such')", set()),
    ],
)
def test_what_a_module_calls_by_name_travels_with_it(source: str, expected: set[str]) -> None:
    assert bundle._imports(source, SHIPPED) == {f"opsplay.{name}" for name in expected}


# --- the cache ---


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "opsplay" / "shipped"


@pytest.mark.parametrize("magic", [bundle.MAGIC, ""])
def test_only_what_is_asked_for_is_made_ready_and_kept(magic: str, cache: Path) -> None:
    fresh = bundle.Shipped(magic)
    assert list(cache.iterdir()) == []
    wanted = fresh.closure("opsplay.modules.system.ping")
    assert {entry.name.rpartition("-")[0] for entry in cache.iterdir()} == wanted
    assert bundle.Shipped(magic).code(wanted) == fresh.code(wanted)


def test_a_damaged_entry_is_made_again(cache: Path) -> None:
    name = "opsplay.modules.system.ping"
    expected = bundle.Shipped("").part(name)
    (entry,) = cache.glob(f"{name}-*")
    whole = entry.read_bytes()
    for damaged in (b"", whole[:-9], b"\0" * 64):
        entry.write_bytes(damaged)
        assert bundle.Shipped("").part(name) == expected
        assert entry.read_bytes() == whole


def test_old_states_of_a_file_do_not_pile_up(cache: Path) -> None:
    name = "opsplay.modules.system.ping"
    bundle.Shipped("").part(name)
    for number in range(9):
        bundle.Cache.store(cache / f"{name}-{number:032x}", b"")
    assert len(list(cache.glob(f"{name}-*"))) == bundle.STATES


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_can_write_to_is_not_used(mode: int, cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(mode)
    assert bundle.Shipped("").part("opsplay.modules.system.ping").code
    assert list(cache.iterdir()) == []
