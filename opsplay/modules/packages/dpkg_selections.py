"""Say what dpkg is to do with a package, e.g. hold it, with dpkg --set-selections."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Name, Params

PARAMS = {
    "name": Name(required=True, help="The package"),
    "selection": Choice("install", "hold", "deinstall", "purge", required=True, help="What shall be done with it"),
}
CHECK = "exact"
ENVIRONMENT = {"LC_ALL": "C"}


def run(host: Host, params: Params) -> Dict[str, Any]:
    before = selection_of(host, params.name)
    if before != params.selection:
        if before == "not present":
            # dpkg would warn, and forget it.
            host.fail("Failed to find package '%s' to perform selection '%s'; install it once, or check the spelling"
                      % (params.name, params.selection))  # fmt: skip
        host.note(before + "\n", params.selection + "\n", "dpkg selection of " + params.name)
        line = "%s %s\n" % (params.name, params.selection)
        host.must_run(["dpkg", "--set-selections"], foreseen=True, stdin=line.encode(), env=ENVIRONMENT)
    return host.outcome(before=before, after=params.selection)


def selection_of(host: Host, name: str) -> str:
    """The selection now; "not present" when dpkg does not know the package."""
    done = host.query(["dpkg", "--get-selections", name], env=ENVIRONMENT)
    words = done.stdout.split()
    return words[1] if len(words) > 1 else "not present"
