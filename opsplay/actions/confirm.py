"""Let nothing that destroys begin before somebody has typed what it will do.

The phrase names what is done, to what, on which host: `restore app on db1`. It is given as a variable (from the command
line: `-e confirm_restore='restore app on db1'`), or typed at the terminal; anything else ends the host's play with the
phrase that is missing. The record keeps who confirmed what, when and why.
"""

from __future__ import annotations

import getpass
import platform
import time
from collections.abc import Mapping
from typing import Any

from opsplay.actions.base import ActionFailed, Control, Live, Prepared, Steps
from opsplay.agent.spec import Int, Params, Str

PARAMS = {
    "phrase": Str(required=True, help="What has to be typed, such as `restore app on db1`"),
    "answer": Str(default="", help="What was given beforehand; without it the terminal is asked"),
    "message": Str(default="", help="What will happen, shown before the question"),
    "reason": Str(default="", help="Why it is done, for the record"),
    "variable": Str(default="", help="The variable that `answer` comes from, for the message that asks for it"),
    "seconds": Int(min=1, default=600, help="How long the terminal is waited for"),
}
CHECK = "exact"


def prepare(control: Control, params: Params) -> Prepared:
    phrase = params.phrase.strip()
    if not phrase:
        raise ActionFailed("phrase is empty: there would be nothing to confirm")
    return Steps(lambda live: confirm(live, phrase, params))


def confirm(live: Live, phrase: str, params: Params) -> Mapping[str, Any]:
    """The record of a confirmation. Raises ActionFailed without one."""
    if live.check:
        return {"changed": False, "phrase": phrase, "msg": f"a run needs the confirmation {phrase!r}"}
    how, typed = "given", params.answer.strip()
    if not typed:
        how, typed = "typed", (live.ask(question(phrase, params), False, params.seconds) or "").strip()
    if typed != phrase:
        raise ActionFailed(refusal(phrase, typed, params), phrase=phrase)
    actor = f"{getpass.getuser()}@{platform.node()}"
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"changed": False, "phrase": phrase, "how": how, "actor": actor, "at": at, "reason": params.reason}


def question(phrase: str, params: Params) -> str:
    """What the terminal shows."""
    told = f"{params.message.rstrip()}\n" if params.message else ""
    return f"{told}Type `{phrase}` to go on: "


def refusal(phrase: str, typed: str, params: Params) -> str:
    """Why it does not go on, and how it would."""
    found = f"{typed!r} was given" if typed else "nobody has confirmed it"
    way = f"; run with -e {params.variable}='{phrase}'" if params.variable else ""
    return f"not done: the confirmation {phrase!r} is needed, {found}{way}"
