"""Keep a jail of fail2ban, which bans who fails too often, and never the control side.

The jail is a file of its own below /etc/fail2ban/jail.d, tried by fail2ban itself on a copy of its configuration before
it is installed. The address that opsplay comes from is never banned, and is let out where it was. A jail that fail2ban
then does not start is taken back.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent import connection as connections
from opsplay.agent.host import Host
from opsplay.agent.process import Completed
from opsplay.agent.spec import Bool, Choice, Int, Name, Params, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.agent.spec import List as ListOf

PARAMS = {
    "name": Name(required=True, help="The jail's name, such as sshd"),
    "state": Choice("present", "absent", default="present", help="Whether there is such a file"),
    "enabled": Bool(default=True, help="Whether the jail is in force"),
    "maxretry": Int(min=1, help="How many failures lead to a ban"),
    "findtime": Str(help="Within which time they count, such as 10m"),
    "bantime": Str(help="How long a ban lasts, such as 1h; -1 for ever"),
    "ignoreip": ListOf(of=Str(), default=[], help="Addresses, networks and names that are never banned"),
    "backend": Choice("auto", "systemd", "polling", "pyinotify", help="How the log is followed"),
    "port": Str(help="The ports that a ban closes, by number or name, such as ssh,2222"),
    "filter": Str(help="The filter that finds failures, without it the one of the jail's name"),
    "logpath": ListOf(of=Str(), default=[], help="The log files; without them those that fail2ban knows"),
    "action": Str(help="What a ban does"),
    "options": DictOf(of=Str(), default={}, help="Further options of jail.conf(5)"),
    "guard": Bool(default=True, help="Never ban the address that opsplay comes from"),
}  # fmt: skip
CHECK = "exact"
CONFIG = "/etc/fail2ban"
SECONDS = 60
# What fail2ban does not ban by itself either.
LOOPBACK = ["127.0.0.1/8", "::1"]
PLAIN = ("maxretry", "findtime", "bantime", "backend", "port", "filter", "action")


def run(host: Host, params: Params) -> Dict[str, Any]:
    if not installed(host):
        host.fail("fail2ban is not installed; install it first, with the module apt: {name: fail2ban}")
    path = "%s/jail.d/%s.local" % (CONFIG, params.name)
    connection = connections.find()
    control = connection.client if connection is not None and params.guard else ""
    wanted = text_of(params, control) if params.state == "present" else None
    before = host.read(path).decode("utf-8", "replace") if host.exists(path) else None
    if wanted != before:
        if host.which("fail2ban-client"):
            try_out(host, path, wanted)
        put(host, path, wanted)
        restart(host, params, path, before)
    banned = let_out(host, params, control)
    return host.outcome(path=path, banned=banned, ignoreip=LOOPBACK + ([control] if control else []) + params.ignoreip)


def installed(host: Host) -> bool:
    """Whether fail2ban is there, or would be after an earlier task of a preview."""
    return host.which("fail2ban-client") is not None or (host.check and host.shadow.brings_unknown_files)


def text_of(params: Params, control: str) -> str:
    """The jail's file."""
    lines = ["# Managed by opsplay: changes made here are lost.", "[%s]" % params.name]
    lines.append("enabled = %s" % ("true" if params.enabled else "false"))
    # The address of the control side stands in the file, so that whoever reads it sees it.
    lines.append("ignoreip = %s" % " ".join(LOOPBACK + ([control] if control else []) + params.ignoreip))
    lines += ["%s = %s" % (key, params[key]) for key in PLAIN if params[key] is not None]
    if params.logpath:
        lines.append("logpath = %s" % "\n          ".join(params.logpath))
    lines += ["%s = %s" % (key, value) for key, value in params.options.items()]
    return "\n".join(lines) + "\n"


def put(host: Host, path: str, text: Optional[str]) -> None:
    if text is None:
        host.remove(path)
    else:
        host.write(path, text, mode=0o644)


def try_out(host: Host, path: str, text: Optional[str]) -> None:
    """Have fail2ban judge a copy of its configuration with the change in it."""
    folder = host.temporary.folder("/run")
    try:
        copy = folder + "/fail2ban"
        host.query(["cp", "-a", CONFIG, copy], timeout=SECONDS)
        changed = copy + path[len(CONFIG) :]
        if text is not None:
            with open(changed, "w") as file:
                file.write(text)
        elif os.path.exists(changed):
            os.unlink(changed)
        done = host.query(["fail2ban-client", "-c", copy, "-t"], timeout=SECONDS)
    finally:
        host.temporary.discard(folder)
    if done.rc != 0:
        host.fail("fail2ban refuses this jail: %s" % reasons(done).replace(copy, CONFIG))


def reasons(done: Completed) -> str:
    """What fail2ban said, without its dates and levels."""
    lines = [line.partition("ERROR")[2].strip() or line for line in (done.stdout + done.stderr).splitlines()
             if "ERROR" in line or "Errors" in line]  # fmt: skip
    return "; ".join(dict.fromkeys(lines)) or done.stderr.strip() or "exit code %d" % done.rc


def restart(host: Host, params: Params, path: str, before: Optional[str]) -> None:
    """Have it taken up; what fails is taken back."""
    runs = host.query(["fail2ban-client", "ping"], timeout=SECONDS).rc == 0
    command = ["fail2ban-client", "reload"] if runs else ["systemctl", "restart", "fail2ban.service"]
    done = host.run(command, foreseen=True, timeout=SECONDS)
    if done.rc == 0 and (host.check or not is_missing(host, params)):
        return
    said = reasons(done) if done.rc else "it does not start"
    put(host, path, before)
    host.run(command, foreseen=True, timeout=SECONDS)
    host.fail("fail2ban could not take up the jail %s: %s; the file is as it was" % (params.name, said))


def is_missing(host: Host, params: Params) -> bool:
    """Whether a jail that shall be in force is not."""
    if params.state == "absent" or not params.enabled:
        return False
    return wait_for(host, ["fail2ban-client", "status", params.name]) is None


def wait_for(host: Host, argv: List[str]) -> Optional[str]:
    """What a program says once it ends well, within a few seconds: a server that has just been started is not ready."""
    import time

    for _ in range(20):
        done = host.query(argv, timeout=SECONDS)
        if done.rc == 0:
            return done.stdout
        time.sleep(0.25)
    return None


def let_out(host: Host, params: Params, control: str) -> List[str]:
    """The banned addresses; the control side is not among them any more."""
    if params.state == "absent" or not params.enabled or not host.which("fail2ban-client"):
        return []
    done = host.query(["fail2ban-client", "get", params.name, "banip"], timeout=SECONDS)
    banned = done.stdout.split() if done.rc == 0 else []
    if control and control in banned:
        host.note("banned %s\n" % control, "not banned\n", params.name)
        host.must_run(["fail2ban-client", "set", params.name, "unbanip", control], foreseen=True, timeout=SECONDS)
        banned.remove(control)
    return banned
