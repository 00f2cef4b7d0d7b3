"""Keep settings of sshd in a drop-in file, proven by a new login before the old settings are given up.

The change is tried on a copy by sshd itself: what is invalid, or what another file sets first, is refused with its
place. What the settings come to for the very login that opsplay came through (`sshd -T -C`) is looked at, and what
would keep it out is refused. Then a way back is armed, the file installed, sshd reloaded, and a new connection made, at
the new port where that changes; without one, all goes back by itself, also when the host is started anew.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from opsplay.agent import connection as connections
from opsplay.agent.connection import Connection
from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Name, Param, Params, kind_of
from opsplay.agent.spec import Dict as DictOf
from opsplay.agent.spec import List as ListOf
from opsplay.agent.way_back import said, way_back
from opsplay.modules.hardening import _access, _sshd


class Block(Param):
    """A Match block: {criteria: "User git", settings: {…}}."""

    type_name = "match block"
    __slots__ = ()

    def convert(self, value: Any) -> Any:
        if not isinstance(value, dict) or set(value) != {"criteria", "settings"}:
            raise ValueError("expected {criteria: …, settings: {…}}, not %s" % kind_of(value))
        if not isinstance(value["settings"], dict):
            raise ValueError("the settings of a match block are a dictionary")
        return {"criteria": str(value["criteria"]), "settings": dict(value["settings"])}


PARAMS = {
    "settings": DictOf(default={}, help="Keywords of sshd_config(5) and their values; lists where several are meant"),
    "match": ListOf(of=Block(), default=[], help="Match blocks: criteria, and the settings that hold for them"),
    "name": Name(
        default="10-opsplay", help="The drop-in's name, without .conf; the first file that sets a keyword wins"
    ),
    "state": Choice("present", "absent", default="present", help="Whether the drop-in is there"),
    "guard": Bool(default=True, help="Refuse what would keep out the login that opsplay came through"),
    "confirm_within": Int(
        min=0, max=3600, default=60,
        help="Seconds in which a new connection has to prove the change; 0 makes it without a way back",
    ),
}  # fmt: skip
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if not host.exists(_sshd.MAIN):
        host.fail("%s does not exist; install openssh-server first" % _sshd.MAIN)
    path = os.path.join(_sshd.FOLDER, params.name + ".conf")
    wanted = _sshd.text_of(params.settings, params.match) if params.state == "present" else None
    changes = due(host, path, wanted)
    found = connections.find()
    effective = tried(host, params, path, changes, found)
    result: Dict[str, Any] = {"path": path, "effective": shown(params.settings, effective)}
    if changes:
        if params.guard:
            refuse_to_keep_out(host, effective, found)
        result["way_back"] = install(host, params, changes)
    result["port"] = new_port(effective, found)
    return host.outcome(**{key: value for key, value in result.items() if value is not None})


def due(host: Host, path: str, wanted: Optional[str]) -> Dict[str, Optional[str]]:
    """The files that have to change, with their new content; None for gone."""
    changes: Dict[str, Optional[str]] = {}
    there = host.read(path).decode("utf-8", "replace") if host.exists(path) else None
    if there != wanted:
        changes[path] = wanted
    main = host.read(_sshd.MAIN).decode("utf-8", "replace")
    included = any(line.strip().lower().startswith("include %s/" % _sshd.FOLDER) for line in main.splitlines())
    if wanted is not None and not included:
        # The first value counts, so what is included has to stand before all else.
        changes[_sshd.MAIN] = _sshd.INCLUDE + "\n" + main
    return changes


def tried(
    host: Host, params: Params, path: str, changes: Dict[str, Optional[str]], found: Optional[Connection]
) -> Dict[str, Any]:
    """What the changed configuration comes to. Fails when sshd refuses it, or something else prevails over it."""
    trial = _sshd.Trial(host)
    try:
        trial.fill(changes)
        error = trial.error()
        if error:
            host.fail("sshd refuses these settings: %s" % error)
        effective = trial.effective(found)
        lines = _sshd.lines_of(params.settings) if params.state == "present" else []
        asked = trial.effective(found, before="\n".join(lines)) if lines else effective
    finally:
        trial.discard()
    for key in params.settings if lines else ():
        # Some keywords add up over files: they then stand there twice.
        if set(effective.get(key.lower(), ())) != set(asked.get(key.lower(), ())):
            places = [place for place in _sshd.setters(host, key.lower()) if not place.startswith(path)]
            host.fail(
                "%s would stay %s, for %s comes before %s; remove it there, or give this file a name that sorts first"
                % (key, " ".join(effective.get(key.lower(), ("as it is",))), ", ".join(places) or "another file", path)
            )
    return effective


def refuse_to_keep_out(host: Host, effective: Dict[str, Any], found: Optional[Connection]) -> None:
    reason = _access.objection(host, effective, found)
    if reason is not None:
        host.fail("these settings would keep opsplay out: %s; nothing was changed (guard: false allows it)" % reason)


def install(host: Host, params: Params, changes: Dict[str, Optional[str]]) -> Any:
    """Put the files in place and have sshd read them. Returns what the control side has to prove."""
    unit = unit_of(host)
    reload = ["systemctl", "reload", unit]
    with way_back(host, "sshd", params.confirm_within, list(changes), [reload] if unit else []) as armed:
        if not host.is_directory(_sshd.FOLDER):
            host.directory(_sshd.FOLDER, mode=0o755)
        for path, text in changes.items():
            if text is None:
                host.remove(path)
            else:
                host.write(path, text, mode=0o600 if path != _sshd.MAIN else None)
        if unit:
            done = host.run(reload, foreseen=True, timeout=_sshd.SECONDS)
            if done.rc != 0:
                host.fail("sshd could not be reloaded: %s" % said(done))
    return armed.told()


def unit_of(host: Host) -> str:
    """The unit that has to read the settings again; empty where each connection starts an sshd of its own."""
    for unit in ("ssh.service", "sshd.service"):
        if host.query(["systemctl", "is-active", "--quiet", unit]).rc == 0:
            return unit
    return ""


def new_port(effective: Dict[str, Any], found: Optional[Connection]) -> Optional[int]:
    """The port at which the host is reached from now on, where it is not the present one."""
    ports = [int(port) for port in effective.get("port", ())]
    return None if found is None or found.server_port in ports or not ports else ports[0]


def shown(settings: Dict[str, Any], effective: Dict[str, Any]) -> Dict[str, str]:
    """The declared keywords with what holds for opsplay's own login."""
    return {key: " ".join(effective.get(key.lower(), ())) for key in settings}
