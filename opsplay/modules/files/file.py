"""Make and remove files, directories and links, and set their permissions."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Optional, Tuple

from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.permissions import PERMISSIONS, describe, settle, state_of
from opsplay.agent.spec import Bool, Choice, Params, Path, Str

TIME_FORMAT = "%Y%m%d%H%M.%S"

PARAMS = {
    "path": Path(required=True, aliases=("dest", "name"), help="The path that is managed"),
    "state": Choice(
        "absent", "directory", "file", "hard", "link", "touch",
        help="What shall be there; without it what is there keeps its kind and gets the permissions",
    ),
    "src": Path(help="What a link leads to, or the file that a hard link names once more"),
    "recurse": Bool(default=False, help="Set the permissions of all that a directory holds, too"),
    "force": Bool(default=False, help="Make a link to what does not exist, or in the place of a file"),
    "follow": Bool(default=True, help="Where the path is a link, manage what it leads to"),
    "modification_time": Str(help="The time of the last change: now, preserve, or a time in modification_time_format"),
    "modification_time_format": Str(default=TIME_FORMAT, help="How modification_time is written, as for strftime"),
    "access_time": Str(help="The time of the last reading: now, preserve, or a time in access_time_format"),
    "access_time_format": Str(default=TIME_FORMAT, help="How access_time is written, as for strftime"),
}
PARAMS.update(PERMISSIONS)
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    path = host.expand(params.path)
    if params.src and params.state not in ("link", "absent") and host.is_directory(path):
        path = os.path.join(path, os.path.basename(params.src))
    previous = state_of(host.stat(path))
    state = params.state or (previous if previous != "absent" else "directory" if params.recurse else "file")
    for name in ("modification_time", "access_time"):
        moment(host, params, name, "preserve")
    if params.recurse and state != "directory":
        host.fail("recurse needs state: directory, not %s" % state, path=path)
    if params.src and state not in ("link", "hard"):
        host.fail("src needs state: link or hard, not %s" % state, path=path)
    try:
        return STATES[state](host, path, previous, params)
    except ModuleFailed as problem:
        # A failure, too, tells what is there.
        problem.result = dict(dict(describe(host, path), path=path), **problem.result)
        raise


def absent(host: Host, path: str, previous: str, params: Params) -> Dict[str, Any]:
    host.remove(path)
    return host.outcome(path=path, state="absent")


def present(host: Host, path: str, previous: str, params: Params) -> Dict[str, Any]:
    path, previous = followed(host, path, previous, params)
    if previous not in ("file", "hard"):
        host.fail("file (%s) is %s, cannot continue" % (path, previous), path=path, state=previous)
    settle(host, path, params, params.follow)
    set_times(host, path, params, "preserve")
    return host.outcome(path=path, **describe(host, path))


def directory(host: Host, path: str, previous: str, params: Params) -> Dict[str, Any]:
    path, previous = followed(host, path, previous, params)
    if previous not in ("absent", "directory"):
        host.fail("%s already exists as a %s" % (path, previous), path=path)
    host.directory(path, params.mode, params.owner, params.group)
    settle(host, path, params, params.follow)
    if previous == "directory":
        set_times(host, path, params, "preserve")
    if params.recurse and previous == "directory":
        settle_below(host, path, params, set())
    return host.outcome(path=path, **describe(host, path))


def settle_below(host: Host, folder: str, params: Params, seen: Any) -> None:
    """Set the permissions of all in a folder; links are followed only when the task says so, and never in a circle."""
    real = host.real(folder)
    if real in seen:
        return
    seen.add(real)
    for name in host.names(folder):
        path = os.path.join(folder, name)
        kind = state_of(host.stat(path))
        if kind == "link":
            host.permissions(path, None, params.owner, params.group)
            if not params.follow or not host.exists(path):
                continue
            path = host.real(path)
            kind = state_of(host.stat(path))
        settle(host, path, params, follow=False)
        set_times(host, path, params, "preserve")
        if kind == "directory":
            settle_below(host, path, params, seen)


def touch(host: Host, path: str, previous: str, params: Params) -> Dict[str, Any]:
    named = path
    path, previous = followed(host, path, previous, params)
    if previous == "absent":
        host.write(path, b"", params.mode, params.owner, params.group, in_place=params.unsafe_writes)
    settle(host, path, params, params.follow)
    set_times(host, path, params, "preserve" if previous == "absent" else "now")
    return host.outcome(dest=named, **describe(host, named))


def link(host: Host, path: str, previous: str, params: Params) -> Dict[str, Any]:
    source = params.src
    if source is not None:
        refuse_dangling(host, path, previous, params)
        make_way(host, path, previous, params.force)
        host.link(path, source)
    elif previous != "link":
        host.fail("src is required for creating new symlinks", path=path)
    if wants_permissions(params):
        if params.follow and not host.exists(path):
            host.warn("the permissions of %s are not set: what the link leads to does not exist" % path)
        else:
            settle(host, host.real(path) if params.follow else path, params, follow=False)
    if host.exists(path):
        set_times(host, path, params, "preserve")
    shown = host.link_target(path) if source is None and params.follow else source
    return host.outcome(dest=path, src=shown, **describe(host, path))


def refuse_dangling(host: Host, path: str, previous: str, params: Params) -> None:
    """Refuse a link to what does not exist, unless forced."""
    inside = path if previous == "directory" and not params.force else os.path.dirname(path)
    target = os.path.join(inside, params.src)
    if params.force or host.exists(target) or (host.check and host.shadow.brings_unknown_files):
        return
    hint = "src file does not exist, use force: true if you really want to create the link: %s"
    host.fail(hint % target, path=path, src=params.src)


def make_way(host: Host, path: str, previous: str, force: bool) -> None:
    """Refuse to replace what a link must not replace; an empty folder makes way when forced."""
    if previous in ("absent", "link"):
        return
    if not force:
        host.fail("refusing to convert from %s to symlink for %s; force: true allows it" % (previous, path), path=path)
    if previous == "directory" and host.names(path):
        host.fail("the directory %s is not empty, refusing to convert it" % path, path=path)
    if previous == "directory":
        host.remove(path)


def hard(host: Host, path: str, previous: str, params: Params) -> Dict[str, Any]:
    if params.src is None:
        if previous != "hard":
            host.fail("src is required for creating new hardlinks", path=path)
        return dict(present(host, path, previous, params), dest=path)
    source = host.expand(params.src)
    wanted, found = host.stat(source, follow=True), host.stat(path)
    if wanted is None:
        host.fail("src does not exist: %s" % source, path=path, src=source)
    same = found is not None and wanted.st_ino and (found.st_ino, found.st_dev) == (wanted.st_ino, wanted.st_dev)
    if found is not None and not same and previous != "link" and not params.force:
        host.fail("cannot link %s: another %s is there; force: true replaces it" % (path, previous), path=path)
    host.hard_link(path, source)
    settle(host, path, params, params.follow)
    set_times(host, path, params, "preserve")
    return host.outcome(dest=path, src=source, **describe(host, path))


def followed(host: Host, path: str, previous: str, params: Params) -> Tuple[str, str]:
    """The path that is managed and its state, through a link when the task follows links."""
    if previous == "link" and params.follow:
        path = host.real(path)
        previous = state_of(host.stat(path))
    return path, previous


def wants_permissions(params: Params) -> bool:
    return any(params[name] is not None for name in ("mode", "owner", "group", "attributes", "setype"))


def set_times(host: Host, path: str, params: Params, otherwise: str) -> None:
    """Set the times that the task names. `otherwise` is what holds for those it does not name."""
    modified = moment(host, params, "modification_time", otherwise)
    accessed = moment(host, params, "access_time", otherwise)
    if modified is not None or accessed is not None:
        host.times(path, accessed, modified)


def moment(host: Host, params: Params, name: str, otherwise: str) -> Optional[float]:
    """The time that a parameter asks for, in seconds since 1970; None to leave it."""
    text = params[name] or otherwise
    if text == "preserve":
        return None
    if text == "now":
        return time.time()
    form = params[name + "_format"]
    try:
        return time.mktime(time.strptime(text, form))
    except ValueError:
        host.fail("%s %r is not a time of the form %s; %s_format changes the form" % (name, text, form, name))


STATES = {"absent": absent, "file": present, "directory": directory, "touch": touch, "link": link, "hard": hard}
