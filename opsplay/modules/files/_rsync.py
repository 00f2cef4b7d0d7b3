"""Run rsync on a host that another one is synchronised from."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Params


def run(host: Host, params: Params) -> Dict[str, Any]:
    """`argv` has --dry-run in a preview, so that this only looks then."""
    done = host.query(params["argv"], env={"LC_ALL": "C"})
    return host.outcome(rc=done.rc, stdout=done.stdout, stderr=done.stderr, changed=False)
