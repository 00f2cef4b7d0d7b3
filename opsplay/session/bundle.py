"""What travels to a host: the agent and the modules that a play uses, stripped, and compiled where that serves.

A host whose Python has the control side's own bytecode format gets code objects, which start 20 ms sooner; every
other host gets the stripped sources. Both are kept in the user's cache folder.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import marshal
import os
import threading
import zlib
from pathlib import Path
from typing import Any

import opsplay
from opsplay.session.strip import strip

ROOT = Path(opsplay.__file__).parent
AGENT = ("boot", "protocol", "loop", "host", "spec")
MAGIC = importlib.util.MAGIC_NUMBER.hex()

_lock = threading.Lock()


def source_path(module: str) -> Path:
    """The file of a shipped module, by its full name."""
    return ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")


@functools.lru_cache(maxsize=None)
def stripped(module: str) -> str:
    """A shipped module's source as it travels."""
    return strip(source_path(module).read_text())


@functools.lru_cache(maxsize=None)
def imports(module: str) -> frozenset[str]:
    """The shipped modules that a module imports at its top, itself included, and theirs."""
    import ast

    found: set[str] = set()
    for node in ast.parse(stripped(module)).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("opsplay."):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if source_path(inner).exists() else node.module)
    result = {module}
    for name in found:
        result |= imports(name)
    return frozenset(result)


def agent_modules() -> frozenset[str]:
    """Everything that the agent itself consists of."""
    folder = ROOT / "agent"
    return frozenset(f"opsplay.agent.{path.stem}" for path in folder.glob("*.py") if path.stem not in ("__init__", "facts"))


def with_dependencies(module: str) -> frozenset[str]:
    """A module with the helpers it imports, without the agent's own files."""
    return imports(module) - agent_modules()


@functools.lru_cache(maxsize=None)
def shipped(module: str, magic: str) -> Any:
    """A module as the given Python can run it: a code object when it is ours, else the stripped source."""
    source = stripped(module)
    if magic != MAGIC:
        return source
    name = "<%s.py>" % module.replace(".", "/")
    return compile(source, name, "exec", dont_inherit=True, optimize=0)


@functools.lru_cache(maxsize=None)
def payload(names: frozenset[str], magic: str) -> bytes:
    """Marshalled sources or code objects by name, from the cache folder when nothing has changed."""
    key = _key(names, magic)
    cached = _cache_folder() / key if _cache_folder() else None
    if cached is not None:
        try:
            return cached.read_bytes()
        except OSError:
            pass
    data = marshal.dumps({name: shipped(name, magic) for name in sorted(names)}, 2)
    if cached is not None:
        _store(cached, data)
    return data


def boot_payload(magic: str, settings: dict[str, Any]) -> bytes:
    """What the bootstrap line reads: length, then the compressed first stage with the agent."""
    return _boot(magic, tuple(sorted(settings.items())))


@functools.lru_cache(maxsize=None)
def _boot(magic: str, settings: tuple[tuple[str, Any], ...]) -> bytes:
    names = agent_modules() - {"opsplay.agent.boot"}
    sources = marshal.loads(payload(frozenset(names), magic))
    boot = marshal.loads(payload(frozenset(("opsplay.agent.boot",)), magic))["opsplay.agent.boot"]
    body = zlib.compress(marshal.dumps((boot, {"sources": sources, "settings": dict(settings)}), 2), 6)
    return len(body).to_bytes(4, "big") + body


def _key(names: frozenset[str], magic: str) -> str:
    digest = hashlib.sha256(f"{opsplay.__version__} {magic} {MAGIC}".encode())
    for path in [Path(__file__).with_name("strip.py"), *(source_path(name) for name in sorted(names))]:
        found = path.stat()
        digest.update(f"{path} {found.st_size} {found.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


@functools.lru_cache(maxsize=1)
def _cache_folder() -> Path | None:
    """A folder that only this user can write to: code from it runs on hosts."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(base) / "opsplay" / "shipped"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return None
    safe = found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if safe else None


def _store(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
