"""Pack files and directories into an archive, or compress a single file."""

from __future__ import annotations

import os
from typing import Any, Dict
from typing import List as ListOf

from opsplay.agent.host import Host, Stream
from opsplay.agent.permissions import PERMISSIONS, describe, settle
from opsplay.agent.spec import Bool, Choice, List, Params, Path, Str
from opsplay.modules.files import _packing

PARAMS = dict(
    PERMISSIONS,
    path=List(of=Path(), required=True, help="What is packed: files and directories, or patterns of them"),
    dest=Path(help="The archive; a single file that is compressed has its format added to its name without it"),
    format=Choice("bz2", "gz", "tar", "xz", "zip", default="gz", help="How it is packed; bz2, gz and xz pack a tar"),
    exclude_path=List(of=Path(), help="What is left out: files and directories, or patterns of them"),
    exclusion_patterns=List(of=Str(), help="Patterns; what has a name or path within the archive like one is left out"),
    force_archive=Bool(default=False, help="Make an archive of a single file, too"),
    remove=Bool(default=False, help="Remove the sources when they are packed"),
)
CHECK = "exact"

# How the names of archives end, as opposed to those of compressed files.
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")


class Sources:
    """What the task names, and what of it is there."""

    def __init__(self, host: Host, params: Params) -> None:
        self.paths: ListOf[str] = []
        self.missing: ListOf[str] = []
        for given in params.path:
            found = matching(host, given)
            self.paths += found
            if not found:
                self.missing.append(host.expand(given))
        self.excluded = [path.rstrip("/") for given in params.exclude_path or () for path in matching(host, given)]
        self.paths = [path for path in self.paths if path.rstrip("/") not in self.excluded]
        several = len(params.path) > 1 or len(self.paths) > 1
        self.are_many = several or any(has_wildcard(given) for given in params.path)
        self.hold_directory = any(host.is_directory(path) for path in self.paths)


def run(host: Host, params: Params) -> Dict[str, Any]:
    sources = Sources(host, params)
    is_archive = params.force_archive or sources.are_many or sources.hold_directory
    dest = destination(host, params, is_archive)
    root = common_folder(sources.paths)
    shown = {"dest": dest, "arcroot": root, "missing": sources.missing, "expanded_paths": sources.paths}
    shown.update(expanded_exclude_paths=sources.excluded, archived=[])
    if host.check and is_foretold(host, sources):
        # What an earlier task would make of the sources is not there to be packed.
        host.write(dest, Stream(-1, lambda: iter(())), params.mode, params.owner, params.group)
        return finish(host, params, dest, dict(shown, dest_state="archive"))
    if not sources.paths:
        # With remove, an earlier run has packed and removed them.
        if not host.exists(dest):
            host.fail("Error, no source paths were found", **dict(shown, dest_state="absent"))
        shown["dest_state"] = "archive" if dest.endswith(ARCHIVES) else "compress"
        return finish(host, params, dest, shown)
    packing = _packing.Packing(host, params.format, root, params.exclusion_patterns or [])
    members = packing.members(sources.paths, sources.excluded, dest)
    if params.remove and any((dest + "/").startswith(path.rstrip("/") + "/") for path in sources.paths):
        host.fail("Error, created archive can not contain itself when remove=true", **shown)
    with host.staged(dest) as new:
        try:
            if is_archive or params.format in ("tar", "zip"):
                packing.archive(new, members)
                shown["dest_state"] = "incomplete" if sources.missing else "archive"
            else:
                packing.compress(new, sources.paths[0])
                shown["dest_state"] = "compress"
        except OSError as problem:
            host.fail("cannot pack %s: %s" % (problem.filename or dest, problem.strerror or problem), **shown)
        host.write(dest, new, params.mode, params.owner, params.group, in_place=params.unsafe_writes)
    shown["archived"] = [member.path for member in members] or sources.paths
    for path in sources.paths if params.remove else ():
        host.remove(path.rstrip("/"))
    return finish(host, params, dest, shown)


def is_foretold(host: Host, sources: Sources) -> bool:
    """Whether earlier tasks of a preview would have changed, or may have made, what is packed."""
    if sources.missing and host.shadow.brings_unknown_files:
        return True
    folders = [path.rstrip("/") + "/" for path in sources.paths]
    return any((known + "/").startswith(folder) for known in host.shadow.paths for folder in folders)


def finish(host: Host, params: Params, dest: str, shown: Dict[str, Any]) -> Dict[str, Any]:
    settle(host, dest, params)
    return host.outcome(**dict(describe(host, dest), **shown))


def matching(host: Host, given: str) -> ListOf[str]:
    """The paths that a path or pattern names, sorted; a slash at the end, which means what it holds, is kept."""
    path = host.expand(given) + ("/" if given.endswith("/") and given.strip("/") else "")
    if not has_wildcard(path):
        return [path] if host.stat(path.rstrip("/")) is not None else []
    import glob

    return sorted(glob.glob(path))


def has_wildcard(path: str) -> bool:
    return any(char in path for char in "*?[")


def destination(host: Host, params: Params, is_archive: bool) -> str:
    """Where the archive goes. Fails when the task does not say and it is not plain."""
    if params.dest is None:
        if is_archive:
            host.fail("Error, must specify 'dest' when archiving multiple files or trees")
        return "%s.%s" % (host.expand(params.path[0]), params.format)
    dest = host.expand(params.dest)
    if host.is_directory(dest):
        host.fail("Error, must specify 'dest' as a file: %s is a directory" % dest, dest=dest)
    if not host.is_directory(os.path.dirname(dest)):
        host.fail("the folder %s does not exist; make it with the file module first" % os.path.dirname(dest), dest=dest)
    return dest


def common_folder(paths: ListOf[str]) -> str:
    """The folder, with a slash at its end, that the names in the archive are relative to."""
    folders = [os.path.dirname(path) for path in paths]
    return os.path.join(os.path.commonpath(folders), "") if folders else ""
