"""What an answered task asks of the run: variables, hosts and groups, numbers for the end, where to go on."""

from __future__ import annotations

from opsplay.actions.base import Answer, Bring, KeepFacts, Meta, SetVariables
from opsplay.run import position as places
from opsplay.run.batch import Batch
from opsplay.run.flight import Flight
from opsplay.run.position import Position
from opsplay.run.work import runs_for_all


def apply_effects(play: Batch, host: str, flight: Flight) -> Position | None:
    """Do it. Returns where the host goes on, None for the next task."""
    variables = play.context.run.variables.of(host)
    moved: Position | None = None
    for item in flight.work.items if flight.work is not None else ():
        effect = item.prepared.effect if isinstance(item.prepared, Answer) else None
        if isinstance(effect, Meta):
            moved = apply_meta(play, host, effect.name, flight.position)
        elif isinstance(effect, SetVariables):
            variables.loaded.update(effect.values)
        elif isinstance(effect, KeepFacts):
            variables.learn(effect.values)
        elif effect is not None and not isinstance(effect, Bring):
            play.context.run.apply(effect, host)
    return moved


def apply_meta(play: Batch, host: str, name: str, position: Position) -> Position | None:
    """Do what a meta task asks. Returns where the host goes on, None for the next task."""
    run = play.context.run
    if name in ("end_host", "end_play", "end_batch"):
        if name != "end_host":
            play.stop(position.order, whole_play=name == "end_play")
        return places.leave(position)
    if name == "end_role":
        return places.end_role(position)
    if name == "clear_facts":
        for each in play.hosts if runs_for_all(play.context, name) else [host]:
            run.variables.of(each).forget_facts()
    elif name == "reset_connection":
        run.sessions.close_host(host)
    elif name == "clear_host_errors":
        play.forgive()
    elif name == "refresh_inventory":
        run.refresh_inventory()
    return None
