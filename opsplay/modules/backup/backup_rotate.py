"""Remove backups that are old enough, and never the last good ones.

`latest`, the newest verified ones (keep_min), what is tagged (unless `tags`), and what is not older than the newest
verified one stay whatever the rules say. Ages are those of the manifests, to the second; times of files do not matter.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List

from opsplay.agent import backups, retention
from opsplay.agent.host import Host
from opsplay.agent.retention import RETENTION
from opsplay.agent.spec import Bool, Int, Name, Path
from opsplay.agent.spec import List as ListOf

PARAMS = dict(
    dir=Path(required=True, help="The folder of all backups"),
    name=ListOf(of=Name(), default=[], help="Only those of these names. Default: of all that there are"),
    tags=Bool(default=False, help="Let tagged ones go as others do: where they are copies, whose originals stay"),
    wait=Int(default=60, min=0, help="Seconds to wait for another rotation of the same folder"),
    **RETENTION,
)
CHECK = "exact"


def run(host: Host, params: Any) -> Dict[str, Any]:
    directory = host.expand(params.dir)
    if not retention.prunes(params):
        host.fail("nothing would ever go: give keep_days, keep_daily, keep_weekly or keep_monthly")
    removed: List[str] = []
    kept: List[str] = []
    lock = "backups-%s" % directory.strip("/").replace("/", "-")
    with host.lock(lock, params.wait):
        for name in params.name or backups.names_below(directory):
            folder = os.path.join(directory, name)
            try:
                gone = retention.prune(host, folder, params)
            except (OSError, backups.Unreadable) as problem:
                host.fail("old backups of %s were not removed: %s" % (name, problem), removed=removed)
            removed += gone
            kept += [backup.folder for backup in backups.backups_below(folder) if backup.folder not in gone]
    return host.outcome(removed=removed, kept=kept)
