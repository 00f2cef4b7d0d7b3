"""The first stage on a host: an importer for the shipped sources, then the agent.

Before this runs, the bootstrap line (opsplay/session/bootstrap.py) has moved the protocol's streams to descriptors of
their own, so that nothing which prints to standard output can reach them, and has said hello.
"""

from __future__ import annotations

import sys
from typing import Any, Dict, Optional

PACKAGES = {"opsplay", "opsplay.agent", "opsplay.modules"}


class ShippedImporter:
    """Imports `opsplay.*` from memory: each value of `sources` is a code object or Python source.

    A name without a source that has others below it is a package.
    """

    def __init__(self, sources: Dict[str, Any]) -> None:
        self.sources = {}  # type: Dict[str, Any]
        self.packages = set(PACKAGES)
        self.add(sources)

    def add(self, sources: Dict[str, Any]) -> None:
        self.sources.update(sources)
        for name in sources:
            parent = name.rpartition(".")[0]
            while parent:
                self.packages.add(parent)
                parent = parent.rpartition(".")[0]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[Any]:
        if name not in self.sources and name not in self.packages:
            return None
        from _frozen_importlib import ModuleSpec

        loader = self  # type: Any
        return ModuleSpec(name, loader, origin=file_name(name), is_package=name in self.packages)

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        code = self.sources.get(module.__name__)
        if code is None:
            return
        if isinstance(code, (str, bytes)):
            code = compile(code, file_name(module.__name__), "exec", dont_inherit=True)
        exec(code, module.__dict__)


def file_name(module: str) -> str:
    """What tracebacks call a shipped module."""
    return "<%s.py>" % module.replace(".", "/")


def start(in_fd: int, out_fd: int, mark: bytes, payload: Dict[str, Any]) -> None:
    """Serve until the control side ends. `payload` holds `sources` and the session's `settings`."""
    import _signal

    # The bootstrap line's clock: the code has come.
    _signal.alarm(0)
    importer = ShippedImporter(payload["sources"])
    sys.meta_path.insert(0, importer)
    from opsplay.agent.loop import Agent

    Agent(in_fd, out_fd, mark, payload["settings"], importer).serve()
