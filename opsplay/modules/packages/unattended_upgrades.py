"""Have updates installed by themselves, every day, security updates alone unless asked otherwise.

All settings are in one file below /etc/apt/apt.conf.d, which is tried beside: apt has to read it together with all the
others, no other file may overrule it, and unattended-upgrades makes a dry run with it. apt's two timers, which do the
work, are switched on; `at` gives the upgrade's time.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Name, Param, Params, Str, kind_of
from opsplay.agent.spec import List as ListOf
from opsplay.modules.packages import _periodic
from opsplay.modules.packages._periodic import FOLDER, P, U


class Origin(Param):
    """security, stable, updates, backports, or a pattern such as `origin=Docker,label=Docker CE`."""

    type_name = "origin"
    __slots__ = ()

    def convert(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("expected an origin such as security, not %s" % kind_of(value))
        if '"' in value or "\n" in value:
            raise ValueError("an origin holds neither a quotation mark nor a line end: %r" % value)
        if "=" not in value and value not in _periodic.DEBIAN:
            raise ValueError("%r is no origin; write %s, or a pattern such as origin=Docker"
                             % (value, ", ".join(_periodic.DEBIAN)))  # fmt: skip
        for part in value.split(",") if "=" in value else ():
            if part.partition("=")[0].strip() not in _periodic.MATCHERS:
                raise ValueError(
                    "%r cannot be matched; an origin is made of %s" % (part, ", ".join(_periodic.MATCHERS))
                )
        return value


class Expression(Str):
    """A regular expression for the names of packages."""

    type_name = "expression"
    __slots__ = ()

    def convert(self, value: Any) -> Any:
        import re

        text = Str.convert(self, value)
        try:
            re.compile(text)
        except re.error as problem:
            raise ValueError("%r is no regular expression: %s" % (text, problem))
        if '"' in text or "\n" in text:
            raise ValueError("the name of a package has neither a quotation mark nor a line end: %r" % text)
        return text


PARAMS = {
    "state": Choice("present", "absent", default="present", help="Whether the file is there"),
    "origins": ListOf(
        of=Origin(), split=False, default=["security"],
        help="Whose updates: security, stable, updates, backports, or patterns such as origin=Docker",
    ),
    "exclude": ListOf(
        of=Expression(), default=[], aliases=("blacklist",),
        help="Regular expressions for the names of packages that are left alone",
    ),
    "update_days": Int(min=0, default=1, help="Days between two fetches of package lists; 0 for never"),
    "upgrade_days": Int(min=0, default=1, help="Days between two upgrades; 0 for never"),
    "clean_days": Int(min=0, default=7, help="Days between two removals of old downloads; 0 for never"),
    "at": Str(help="When, as OnCalendar of systemd.time(7) or 04:00; without it as Debian has it, between 6 and 7"),
    "spread": Str(default="30m", help="With `at`: how far hosts are spread over the time after it"),
    "reboot": Str(default="", help="When a needed restart is made: now, or a time such as 04:30; empty for never"),
    "reboot_with_users": Bool(default=False, help="Restart although somebody is logged in"),
    "mail": Str(default="", help="Who gets a report by mail; empty for nobody"),
    "mail_report": Choice("always", "only-on-error", "on-change", default="on-change", help="When there is a report"),
    "remove_unused": Bool(default=True, help="Remove what nothing needs any longer, old kernels too"),
    "timers": Bool(default=True, help="Switch on the timers that do the work"),
    "name": Name(default="52opsplay-unattended-upgrades", help="The file's name; files are read in their order"),
}  # fmt: skip
CHECK = "exact"
TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer")
DROP_IN = "/etc/systemd/system/apt-daily-upgrade.timer.d/opsplay.conf"


def run(host: Host, params: Params) -> Dict[str, Any]:
    path = "%s/%s" % (FOLDER, params.name)
    if params.state == "absent":
        host.remove(path)
        schedule(host, "")
        return host.outcome(path=path)
    if host.which("unattended-upgrade") is None and not (host.check and host.shadow.brings_unknown_files):
        host.fail("unattended-upgrades is not installed; install that package first")
    settings = wanted(host, params)
    text = _periodic.text_of(settings)
    if content(host, path) != text:
        prove(host, path, text, settings)
        host.write(path, text, mode=0o644)
    schedule(host, timer_text(host, params) if params.at else "")
    if params.timers:
        for timer in TIMERS:
            host.call("services.systemd", name=timer, enabled=True, state="started")
    return host.outcome(path=path, origins=dict(settings)[U + "Origins-Pattern"])


def content(host: Host, path: str) -> str:
    return host.read(path).decode("utf-8", "surrogateescape") if host.exists(path) else ""


def wanted(host: Host, params: Params) -> List[Tuple[str, Any]]:
    def flag(value: bool) -> str:
        return "true" if value else "false"

    return [
        (P + "Enable", "1"),
        (P + "Update-Package-Lists", str(params.update_days)),
        (P + "Unattended-Upgrade", str(params.upgrade_days)),
        (P + "AutocleanInterval", str(params.clean_days)),
        (U + "Origins-Pattern", _periodic.patterns(host, params.origins)),
        # Ubuntu's own name for the same, which would count as well.
        (U + "Allowed-Origins", []),
        (U + "Package-Blacklist", params.exclude),
        (U + "Automatic-Reboot", flag(bool(params.reboot))),
        (U + "Automatic-Reboot-Time", reboot_time(host, params)),
        (U + "Automatic-Reboot-WithUsers", flag(params.reboot_with_users)),
        (U + "Mail", mail(host, params)),
        (U + "MailReport", params.mail_report),
        (U + "Remove-Unused-Dependencies", flag(params.remove_unused)),
        (U + "Remove-New-Unused-Dependencies", flag(params.remove_unused)),
        (U + "Remove-Unused-Kernel-Packages", flag(params.remove_unused)),
    ]


def reboot_time(host: Host, params: Params) -> str:
    """`now`, or hours and minutes (shutdown(8))."""
    text = params.reboot or "now"
    hour, _, minute = text.partition(":")
    good = hour.isdigit() and minute.isdigit() and len(minute) == 2 and int(hour) < 24 and int(minute) < 60
    if text != "now" and not good:
        host.fail("reboot: %r is neither now nor a time such as 04:30" % text)
    return str(text)


def mail(host: Host, params: Params) -> str:
    if any(char in params.mail for char in '" \n;'):
        host.fail("mail: %r is no address" % params.mail)
    return str(params.mail)


def prove(host: Host, path: str, text: str, settings: List[Tuple[str, Any]]) -> None:
    """Try the settings on a copy. Fails when they are not to be."""
    trial = _periodic.Trial(host, path, text)
    try:
        problem = _periodic.objection(trial, settings)
        if problem:
            host.fail("%s; give `name` one that sorts behind it" % problem)
        problem = "" if host.check else _periodic.dry_run(trial)
        if problem:
            host.fail("unattended-upgrades refuses these settings: %s" % trial.plain(problem))
    finally:
        trial.discard()


# --- when ---


def timer_text(host: Host, params: Params) -> str:
    """The drop-in of the timer. Fails when systemd does not understand the time."""
    for option, value in (("calendar", params.at), ("timespan", params.spread)):
        done = host.query(["systemd-analyze", option, value], timeout=_periodic.SECONDS, env={"LC_ALL": "C"})
        if done.rc != 0:
            which = "at" if option == "calendar" else "spread"
            host.fail("%s: %s" % (which, done.stderr.strip().splitlines()[0] if done.stderr else "no time: %r" % value))
    lines: List[str] = ["# Managed by opsplay: changes made here are lost.", "[Timer]", "OnCalendar="]
    lines += ["OnCalendar=" + params.at, "RandomizedDelaySec=" + params.spread]
    return "\n".join(lines) + "\n"


def schedule(host: Host, text: str) -> None:
    """Have this drop-in, or none."""
    folder = DROP_IN.rpartition("/")[0]
    if not text:
        changed = host.remove(DROP_IN)
        if changed and not [name for name in host.names(folder) if folder + "/" + name != DROP_IN]:
            host.remove(folder)
    else:
        host.directory(folder, mode=0o755)
        changed = host.write(DROP_IN, text, mode=0o644)
    if changed:
        host.must_run(["systemctl", "daemon-reload"], foreseen=True, timeout=_periodic.SECONDS)
