"""Watch files with aide: rules, the database of how they are, comparisons, and a timer that compares every day.

A database is written beside, and takes its name only when aide has made all of it; the one that it replaces is kept as
NAME.previous. Rules are tried by aide on a copy of the configuration before they are installed. Reading all watched
files takes minutes where there are many.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Name, Params, Path, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.hardening import _aide

PARAMS = {
    "state": Choice(
        "initialised", "checked", "updated", default="initialised",
        help="initialised: there is a database; checked: the files are compared with it; updated: where they differ it "
        "is made anew, which accepts all differences",
    ),
    "rules": ListOf(
        of=Str(), split=False, default=[],
        help="Lines of aide.conf(5): a path and what is watched of it, /srv/app p+u+g+sha256; or !/srv/app/cache",
    ),
    "only": Bool(default=False, help="Watch only what `rules` name, by a configuration and database of their own"),
    "name": Name(default="opsplay", help="The name of the rules' file, or with `only` of configuration and database"),
    "config": Path(default="/etc/aide/aide.conf", help="aide's configuration, which the rules are added to"),
    "fail_on_changes": Bool(default=True, help="With state checked: fail when something differs"),
    "timer": Bool(help="Whether a timer compares every day"),
    "at": Str(default="*-*-* 03:30:00", help="When the timer compares, where that is not left to Debian's own timer"),
    "timeout": Int(min=1, default=7200, help="Seconds that aide may take"),
}  # fmt: skip
CHECK = "exact"
DEBIAN_TIMER = "dailyaidecheck"
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def run(host: Host, params: Params) -> Dict[str, Any]:
    installed = host.which("aide") is not None
    if not installed and not (host.check and host.shadow.brings_unknown_files):
        host.fail("aide is not installed; install the packages aide and aide-common first")
    if set(params.name) - LETTERS:
        host.fail("name: aide reads only files whose names are made of letters, digits, _ and -, not %r" % params.name)
    config = configure(host, params, installed)
    text = content(host, config)
    database, fresh = _aide.databases(text)
    if not installed:
        host.note("", "database\n", database)
        host.unknown("added", "removed", "changed_files", "counts")
        return host.outcome(database=database, config=config)
    result: Dict[str, Any] = {"database": database, "config": config, "initialised": False}
    if not host.exists(database):
        if params.state == "checked":
            host.fail("there is no database %s to compare with; use state: initialised first" % database)
        result["initialised"] = initialise(host, params, config, database, fresh)
    elif params.state != "initialised":
        result.update(differences(host, params, config, database, fresh))
    if params.timer is not None:
        schedule(host, params, config)
    return host.outcome(**result)


def content(host: Host, path: str) -> str:
    return host.read(path).decode("utf-8", "surrogateescape") if host.exists(path) and host.knows(path) else ""


# --- rules ---


def configure(host: Host, params: Params, installed: bool) -> str:
    """Have the rules in their file. Returns the configuration that aide is to use."""
    for rule in params.rules:
        if "\n" in rule or rule[:1] not in ("/", "!", "=", "-", "@"):
            host.fail("rules: %r is no rule; it begins with a path, or with ! or = before one" % rule)
    if params.only:
        if not params.rules:
            host.fail("only: there are no rules that say what is watched")
        config = "/etc/aide/%s.conf" % params.name
        place(host, params, config, _aide.standalone(params.name, params.rules), "", installed)
        return config
    config = str(host.real(params.config))
    path = "%s/90_%s" % (_aide.FOLDER, params.name)
    if not params.rules:
        host.remove(path)
    else:
        place(host, params, path, _aide.drop_in(params.rules), content(host, config), installed)
    return config


def place(host: Host, params: Params, path: str, text: str, before: str, installed: bool) -> None:
    """Write a file of rules when it differs, after aide has taken it together with what stands before it."""
    if content(host, path) == text:
        return
    # The file as it is may be included already: its rules then stand there twice, which aide allows.
    problem = _aide.objection(host, before + "\n" + text, params.timeout) if installed else ""
    if problem:
        host.fail("aide refuses these rules: %s" % problem)
    if not host.is_directory(os.path.dirname(path)):
        host.directory(os.path.dirname(path), mode=0o755)
    # aide runs included files that may be executed.
    host.write(path, text, mode=0o644)


# --- the database ---


def initialise(host: Host, params: Params, config: str, database: str, fresh: str) -> bool:
    host.note("", "database\n", database)
    if host.check:
        return True
    host.progress("aide reads the watched files for the first time")
    host.must_run(["aide", "--init", "--config", config], timeout=params.timeout, env={"LC_ALL": "C"})
    install(host, database, fresh)
    return True


def install(host: Host, database: str, fresh: str) -> None:
    """Give the new database its name; the old one is kept beside."""
    if not os.path.exists(fresh) or os.path.getsize(fresh) == 0:
        host.fail("aide has made no database at %s" % fresh)
    if os.path.exists(database):
        os.replace(database, database + ".previous")
    os.replace(fresh, database)


def differences(host: Host, params: Params, config: str, database: str, fresh: str) -> Dict[str, Any]:
    """Compare; with state updated the differences become what is well."""
    updating = params.state == "updated" and not host.check
    found = _aide.compare(host, config, "--update" if updating else "--check", params.timeout)
    told = _aide.bounded(found.found)
    result = {"added": told["added"], "removed": told["removed"], "changed_files": told["changed"],
              "counts": told["counts"], "differs": bool(found)}  # fmt: skip
    if params.state == "checked":
        if found and params.fail_on_changes:
            counts = told["counts"]
            said = "%d added, %d removed, %d changed" % (counts["added"], counts["removed"], counts["changed"])
            host.fail("watched files differ: %s: %s" % (said, ", ".join(some(found))), **result)
        return result
    if found:
        host.note(found.lines(), "accepted\n", database)
    if updating:
        if found:
            install(host, database, fresh)
        elif os.path.exists(fresh):
            os.unlink(fresh)
    return result


def some(found: _aide.Differences) -> List[str]:
    """The first few paths."""
    paths = [path for paths in found.found.values() for path in paths]
    return paths[:10] + (["and %d more" % (len(paths) - 10)] if len(paths) > 10 else [])


# --- the timer ---


def schedule(host: Host, params: Params, config: str) -> None:
    """Debian's own timer for Debian's own configuration, where it has one; else one of ours."""
    own = "opsplay-aide-" + params.name
    debian = not params.only and any(
        host.exists("%s/%s.timer" % (folder, DEBIAN_TIMER))
        for folder in ("/lib/systemd/system", "/usr/lib/systemd/system")
    )
    if debian:
        state = "started" if params.timer else "stopped"
        host.call("services.systemd", name=DEBIAN_TIMER + ".timer", enabled=params.timer, state=state)
        return
    command = "%s --check --config %s" % (host.which("aide") or "/usr/bin/aide", config)
    if params.timer:
        host.call("services.systemd_timer", name=own, exec=command, description="Compare files with aide's database",
                  on_calendar=[params.at], randomized_delay="10min", nice=19, io_class="idle")  # fmt: skip
    else:
        host.call("services.systemd_timer", name=own, state="absent")
