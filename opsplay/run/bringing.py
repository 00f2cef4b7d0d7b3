"""What the items of an include bring into a host's way."""

from __future__ import annotations

from dataclasses import replace

from opsplay.actions.base import Answer, Bring
from opsplay.errors import OpsplayError
from opsplay.model import Status
from opsplay.run.batch import Batch
from opsplay.run.flight import Flight
from opsplay.run.work import Work


def bring(play: Batch, flight: Flight, work: Work) -> None:
    """Read what an include's items bring in; what cannot be read fails the item."""
    for index, item in enumerate(work.items[: len(flight.items)]):
        effect = item.prepared.effect if isinstance(item.prepared, Answer) else None
        if not isinstance(effect, Bring):
            continue
        try:
            included = play.bring(flight.task, effect.params, index)
        except OpsplayError as problem:
            data = {"failed": True, "changed": False, "msg": str(problem), **effect.params}
            flight.items[index] = replace(flight.items[index], status=Status.FAILED, data=data)
            continue
        flight.brought.append((included, item.loop))
