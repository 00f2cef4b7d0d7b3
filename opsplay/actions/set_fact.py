"""Give a host variables that later tasks and plays can use."""

from __future__ import annotations

import re

from opsplay.actions.base import ActionFailed, Answer, Control, KeepFacts, Prepared
from opsplay.agent.spec import Bool, Params, to_bool

PARAMS = {"cacheable": Bool(default=False, help="Also keep the values as facts")}
OPEN_ENDED = True
CHECK = "exact"

NAME = re.compile(r"[A-Za-z_]\w*")


def prepare(control: Control, params: Params) -> Prepared:
    facts = {name: value for name, value in params.items() if name != "cacheable"}
    if not facts:
        raise ActionFailed("set_fact needs at least one name and value")
    for name in facts:
        if not NAME.fullmatch(name):
            raise ActionFailed(f"{name!r} cannot be the name of a variable")
    cacheable = to_bool(params.get("cacheable") or False)
    return Answer({"ansible_facts": facts, "changed": False}, KeepFacts(facts) if cacheable else None)
