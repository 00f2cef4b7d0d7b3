"""Manage entries and variables of crontabs."""

from __future__ import annotations

import os
import pwd
import time
from typing import Any, Dict, Optional

from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.spec import Bool, Choice, Params, Path, Str
from opsplay.modules.scheduling._crontab import Crontab, job_line

PARAMS = {
    "name": Str(required=True, help="The entry's name, kept in a comment above it; with env the variable's name"),
    "user": Str(help="Whose crontab; with cron_file, the user that the job runs as. Default: the user of the task"),
    "job": Str(aliases=("value",), help="The command, with each % escaped as \\%; with env the variable's value"),
    "state": Choice("absent", "present", default="present", help="Whether the entry is there"),
    "cron_file": Path(help="A file for cron instead of a user's crontab; a relative one lies in /etc/cron.d"),
    "backup": Bool(default=False, help="Keep a copy of the crontab before it is changed"),
    "minute": Str(default="*", help="The minute: 0-59, *, */2, and so on"),
    "hour": Str(default="*", help="The hour: 0-23, *, */2, and so on"),
    "day": Str(default="*", aliases=("dom",), help="The day of the month: 1-31, *, */2, and so on"),
    "month": Str(default="*", help="The month: 1-12, JAN-DEC, *, and so on"),
    "weekday": Str(default="*", aliases=("dow",), help="The day of the week: 0-6 from Sunday, SUN-SAT, *, and so on"),
    "special_time": Choice(
        "annually", "daily", "hourly", "monthly", "reboot", "weekly", "yearly", help="A time by its name instead"
    ),
    "disabled": Bool(default=False, help="Keep the entry as a comment, so that it does not run"),
    "env": Bool(default=False, help="Manage a variable of the crontab instead of a job"),
    "insertafter": Str(help="With env: the variable that a new one follows"),
    "insertbefore": Str(help="With env: the variable that a new one precedes"),
}
CHECK = "exact"
FOLDER = "/etc/cron.d"
# Where a preview keeps what a user's crontab would be, and Debian's cron keeps what it is.
SPOOL = "/var/spool/cron/crontabs"
_TIMES = ("minute", "hour", "day", "month", "weekday")


def run(host: Host, params: Params) -> Dict[str, Any]:
    _refuse(host, params)
    place = _File(host, params) if params.cron_file else _Spool(host, params)
    before = place.read()
    crontab = Crontab(before)
    _edit(host, params, crontab)
    result: Dict[str, Any] = {}
    if params.cron_file:
        result["cron_file"] = params.cron_file
    # A crontab is only written when the entry differs: even its missing last line break is not ours to add.
    if crontab.lines != Crontab(before).lines:
        if params.backup:
            result["backup_file"] = place.backup(before)
        place.write(before, str(crontab))
        if params.cron_file and not str(crontab):
            result["state"] = "absent"
    return host.outcome(jobs=crontab.jobs(), envs=crontab.variables(), **result)


def _refuse(host: Host, params: Params) -> None:
    timed = [key for key in _TIMES if params[key] != "*"]
    for key in ("name", "job", "user", "minute", "hour", "day", "month", "weekday"):
        if "\n" in (params[key] or "") or "\r" in (params[key] or ""):
            host.fail("%s holds a line break, which a crontab cannot" % key)
    if params.special_time and timed:
        host.fail("special_time and %s cannot be given together" % timed[0])
    if (params.insertafter or params.insertbefore) and (not params.env or params.state != "present"):
        host.fail("insertafter and insertbefore are for env with state present")
    if params.insertafter and params.insertbefore:
        host.fail("insertafter and insertbefore cannot be given together")
    if params.state == "present" and params.job is None:
        host.fail("job is needed: the command, or with env the variable's value")
    if params.state == "present" and params.cron_file and not params.user and not params.env:
        host.fail("user is needed with cron_file: who the job runs as")
    if params.env and (not params.name or any(char.isspace() for char in params.name) or "=" in params.name):
        host.fail("%r cannot be the name of a variable: no space and no equals sign" % params.name)
    for key in _TIMES:
        if not params[key] or any(char.isspace() for char in params[key]):
            host.fail("%s %r cannot be a field of a crontab: it is empty or holds a space" % (key, params[key]))


def _edit(host: Host, params: Params, crontab: Crontab) -> None:
    if params.env:
        if params.state == "absent":
            crontab.remove_variable(params.name)
        elif not crontab.set_variable(params.name, params.job, params.insertafter, params.insertbefore):
            host.fail("there is no variable %s to insert beside" % (params.insertafter or params.insertbefore))
    elif params.state == "absent":
        crontab.remove_job(params.name)
    else:
        schedule = " ".join(params[key] for key in _TIMES)
        if params.special_time:
            schedule = "@" + params.special_time
        user = params.user if params.cron_file else None
        crontab.set_job(params.name, job_line(schedule, user, params.job, params.disabled))


class _File:
    """A file for cron, such as those in /etc/cron.d."""

    def __init__(self, host: Host, params: Params) -> None:
        self.host = host
        self.path = host.expand(os.path.join(FOLDER, params.cron_file))

    def read(self) -> str:
        try:
            return self.host.read(self.path).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return ""

    def backup(self, before: str) -> str:
        return self.host.backup(self.path) if self.host.exists(self.path) else ""

    def write(self, before: str, after: str) -> None:
        if not after:
            self.host.remove(self.path)
            return
        # cron ignores files that others than root may write to.
        self.host.write(self.path, after, mode=None if self.host.exists(self.path) else 0o644)


class _Spool:
    """The crontab of a user, behind the crontab program."""

    def __init__(self, host: Host, params: Params) -> None:
        self.host = host
        own = pwd.getpwuid(os.geteuid()).pw_name
        self.user = params.user or own
        # Only root may name a user, even when it is the own one.
        self.options = ["-u", self.user] if os.geteuid() == 0 or self.user != own else []
        self.path = "%s/%s" % (os.path.realpath(SPOOL), self.user)
        self.program: Optional[str] = host.which("crontab")
        if self.program is None and not (host.check and host.shadow.brings_unknown_files):
            host.fail("crontab is not on this host; install the package cron first")

    def read(self) -> str:
        if self.host.check and self.path in self.host.shadow.paths:
            return self.host.read(self.path).decode("utf-8", "surrogateescape")
        if self.program is None:
            return ""
        done = self.host.query([self.program] + self.options + ["-l"], env={"LC_ALL": "C"})
        if done.rc == 0:
            return done.stdout
        shadow = self.host.shadow
        coming = self.host.check and bool(shadow.users.get(self.user) or shadow.brings_unknown_files)
        if "no crontab for" not in done.stderr and not (coming and "unknown" in done.stderr):
            self.host.fail("the crontab of %s cannot be read: %s" % (self.user, done.stderr.strip() or done.error))
        return ""

    def backup(self, before: str) -> str:
        folder = "/var/backups" if os.geteuid() == 0 and os.path.isdir("/var/backups") else os.path.expanduser("~")
        path = "%s/crontab.%s.%s" % (folder, self.user, time.strftime("%Y-%m-%d@%H:%M:%S~"))
        if not self.host.check:
            from opsplay.agent import files

            content = before.encode("utf-8", "surrogateescape")
            files.replace(self.host.temporary, path, [content], 0o600, (os.geteuid(), os.getegid()))
        return path

    def write(self, before: str, after: str) -> None:
        self.host.note(before, after, "crontab of %s" % self.user)
        content = after.encode("utf-8", "surrogateescape")
        if self.host.check:
            self.host.pretend(self.path, Node("file", 0o600, content=content))
            return
        self.host.remember(self.path, self.host.stat(self.path))
        self.host.must_run([str(self.program)] + self.options + ["-"], stdin=content)
