"""Fail unless conditions hold."""

from __future__ import annotations

from opsplay.actions.base import Answer, Control, Prepared
from opsplay.agent.spec import Bool, List, Params, Raw

PARAMS = {
    "that": List(of=Raw(), split=False, required=True, help="Conditions, as for when"),
    "fail_msg": Raw(aliases=("msg",), help="What to say when a condition does not hold: text, or a list of texts"),
    "success_msg": Raw(help="What to say when all hold: text, or a list of texts"),
    "quiet": Bool(default=False, help="Say nothing when all hold"),
}
CHECK = "exact"

# Conditions are evaluated by this action, not rendered before it.
UNRENDERED = ("that",)


def prepare(control: Control, params: Params) -> Prepared:
    for condition in params.that:
        if not control.templar.condition(condition, control.at):
            message = params.fail_msg or "Assertion failed"
            shown = condition if isinstance(condition, bool) else str(condition)
            failure = {"failed": True, "evaluated_to": False, "assertion": shown, "msg": message}
            return Answer({**failure, "changed": False})
    return Answer({"changed": False, "msg": params.success_msg or "All assertions passed"})
