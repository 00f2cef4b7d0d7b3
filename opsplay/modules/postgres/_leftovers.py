"""Data directories beside the one in use that a recovery has left which a power cut or a kill has ended.

A recovery puts its mark into the directory that it makes, before anything else, and takes it away when that directory
is in service. So a directory with the mark that is not the one in use is unfinished, whatever it is called.
"""

from __future__ import annotations

import os
from typing import Any, List

from opsplay.agent.files import remove_tree, sync_directory
from opsplay.agent.host import Host
from opsplay.agent.temporary import write_all
from opsplay.modules.postgres import _clusters

MARK = "opsplay_recovery"


def begin(folder: str, spaces: List[str], beside: bool = False) -> None:
    """Put the mark into a new data directory, with the paths of its tablespaces. Raises OSError.

    `beside` puts it beside a directory that another program wants to find empty, until it may `enter`.
    """
    path = mark_beside(folder) if beside else os.path.join(folder, MARK)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, "".join(space + "\n" for space in spaces).encode("utf-8", "surrogateescape"))
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_directory(folder)
    for place in sorted({os.path.dirname(path) for path in [folder] + spaces}):
        sync_directory(place)


def mark_beside(folder: str) -> str:
    return "%s.%s" % (folder, MARK)


def enter(folder: str) -> None:
    """The mark beside a data directory goes into it. Raises OSError."""
    os.rename(mark_beside(folder), os.path.join(folder, MARK))
    sync_directory(folder)
    sync_directory(os.path.dirname(folder))


def end(folder: str) -> None:
    """Take the mark away: the directory is in service. Raises OSError."""
    path = os.path.join(folder, MARK)
    if os.path.lexists(path):
        os.unlink(path)
        sync_directory(folder)


def unfinished(cluster: Any) -> List[str]:
    """The directories beside a cluster's own that a recovery has begun and not ended."""
    parent, own = os.path.split(cluster.data.rstrip("/"))
    found = []
    for name in _clusters.listing(parent):
        path = os.path.join(parent, name)
        mine = name.startswith((own + "_new_", own + "_old_")) and os.path.isdir(path) and not os.path.islink(path)
        if mine and (_marks(path) or not os.listdir(path)):
            found.append(path)
    return found


def _marks(folder: str) -> List[str]:
    return [path for path in (os.path.join(folder, MARK), mark_beside(folder)) if os.path.lexists(path)]


def sweep(host: Host, cluster: Any) -> None:
    """Remove them, with their tablespaces, and tell so. Nobody else may be at work on the cluster. Raises OSError."""
    for path in unfinished(cluster):
        pid = _clusters.first_line(os.path.join(path, "postmaster.pid"))
        if pid.isdigit() and _clusters.is_postgres(int(pid)):
            text = "%s is of a recovery that was interrupted, and a server runs in it (process %s): it stays"
            host.warn(text % (path, pid))
            continue
        stamp = path[-len("_20261128T101500") :]
        for mark in _marks(path):
            for space in _clusters.lines_of(mark):
                if space.startswith("/") and space.endswith(stamp) and os.path.isdir(space):
                    remove_tree(space)
        remove_tree(path)
        if os.path.lexists(mark_beside(path)):
            os.unlink(mark_beside(path))
        host.warn("%s, of a recovery that was interrupted, was removed" % path)
    end(cluster.data)


def told(host: Host, cluster: Any) -> None:
    """Say what will be removed."""
    for path in unfinished(cluster):
        host.warn("%s is of a recovery that was interrupted; the next one removes it" % path)
