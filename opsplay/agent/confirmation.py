"""Nothing is destroyed or replaced but by a phrase that names what and where."""

from __future__ import annotations

import os
from typing import Any

from opsplay.agent.spec import Str


def parameter(words: str) -> Str:
    """The parameter `confirm` of a module that does what `words` say."""
    return Str(help='The phrase "%s on HOST" allows it; without it the message says which' % words)


def require(host: Any, given: Any, words: str) -> None:
    """Fail unless `given` is the words with this host's name: "drop app on db1" for "drop app".

    A preview goes on without it, and says that a run would not.
    """
    name = os.uname().nodename
    phrases = ["%s on %s" % (words, one) for one in (name.partition(".")[0], name)]
    if given in phrases:
        return
    text = "%r is no confirmation" % given if given else "this destroys or replaces data and is not confirmed"
    text += '; to do it, give confirm: "%s"' % phrases[0]
    if given or not host.check:
        host.fail(text + "; nothing was touched", confirm=phrases[0])
    host.warn(text)
