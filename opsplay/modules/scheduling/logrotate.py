"""Rotate logs: one file below /etc/logrotate.d, judged by logrotate with all the others before it is installed.

A log that another file rotates already is refused with that file's name.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.looking import number_of
from opsplay.agent.spec import Bool, Choice, Int, Name, Params, Path, Raw, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.scheduling._rotation import FOLDER, SCRIPTS, complaints, entry, named_logs, overlapping

PARAMS = {
    "name": Name(required=True, help="The file's name below /etc/logrotate.d"),
    "paths": ListOf(of=Str(), split=False, aliases=("path",), help="The logs: paths or patterns like /srv/*.log"),
    "frequency": Choice("hourly", "daily", "weekly", "monthly", "yearly", help="How often. Default: logrotate.conf's"),
    "rotate": Int(min=-1, help="How many old logs are kept; -1 keeps all"),
    "start": Int(min=0, help="The number of the first old log"),
    "size": Str(help="Rotate when the log is larger than this (100k, 10M, 1G), whatever the frequency says"),
    "minsize": Str(help="Rotate by frequency, but only what is larger than this"),
    "maxsize": Str(help="Rotate by frequency, and before when the log is larger than this"),
    "minage": Int(min=0, help="Rotate only logs older than so many days"),
    "maxage": Int(min=0, help="Remove old logs after so many days"),
    "compress": Bool(help="Compress old logs"),
    "delaycompress": Bool(help="Leave the newest old log as it is until the next rotation"),
    "missingok": Bool(help="A log that is not there is no error"),
    "notifempty": Bool(help="Leave empty logs alone"),
    "copytruncate": Bool(help="Copy the log and empty it, for programs that keep it open; lines between may be lost"),
    "create": Raw(help="Make a new log: a dictionary of mode, owner, group; false: make none"),
    "dateext": Bool(help="Name old logs by their date"),
    "dateformat": Str(help="How, e.g. -%Y%m%d"),
    "dateyesterday": Bool(help="Use the day before"),
    "sharedscripts": Bool(help="Run the scripts once for all logs, not for each"),
    "su": Str(help="The user and group who rotate, as in `www-data adm`"),
    "olddir": Path(help="A folder for old logs"),
    "firstaction": Str(help="A script before all else"),
    "prerotate": Str(help="A script before a log is rotated"),
    "postrotate": Str(help="A script after a log was rotated, e.g. one that tells the program"),
    "lastaction": Str(help="A script after all else"),
    "preremove": Str(help="A script before an old log is removed"),
    "options": ListOf(of=Str(), split=False, help="Further lines, as in logrotate(8)"),
    "state": Choice("present", "absent", default="present", help="Whether the file is there"),
}  # fmt: skip
CHECK = "exact"
SIZES = ("size", "minsize", "maxsize")
# logrotate passes over files with such an end (logrotate(8), tabooext), and so do the copies of editors and of dpkg.
TABOO = (".bak", ".cfsaved", ".disabled", ".dpkg-bak", ".dpkg-del", ".dpkg-dist", ".dpkg-new", ".dpkg-old",
         ".dpkg-tmp", ".rhn-cfg-tmp-", ".rpmnew", ".rpmorig", ".rpmsave", ".swp", ".ucf-dist", ".ucf-new",
         ".ucf-old", ",v", "~")  # fmt: skip


def run(host: Host, params: Params) -> Dict[str, Any]:
    path = "%s/%s" % (FOLDER, params.name)
    if params.state == "absent":
        host.remove(path)
        return host.outcome(path=path)
    _refuse(host, params)
    text = entry(params)
    others = _others(host, params.name)
    _refuse_doubled(host, params, others)
    if not host.exists(path) or not host.knows(path) or host.read(path) != text.encode("utf-8", "surrogateescape"):
        _judge(host, params, others)
    _warn(host, params)
    host.directory(FOLDER, mode=0o755)
    host.write(path, text, mode=0o644, owner="root", group="root")
    return host.outcome(path=path)


def _refuse(host: Host, params: Params) -> None:
    if params.name.endswith(TABOO) or params.name.startswith("."):
        host.fail("logrotate passes over a file of the name %s; choose another" % params.name)
    if not params.paths:
        host.fail("paths is needed: the logs that are rotated")
    for one in params.paths:
        if not one.startswith("/") or set(one) & set("\n\r\0\"'{}"):
            host.fail("paths: %r is no whole path or pattern without quotes and braces" % one)
    for key in SIZES:
        size = params[key]
        if size is not None and not (size[-1:] in "kMG" and size[:-1].isdigit() or size.isdigit()):
            host.fail("%s: %r is no size; write bytes, or a number with k, M or G" % (key, size))
    for key in ("su", "dateformat", "olddir"):
        if params[key] is not None and (set(params[key]) & set("\n\r{}") or not params[key].strip()):
            host.fail("%s: %r cannot be written on a line" % (key, params[key]))
    for line in params.options or ():
        if set(line) & set("\n\r{}") or line.split()[:1] in [[word] for word in SCRIPTS + ("endscript", "include")]:
            host.fail("options: %r is not a line of an entry; scripts have parameters of their own" % line)
    _refuse_creation(host, params)
    for key in SCRIPTS:
        _refuse_script(host, key, params[key])


def _refuse_creation(host: Host, params: Params) -> None:
    wanted = params.create
    if wanted is None or wanted is True:
        params["create"] = None if wanted is None else {}
        return
    if wanted is False:
        params["create"] = None
        params["options"] = list(params.options or ()) + ["nocreate"]
        return
    if not isinstance(wanted, dict) or set(wanted) - {"mode", "owner", "group"}:
        host.fail("create is a dictionary of mode, owner and group, or false")
    if params.copytruncate:
        host.fail("copytruncate leaves the log in its place, so that create has no effect; give one of them")
    if isinstance(wanted.get("mode"), int):
        wanted = dict(wanted, mode="%04o" % wanted["mode"])
    mode = wanted.get("mode")
    if mode is not None and (set(mode) - set("01234567") or not 3 <= len(mode) <= 4):
        host.fail('create: %r is no mode; write it as "0640"' % mode)
    if ("owner" in wanted) != ("group" in wanted):
        host.fail("create needs owner and group together")
    params["create"] = wanted


def _refuse_script(host: Host, key: str, script: Any) -> None:
    """A script that the shell cannot read would only be found out at night."""
    if script is None:
        return
    if any(line.strip() == "endscript" for line in script.split("\n")):
        host.fail("%s: endscript is written by this module" % key)
    done = host.query(["/bin/sh", "-n"], stdin=script.encode("utf-8", "surrogateescape"), timeout=30)
    if done.rc != 0:
        host.fail("%s: the shell cannot read it: %s" % (key, done.stderr.strip()))


def _others(host: Host, name: str) -> Dict[str, str]:
    """The text of each other file, as a preview would have left it."""
    found: Dict[str, str] = {}
    for other in host.names(FOLDER) if host.is_directory(FOLDER) else ():
        path = "%s/%s" % (FOLDER, other)
        if other != name and not other.endswith(TABOO) and not host.is_directory(path) and host.knows(path):
            found[other] = host.read(path).decode("utf-8", "surrogateescape")
    return found


def _refuse_doubled(host: Host, params: Params, others: Dict[str, str]) -> None:
    """logrotate would leave out one of the two files as a whole, and with it all other logs in it."""
    for number, one in enumerate(params.paths):
        double = overlapping([one], params.paths[:number])
        if double:
            host.fail("paths: %s stands for %s, too" % (double[1], double[0]))
    for other, text in others.items():
        found = overlapping(params.paths, named_logs(text))
        if found:
            hint = "remove it there, or manage that file (name: %s)" % other
            message = "%s is rotated by %s/%s already (%s); logrotate would leave out one of the two files; %s"
            host.fail(message % (found[0], FOLDER, other, found[1], hint), path="%s/%s" % (FOLDER, other))


def _judge(host: Host, params: Params, others: Dict[str, str]) -> None:
    """Fail with what logrotate says against the new file, and did not say without it."""
    program = host.which("logrotate")
    if program is None:
        if host.check and host.shadow.brings_unknown_files:
            return
        host.fail("logrotate is not on this host; install the package logrotate first")
    usual = complaints(host, program, others)
    said = complaints(host, program, dict(others, **{params.name: entry(_tried(host, params))}))
    news = [line for line in said if line not in usual]
    # Logs that are not there yet are no reason to refuse it.
    absent = [line for line in news if " stat of " in line and "No such file" in line]
    if absent and not (host.check and host.shadow.brings_unknown_files):
        host.warn("%s; logrotate fails each time until it is there, or give missingok: true" % absent[0])
    news = [line for line in news if line not in absent]
    wrong = [line for line in news if line.lower().startswith("error") or "unknown" in line]
    if wrong:
        host.fail("logrotate would not take %s/%s: %s" % (FOLDER, params.name, "; ".join(wrong)))
    for line in news:
        host.warn(line)


def _tried(host: Host, params: Params) -> Params:
    """The parameters without what only earlier tasks of a preview would bring: accounts and folders."""
    tried = Params(params)
    if not host.check:
        return tried
    if params.olddir and host.is_directory(params.olddir) and not os.path.isdir(params.olddir):
        tried["olddir"] = None
    if params.create and "owner" in params.create:
        host.uid(params.create["owner"])
        host.gid(params.create["group"])
        tried["create"] = dict(params.create, owner=_there(host, "user", params.create["owner"]))
        tried["create"]["group"] = _there(host, "group", params.create["group"])
    if params.su and len(params.su.split()) == 2:
        user, group = params.su.split()
        host.uid(user)
        host.gid(group)
        tried["su"] = "%s %s" % (_there(host, "user", user), _there(host, "group", group))
    return tried


def _there(host: Host, kind: str, name: Any) -> str:
    return str(name) if number_of(kind, str(name)) is not None else "root"


def _warn(host: Host, params: Params) -> None:
    stars = [one for one in params.paths if one.endswith("*")]
    if stars and not params.olddir:
        host.warn("%s stands for the rotated logs as well, which would be rotated again; name an end" % stars[0])
    places: List[str] = ["/etc/cron.hourly/logrotate", "/etc/systemd/system/logrotate.timer"]
    places.append("/etc/systemd/system/logrotate.timer.d")
    if params.frequency == "hourly" and not any(host.exists(place) for place in places):
        host.warn("logrotate runs once a day on Debian: hourly needs a timer, e.g. systemd_unit with a drop-in for it")
