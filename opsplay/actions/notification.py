"""Tell people: mail, Slack, Discord, Teams, a webhook, and whatever else Apprise reaches.

It is sent from the control side. With `once` the same message goes out again only when its state has changed or that
much time has passed, so that a check that fails every minute does not ring every minute.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from opsplay.actions._durations import seconds_of
from opsplay.actions.base import ActionFailed, Answer, Control, Prepared
from opsplay.agent.spec import Choice, List, Name, Params, Str
from opsplay.agent.spec import Path as PathParam

PARAMS = {
    "to": List(of=Str(), required=True, split=False, secret=True,
               help="Where to, as Apprise's addresses: mailto://…, slack://…, discord://…, msteams://…, jsons://…"),
    "title": Str(required=True, help="The subject"),
    "body": Str(default="", help="The text"),
    "severity": Choice("info", "success", "warning", "failure", default="info", help="How bad it is"),
    "once": Name(help="A name: the same severity under this name is not sent again within `again`"),
    "again": Str(default="1d", help="After how long it is sent again all the same"),
    "folder": PathParam(default="~/.local/state/opsplay/notifications", help="Where `once` is remembered, here"),
}  # fmt: skip
CHECK = "exact"
# One host of the batch does it for all.
ONCE = True


def prepare(control: Control, params: Params) -> Prepared:
    if not [address for address in params.to if address.strip()]:
        raise ActionFailed("nobody is told: `to` is empty")
    memory = Path(os.path.expanduser(params.folder), f"{params.once}.json") if params.once else None
    try:
        recent = memory is not None and told_lately(memory, params.severity, seconds_of(params.again))
    except ValueError as problem:
        raise ActionFailed(f"again: {problem}") from problem
    if recent:
        return Answer({"changed": False, "msg": "the same was told lately", "sent": 0})
    if not control.check:
        send(params)
        if memory is not None:
            remember(memory, params.severity)
    return Answer({"changed": True, "sent": len(params.to)})


def send(params: Params) -> None:
    """Send to every address. Raises ActionFailed that counts those that did not take it."""
    try:
        import apprise
    except ImportError:
        raise ActionFailed("notification needs Apprise; install it with `pip install 'opsplay[notify]'`") from None
    refused = []
    for number, address in enumerate(params.to, 1):
        channel = apprise.Apprise()
        # An address holds secrets: messages name its number and kind only.
        kind = address.partition("://")[0]
        if not channel.add(address):
            raise ActionFailed(f"address {number} ({kind}) is none that Apprise knows")
        if not channel.notify(title=params.title, body=params.body or params.title, notify_type=params.severity):
            refused.append(f"{number} ({kind})")
    if refused:
        sent = len(params.to) - len(refused)
        raise ActionFailed(f"not taken by address {', '.join(refused)} of {len(params.to)}", sent=sent)


def told_lately(memory: Path, severity: str, again: float) -> bool:
    """Whether this severity was the last that was told, and not too long ago."""
    try:
        last: dict[str, Any] = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return last.get("severity") == severity and time.time() - float(last.get("at", 0)) < again


def remember(memory: Path, severity: str) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = memory.with_name(f".{memory.name}.{os.getpid()}")
    beside.write_text(json.dumps({"severity": severity, "at": time.time()}), encoding="utf-8")
    beside.replace(memory)
