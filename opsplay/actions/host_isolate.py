"""Cut a host off from all but the control side, and prove by a new connection that control is kept."""

from __future__ import annotations

from opsplay.actions._guarded import guarded
from opsplay.actions.base import Control, Prepared
from opsplay.agent.spec import Params
from opsplay.modules.firewall import host_isolate as shipped

PARAMS = shipped.PARAMS
CHECK = shipped.CHECK


def prepare(control: Control, params: Params) -> Prepared:
    return guarded(shipped.__name__, params)
