"""End the way back from a change of access: it is proven, or it is taken now."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent import way_back
from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Name, Params

PARAMS = {
    "name": Name(required=True, help="The change's name"),
    "state": Choice(
        "proven", "taken", "looked", required=True, help="Remove the way back, go back now, or only say how far it is"
    ),
}
CHECK = "skipped"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.state == "proven":
        return {"changed": False, "proven": way_back.prove(host, params.name)}
    if params.state == "taken":
        return {"changed": False, "restored": way_back.take(host, params.name)}
    return {"changed": False, "restored": way_back.state_of(params.name) not in ("armed", "restoring")}
