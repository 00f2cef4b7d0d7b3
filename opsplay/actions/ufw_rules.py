"""Keep ufw's whole rule set as it is declared, and prove by a new connection that the host is still reached."""

from __future__ import annotations

from opsplay.actions._guarded import guarded
from opsplay.actions.base import Control, Prepared
from opsplay.agent.spec import Params
from opsplay.modules.firewall import ufw_rules as shipped

PARAMS = shipped.PARAMS
CHECK = shipped.CHECK


def prepare(control: Control, params: Params) -> Prepared:
    return guarded(shipped.__name__, params)
