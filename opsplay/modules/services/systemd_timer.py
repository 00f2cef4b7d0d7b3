"""Run something on a schedule: a systemd timer and its service in one task, judged by systemd before they are written.

The result says how the schedule was understood and when it comes next.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Name, Params, Raw, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.agent.spec import List as ListOf
from opsplay.modules.services import _install, _runs, _timers, _unitfiles, _verify
from opsplay.modules.services._systemd import Unit, Wish
from opsplay.modules.services._units import FOLDERS, RUNNING, Manager, foreseen, full_name, pretended

PARAMS = {
    "name": Name(required=True, help="The name of both units, without a suffix"),
    "description": Str(help="What it is, in the units and in lists"),
    "exec": Raw(
        aliases=("command",),
        help="What is run: a command line of systemd's (several lines are several commands), a list of one command's"
             " words, taken literally, or a list of such lists",
    ),
    "unit": Name(help="A unit that is there and is started, instead of a service of its own"),
    "user": Str(help="Who runs it. Default: root"),
    "group": Str(help="Its group"),
    "working_directory": Str(help="Where it runs"),
    "environment": DictOf(of=Str(), default={}, help="Variables; everybody can read them, secrets go in a file"),
    "environment_file": ListOf(of=Str(), split=False, help="Files with variables; - in front allows one to be missing"),
    "on_calendar": ListOf(
        of=Str(), split=False, help="When: each expression as in systemd.time(7) fires by itself, e.g. *-*-* 02:00"
    ),
    "on_boot": Str(help="So long after boot, e.g. 5min"),
    "on_active": Str(help="So long after the timer was started"),
    "on_unit_active": Str(help="So long after its last start: a regular interval"),
    "on_unit_inactive": Str(help="So long after its last end"),
    "persistent": Bool(default=True, help="Make up for a time of on_calendar that was missed while the host was off"),
    "randomized_delay": Str(help="Wait for a random time up to this, so that not all hosts begin at once"),
    "accuracy": Str(help="How late it may be; systemd's usual is 1min, here 1s for intervals below 10 minutes"),
    "wake": Bool(help="Wake the host from suspend"),
    "after": ListOf(of=Name(), help="Units that are started before it"),
    "on_failure": ListOf(of=Name(), help="Units that are started when it fails, e.g. alert@%n.service"),
    "timeout": Str(help="How long it may run before it is ended. Default: for ever"),
    "nice": Int(min=-20, max=19, help="Its priority for the processor, 19 is the lowest"),
    "io_class": Choice("none", "realtime", "best-effort", "idle", help="Its class for disk access"),
    "io_priority": Int(min=0, max=7, help="Its priority within the class, 7 is the lowest"),
    "memory_max": Str(help="The memory it may have, e.g. 512M"),
    "memory_high": Str(help="The memory from which on it is slowed down"),
    "cpu_quota": Str(help="The processor time it may have, e.g. 50%"),
    "cpu_weight": Int(min=1, max=10000, help="Its share of the processor; usual is 100"),
    "tasks_max": Str(help="How many processes and threads it may have"),
    "hardening": Choice("none", "basic", "strict", default="none", help="A sandbox, as in systemd_unit"),
    "service": DictOf(default={}, help="More keys of the section Service; they win"),
    "timer": DictOf(default={}, help="More keys of the section Timer; they win"),
    "enabled": Bool(default=True, help="Whether the timer runs, now and after each boot"),
    "state": Choice(
        "present", "absent", "started", default="present",
        help="started: it is also run now, the task waits for its end and fails with it. absent: both units are stopped"
             " and removed, and what systemd remembers of them",
    ),
    "wait": Int(min=1, default=3600, help="With state started: how many seconds the task waits"),
}  # fmt: skip
CHECK = "exact"
OWN = ("after", "on_failure", "environment", "environment_file", "service", "working_directory", "user", "group",
       "timeout", "nice", "io_class", "io_priority", "memory_max", "memory_high", "cpu_quota", "cpu_weight",
       "tasks_max")  # fmt: skip


def run(host: Host, params: Params) -> Dict[str, Any]:
    name = params.name
    for suffix in (".timer", ".service"):
        name = name[: -len(suffix)] if name.endswith(suffix) else name
    params["name"] = name
    timer, service = name + ".timer", full_name(params.unit) if params.unit else name + ".service"
    _refuse(host, params, timer)
    manager = Manager(host)
    if params.state == "absent":
        _remove(host, manager, timer, name + ".service")
        return host.outcome(name=timer)
    schedules, lengths = _schedule(host, params)
    files = _texts(host, params, timer, service, lengths)
    _refuse_missing(host, manager, params, service)
    differing = [unit for unit in files if _install.text_of(host, _path(unit)) != files[unit]]
    for unit in differing:
        _verify.refuse_wrong(host, unit, files, True)
    _write(host, manager, files, differing, timer)
    _settle(host, manager, params, timer)
    result = _told(host, manager, schedules, lengths, timer)
    if params.state == "started":
        result.update(_runs.run_now(host, manager, service, params.wait))
    return host.outcome(name=timer, service=service, **result)


def _path(unit: str) -> str:
    return "%s/%s" % (_verify.SYSTEM, unit)


def _refuse(host: Host, params: Params, timer: str) -> None:
    problem = _unitfiles.wrong_name(timer)
    if problem:
        host.fail("%r cannot be a timer: %s" % (params.name, problem))
    if "@" in timer:
        host.fail("%s would be a template or an instance; write those with systemd_unit" % timer)
    if params.state == "absent":
        return
    if (params.exec is None) == (params.unit is None):
        host.fail("give exec, what is to be run, or unit, which is to be started; one of them")
    given = [key for key in OWN if params.unit and params[key] not in (None, [], {})]
    if given or (params.unit and params.hardening != "none"):
        key = given[0] if given else "hardening"
        hint = "which is not this task's; use systemd_unit with dropin"
        host.fail("%s belongs to the service, that is %s, %s" % (key, full_name(params.unit), hint))
    if not params.on_calendar and not any(params[key] for key, _ in _timers.SPANS):
        host.fail("when? Give on_calendar, on_boot, on_active, on_unit_active or on_unit_inactive")
    for unit in (timer,) if params.unit else (timer, params.name + ".service"):
        packaged = _verify.fragment(host, unit, FOLDERS[2:])
        if packaged is not None:
            host.fail("%s belongs to a package (%s); choose another name, or give unit" % (unit, packaged), name=timer)


def _schedule(host: Host, params: Params) -> Tuple[List[_timers.Schedule], Dict[str, int]]:
    """What the schedule means. Fails for what systemd does not understand."""
    schedules = [_timers.understood(host, expression) for expression in params.on_calendar or ()]
    warning = _timers.doubled(schedules)
    if warning:
        host.warn(warning)
    names = [name for name, _ in _timers.SPANS] + ["randomized_delay", "accuracy", "timeout"]
    return schedules, _timers.spans(host, {name: params[name] for name in names if params[name] is not None})


def _texts(host: Host, params: Params, timer: str, service: str, lengths: Dict[str, int]) -> Dict[str, str]:
    """The text of each unit that is this task's. Fails for what cannot be written."""
    found = {}
    try:
        if not params.unit:
            lines = _timers.commands(params.exec)
            if not lines:
                raise ValueError("exec is empty")
            sections = _timers.service_sections(params, lines)
            if params.hardening != "none":
                known = _unitfiles.rendered(sections)
                sections["Service"].update(_unitfiles.hardened(params.hardening, known, _verify.version(host)))
            found[service] = _timers.MARK + _unitfiles.rendered(sections)
        found[timer] = _timers.MARK + _unitfiles.rendered(_timers.timer_sections(params, lengths))
    except ValueError as problem:
        host.fail(str(problem), name=timer)
    return found


def _refuse_missing(host: Host, manager: Manager, params: Params, service: str) -> None:
    """Whatever would only be missed when the timer fires, perhaps at night."""
    if params.user and "%" not in params.user:
        host.uid(params.user)
    if params.group and "%" not in params.group:
        host.gid(params.group)
    if host.check and host.shadow.brings_unknown_files:
        return
    folder = (params.working_directory or "/").lstrip("-")
    if folder.startswith("/") and "%" not in folder and not host.is_directory(folder):
        host.fail("working_directory %s is not on this host; make it first" % folder)
    for path in params.environment_file or ():
        if not path.startswith("-") and not set("%*?[") & set(path) and not host.exists(path):
            host.fail("environment_file %s is not on this host; make it first, or write -%s" % (path, path))
    wanted = [service] if params.unit else []
    wanted += [full_name(unit) for unit in list(params.on_failure or ()) + list(params.after or ())]
    for unit in wanted:
        if _verify.fragment(host, unit) is None and not _is_known(host, manager, unit):
            host.fail("there is no unit %s on this host; make it first" % unit, name=unit)


def _is_known(host: Host, manager: Manager, unit: str) -> bool:
    if "%" in unit:
        return False
    status = pretended(host, unit, manager.show(unit))
    return status.get("LoadState") == "loaded" or bool(host.check and foreseen(host, unit, "system"))


def _write(host: Host, manager: Manager, files: Dict[str, str], differing: List[str], timer: str) -> None:
    """Install what differs. A running timer is put off meanwhile: systemd would make up for times it never had."""
    for unit in files:
        _install.refuse_others(host, _path(unit))
    was_running = pretended(host, timer, manager.show(timer)).get("ActiveState") in RUNNING
    if was_running and timer in differing:
        Unit(host, manager, timer).bring(Wish("stopped"))
    written = [_install.install(host, _path(unit), text) for unit, text in files.items()]
    _install.reload(host, manager, any(written), timer)
    if was_running and timer in differing:
        _runs.count_from_now(host, timer)


def _settle(host: Host, manager: Manager, params: Params, timer: str) -> None:
    here = Unit(host, manager, timer)
    here.bring(Wish("started" if params.enabled else "stopped", params.enabled))


def _told(
    host: Host, manager: Manager, schedules: List[_timers.Schedule], lengths: Dict[str, int], timer: str
) -> Dict[str, Any]:
    """How the schedule was understood, and the next moments, without the random delay."""
    moments = sorted({moment for schedule in schedules for moment in schedule.elapses})[: _timers.ELAPSES]
    if any(name in lengths for name, _ in _timers.SPANS):
        if host.check:
            host.unknown("next_elapse", "next_elapses")
        else:
            moments = sorted(moments + _runs.next_monotonic(host, manager, timer))
    told = [_timers.iso(moment) for moment in moments]
    calendar = [schedule.told() for schedule in schedules]
    return {"calendar": calendar, "next_elapses": told, "next_elapse": told[0] if told else ""}


def _remove(host: Host, manager: Manager, timer: str, service: str) -> None:
    """The timer goes, and its service when a task like this one has made it."""
    text = _install.text_of(host, _path(service))
    units = [timer] + ([service] if text is not None and text.startswith(_timers.MARK) else [])
    for unit in units:
        _install.refuse_others(host, _path(unit))
        packaged = _verify.fragment(host, unit, FOLDERS[2:])
        if packaged is not None:
            host.fail("%s belongs to a package (%s); it is not this module's to remove" % (unit, packaged), name=unit)
    for unit in units:
        _install.put_off(host, manager, unit)
    removed = [_install.take_away(host, unit) for unit in units]
    if any(removed):
        _install.reload(host, manager, True, timer)
    for unit in (timer, service):
        if _verify.fragment(host, unit) is None:
            _install.forget(host, manager, unit)
