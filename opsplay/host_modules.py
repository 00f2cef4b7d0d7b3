"""Every module as a method of a host. Editors and type checkers read host_modules.pyi, which names them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opsplay import catalog

if TYPE_CHECKING:
    from opsplay.api import Outcome


class HostModules:
    """The methods. A parameter that is a Python keyword takes a trailing underscore."""

    def run_module(self, module: str, params: Mapping[str, Any], ignore_errors: bool = False) -> Outcome:
        raise NotImplementedError

    def __getattr__(self, module: str) -> Callable[..., Outcome]:
        name = module.removesuffix("_")
        if module.startswith("_") or catalog.find(name) is None:
            raise AttributeError(f"there is no module '{module}'; {catalog.suggestion(module) or 'see opsplay doc'}")

        def call(ignore_errors: bool = False, **params: Any) -> Outcome:
            return self.run_module(name, {key.removesuffix("_"): value for key, value in params.items()}, ignore_errors)

        return call

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *catalog.entries()]
