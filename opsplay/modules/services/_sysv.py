"""Services of System V: scripts in /etc/init.d, run by `service`, started at boot by links in /etc/rc?.d."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Params
from opsplay.modules.services._units import VERBS

# Exit codes of a script's status action (LSB 5.0, section 22.2): dead with a pid file, dead with a lock, not running.
NOT_RUNNING = (1, 2, 3)


def manage(host: Host, params: Params) -> Dict[str, Any]:
    """Bring a script's service to the wanted state. Raises ModuleFailed."""
    if not host.exists("/etc/init.d/" + params.name):
        host.fail("there is no service %s on this host: no systemd, and no /etc/init.d/%s" % (params.name, params.name))
    result: Dict[str, Any] = {"name": params.name}
    if params.enabled is not None:
        _enable(host, params)
        result["enabled"] = params.enabled
    if params.state is not None:
        _change_state(host, params)
        result["state"] = "stopped" if params.state == "stopped" else "started"
    return result


def _enable(host: Host, params: Params) -> None:
    known = host.shadow.units.get(params.name, {}).get("enabled") if host.check else None
    enabled = is_enabled(params.name) if known is None else known
    if enabled == params.enabled:
        return
    host.note("enabled %s\n" % enabled, "enabled %s\n" % params.enabled, params.name)
    update_rc, chkconfig, openrc = [host.which(tool) for tool in ("update-rc.d", "chkconfig", "rc-update")]
    if update_rc:
        host.must_run([update_rc, params.name, "defaults"], foreseen=True)
        host.must_run([update_rc, params.name, "enable" if params.enabled else "disable"], foreseen=True)
    elif chkconfig:
        host.must_run([chkconfig, params.name, "on" if params.enabled else "off"], foreseen=True)
    elif openrc:
        host.must_run([openrc, "add" if params.enabled else "delete", params.name, params.runlevel], foreseen=True)
    else:
        host.fail("%s cannot be enabled: none of update-rc.d, chkconfig and rc-update is on this host" % params.name)
    if host.check:
        host.shadow.units.setdefault(params.name, {})["enabled"] = params.enabled


def is_enabled(name: str) -> bool:
    """Whether a start link lies in a folder of the runlevels for several users, or of OpenRC."""
    for folder in ("/etc/rc%d.d" % level for level in (2, 3, 4, 5)):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        if any(link.startswith("S") and link[3:] == name for link in names):
            return True
    try:
        return any(os.path.lexists("/etc/runlevels/%s/%s" % (level, name)) for level in os.listdir("/etc/runlevels"))
    except OSError:
        return False


def _change_state(host: Host, params: Params) -> None:
    running = _is_running(host, params)
    if (params.state, running) in (("started", True), ("stopped", False)):
        return
    actions = [VERBS[params.state]]
    if params.state == "reloaded" and not running:
        actions = ["start"]
    elif params.state == "restarted" and params.sleep:
        actions = ["stop", "start"]
    host.note("running %s\n" % running, "%s\n" % params.state, params.name)
    for number, action in enumerate(actions):
        if number and not host.check:
            time.sleep(params.sleep)
        host.must_run(_command(host, params, action), foreseen=True)
    if host.check:
        host.shadow.units.setdefault(params.name, {})["running"] = params.state != "stopped"


def _command(host: Host, params: Params, action: str) -> List[str]:
    from opsplay.agent import words

    extra = words.split(params.arguments) if params.arguments else []
    service = host.which("service")
    return ([service] if service else []) + [params.name if service else "/etc/init.d/" + params.name, action] + extra


def _is_running(host: Host, params: Params) -> bool:
    if host.check and "running" in host.shadow.units.get(params.name, {}):
        return bool(host.shadow.units[params.name]["running"])
    if params.pattern:
        return runs(params.pattern)
    done = host.query(_command(host, params, "status"), timeout=30)
    if done.rc != 0 and done.rc not in NOT_RUNNING:
        host.fail(
            "the status of %s cannot be known: %s" % (params.name, done.stderr.strip() or "exit code %d" % done.rc)
            + "; give pattern, a part of its command line"
        )
    return bool(done.rc == 0)


def runs(pattern: str) -> bool:
    """Whether the command line of a process of another than this agent holds the pattern."""
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) != os.getpid():
            try:
                fd = os.open("/proc/%s/cmdline" % pid, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                line = os.read(fd, 1 << 16)
            except OSError:
                line = b""
            finally:
                os.close(fd)
            if pattern in line.replace(b"\0", b" ").decode("utf-8", "replace"):
                return True
    return False
