"""Install and remove unit files, with all that goes with them: reloads, links, instances, what systemd remembers."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional, Set

from opsplay.agent.host import Host
from opsplay.agent.record import ModuleFailed
from opsplay.modules.services import _unitfiles
from opsplay.modules.services._systemd import Unit, Wish
from opsplay.modules.services._units import FOLDERS, RUNNING, Manager, pretended
from opsplay.modules.services._verify import SYSTEM, fragment

STAMPS = "/var/lib/systemd/timers"


def refuse_others(host: Host, path: str) -> None:
    """Only files are ours to write: a link stands for a mask or for another unit's alias."""
    target = host.link_target(path)
    if target == "/dev/null":
        host.fail("%s is masked; unmask it first (systemd with masked: false)" % os.path.basename(path), path=path)
    if target is not None:
        host.fail("%s is a link to %s; remove it, or manage that unit" % (path, target), path=path)


def text_of(host: Host, path: str) -> Optional[str]:
    """A file's text; None when it is not there, or when a preview cannot know it."""
    if not host.exists(path) or not host.knows(path):
        return None
    return host.read(path).decode("utf-8", "surrogateescape")


def install(host: Host, path: str, text: str) -> bool:
    """Write a unit file or drop-in for all to read. Returns whether it differs now."""
    refuse_others(host, path)
    host.directory(os.path.dirname(path), mode=0o755)
    return host.write(path, text, mode=0o644, owner="root", group="root")


def reload(host: Host, manager: Manager, changed: bool, unit: str) -> bool:
    """Let systemd read its unit files again when they differ from what it has read. Returns whether they did."""
    if not manager.is_running:
        return changed
    if changed:
        _reload(host, manager.run("daemon-reload"))
        status = pretended(host, unit, manager.show(unit))
        if host.check and status.get("LoadState") in ("not-found", "", None):
            _foresee(host, unit, LoadState="loaded", ActiveState="inactive", UnitFileState="disabled")
        return True
    if manager.show(unit).get("NeedDaemonReload") != "yes":
        return False
    if not host.check:
        _reload(host, manager.query("daemon-reload"))
    return True


def _reload(host: Host, done: Any) -> None:
    if done.rc != 0:
        host.fail("systemctl daemon-reload failed: %s" % (done.stderr.strip() or done.error), rc=done.rc)


def _foresee(host: Host, unit: str, **status: str) -> None:
    host.shadow.units.setdefault(unit, {}).update(status)


def relink(host: Host, manager: Manager, unit: str, before: Optional[str], after: str) -> bool:
    """Make the links of an enabled unit anew when its [Install] section has changed."""
    if before is None or _unitfiles.installs(before) == _unitfiles.installs(after):
        return False
    if pretended(host, unit, manager.show(unit)).get("UnitFileState") not in ("enabled", "enabled-runtime"):
        return False
    if not _unitfiles.installs(after):
        return False
    old, new = ("".join("%s=%s\n" % entry[1:] for entry in _unitfiles.installs(text)) for text in (before, after))
    host.note(old, new, "links of " + unit)
    done = manager.run("reenable", "--", unit)
    if done.rc != 0:
        host.fail("cannot enable %s anew: %s" % (unit, done.stderr.strip() or done.error), rc=done.rc, name=unit)
    return True


def bring(
    host: Host, manager: Manager, unit: str, path: str, state: Optional[str], enabled: Optional[bool], changed: bool
) -> str:
    """Enable, start, stop; `restarted` restarts just what runs with older files than `path`. Returns what was done."""
    here = Unit(host, manager, unit)
    running = here.status.get("ActiveState") in RUNNING
    changed = changed or (running and is_older(host, here.status, path))
    if state == "restarted":
        state = "restarted" if changed and running else "started"
    if state is None and enabled is None:
        return ""
    here.bring(Wish(state, enabled))
    if state == "started" and running and changed:
        host.warn("%s runs with what it was started with; state: restarted lets it take up what has changed" % unit)
    return "" if state is None or (state == "started" and running) else state


def is_older(host: Host, status: Dict[str, str], path: str) -> bool:
    """Whether a unit was started before its file was written: a run may have been cut off between the two."""
    found = host.stat(path)
    started = status.get("ExecMainStartTimestampMonotonic") or status.get("ActiveEnterTimestampMonotonic") or "0"
    if found is None or started == "0":
        return False
    return bool(found.st_mtime > time.time() - time.monotonic() + int(started) / 1e6)


def put_back(host: Host, manager: Manager, path: str, before: str, unit: str, problem: ModuleFailed) -> None:
    """A service that ran and does not come up with its new file gets its old one back, and the task fails."""
    host.write(path, before)
    manager.run("daemon-reload")
    manager.query("reset-failed", "--", unit)
    done = manager.run("start", "--", unit)
    now = "and it runs again" if done.rc == 0 else "but it does not start with that any more either"
    data = dict(problem.result)
    message = "%s The former %s is back, %s." % (data.pop("msg"), path, now)
    data.pop("failed", None)
    raise ModuleFailed(message, **data)


# --- going ---


def instances(host: Host, manager: Manager, template: str) -> List[str]:
    """The instances of a template that are loaded or enabled."""
    base, suffix = template.partition("@")[0] + "@", "." + template.rpartition(".")[2]
    found: Set[str] = set()
    done = manager.query("list-units", "--all", "--plain", "--no-legend", "--", base + "*" + suffix)
    found.update(line.split()[0] for line in done.stdout.split("\n") if line.strip())
    if host.check:
        found.update(name for name in host.shadow.units if name.startswith(base) and name.endswith(suffix))
    for folder in host.names(SYSTEM):
        if folder.endswith((".wants", ".requires")) and host.is_directory("%s/%s" % (SYSTEM, folder)):
            found.update(
                name
                for name in host.names("%s/%s" % (SYSTEM, folder))
                if name.startswith(base) and name.endswith(suffix)
            )
    return sorted(found - {template})


def remove(host: Host, manager: Manager, unit: str) -> bool:
    """Stop, disable and remove a unit with its drop-ins; what a package has of the same name stays as it is."""
    refuse_others(host, "%s/%s" % (SYSTEM, unit))
    packaged = fragment(host, unit, FOLDERS[2:])
    if packaged is not None and not is_ours(host, unit):
        hint = "to keep it from running use systemd with state: stopped and masked: true"
        host.fail("%s belongs to a package (%s) and is not removed; %s" % (unit, packaged, hint), name=unit)
    if packaged is None:
        put_off(host, manager, unit)
    removed = take_away(host, unit)
    if removed:
        reload(host, manager, True, unit)
    if packaged is not None:
        host.warn("%s goes on with what its package says (%s)" % (unit, packaged))
    else:
        forget(host, manager, unit)
    return removed


def is_ours(host: Host, unit: str) -> bool:
    """Whether the host's admin has a file or drop-ins of this unit."""
    return host.exists("%s/%s" % (SYSTEM, unit)) or host.is_directory("%s/%s.d" % (SYSTEM, unit))


def put_off(host: Host, manager: Manager, unit: str) -> None:
    """Stop and disable a unit, or all instances of a template."""
    for name in instances(host, manager, unit) if "@." in unit else [unit]:
        _put_off(host, manager, name)


def take_away(host: Host, unit: str) -> bool:
    """Remove a unit's file, its drop-ins, and when a timer last ran. Returns whether there was any."""
    removed = [host.remove("%s/%s%s" % (SYSTEM, unit, suffix)) for suffix in ("", ".d")]
    return any(removed + [host.remove("%s/stamp-%s" % (STAMPS, unit))])


def _put_off(host: Host, manager: Manager, unit: str) -> None:
    status = pretended(host, unit, manager.show(unit))
    if status.get("LoadState") in ("not-found", "", None) and status.get("ActiveState") not in RUNNING:
        return
    here = Unit(host, manager, unit)
    enabled = status.get("UnitFileState", "") in ("enabled", "enabled-runtime", "indirect")
    here.exists = True
    here.bring(Wish("stopped" if manager.is_running else None, False if enabled else None))


def forget(host: Host, manager: Manager, unit: str) -> None:
    """systemd remembers that a unit has failed even when its file is gone."""
    for name in instances(host, manager, unit) if "@." in unit else [unit]:
        status = pretended(host, name, manager.show(name))
        if status.get("ActiveState") == "failed":
            host.note("failed\n", "inactive\n", name)
            manager.run("reset-failed", "--", name)
        if host.check:
            _foresee(host, name, LoadState="not-found", ActiveState="inactive", UnitFileState="")


def describe(host: Host, manager: Manager, unit: str) -> Dict[str, Any]:
    """What systemd says of a unit in the end."""
    status = pretended(host, unit, manager.show(unit))
    return {"active_state": status.get("ActiveState", ""), "unit_file_state": status.get("UnitFileState", "")}
