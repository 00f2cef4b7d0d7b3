"""Set the host's name: the one that it has now, and the one that it boots with."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent import facts
from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.spec import Choice, Params, Str
from opsplay.agent.words import NAME

PARAMS = {
    "name": Str(required=True, help="The host's name, with or without its domain"),
    "use": Choice(
        "alpine", "debian", "freebsd", "generic", "macos", "macosx", "darwin", "openbsd", "openrc", "redhat", "sles",
        "solaris", "systemd",
        help="How the name is kept: systemd, debian and alpine in /etc/hostname (the default), generic until the next "
             "boot only",
    ),
}  # fmt: skip
CHECK = "exact"
KEPT = "/etc/hostname"
# The kernel's own. It may be read-only in a container, where hostname(1) still works.
RUNNING = "/proc/sys/kernel/hostname"
# HOST_NAME_MAX of Linux, see gethostname(2).
LONGEST = 64
_WITH_FILE = (None, "systemd", "debian", "alpine")


def run(host: Host, params: Params) -> Dict[str, Any]:
    refuse_wrong_name(host, params.name)
    if params.use not in _WITH_FILE + ("generic",):
        host.fail("use %s is not supported; it is one of systemd, debian, alpine, generic" % params.use, use=params.use)
    if params.use in _WITH_FILE and kept_name(host) != params.name:
        host.write(KEPT, params.name + "\n", mode=None if host.exists(KEPT) else 0o644)
    set_running(host, params.name)
    return host.outcome(name=params.name, ansible_facts=names(params.name))


def refuse_wrong_name(host: Host, name: str) -> None:
    """Labels of letters, digits and dashes, joined by dots: hostname(7), and the underscore that systemd allows."""
    if len(name) > LONGEST:
        host.fail("name cannot be longer than %d characters: %s" % (LONGEST, name), name=name)
    for label in name.split("."):
        if not label or not set(label) <= NAME | {"-"} or label.startswith("-") or label.endswith("-"):
            host.fail("%r cannot be a host name: letters, digits and dashes, joined by dots" % name, name=name)


def kept_name(host: Host) -> str:
    """The name that the host boots with; empty when none is kept."""
    try:
        lines = host.read(KEPT).decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")


def set_running(host: Host, name: str) -> None:
    """Change the name that the kernel knows; systemd notices by itself."""
    before = host.read(RUNNING).decode("utf-8", "replace").strip()
    if before == name:
        return
    host.note("%s\n" % before, "%s\n" % name, "running host name")
    argv = ["hostname", name] if host.which("hostname") else ["hostnamectl", "--transient", "set-hostname", name]
    host.must_run(argv, foreseen=True)
    if host.check:
        host.pretend(RUNNING, Node("file", 0o644, content=name.encode() + b"\n"))


def names(name: str) -> Dict[str, str]:
    """The facts that follow from the name."""
    full = facts.full_name(name)
    return {
        "ansible_hostname": name.split(".")[0],
        "ansible_nodename": name,
        "ansible_fqdn": full,
        "ansible_domain": full.partition(".")[2],
    }
