"""Steer the run itself: flush_handlers, end_host, end_play, end_batch, noop, reset_connection and others."""

from __future__ import annotations

from opsplay.actions.base import ActionFailed, Answer, Control, Meta, Prepared
from opsplay.agent.spec import Params, Str

ACTIONS = (
    "flush_handlers",
    "noop",
    "end_host",
    "end_play",
    "end_batch",
    "clear_facts",
    "clear_host_errors",
    "end_role",
    "refresh_inventory",
    "reset_connection",
)
PARAMS = {"_raw_params": Str(required=True, help="One of " + ", ".join(ACTIONS))}
CHECK = "exact"


def prepare(control: Control, params: Params) -> Prepared:
    name = params._raw_params.strip()
    if name not in ACTIONS:
        raise ActionFailed(f"unknown meta action '{name}'; use one of {', '.join(ACTIONS)}")
    return Answer({"changed": False}, Meta(name))
