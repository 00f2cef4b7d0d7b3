"""What travels to a host: the agent and the modules that a play uses, stripped, and compiled where that serves.

A host whose Python has the control side's own bytecode format gets code objects, which start 20 ms sooner; every
other host gets the stripped sources. A file is made ready once and kept in the user's cache folder.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import marshal
import os
import threading
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import opsplay
from opsplay.session.strip import strip

ROOT = Path(opsplay.__file__).parent
PREFIX = "opsplay."
BOOT = "opsplay.agent.boot"
# Parts of the agent that only some modules need: they travel with those.
ON_DEMAND = frozenset(
    "opsplay.agent." + name
    for name in (
        "aws", "aws_endpoint", "aws_signature", "backups", "chain", "cipher", "connection", "download", "exchange",
        "facts", "locks", "manifests", "metrics", "permissions", "pipeline", "retention", "signatures", "sizes",
        "stages", "way_back", "web",
    )
)  # fmt: skip
# Primitives whose code is one of these: naming the primitive takes it along.
PRIMITIVES = {"lock": "opsplay.agent.locks"}
MAGIC = importlib.util.MAGIC_NUMBER.hex()

# How many states of one file are kept: two formats of two versions of opsplay.
STATES = 4


@dataclass(frozen=True)
class Part:
    """One file, ready to travel: its code object or stripped source, and the shipped files that it imports."""

    code: Any
    imports: tuple[str, ...]


class Shipped:
    """Everything that can be shipped to one kind of Python; each file is made ready when it is first asked for.

    Making all of them ready takes over a second, which nobody should wait for who runs three modules.
    """

    def __init__(self, magic: str) -> None:
        self.files = shipped_files()
        self._compiled = magic == MAGIC
        self._parts: dict[str, Part] = {}
        self._cache = Cache.of(f"{sorted(self.files)} {MAGIC if self._compiled else 'source'}")
        self._lock = threading.Lock()

    def part(self, name: str) -> Part:
        """One file by its module's full name."""
        with self._lock:
            found = self._parts.get(name)
            if found is None:
                found = self._parts[name] = self._cached(name)
            return found

    def code(self, names: Iterable[str]) -> dict[str, Any]:
        """Code objects or sources by name, in the order of the names."""
        return {name: self.part(name).code for name in sorted(names)}

    def closure(self, module: str) -> frozenset[str]:
        """A module with all the shipped ones that it imports."""
        found: set[str] = set()
        pending = [module]
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending += self.part(name).imports
        return frozenset(found)

    def _cached(self, name: str) -> Part:
        path = self.files[name]
        entry = self._cache.entry(name, path) if self._cache is not None else None
        if entry is not None:
            try:
                return Part(*marshal.loads(entry.read_bytes()))
            except (OSError, ValueError, EOFError, TypeError):
                pass
        part = self._make(name, path)
        if entry is not None:
            Cache.store(entry, marshal.dumps((part.code, part.imports)))
        return part

    def _make(self, name: str, path: Path) -> Part:
        source = strip(path.read_text(encoding="utf-8"))
        return Part(_compile(name, source) if self._compiled else source, tuple(sorted(_imports(source, self.files))))


def shipped_files() -> dict[str, Path]:
    """Every file that may travel, by its module's full name."""
    paths = [*(ROOT / "agent").glob("*.py"), *(ROOT / "modules").glob("*/*.py")]
    found = {}
    for path in sorted(paths):
        if path.stem != "__init__":
            found[PREFIX + ".".join(path.relative_to(ROOT).with_suffix("").parts)] = path
    return found


def shipped(magic: str) -> Shipped:
    """What can be shipped to Pythons of this bytecode format, one for the whole process."""
    with _lock:
        return _shipped(MAGIC if magic == MAGIC else "")


_lock = threading.Lock()
_shipped = functools.lru_cache(maxsize=2)(Shipped)


def _compile(name: str, source: str) -> Any:
    return compile(source, f"<{name.replace('.', '/')}.py>", "exec", dont_inherit=True, optimize=0)


def _imports(source: str, files: dict[str, Path]) -> set[str]:
    """The shipped modules that a file imports, at its top or within a function, and those of its primitives."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PREFIX):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if name in files else node.module for name in names)
        elif isinstance(node, ast.Attribute) and node.attr in PRIMITIVES and _is_host(node.value):
            found.add(PRIMITIVES[node.attr])
        elif isinstance(node, ast.Call) and (called := _called(node)):
            found.add(f"{PREFIX}modules.{called}")
    return found & set(files)


def _called(node: ast.Call) -> str:
    """The module that `host.call` names; empty when this is another call."""
    what = node.func
    if isinstance(what, ast.Attribute) and what.attr == "call" and _is_host(what.value):
        first = node.args[0] if node.args else None
        return str(first.value) if isinstance(first, ast.Constant) else ""
    return ""


def _is_host(node: ast.expr) -> bool:
    """Whether this is a Host by the name that modules give it, be it kept in an object of theirs."""
    return ast.unparse(node) in ("host", "self.host")


def agent_modules(magic: str) -> frozenset[str]:
    """Everything that the agent itself consists of."""
    return frozenset(name for name in shipped(magic).files if name.startswith("opsplay.agent.")) - ON_DEMAND


def missing(module: str, magic: str, have: set[str]) -> frozenset[str]:
    """What an agent that has `have` lacks to run a module."""
    if module in have:
        return frozenset()
    return shipped(magic).closure(module) - have


@functools.cache
def payload(names: frozenset[str], magic: str) -> bytes:
    """Marshalled code objects or sources by name, for an agent that runs already."""
    return marshal.dumps(shipped(magic).code(names), 2)


def boot_payload(magic: str, settings: dict[str, Any]) -> bytes:
    """What the bootstrap line reads: length, then the compressed first stage with the agent."""
    return _boot(magic, tuple(sorted(settings.items())))


@functools.cache
def _boot(magic: str, settings: tuple[tuple[str, Any], ...]) -> bytes:
    found = shipped(magic)
    rest = {"sources": found.code(agent_modules(magic) - {BOOT}), "settings": dict(settings)}
    body = zlib.compress(marshal.dumps((found.part(BOOT).code, rest), 2), 6)
    return len(body).to_bytes(4, "big") + body


class Cache:
    """Files made ready before, in a folder that only this user can write to: what is in it runs on hosts."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        tools = " ".join(_state(path) for path in (Path(__file__), Path(__file__).with_name("strip.py")))
        self._base = hashlib.sha256(f"{opsplay.__version__} {kind} {tools}".encode())

    @classmethod
    def of(cls, kind: str) -> Cache | None:
        """The user's cache for one kind of Python; None where there can be none that is his alone."""
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = Path(base) / "opsplay" / "shipped"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.stat()
        except OSError:
            return None
        return cls(folder, kind) if found.st_uid == os.getuid() and not found.st_mode & 0o022 else None

    def entry(self, name: str, path: Path) -> Path:
        """Where this very state of a file is kept."""
        digest = self._base.copy()
        digest.update(f"{path} {_state(path)}".encode())
        return self._folder / f"{name}-{digest.hexdigest()[:32]}"

    @staticmethod
    def store(entry: Path, data: bytes) -> None:
        """Keep it, in place of what older states of the file left."""
        beside = entry.with_name(f".{entry.name}.{os.getpid()}")
        try:
            beside.write_bytes(data)
            beside.replace(entry)
            states = entry.parent.glob(f"{entry.name.rpartition('-')[0]}-*")
            for old in sorted(states, key=lambda state: state.stat().st_mtime)[:-STATES]:
                old.unlink(missing_ok=True)
        except OSError:
            beside.unlink(missing_ok=True)


def _state(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"
