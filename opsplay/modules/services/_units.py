"""Systemd's units: what one `systemctl show` tells, and what a preview would have made of it."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host

SUFFIXES = (
    ".service", ".socket", ".device", ".mount", ".automount", ".swap", ".target", ".path", ".timer", ".slice", ".scope",
)  # fmt: skip
FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
           "/lib/systemd/system")  # fmt: skip
USER_FOLDERS = ("/etc/systemd/user", "/usr/lib/systemd/user")
RUNNING = ("active", "activating", "reloading", "refreshing")
VERBS = {"started": "start", "stopped": "stop", "restarted": "restart", "reloaded": "reload"}
# What `systemctl is-enabled` says of a unit that needs nothing to be "enabled" again.
ENABLED = ("enabled", "static", "generated", "transient", "linked")


def full_name(name: str) -> str:
    """The unit's name with its type; systemd takes a name without one as a service."""
    return name if name.endswith(SUFFIXES) else name + ".service"


def is_booted() -> bool:
    """Whether systemd runs this host, as sd_booted(3) tests it."""
    return os.path.isdir("/run/systemd/system")


def parse_show(text: str) -> Dict[str, str]:
    """The properties that `systemctl show` prints. A value in braces may go over several lines."""
    found: Dict[str, str] = {}
    key = ""
    for line in text.split("\n"):
        continues = key and found[key].startswith("{") and not found[key].rstrip().endswith("}")
        name, equals, value = line.partition("=")
        if equals and not continues and name.isalnum():
            key = name
            # A property that is there twice (ExecStart of a oneshot) keeps all its values, a line each.
            found[key] = found[key] + "\n" + value if key in found else value
        elif key and line:
            found[key] += "\n" + line
    return found


class Manager:
    """The systemctl of one scope: system, user, or global (which has no running manager)."""

    def __init__(self, host: Host, scope: str = "system") -> None:
        self.host = host
        self.scope = scope
        self.env = {"LC_ALL": "C", "SYSTEMD_COLORS": "0"}
        program = host.which("systemctl")
        if program is None:
            host.fail("systemctl is not on this host: it is not run by systemd; use the service module")
        self.argv = [str(program), "--no-pager", "--no-ask-password"]
        if scope != "system":
            self.argv.append("--" + scope)
        if scope == "user" and "XDG_RUNTIME_DIR" not in os.environ:
            # A login sets it; a task that is no login session finds the user's manager there all the same.
            self.env["XDG_RUNTIME_DIR"] = "/run/user/%d" % os.geteuid()

    @property
    def is_running(self) -> bool:
        """Whether there is a manager to ask for states."""
        return self.scope != "global" and is_booted()

    def query(self, *words: str) -> Any:
        return self.host.query(self.argv + list(words), env=self.env)

    def run(self, *words: str) -> Any:
        return self.host.run(self.argv + list(words), foreseen=True, env=self.env)

    def show(self, name: str) -> Dict[str, str]:
        """All that systemd knows of a unit. LoadState is not-found for one that is not there."""
        if not self.is_running or "@." in name:
            return self._show_files(name)
        done = self.query("show", "--", name)
        if done.rc != 0:
            hint = ""
            if self.scope == "user":
                hint = "; log this user in, or let `loginctl enable-linger` start the user's manager"
            self.host.fail("systemd does not answer: %s%s" % (done.stderr.strip() or done.error, hint), rc=done.rc)
        status = parse_show(done.stdout)
        if status.get("UnitFileState") in ("generated", "", None) and status.get("LoadState") == "loaded":
            state = self.file_state(name)
            if state and status.get("SourcePath", "").startswith("/etc/init.d/"):
                status["UnitFileState"] = state
        return status

    def _show_files(self, name: str) -> Dict[str, str]:
        """Templates have files and no state; nor has anything where no manager runs."""
        state = self.file_state(name)
        load = "masked" if state.startswith("masked") else "loaded" if state and state != "not-found" else "not-found"
        return {"Id": name, "LoadState": load, "ActiveState": "inactive", "SubState": "dead", "UnitFileState": state}

    def file_state(self, name: str) -> str:
        """What `systemctl is-enabled` says; empty when it knows no such unit."""
        words = self.query("is-enabled", "--", name).stdout.split()
        return words[-1] if words else ""

    def also_enabled(self, status: Dict[str, str]) -> bool:
        """Whether the units that an "indirect" one names with Also= are enabled, which is all that enabling it does."""
        try:
            text = self.host.read(status.get("FragmentPath", "")).decode("utf-8", "replace")
        except OSError:
            return False
        names: List[str] = []
        for line in text.split("\n"):
            key, _, value = line.partition("=")
            if key.strip() == "Also":
                names += value.split()
        return bool(names) and all(self.file_state(name) in ENABLED for name in names)


def foreseen(host: Host, name: str, scope: str) -> Optional[Dict[str, str]]:
    """In a preview: the status of a unit that only an earlier task would bring; None when none would."""
    template = name.partition("@")[0] + "@." + name.rpartition(".")[2] if "@" in name else name
    folders = FOLDERS if scope == "system" else USER_FOLDERS + (os.path.expanduser("~/.config/systemd/user"),)
    for folder in folders:
        for unit in (name, template):
            node = host.shadow.paths.get(folder + "/" + unit)
            if node is not None and node.kind != "absent":
                return {"Id": name, "LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}
    if host.shadow.brings_unknown_files:
        host.warn("%s is not there yet; it is taken to come with a package that would be installed" % name)
        # Debian's packages start and enable their units, where the local policy does not forbid it.
        active = "inactive" if host.exists("/usr/sbin/policy-rc.d") else "active"
        return {"Id": name, "LoadState": "loaded", "ActiveState": active, "UnitFileState": "enabled"}
    return None


def pretended(host: Host, name: str, status: Dict[str, str]) -> Dict[str, str]:
    """The status as earlier tasks of a preview would have left it."""
    known = host.shadow.units.get(name)
    return dict(status, **known) if host.check and known else status
