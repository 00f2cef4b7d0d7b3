"""What travels to a host: the agent and the modules that a play uses, stripped, and compiled where that serves.

A host whose Python has the control side's own bytecode format gets code objects, which start 20 ms sooner; every
other host gets the stripped sources. Both are made once and kept in the user's cache folder.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import opsplay
from opsplay.session.strip import strip

ROOT = Path(opsplay.__file__).parent
PREFIX = "opsplay."
BOOT = "opsplay.agent.boot"
# Parts of the agent that only some modules need: they travel with those.
ON_DEMAND = frozenset(("opsplay.agent.facts",))
MAGIC = importlib.util.MAGIC_NUMBER.hex()

_lock = threading.Lock()


@dataclass(frozen=True)
class Shipped:
    """Everything that can be shipped to one kind of Python: each file's code (or source), and what it imports."""

    code: dict[str, Any]
    imports: dict[str, tuple[str, ...]]

    def closure(self, module: str) -> frozenset[str]:
        """A module with all the shipped ones that it imports."""
        found: set[str] = set()
        pending = [module]
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending += self.imports[name]
        return frozenset(found)


def shipped_files() -> dict[str, Path]:
    """Every file that may travel, by its module's full name."""
    paths = [*(ROOT / "agent").glob("*.py"), *(ROOT / "modules").glob("*/*.py")]
    found = {}
    for path in sorted(paths):
        if path.stem != "__init__":
            found[PREFIX + ".".join(path.relative_to(ROOT).with_suffix("").parts)] = path
    return found


def shipped(magic: str) -> Shipped:
    """What can be shipped to Pythons of this bytecode format; made once a process, kept in the cache folder."""
    with _lock:
        return _load(MAGIC if magic == MAGIC else "")


@functools.lru_cache(maxsize=2)
def _load(magic: str) -> Shipped:
    files = shipped_files()
    cached = _cache_file(files, magic)
    if cached is not None:
        try:
            return Shipped(*marshal.loads(cached.read_bytes()))
        except (OSError, ValueError, EOFError, TypeError):
            pass
    sources = {name: strip(path.read_text(encoding="utf-8")) for name, path in files.items()}
    imports = {name: tuple(sorted(_imports(source, files))) for name, source in sources.items()}
    code = {name: _compile(name, source) for name, source in sources.items()} if magic else sources
    if cached is not None:
        _store(cached, marshal.dumps((code, imports)))
    return Shipped(code, imports)


def _compile(name: str, source: str) -> Any:
    return compile(source, f"<{name.replace('.', '/')}.py>", "exec", dont_inherit=True, optimize=0)


def _imports(source: str, files: dict[str, Path]) -> set[str]:
    """The shipped modules that a file imports, at its top or within a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PREFIX):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if name in files else node.module for name in names)
    return found & set(files)


def agent_modules(magic: str) -> frozenset[str]:
    """Everything that the agent itself consists of."""
    return frozenset(name for name in shipped(magic).code if name.startswith("opsplay.agent.")) - ON_DEMAND


def missing(module: str, magic: str, have: set[str]) -> frozenset[str]:
    """What an agent that has `have` lacks to run a module."""
    if module in have:
        return frozenset()
    return shipped(magic).closure(module) - have


@functools.cache
def payload(names: frozenset[str], magic: str) -> bytes:
    """Marshalled code objects or sources by name, for an agent that runs already."""
    code = shipped(magic).code
    return marshal.dumps({name: code[name] for name in sorted(names)}, 2)


def boot_payload(magic: str, settings: dict[str, Any]) -> bytes:
    """What the bootstrap line reads: length, then the compressed first stage with the agent."""
    return _boot(magic, tuple(sorted(settings.items())))


@functools.cache
def _boot(magic: str, settings: tuple[tuple[str, Any], ...]) -> bytes:
    code = shipped(magic).code
    sources = {name: code[name] for name in sorted(agent_modules(magic) - {BOOT})}
    body = zlib.compress(marshal.dumps((code[BOOT], {"sources": sources, "settings": dict(settings)}), 2), 6)
    return len(body).to_bytes(4, "big") + body


# --- the cache ---


def _cache_file(files: dict[str, Path], magic: str) -> Path | None:
    """Where this very state of the files is kept, in a folder that only this user can write to: it runs on hosts."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(base) / "opsplay" / "shipped"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return None
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        return None
    digest = hashlib.sha256(f"{opsplay.__version__} {magic or 'source'} {MAGIC}".encode())
    for path in (*files.values(), Path(__file__), Path(__file__).with_name("strip.py")):
        state = path.stat()
        digest.update(f"{path} {state.st_size} {state.st_mtime_ns}".encode())
    return folder / digest.hexdigest()[:32]


def _store(path: Path, data: bytes) -> None:
    """Keep it, in place of what older states of the files left."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
        for old in sorted(path.parent.glob("[0-9a-f]*"), key=lambda entry: entry.stat().st_mtime)[:-8]:
            old.unlink(missing_ok=True)
    except OSError:
        beside.unlink(missing_ok=True)
