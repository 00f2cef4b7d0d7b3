"""Choose between programs that do the same, with update-alternatives."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Int, Name, Params, Path, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.agent.spec import List as ListOf
from opsplay.modules.system import _alternatives
from opsplay.modules.system._alternatives import Alternative, Group

PARAMS = {
    "name": Name(required=True, help="The group's name, e.g. editor"),
    "path": Path(help="The program that is one of the choices"),
    "link": Path(help="The link that leads to the chosen program; needed where the group is new"),
    "priority": Int(help="The choice's priority; without it that which it has, or 50"),
    "state": Choice(
        "present", "selected", "auto", "absent", default="selected",
        help="present: it can be chosen; selected: it is chosen; auto: so, and the highest priority is; absent: it is "
             "no choice any more",
    ),
    "subcommands": ListOf(
        of=DictOf(of=Path()), aliases=("slaves",),
        help="Links that follow the choice, each with name, link and path",
    ),
    "family": Str(help="A family of alternatives, which Red Hat's tool knows: the path's, or instead of path"),
}  # fmt: skip
CHECK = "exact"
PRIORITY = 50


def run(host: Host, params: Params) -> Dict[str, Any]:
    refuse_wrong_parameters(host, params)
    group = _alternatives.read(host, params.name)
    if params.path is None:
        params = Params(params, path=path_of_family(host, params, group))
    steps: List[str] = []
    if params.state == "absent":
        if group is not None and params.path in group.choices:
            remove(host, params, group, steps)
        return host.outcome(msg=" ".join(steps))
    # A preview's package brings its programs and often registers them; whether it does so cannot be known.
    may_come = host.check and host.shadow.brings_unknown_files
    if not host.exists(params.path) and not may_come:
        host.fail("Specified path %s does not exist" % params.path, path=params.path)
    if group is None and params.link is None and may_come:
        host.warn("there are no alternatives %s yet; a package that would be installed may bring them" % params.name)
        group = Group(params.name, "/usr/bin/" + params.name)
    if group is None or is_different(params, group):
        group = install(host, params, group, steps)
    if params.state == "selected" and group.current != params.path:
        select(host, params, group, steps)
    if params.state == "auto" and not group.is_automatic:
        follow_priorities(host, params, group, steps)
    return host.outcome(msg=" ".join(steps))


def refuse_wrong_parameters(host: Host, params: Params) -> None:
    if params.path is None and params.family is None:
        host.fail("one of the following is required: path, family")
    for entry in params.subcommands or ():
        if set(entry) != {"name", "link", "path"}:
            host.fail("each of subcommands needs name, link and path, and nothing else: %s" % entry)
    files = _alternatives.folder(host)
    if not host.which("update-alternatives") or not host.is_directory(files):
        host.fail("update-alternatives is not on this host: there is no %s" % files)
    if params.family is not None and files == _alternatives.DEBIAN:
        host.fail("family is only known to the alternatives of Red Hat, and this host has those of Debian: give path")


def path_of_family(host: Host, params: Params, group: Optional[Group]) -> str:
    """The choice of a family; of several the one with the highest priority."""
    choices = group.choices if group else {}
    path = group.best_of([path for path in choices if choices[path].family == params.family]) if group else None
    if path is None:
        host.fail("no alternative of %s is of the family %s" % (params.name, params.family))
    return path


def is_different(params: Params, group: Group) -> bool:
    """Whether the choice is not there yet, or not as it is asked for. What is not given is not asked for."""
    choice = group.choices.get(params.path)
    if choice is None or params.priority not in (None, choice.priority) or params.family not in (None, choice.family):
        return True
    if params.subcommands is None:
        return False
    wanted = {entry["name"]: entry["path"] for entry in params.subcommands}
    links = {entry["name"]: entry["link"] for entry in params.subcommands}
    return wanted != choice.subcommands or any(group.subcommands.get(name) != links[name] for name in links)


def install(host: Host, params: Params, group: Optional[Group], steps: List[str]) -> Group:
    """Make the choice, or make it again with what is new. Returns the group as it is then."""
    link = params.link or (group.link if group else None)
    if link is None:
        host.fail("there are no alternatives %s yet; give link, where the chosen program shall be" % params.name)
    choice = group.choices.get(params.path) if group else None
    priority = params.priority if params.priority is not None else choice.priority if choice else PRIORITY
    subcommands = follow_ups(params, group)
    argv = ["--install", link, params.name, params.path, str(priority)]
    for entry in subcommands:
        argv += ["--slave", entry["link"], entry["name"], entry["path"]]
    paths = {entry["name"]: entry["path"] for entry in subcommands}
    family = params.family if params.family is not None else choice.family if choice else ""
    if family:
        argv += ["--family", family]
    wanted = Alternative(priority, paths, family)
    change(host, params, argv, str(choice) if choice else "", str(wanted))
    steps.append("Install alternative '%s' for '%s'." % (params.path, params.name))
    if not host.check:
        return reread(host, params)
    group = group or Group(params.name, link)
    group.link = link
    group.subcommands.update({entry["name"]: entry["link"] for entry in subcommands})
    group.choices[params.path] = wanted
    if group.is_automatic:
        group.current = group.best()
    _alternatives.pretend(host, group)
    return group


def follow_ups(params: Params, group: Optional[Group]) -> List[Dict[str, str]]:
    """The subcommands that the choice has from now on: those given, else those that it has."""
    if params.subcommands is not None:
        return list(params.subcommands)
    choice = group.choices.get(params.path) if group else None
    if group is None or choice is None:
        return []
    return [{"name": name, "link": group.subcommands[name], "path": path} for name, path in choice.subcommands.items()]


def select(host: Host, params: Params, group: Group, steps: List[str]) -> None:
    change(host, params, ["--set", params.name, params.path], "selected %s\n" % group.current, "selected\n")
    steps.append("Set alternative '%s' for '%s'." % (params.path, params.name))
    group.is_automatic, group.current = False, params.path
    _alternatives.pretend(host, group)


def follow_priorities(host: Host, params: Params, group: Group, steps: List[str]) -> None:
    change(host, params, ["--auto", params.name], "manual\n", "automatic\n")
    steps.append("Set alternative to auto for '%s'." % params.name)
    group.is_automatic, group.current = True, group.best()
    _alternatives.pretend(host, group)


def remove(host: Host, params: Params, group: Group, steps: List[str]) -> None:
    change(host, params, ["--remove", params.name, params.path], str(group.choices[params.path]), "")
    steps.append("Remove alternative '%s' from '%s'." % (params.path, params.name))
    del group.choices[params.path]
    if group.is_automatic or group.current == params.path:
        # A group whose chosen program goes follows the priorities again.
        group.is_automatic, group.current = True, group.best()
    _alternatives.pretend(host, group)


def change(host: Host, params: Params, argv: List[str], before: str, after: str) -> None:
    host.note(before, after, "%s of alternatives %s" % (params.path, params.name))
    host.must_run(["update-alternatives"] + argv, foreseen=True, env={"LC_ALL": "C"})


def reread(host: Host, params: Params) -> Group:
    group = _alternatives.read(host, params.name)
    if group is None:
        host.fail("update-alternatives ended well, but there is no group %s" % params.name)
    return group
