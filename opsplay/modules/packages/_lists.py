"""The package lists: how old they are, and fetching them."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Params
from opsplay.modules.packages import _locks
from opsplay.modules.packages._aptget import ENVIRONMENT, AptGet

LISTS = "/var/lib/apt/lists"
STAMP = "/var/lib/apt/periodic/update-success-stamp"


def are_here() -> bool:
    """Whether any list has been fetched; a freshly built image has none."""
    try:
        return any("_Packages" in name for name in os.listdir(LISTS))
    except OSError:
        return False


def fetched_at() -> int:
    """When the lists were last fetched, in seconds since 1970; 0 for never."""
    if not are_here():
        return 0
    times = []
    for path in (LISTS, STAMP):
        try:
            times.append(int(os.stat(path).st_mtime))
        except OSError:
            pass
    return max(times)


def refresh(host: Host, params: Params, apt: AptGet) -> Dict[str, Any]:
    """Fetch the lists when that is asked for and they are not young enough. Ansible's return values."""
    result: Dict[str, Any] = {"cache_updated": False, "cache_update_time": fetched_at()}
    if not (params.update_cache or params.cache_valid_time):
        return result
    young = params.cache_valid_time and time.time() - result["cache_update_time"] < params.cache_valid_time
    if young or (host.check and host.shadow.renewed_package_lists):
        return result
    result["cache_updated"] = True
    if host.check:
        host.shadow.renewed_package_lists = True
        return result
    before = signature()
    _fetch(host, params, apt)
    # apt-get leaves the folder's time when every list was still the newest; cache_valid_time counts from now.
    os.utime(LISTS)
    result["cache_update_time"] = fetched_at()
    result["lists_changed"] = signature() != before
    return result


def signature() -> Any:
    """What tells one state of the lists from another."""
    found = []
    for entry in os.scandir(LISTS):
        if entry.is_file(follow_symlinks=False) and entry.name != "lock":
            status = entry.stat()
            found.append((entry.name, status.st_size, status.st_mtime_ns))
    return sorted(found)


def _fetch(host: Host, params: Params, apt: AptGet) -> None:
    deadline = time.monotonic() + params.lock_timeout
    # Without this, apt-get says that all is well though a repository could not be reached.
    argv = [apt.program, "-q", "-o", "APT::Update::Error-Mode=any", "update"]
    for attempt in range(max(params.update_cache_retries, 0) + 1):
        if attempt:
            pause = min(2 ** (attempt - 1), params.update_cache_retry_max_delay)
            host.progress("fetching package lists again in %d s" % pause)
            time.sleep(pause)
        _locks.wait(host, _locks.UPDATING, deadline, params.lock_timeout)
        host.progress("fetching package lists")
        done = host.query(argv, env=ENVIRONMENT)
        if done.rc == 0 and "Failed to fetch" not in done.stderr:
            return
    apt.fail("the package lists cannot be fetched (%d attempts)" % (attempt + 1), done)
