"""Bring one systemd unit to the wanted state: masked, then enabled, then running, each only where it differs."""

from __future__ import annotations

from typing import Any, Dict, Optional

from opsplay.agent.host import Host
from opsplay.modules.services._units import ENABLED, RUNNING, VERBS, Manager, foreseen, full_name, pretended

JOURNAL_LINES = 10


class Wish:
    """What is asked of a unit; None where nothing is."""

    __slots__ = ("state", "enabled", "masked", "force", "no_block")

    def __init__(
        self,
        state: Optional[str] = None,
        enabled: Optional[bool] = None,
        masked: Optional[bool] = None,
        force: bool = False,
        no_block: bool = False,
    ) -> None:
        self.state = state
        self.enabled = enabled
        self.masked = masked
        self.force = force
        self.no_block = no_block


class Unit:
    """A unit under change. `status` follows what is done, in a preview too."""

    def __init__(self, host: Host, manager: Manager, name: str) -> None:
        self.host = host
        self.manager = manager
        self.name = full_name(name)
        self.status = pretended(host, self.name, manager.show(self.name))
        self.exists = self.status.get("LoadState") not in ("not-found", "", None)
        if not self.exists and host.check:
            known = foreseen(host, self.name, manager.scope)
            if known is not None:
                self.status, self.exists = pretended(host, self.name, known), True

    def bring(self, wish: Wish) -> Dict[str, Any]:
        """Do what differs; Ansible's return values: `status` is what was there before."""
        before = self.status
        if not self.exists and not (wish.masked is not None and wish.enabled is None and wish.state is None):
            self._fail_missing()
        result: Dict[str, Any] = {"name": self.name}
        if wish.masked is not None:
            self._mask(wish.masked, wish.force)
        if wish.enabled is not None:
            self._enable(wish.enabled, wish.force)
            result["enabled"] = wish.enabled
        if wish.state is not None:
            self._change_state(wish)
            result["state"] = "stopped" if wish.state == "stopped" else "started"
        result["status"] = before
        return result

    def _fail_missing(self) -> None:
        hint = "check the name with `systemctl list-unit-files`, or install the package that brings it"
        if self.status.get("LoadError"):
            hint = self.status["LoadError"]
        self.host.fail("there is no unit %s on this host; %s" % (self.name, hint), name=self.name)

    # --- files: masked, enabled ---

    def _mask(self, wanted: bool, force: bool) -> None:
        masked = self.status.get("LoadState") == "masked" or self.status.get("UnitFileState", "").startswith("masked")
        if masked == wanted:
            return
        self._change("mask" if wanted else "unmask", "masked %s\n" % masked, "masked %s\n" % wanted, force)
        if wanted:
            self._foresee(LoadState="masked", UnitFileState="masked")
        elif self.host.check:
            self._foresee(LoadState="loaded", UnitFileState="disabled")
        else:
            # What lies under the mask is only known now.
            self.status = self.manager.show(self.name)

    def _enable(self, wanted: bool, force: bool) -> None:
        state = self.status.get("UnitFileState", "")
        if state.startswith("masked") and wanted:
            self.host.fail("%s is masked and cannot be enabled; set masked: false" % self.name, name=self.name)
        if wanted == self._is_enabled(state, wanted):
            return
        if not wanted and state == "static":
            hint = "%s has no [Install] section, so there is nothing to disable; masked: true keeps it off"
            self.host.warn(hint % self.name)
            return
        before = "enabled %s\n" % (state or "unknown")
        self._change("enable" if wanted else "disable", before, "enabled %s\n" % wanted, force)
        self._foresee(UnitFileState="enabled" if wanted else "disabled")

    def _is_enabled(self, state: str, wanted: bool) -> bool:
        if state == "indirect":
            return self.manager.also_enabled(self.status)
        if state == "enabled-runtime":
            # Gone with the next boot: neither as enabled as asked for, nor disabled.
            return not wanted
        if state in ("generated", "transient"):
            return wanted
        return state in ENABLED and (state != "linked" or not wanted)

    def _change(self, verb: str, before: str, after: str, force: bool) -> None:
        self.host.note(before, after, self.name)
        words = [verb] + (["--force"] if force else []) + ["--", self.name]
        done = self.manager.run(*words)
        if done.rc != 0:
            said = done.stderr.strip() or done.error
            hint = "; force: true replaces links that are in the way" if "exists" in said else ""
            self.host.fail("cannot %s %s: %s%s" % (verb, self.name, said, hint), rc=done.rc, name=self.name)

    def _foresee(self, **status: str) -> None:
        self.status = dict(self.status, **status)
        if self.host.check:
            self.host.shadow.units.setdefault(self.name, {}).update(status)

    # --- the state ---

    def _change_state(self, wish: Wish) -> None:
        active = self.status.get("ActiveState", "")
        verb = VERBS[str(wish.state)]
        running = active in RUNNING
        if wish.state == "started" and running:
            self._warn_of_restarts()
            return
        if wish.state == "stopped" and not running and active not in ("deactivating", "unknown"):
            return
        if wish.state == "reloaded" and not running:
            verb = "start"
        if verb != "stop" and self.status.get("LoadState") == "masked":
            self.host.fail("%s is masked and cannot be started; set masked: false" % self.name, name=self.name)
        if not self.manager.is_running:
            self.host.fail("systemd does not run this host (a chroot?), so that %s cannot %s" % (self.name, verb))
        self.host.note("%s\n" % active, "%s\n" % wish.state, self.name)
        done = self.manager.run(verb, *(["--no-block", "--", self.name] if wish.no_block else ["--", self.name]))
        if done.rc != 0:
            self._fail(verb, done.stderr.strip() or done.error, done.rc)
        self._foresee(ActiveState="inactive" if verb == "stop" else "active")
        if not self.host.check:
            self.status = self.manager.show(self.name)
            self._prove(verb, wish)

    def _prove(self, verb: str, wish: Wish) -> None:
        """A service that systemd counts as started may have died at once."""
        if verb != "stop" and not wish.no_block:
            if self.status.get("ActiveState") == "failed":
                self._fail(verb, "it was started and has failed", 1)
            self._warn_of_restarts()

    def _warn_of_restarts(self) -> None:
        if self.status.get("SubState") == "auto-restart":
            message = "%s ends again and again, and systemd restarts it; the end of its journal:\n%s"
            self.host.warn(message % (self.name, self.journal()))

    def _fail(self, verb: str, said: str, rc: int) -> None:
        first = said.split("\n")[0]
        words = self.journal()
        shown = "; the end of its journal:\n%s\n" % words if words else ". "
        hint = "Correct that on the host, then run again; `journalctl -u %s` has more." % self.name
        self.host.fail("cannot %s %s: %s%s%s" % (verb, self.name, first, shown, hint), rc=rc, name=self.name)

    def journal(self) -> str:
        """The unit's last lines in the journal; empty when it cannot be read."""
        program = self.host.which("journalctl")
        if program is None:
            return ""
        scope = "--user-unit" if self.manager.scope == "user" else "--unit"
        argv = [program, scope, self.name, "-n", str(JOURNAL_LINES), "--no-pager", "--quiet", "-o", "short-iso"]
        return str(self.host.query(argv, env=self.manager.env, timeout=10).stdout).strip()


def manage(host: Host, manager: Manager, name: str, wish: Wish) -> Dict[str, Any]:
    """Bring a unit to what is wished. Raises ModuleFailed."""
    return Unit(host, manager, name).bring(wish)
