"""Keep numbers and texts for the end of the run: they are shown behind the recap and stand in the record."""

from __future__ import annotations

from opsplay.actions.base import Answer, Control, Prepared, SetStatistics
from opsplay.agent.spec import Bool, Dict, Params

PARAMS = {
    "data": Dict(required=True, help="Names and values"),
    "per_host": Bool(default=False, help="Whether they are kept for each host by itself"),
    "aggregate": Bool(default=True, help="Whether values are added to those that are there, or take their place"),
}
CHECK = "exact"


def prepare(control: Control, params: Params) -> Prepared:
    stats = {"data": params.data, "per_host": params.per_host, "aggregate": params.aggregate}
    effect = SetStatistics(params.data, params.aggregate, params.per_host)
    return Answer({"changed": False, "ansible_stats": stats}, effect)
