"""Make, on the control side, the verifier that PostgreSQL stores of a password, so that the password stays here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsplay.actions.base import Control, Live, Prepared, Remote, Steps
from opsplay.agent.spec import Params
from opsplay.modules.postgres import _scram
from opsplay.modules.postgres import pg_user as shipped

PARAMS = shipped.PARAMS
CHECK = shipped.CHECK


def prepare(control: Control, params: Params) -> Prepared:
    if not params.password or params.state == "absent" or _scram.is_verifier(params.password):
        return Remote(shipped.__name__, dict(params))
    return Steps(lambda live: settle(live, params))


def settle(live: Live, params: Params) -> Mapping[str, Any]:
    """Ask for the salt that is stored, and send what the password is with it and with a new one."""
    asked = live.call(shipped.__name__, {**params, "password": None, "verify_login": False, "_ask_salt": True})
    if asked.get("failed"):
        return asked
    same = _scram.again(params.password, str(asked.get("salt") or ""))
    sent = params.password if params.verify_login else None
    made = [same, _scram.verifier(params.password)]
    return live.call(shipped.__name__, {**params, "password": sent, "_verifiers": made})
