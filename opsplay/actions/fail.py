"""Fail with a message of one's own."""

from __future__ import annotations

from opsplay.actions.base import Answer, Control, Prepared
from opsplay.agent.spec import Params, Str

PARAMS = {"msg": Str(default="Failed as requested from task", help="Why")}
CHECK = "exact"


def prepare(control: Control, params: Params) -> Prepared:
    return Answer({"failed": True, "changed": False, "msg": params.msg})
