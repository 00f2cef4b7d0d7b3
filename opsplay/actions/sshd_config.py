"""Keep settings of sshd, and prove by a new login that the host is still reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsplay.actions._guarded import guarded
from opsplay.actions.base import Control, Prepared
from opsplay.agent.spec import Params
from opsplay.modules.hardening import sshd_config as shipped

PARAMS = shipped.PARAMS
CHECK = shipped.CHECK


def prepare(control: Control, params: Params) -> Prepared:
    return guarded(shipped.__name__, params, ports=port_of)


def port_of(result: Mapping[str, Any]) -> int | None:
    """Where the host is reached from now on, when that is another port."""
    port = result.get("port")
    return int(port) if port else None
