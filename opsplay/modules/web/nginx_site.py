"""Keep a site of nginx: tried on a copy of the configuration first, so that an invalid one is never in /etc/nginx.

The site is a file in sites-available and a link to it in sites-enabled, as Debian lays them out. When nginx cannot use
the new configuration after all, the old one is put back. A site that is not enabled is not tried: nginx does not read
it.
"""

from __future__ import annotations

from typing import Any, Dict, List, NoReturn, Optional, Tuple

from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.spec import Bool, Choice, Name, Params, Str
from opsplay.modules.web import _nginx

PARAMS = {
    "name": Name(required=True, help="The site's name, by which its file is called"),
    "content": Str(help="The whole of its file, e.g. from a template lookup. Default: as it is"),
    "enabled": Bool(default=True, help="Whether nginx serves it"),
    "state": Choice("present", "absent", default="present", help="Whether the site is there"),
    "default": Choice("keep", "absent", default="keep", help="absent: Debian's site `default` is not served"),
    "reload": Bool(default=True, help="Let a running nginx read its configuration again when something has changed"),
}
CHECK = "exact"
AVAILABLE, ENABLED = _nginx.ROOT + "/sites-available", _nginx.ROOT + "/sites-enabled"
# What a path is to be: a "file" with its content, a "link" with its target, or nothing.
ABSENT = ("absent", None)


def run(host: Host, params: Params) -> Dict[str, Any]:
    file, link = "%s/%s" % (AVAILABLE, params.name), "%s/%s" % (ENABLED, params.name)
    refuse(host, params, file, link)
    changes = {path: wish for path, wish in wanted(params, file, link).items() if differs(host, path, wish)}
    reloaded = False
    if changes:
        ready = has_nginx(host)
        if ready:
            prove(host, params, file, changes)
        before = {path: as_it_is(host, path) for path in changes}
        undo = len(host.undo)
        try:
            for path in in_order(changes):
                put(host, path, changes[path])
            if ready and not host.check:
                prove_real(host)
            reloaded = params.reload and _nginx.reload(host)
        except ModuleFailed as problem:
            put_back(host, before)
            del host.undo[undo:]
            host.fail("%s; the old configuration is back in place" % problem, **problem.result)
    return host.outcome(path=file, enabled=params.state == "present" and params.enabled, reloaded=reloaded)


def refuse(host: Host, params: Params, file: str, link: str) -> None:
    """What cannot be done without losing something."""
    if params.state == "absent":
        if params.content is not None:
            host.fail("content and state: absent contradict each other")
        return
    if params.content is None and not host.exists(file) and not (host.check and host.shadow.brings_unknown_files):
        host.fail("there is no site %s: give its content" % file, path=file)
    if params.content is not None and "\0" in params.content:
        host.fail("the content holds a null character")
    if host.stat(link) is not None and host.link_target(link) is None:
        host.fail("%s is not a link into sites-available: move it there first, or remove it" % link, path=link)
    if params.name == "default" and params.default == "absent":
        host.fail("default: absent takes away the site that is asked for")


def wanted(params: Params, file: str, link: str) -> Dict[str, Tuple[str, Any]]:
    """What each path is to be."""
    found: Dict[str, Tuple[str, Any]] = {}
    if params.state == "absent":
        found.update({file: ABSENT, link: ABSENT})
    else:
        if params.content is not None:
            found[file] = ("file", params.content.encode("utf-8", "surrogateescape"))
        found[link] = ("link", file) if params.enabled else ABSENT
    if params.default == "absent":
        found[ENABLED + "/default"] = ABSENT
    return found


def differs(host: Host, path: str, wish: Tuple[str, Any]) -> bool:
    kind, value = wish
    found = host.stat(path)
    if kind == "absent" or found is None:
        return (kind == "absent") == (found is not None)
    if kind == "link":
        # Debian's own links are absolute, those of others relative.
        return host.link_target(path) is None or host.real(path) != host.real(value)
    return host.link_target(path) is not None or not host.knows(path) or host.read(path) != value


# --- whether nginx accepts it ---


def has_nginx(host: Host) -> bool:
    """Whether it can be tried; in a preview an earlier task may be the one that installs nginx."""
    if host.which("nginx") is not None and host.exists(_nginx.ROOT + "/nginx.conf"):
        return True
    if not (host.check and host.shadow.brings_unknown_files):
        host.fail("nginx is not on this host; install the package nginx first")
    return False


def prove(host: Host, params: Params, file: str, changes: Dict[str, Tuple[str, Any]]) -> None:
    """Try the configuration as it would be. Fails with nginx's words and the line."""
    with _nginx.Copy(host, changes) as copy:
        fault, warnings = copy.test()
    if fault is None:
        for warning in warnings:
            host.warn("nginx: %s" % warning)
        return
    missing = of_an_earlier_task(host, fault)
    if missing:
        host.warn("the site is not tried before %s is there, which an earlier task would make" % missing)
        return
    if fault.path in ("%s/%s" % (ENABLED, params.name), file):
        refuse_site(host, params, file, fault)
    with _nginx.Copy(host, {}) as copy:
        present = copy.test()[0]
    if present is not None and str(present) == str(fault):
        host.fail("nginx's configuration is invalid even without this site: %s; correct that first" % fault)
    host.fail("with this change nginx's configuration would be invalid: %s; nothing was changed" % fault)


def refuse_site(host: Host, params: Params, file: str, fault: Any) -> NoReturn:
    """Say which line of the site is wrong."""
    text: str = params.content if params.content is not None else host.read(file).decode("utf-8", "replace")
    lines: List[str] = text.split("\n")
    line = lines[fault.line - 1].strip() if 0 < fault.line <= len(lines) else ""
    shown = " `%s`" % line if line else ""
    said = "the site %s is invalid in line %d%s: %s; nothing was changed"
    host.fail(said % (params.name, fault.line, shown, fault.words), line=fault.line)


def of_an_earlier_task(host: Host, fault: Any) -> str:
    """In a preview: the file that nginx misses and that an earlier task would make; empty when there is none."""
    import re

    if not host.check:
        return ""
    for path in re.findall(r"\"(/[^\"]+)\"", fault.words):
        if host.exists(path) or host.shadow.brings_unknown_files:
            return str(path)
    return ""


def prove_real(host: Host) -> None:
    fault = _nginx.test(host)
    if fault is not None:
        host.fail("nginx refuses its configuration: %s" % fault)


# --- the files ---


def in_order(changes: Dict[str, Tuple[str, Any]]) -> List[str]:
    """A file before the link that leads to it, and away after the link: at no moment does a link lead nowhere."""
    made = sorted(path for path, wish in changes.items() if wish != ABSENT)
    return made + sorted((path for path, wish in changes.items() if wish == ABSENT), reverse=True)


def put(host: Host, path: str, wish: Tuple[str, Any]) -> None:
    kind, value = wish
    if kind == "file":
        host.write(path, value, mode=0o644 if host.stat(path) is None else None)
    elif kind == "link":
        host.link(path, value)
    else:
        host.remove(path)


def as_it_is(host: Host, path: str) -> Tuple[Tuple[str, Any], Optional[Any]]:
    """What is at a path now, so that it can be put back."""
    found, target = host.stat(path), host.link_target(path)
    if target is not None:
        return ("link", target), None
    if found is None or not host.knows(path):
        return ABSENT, None
    return ("file", host.read(path)), found


def put_back(host: Host, before: Dict[str, Tuple[Tuple[str, Any], Optional[Any]]]) -> None:
    """The files as they were. What they were shown to become is no change any more."""
    if host.check:
        return
    keep_undo, host.keep_undo = host.keep_undo, False
    try:
        for path, (wish, found) in before.items():
            put(host, path, wish)
            if found is not None:
                host.permissions(path, found.st_mode & 0o7777, found.st_uid, found.st_gid)
    finally:
        host.keep_undo = keep_undo
        del host.diffs[:]
