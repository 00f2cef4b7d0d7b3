"""Timers: what a schedule means, asked of systemd, and the text of a timer and its service."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Params
from opsplay.modules.services._unitfiles import LETTERS
from opsplay.modules.services._units import full_name
from opsplay.modules.services._verify import ENVIRONMENT, SECONDS, program

MARK = "# Made by opsplay (systemd_timer); what is changed here by hand is overwritten.\n"
ELAPSES = 3
# Parameters that are keys of the service.
SERVICE_KEYS = (
    ("user", "User"),
    ("group", "Group"),
    ("working_directory", "WorkingDirectory"),
    ("environment_file", "EnvironmentFile"),
    ("timeout", "TimeoutStartSec"),
    ("nice", "Nice"),
    ("io_class", "IOSchedulingClass"),
    ("io_priority", "IOSchedulingPriority"),
    ("memory_max", "MemoryMax"),
    ("memory_high", "MemoryHigh"),
    ("cpu_quota", "CPUQuota"),
    ("cpu_weight", "CPUWeight"),
    ("tasks_max", "TasksMax"),
)
SPANS = (
    ("on_active", "OnActiveSec"),
    ("on_boot", "OnBootSec"),
    ("on_unit_active", "OnUnitActiveSec"),
    ("on_unit_inactive", "OnUnitInactiveSec"),
)
# Below this interval systemd's usual accuracy of a minute would be felt.
SHORT = 600 * 1000000


class Schedule:
    """One expression as systemd understood it."""

    __slots__ = ("given", "normalized", "elapses")

    def __init__(self, given: str, normalized: str, elapses: List[float]) -> None:
        self.given = given
        self.normalized = normalized
        self.elapses = elapses

    def told(self) -> Dict[str, Any]:
        return {"given": self.given, "normalized": self.normalized, "next": [iso(moment) for moment in self.elapses]}


def understood(host: Host, expression: str) -> Schedule:
    """What systemd makes of an OnCalendar expression. Fails where it understands none, or it never comes."""
    argv = [program(host), "calendar", "--iterations=%d" % ELAPSES, "--", expression]
    done = host.query(argv, env=ENVIRONMENT, timeout=SECONDS)
    hint = "; `systemd-analyze calendar` tries one, systemd.time(7) explains them"
    if done.rc != 0:
        host.fail("on_calendar: %s%s" % (done.stderr.strip() or done.error, hint))
    schedule = parse_calendar(expression, done.stdout)
    if not schedule.elapses:
        host.fail("on_calendar: %r never comes%s" % (expression, hint))
    return schedule


def parse_calendar(expression: str, text: str) -> Schedule:
    """What `systemd-analyze calendar` prints: the normal form, and moments, in UTC a line below where that differs."""
    normalized = expression
    elapses: List[Optional[float]] = []
    for line in text.split("\n"):
        label, _, value = line.partition(": ")
        label, value = label.strip(), value.strip()
        if label == "Normalized form":
            normalized = value
        elif label == "Next elapse" or label.startswith("Iter"):
            elapses.append(moment_of(value))
        elif label == "(in UTC)":
            elapses[-1] = moment_of(value)
    return Schedule(expression, normalized, [moment for moment in elapses if moment is not None])


def moment_of(text: str) -> Optional[float]:
    """Seconds since 1970 of a moment in UTC such as `Sun 2026-11-29 00:00:00 UTC`; None for one that never comes."""
    import calendar

    words = text.split()
    if len(words) < 3:
        return None
    date, clock = words[1].split("-"), words[2].split(":")
    parts = [int(part) for part in date] + [int(part.partition(".")[0]) for part in clock]
    return float(calendar.timegm((parts[0], parts[1], parts[2], parts[3], parts[4], parts[5])))


def iso(moment: float) -> str:
    """A moment in the host's own zone, e.g. 2026-11-29T02:00:00+01:00."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(moment))
    return text[:-2] + ":" + text[-2:]


def spans(host: Host, given: Dict[str, str]) -> Dict[str, int]:
    """Microseconds of each span by its parameter. Fails for one that systemd does not understand."""
    found = {}
    for name, text in given.items():
        done = host.query([program(host), "timespan", "--", text], env=ENVIRONMENT, timeout=SECONDS)
        if done.rc != 0:
            said = done.stderr.strip() or done.error
            host.fail("%s: %s; a span is written as in 90, 5min or 1h 30min (systemd.time(7))" % (name, said))
        digits = [line.partition(":")[2].strip() for line in done.stdout.split("\n") if "s:" in line.partition(" H")[0]]
        found[name] = int(next(number for number in digits if number.isdigit()))
    return found


def doubled(schedules: List[Schedule]) -> str:
    """A warning when a shorthand such as `daily` stands beside a time of day: each of them fires."""
    dates = [schedule for schedule in schedules if ":" not in schedule.given]
    times = [schedule for schedule in schedules if ":" in schedule.given]
    if not dates or not times:
        return ""
    parts = ["%r means %s" % (schedule.given, schedule.normalized) for schedule in dates + times]
    return "on_calendar fires at each of its expressions, not at their combination: %s" % ", ".join(parts)


def commands(given: Any) -> List[str]:
    """ExecStart lines: of a text each line, of a list of words one command, of a list with lists each of them.

    Raises ValueError for what is no command.
    """
    if isinstance(given, str):
        lines = [line.strip() for line in given.replace("\\\n", " ").split("\n")]
        return [line for line in lines if line]
    if not isinstance(given, (list, tuple)):
        raise ValueError("exec is a command line, or a list of its words")
    if any(isinstance(one, (list, tuple)) for one in given):
        return [line for one in given for line in commands(one)]
    words = [str(word) for word in given]
    if words and not words[0].startswith("/"):
        raise ValueError("exec as a list begins with the program's whole path, not with %r" % words[0])
    return [" ".join(quoted(word) for word in words)] if words else []


def quoted(word: str) -> str:
    """A word of a command line as systemd takes it literally (systemd.service(5), COMMAND LINES)."""
    text = word.replace("%", "%%").replace("$", "$$")
    if text and not set(text) - set(LETTERS + "0123456789-_=/.,:+@%$~"):
        return text
    return '"%s"' % escaped(text)


def escaped(text: str) -> str:
    """What stands between double quotes."""
    for sign, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(sign, written)
    return text


def assignments(environment: Dict[str, str]) -> List[str]:
    """Environment= lines. Raises ValueError for a name that no variable can have."""
    for key in environment:
        if not key or key[0].isdigit() or set(key) - set(LETTERS + "0123456789_"):
            raise ValueError("environment: %r cannot be a variable's name" % key)
    return ['"%s=%s"' % (key, escaped(value.replace("%", "%%"))) for key, value in environment.items()]


def service_sections(params: Params, lines: List[str]) -> Dict[str, Dict[str, Any]]:
    """The service that the timer starts. Extra keys come last and win."""
    unit: Dict[str, Any] = {"Description": params.description or params.name}
    if params.after:
        unit["Wants"] = unit["After"] = [full_name(name) for name in params.after]
    if params.on_failure:
        unit["OnFailure"] = [full_name(name) for name in params.on_failure]
    service: Dict[str, Any] = {"Type": "oneshot", "ExecStart": lines}
    service.update((key, params[name]) for name, key in SERVICE_KEYS if params[name] not in (None, []))
    if params.environment:
        service["Environment"] = assignments(params.environment)
    service.update(params.service)
    return {"Unit": unit, "Service": service}


def timer_sections(params: Params, lengths: Dict[str, int]) -> Dict[str, Dict[str, Any]]:
    """The timer. One that only counts from its last run would never begin: it first counts from its own start."""
    timer: Dict[str, Any] = {}
    if params.on_calendar:
        timer["OnCalendar"] = params.on_calendar
        timer["Persistent"] = params.persistent
    given = {name: params[name] for name, _ in SPANS if params[name] is not None}
    if not params.on_calendar and not {"on_active", "on_boot"} & set(given):
        given["on_active"] = given.get("on_unit_active") or given["on_unit_inactive"]
    timer.update((key, given[name]) for name, key in SPANS if name in given)
    if params.randomized_delay is not None:
        timer["RandomizedDelaySec"] = params.randomized_delay
    short = any(lengths[name] < SHORT for name, _ in SPANS if name in lengths)
    if params.accuracy is not None or short:
        timer["AccuracySec"] = params.accuracy or "1s"
    if params.wake:
        timer["WakeSystem"] = True
    if params.unit:
        timer["Unit"] = full_name(params.unit)
    timer.update(params.timer)
    description = params.description or "Timer of %s" % (params.unit or params.name)
    return {"Unit": {"Description": description}, "Timer": timer, "Install": {"WantedBy": "timers.target"}}
