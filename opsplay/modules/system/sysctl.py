"""Set kernel parameters, in a file for the next boots and, where asked, now."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.spec import FALSE, TRUE, Bool, Choice, Params, Path, Str

PARAMS = {
    "name": Str(required=True, aliases=("key",), help="The parameter, e.g. net.ipv4.ip_forward"),
    "value": Str(aliases=("val",), help="Its value; yes and no count as 1 and 0"),
    "state": Choice("present", "absent", default="present", help="Whether the file sets the parameter"),
    "sysctl_file": Path(default="/etc/sysctl.conf", help="The file, preferably one below /etc/sysctl.d"),
    "sysctl_set": Bool(default=False, help="See that the parameter has the value now, too"),
    "reload": Bool(default=True, help="Apply the file with `sysctl -p` when it, or the parameter, differs"),
    "ignoreerrors": Bool(default=False, help="Pass over parameters that this kernel does not know"),
}
CHECK = "exact"
# Where systemd-sysctl looks at boot; /etc/sysctl.conf only counts where a link leads there (Debian up to 12).
BOOT_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")


def run(host: Host, params: Params) -> Dict[str, Any]:
    path = host.real(params.sysctl_file)
    lines = read_lines(host, path)
    if params.state == "absent":
        if save(host, path, lines, without(lines, params.name)) and params.reload:
            reload_file(host, params, path)
        return host.outcome()
    value = wanted_value(host, params)
    refuse_unknown(host, params)
    written = save(host, path, lines, edited(lines, params.name, value))
    warn_unless_read_at_boot(host, path)
    current = current_value(host, params.name)
    if current is None and params.ignoreerrors and not host.exists(kernel_path(params.name)):
        # Nothing of this kernel can differ.
        current = value
    if params.sysctl_set and current != value:
        note_in_force(host, params.name, current, value)
        apply(host, params, ["-w", "%s=%s" % (params.name, value)], "setting %s failed" % params.name)
        current = value
    if params.reload and (written or current != value):
        note_in_force(host, params.name, current, value)
        reload_file(host, params, path)
    return host.outcome()


def wanted_value(host: Host, params: Params) -> str:
    """The value as the kernel shows it: words with one space between them."""
    if params.value is None:
        host.fail("state is present but all of the following are missing: value")
    value = " ".join(params.value.split())
    if not value:
        host.fail("value cannot be blank", name=params.name)
    if "\n" in params.value.strip():
        host.fail("value cannot have several lines: %r" % params.value, name=params.name)
    if value.lower() in TRUE:
        return "1"
    return "0" if value.lower() in FALSE else value


# --- the file ---


def read_lines(host: Host, path: str) -> List[str]:
    """The file's lines; none when it is not there."""
    if not host.exists(path):
        return []
    text = host.read(path).decode("utf-8", "surrogateescape")
    return text[:-1].split("\n") if text.endswith("\n") else text.split("\n")


def split_line(line: str) -> Optional[List[str]]:
    """The parameter and the value that a line sets; None for comments and what is no setting (sysctl.conf(5))."""
    name, equals, value = line.strip().partition("=")
    if not equals or name[:1] in ("#", ";"):
        return None
    return [name.lstrip("-").strip(), " ".join(value.split())]


def kernel_path(name: str) -> str:
    """Where the kernel shows a parameter. The first separator decides what dots and slashes mean (sysctl.d(5))."""
    first = next((char for char in name if char in "./"), "/")
    if first == ".":
        name = "".join({".": "/", "/": "."}.get(char, char) for char in name)
    return "/proc/sys/" + name


def setting(line: str, name: str) -> Optional[str]:
    """The value that a line gives to this parameter, whichever way its name is written; None when it is another's."""
    parts = split_line(line)
    return parts[1] if parts and kernel_path(parts[0]) == kernel_path(name) else None


def edited(lines: List[str], name: str, value: str) -> List[str]:
    """The lines with one that sets the parameter, in the place of the first that does; the last one counts."""
    values = [found for found in (setting(line, name) for line in lines) if found is not None]
    if values and values[-1] == value:
        return lines
    place = next((number for number, line in enumerate(lines) if setting(line, name) is not None), len(lines))
    kept = without(lines, name)
    return kept[:place] + ["%s=%s" % (name, value)] + kept[place:]


def without(lines: List[str], name: str) -> List[str]:
    """The lines that do not set the parameter."""
    return [line for line in lines if setting(line, name) is None]


def save(host: Host, path: str, before: List[str], after: List[str]) -> bool:
    """Write the lines when they differ. Returns whether they did."""
    if after == before:
        return False
    return host.write(path, "".join(line + "\n" for line in after))


def warn_unless_read_at_boot(host: Host, path: str) -> None:
    """/etc/sysctl.conf is no longer read at boot where no link in /etc/sysctl.d leads to it, as on Debian 13."""
    if path != "/etc/sysctl.conf" or not os.path.isdir("/run/systemd/system"):
        return
    folders = [folder for folder in BOOT_FOLDERS if host.is_directory(folder)]
    if not any(host.real("%s/%s" % (folder, name)) == path for folder in folders for name in host.names(folder)):
        host.warn("%s is not read when this host boots; use a file below /etc/sysctl.d instead" % path)


# --- the kernel ---


def current_value(host: Host, name: str) -> Optional[str]:
    """The value that is in force; None when this kernel does not know the parameter, or does not show it."""
    try:
        return " ".join(host.read(kernel_path(name)).decode("utf-8", "replace").split())
    except OSError:
        return None


def refuse_unknown(host: Host, params: Params) -> None:
    """What sysctl(8) would refuse is refused before the file is touched."""
    if params.ignoreerrors or not (params.reload or params.sysctl_set) or host.exists(kernel_path(params.name)):
        return
    if not (host.check and host.shadow.brings_unknown_files):
        hint = "check the name, load the module that brings it, or set ignoreerrors"
        host.fail("this kernel knows no parameter %s; %s" % (params.name, hint), name=params.name)


def reload_file(host: Host, params: Params, path: str) -> None:
    apply(host, params, ["-p", path], "%s is written, but sysctl cannot apply it" % path)


def apply(host: Host, params: Params, words: List[str], problem: str) -> None:
    """Run sysctl(8); with ignoreerrors it passes over what this kernel does not know."""
    ignore = ["-e"] if params.ignoreerrors else []
    done = host.run(["sysctl"] + ignore + words, foreseen=True, env={"LC_ALL": "C"})
    if done.rc != 0 and not params.ignoreerrors:
        host.fail("%s: %s" % (problem, done.stderr.strip() or done.error), rc=done.rc, name=params.name)


def note_in_force(host: Host, name: str, before: Optional[str], after: str) -> None:
    """Record that another value comes into force, and let the tasks that follow in a preview see it."""
    if before != after:
        host.note("%s\n" % before if before is not None else "", "%s\n" % after, "%s in force" % name)
    if host.check:
        host.pretend(kernel_path(name), Node("file", 0o644, content=after.encode() + b"\n"))
