"""Manage a whole unit file of systemd, or a drop-in for one: checked by systemd before it is installed.

A service that ran and does not start with its new file gets its old file back, and the task fails with its journal.
"""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.record import ModuleFailed
from opsplay.agent.spec import Bool, Choice, Int, Name, Params, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.modules.services import _install, _unitfiles, _verify
from opsplay.modules.services._systemd import Unit, Wish
from opsplay.modules.services._units import RUNNING, Manager, foreseen, full_name

PARAMS = {
    "name": Name(required=True, aliases=("unit",), help="The unit; without a suffix it is a service"),
    "sections": DictOf(
        of=DictOf(), default={},
        help="The file as data: section, key, and a value or a list of values (a line each). true and false are written"
             ' as yes and no, "" resets a key',
    ),
    "content": Str(help="The file as text; sections are added to it"),
    "dropin": Name(help="Write a drop-in of this name for the unit (UNIT.d/NAME.conf) instead of the unit's own file"),
    "state": Choice(
        "present", "absent", "started", "stopped", "restarted", default="present",
        help="present: the file is there. started: it runs, too. restarted: it runs, and is restarted when its file is"
             " newer than its start. absent: it is stopped, disabled and removed with its drop-ins; with dropin, just"
             " that file is removed",
    ),
    "enabled": Bool(help="Whether it starts with the host, as its section Install says"),
    "hardening": Choice(
        "none", "basic", "strict", default="none",
        help="Sandbox a service: basic leaves it the network, its devices and most of its files; strict also makes the"
             " file system read-only but for StateDirectory, ReadWritePaths and the like, and filters system calls."
             " What the unit itself sets counts",
    ),
    "instances": Int(min=0, help="Of a template (NAME@): have the instances 1 to this number, and no higher ones"),
}  # fmt: skip
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    unit = full_name(params.name)
    _refuse(host, params, unit)
    manager = Manager(host)
    path = "%s/%s" % (_verify.SYSTEM, unit)
    if params.dropin:
        path = "%s.d/%s.conf" % (path, params.dropin[:-5] if params.dropin.endswith(".conf") else params.dropin)
    if params.state == "absent":
        _remove(host, manager, unit, path, params)
        return host.outcome(name=unit, path=path)
    text = _text(host, params, unit)
    _refuse_uninstallable(host, params, text)
    before = _install.text_of(host, path)
    if before != text:
        _check(host, params, unit, path, text)
    changed = _install.install(host, path, text)
    reloaded = _install.reload(host, manager, changed, unit)
    if changed and params.enabled and not params.dropin:
        _install.relink(host, manager, unit, before, text)
    done = _bring(host, manager, params, unit, path, before, reloaded)
    if done and host.check:
        # A service may end by itself as soon as it was started.
        host.unknown("active_state")
    return host.outcome(name=unit, path=path, done=done, **_install.describe(host, manager, unit))


def _refuse(host: Host, params: Params, unit: str) -> None:
    problem = _unitfiles.wrong_name(unit)
    if problem:
        host.fail("%r cannot be a unit: %s" % (unit, problem), name=unit)
    if params.state != "absent" and not params.sections and not params.content:
        host.fail("nothing is to be in %s: give sections, content, or both" % unit, name=unit)
    if params.hardening != "none" and not unit.endswith(".service"):
        host.fail("hardening is for services, which %s is not" % unit, name=unit)
    template = "@." in unit
    if params.instances is not None and not template:
        host.fail("instances are for templates such as %s@, which %s is not" % (unit.partition(".")[0], unit))
    if template and params.instances is None and params.state in ("started", "stopped", "restarted"):
        host.fail("%s is a template and cannot run by itself: give instances" % unit, name=unit)


def _text(host: Host, params: Params, unit: str) -> str:
    """The whole file: what is given as text, then the sections, hardened where asked."""
    content = params.content or ""
    if content and not content.endswith("\n"):
        content += "\n"
    sections = {name: dict(keys) for name, keys in params.sections.items()}
    try:
        known = content + _unitfiles.rendered(sections)
        if params.hardening != "none":
            if params.dropin:
                known += _own_text(host, unit)
            options = _unitfiles.hardened(params.hardening, known, _verify.version(host))
            sections["Service"] = dict(sections.get("Service", {}), **options)
        made = _unitfiles.rendered(sections)
    except ValueError as problem:
        host.fail(str(problem), name=unit)
    return content + ("\n" if content and made else "") + made


def _own_text(host: Host, unit: str) -> str:
    """The unit's own file, which a drop-in goes with."""
    path = _verify.fragment(host, unit)
    return (_install.text_of(host, path) or "") if path else ""


def _refuse_uninstallable(host: Host, params: Params, text: str) -> None:
    if params.enabled and not params.dropin and not _unitfiles.installs(text):
        host.fail("enabled: true needs a section Install, e.g. WantedBy: multi-user.target", name=params.name)


def _check(host: Host, params: Params, unit: str, path: str, text: str) -> None:
    """Have systemd judge it, and see that the accounts exist that it shall run as."""
    files = {path[len(_verify.SYSTEM) + 1 :]: text}
    if params.dropin:
        own = _verify.fragment(host, unit)
        if own is None and (not host.check or foreseen(host, unit, "system") is None):
            host.fail("there is no unit %s to which a drop-in could be added" % unit, name=unit)
        known = _install.text_of(host, own) if own else None
        if known is None and not unit.endswith(".service"):
            # It comes with a package that a preview would install: there is nothing to judge the drop-in with.
            return
        files[unit] = known if known is not None else "[Service]\nExecStart=/bin/true\n"
    else:
        _refuse_unknown_accounts(host, text)
    _verify.refuse_wrong(host, unit, files, params.state in ("started", "restarted"))


def _refuse_unknown_accounts(host: Host, text: str) -> None:
    if _unitfiles.last(text, "Service", "DynamicUser") in ("yes", "true", "on", "1"):
        return
    for key, look in (("User", host.uid), ("Group", host.gid)):
        name = _unitfiles.last(text, "Service", key)
        if name and "%" not in name:
            look(name)


def _bring(
    host: Host, manager: Manager, params: Params, unit: str, path: str, before: Any, changed: bool
) -> Dict[str, str]:
    """Bring the unit, or each wanted instance, to its state. Returns what was done to which."""
    state = None if params.state == "present" else params.state
    if params.instances is not None:
        return _bring_instances(host, manager, params, unit, path, changed)
    if "@." in unit:
        if params.enabled is not None:
            Unit(host, manager, unit).bring(Wish(enabled=params.enabled))
        return {}
    running = Unit(host, manager, unit).status.get("ActiveState") in RUNNING
    try:
        done = _install.bring(host, manager, unit, path, state, params.enabled, changed)
    except ModuleFailed as problem:
        if running and before is not None and changed and state == "restarted" and not host.check:
            _install.put_back(host, manager, path, before, unit, problem)
        raise
    return {unit: done} if done else {}


def _bring_instances(
    host: Host, manager: Manager, params: Params, unit: str, path: str, changed: bool
) -> Dict[str, str]:
    base, suffix = unit.split("@")
    wanted = ["%s@%d%s" % (base, number, suffix) for number in range(1, params.instances + 1)]
    done = {}
    for name in wanted:
        state = None if params.state == "present" else params.state
        done[name] = _install.bring(host, manager, name, path, state, params.enabled, changed)
    for name in _surplus(_install.instances(host, manager, unit), base, suffix, params.instances):
        here = Unit(host, manager, name)
        enabled = here.status.get("UnitFileState") == "enabled"
        if enabled or here.status.get("ActiveState") in RUNNING:
            here.bring(Wish("stopped", False if enabled else None))
            done[name] = "stopped"
    return {name: what for name, what in done.items() if what}


def _surplus(found: List[str], base: str, suffix: str, most: int) -> List[str]:
    """The numbered instances above the wanted ones."""
    surplus = []
    for name in found:
        number = name[len(base) + 1 : -len(suffix)]
        if number.isdigit() and int(number) > most:
            surplus.append(name)
    return surplus


def _remove(host: Host, manager: Manager, unit: str, path: str, params: Params) -> None:
    if not params.dropin:
        _install.remove(host, manager, unit)
        return
    folder = path.rpartition("/")[0]
    if not host.remove(path):
        return
    if not host.names(folder):
        host.remove(folder)
    _install.reload(host, manager, True, unit)
    if Unit(host, manager, unit).status.get("ActiveState") in RUNNING:
        host.warn("%s runs with what it was started with until it is restarted" % unit)
