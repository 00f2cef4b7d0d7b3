"""Say before and after a login what is to be said: /etc/issue, /etc/issue.net and /etc/motd.

sshd shows /etc/issue.net before a login when its setting Banner names that file: that is the sshd_config module's task.
"""

from __future__ import annotations

import stat as stat_bits
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Params, Str

PARAMS = {
    "issue": Str(help="The text before a login at the console (/etc/issue)"),
    "issue_net": Str(help="The text before a login over the network (/etc/issue.net)"),
    "motd": Str(help="The text after a login (/etc/motd); an empty one says nothing"),
    "escapes": Bool(
        default=True,
        help="false removes getty's escapes that tell the system, its version, name and addresses from /etc/issue and"
        " /etc/issue.net, whether the text is given here or there already",
    ),
    "dynamic": Bool(help="Whether the scripts in /etc/update-motd.d add to the text after a login"),
}
CHECK = "exact"
FILES = {"issue": "/etc/issue", "issue_net": "/etc/issue.net", "motd": "/etc/motd"}
SCRIPTS = "/etc/update-motd.d"
# agetty(8), ISSUE FILES: system, release, version, machine, node and domain names, os-release, addresses.
TELLING = "srvmnoOS46"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if not any(params[key] is not None for key in FILES) and params.escapes and params.dynamic is None:
        host.fail("nothing is asked for: give issue, issue_net, motd, escapes: false or dynamic")
    paths: List[str] = []
    for key, path in FILES.items():
        text = wanted(host, params, key, path)
        if text is not None:
            tell_version(host, path, text)
            host.write(path, text, mode=0o644, owner="root", group="root")
            paths.append(path)
    if params.dynamic is not None:
        paths += switch(host, params.dynamic)
    return host.outcome(paths=paths)


def wanted(host: Host, params: Params, key: str, path: str) -> Optional[str]:
    """The text of a file; None to leave it alone."""
    text: Optional[str] = params[key]
    if text is not None:
        odd = sorted({char for char in text if ord(char) < 32 and char not in "\n\t"})
        if odd:
            host.fail("%s holds the control character %r, which a terminal would obey" % (key, odd[0]))
        text = text if text.endswith("\n") or not text else text + "\n"
    if params.escapes or key == "motd":
        return text
    if text is None:
        if not host.exists(path) or not host.knows(path):
            return None
        text = host.read(path).decode("utf-8", "surrogateescape")
    return without_escapes(text)


def without_escapes(text: str) -> str:
    """The text without the escapes that tell something about the system, and the blanks that they leave behind."""
    lines = []
    for line in text.split("\n"):
        kept, rest, cut = "", line, False
        while rest:
            before, slash, rest = rest.partition("\\")
            kept += before
            if not slash:
                break
            letter, rest = rest[:1], rest[1:]
            argument = ""
            if rest.startswith("{") and "}" in rest:
                argument = rest[: rest.index("}") + 1]
                rest = rest[len(argument) :]
            if letter and letter in TELLING:
                cut = True
            else:
                kept += "\\" + letter + argument
        # A line that said nothing else goes.
        if not cut:
            lines.append(kept)
        elif kept.strip():
            lines.append(" ".join(kept.split()))
    return "\n".join(lines)


def tell_version(host: Host, path: str, text: str) -> None:
    """Warn when the text itself names the system and its version, as Debian's own does."""
    try:
        release = host.read("/etc/os-release").decode("utf-8", "replace")
    except OSError:
        return
    found = {}
    for line in release.split("\n"):
        key, _, value = line.partition("=")
        found[key] = value.strip("\"'")
    name = "%s %s" % (found.get("NAME", "?"), found.get("VERSION_ID", "?"))
    if name in text:
        host.warn("%s tells what this host is: %s" % (path, name))


def switch(host: Host, on: bool) -> List[str]:
    """Let run-parts pass over the scripts by taking away the right to execute them, or give it back."""
    changed = []
    for name in host.names(SCRIPTS) if host.is_directory(SCRIPTS) else ():
        path = "%s/%s" % (SCRIPTS, name)
        found = host.stat(path)
        if found is None or not stat_bits.S_ISREG(found.st_mode):
            if host.link_target(path) is not None and not on:
                host.warn("%s is a link; it goes on adding to the text, remove it to end that" % path)
            continue
        if host.permissions(path, mode="a+x" if on else "a-x"):
            changed.append(path)
    return changed
