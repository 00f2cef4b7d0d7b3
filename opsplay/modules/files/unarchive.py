"""Unpack an archive into a directory of the host."""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, Optional
from typing import List as ListOf

from opsplay.agent import files, web
from opsplay.agent.host import Blob, Host, Stream
from opsplay.agent.permissions import PERMISSIONS, describe, finish_permissions
from opsplay.agent.spec import Bool, Int, List, Params, Path, Raw, Str
from opsplay.modules.files import _unpacking
from opsplay.modules.files._selection import Selection, inside

INTERNAL = "set by the control side"

PARAMS = dict(
    PERMISSIONS,
    src=Path(required=True, help="The archive, on the control side; with remote_src on the host, or a URL"),
    dest=Path(required=True, help="The directory into which it is unpacked; it must be there"),
    remote_src=Bool(default=False, help="src lies on the host, or is a URL that the host fetches"),
    copy=Bool(help="The opposite of remote_src, from older playbooks"),
    creates=Path(help="A path: where it is there, nothing is done"),
    include=List(of=Str(), default=[], help="Only these members are unpacked, directories with all they hold"),
    exclude=List(of=Str(), default=[], help="Members, or patterns of them, that are left out"),
    keep_newer=Bool(default=False, help="Leave files that are newer than the archive's"),
    list_files=Bool(default=False, help="Return the names of the members"),
    extra_opts=List(of=Str(), split=False, default=[], help="Options for tar or unzip, which then does the unpacking"),
    io_buffer_size=Int(default=65536, help="Not used: the content is handled in pieces of a fitting size"),
    validate_certs=Bool(default=True, help="Refuse servers whose certificate is not trusted"),
    decrypt=Bool(default=True, help="Decrypt an archive of the control side that is a vault file"),
    _content=Raw(help=INTERNAL),
    _blob=Raw(help=INTERNAL),
)
# With extra_opts other than --strip-components a program decides what comes of the archive: a preview cannot know it.
CHECK = "partial"

# Members up to this size are compared and shown as a whole.
SMALL = 1 << 20


def run(host: Host, params: Params) -> Dict[str, Any]:
    dest = host.real(params.dest)
    if params.include and params.exclude:
        host.fail("parameters are mutually exclusive: include|exclude")
    if params.creates and host.stat(host.expand(params.creates)) is not None:
        return host.outcome(skipped=True, msg="skipped, since %s exists" % params.creates)
    if not host.is_directory(dest):
        host.fail("dest '%s' must be an existing dir" % params.dest)
    shown: Dict[str, Any] = {"src": params.src, "dest": params.dest}
    if is_foretold(host, params):
        # Whatever it holds: what comes of it may be any file.
        host.changed = host.shadow.ran_programs = True
        return host.outcome(**dict(describe(host, dest), **shown))
    with source(host, params) as file:
        try:
            archive = opened(host, params, file, dest)
        except _unpacking.NotAnArchive as problem:
            host.fail("%s is no archive that can be unpacked: %s" % (params.src, problem), **shown)
        if archive is None:
            host.warn("what tar or unzip make of the archive with extra_opts cannot be known before they have run")
            host.changed = host.shadow.ran_programs = True
            return host.outcome(**dict(describe(host, dest), **shown))
        selection = Selection(host, params, dest, archive.entries)
        if params.list_files:
            shown["files"] = _unpacking.names(selection.listed)
        Unpacking(host, params, archive, dest).run(selection.entries)
    return host.outcome(**dict(describe(host, dest), handler=archive.handler, **shown))


def is_foretold(host: Host, params: Params) -> bool:
    """Whether an earlier task of a preview would have made the archive, so that it cannot be read now."""
    if not host.check or not params.remote_src or "://" in params.src:
        return False
    path = host.real(params.src)
    there = host.stat(path) is not None or host.shadow.brings_unknown_files
    return there and (not os.path.exists(path) or path in host.shadow.paths)


def source(host: Host, params: Params) -> Any:
    """The archive as an open file. Fails when there is none."""
    if params._blob is not None or params._content is not None:
        content = Blob(params._blob["sha256"], params._blob["size"]) if params._blob else params._content
        return filled(host.chunks(content))
    if "://" in params.src:
        return downloaded(host, params)
    path = host.real(params.src)
    if not os.path.exists(path):
        host.fail("Source '%s' does not exist" % path)
    if not os.path.isfile(path) or not os.path.getsize(path):
        host.fail("Invalid archive '%s', the file is 0 bytes" % path)
    return open(path, "rb")


def downloaded(host: Host, params: Params) -> Any:
    try:
        with web.request(web.Options(params), params.src) as answer:
            if answer.status >= 400:
                host.fail("Failure downloading %s, HTTP Error %d: %s" % (params.src, answer.status, answer.reason))
            return filled(answer.chunks())
    except (web.Unreachable, ValueError) as problem:
        host.fail("Failure downloading %s, %s" % (params.src, problem))


def filled(chunks: Any) -> Any:
    file = _unpacking.unnamed_file()
    for chunk in chunks:
        file.write(chunk)
    file.seek(0)
    return file


def opened(host: Host, params: Params, file: Any, dest: str) -> Any:
    """The archive, read here or, with options that are not known here, unpacked by a program into a hidden folder."""
    archive = _unpacking.open_archive(host, file)
    rest = [option for option in params.extra_opts if not option.startswith("--strip-components=")]
    if not rest:
        return archive
    if host.check:
        return None
    folder = host.temporary.folder(dest)
    path = _unpacking.path_of(file)
    argv = ["tar", "-x", "-C", folder] + params.extra_opts + ["-f", path]
    if archive.handler == "ZipArchive":
        argv = ["unzip", "-o"] + params.extra_opts + [path, "-d", folder]
    done = host.query(argv)
    if done.rc:
        host.fail("failed to unpack %s: %s" % (params.src, done.stderr.strip() or done.error), cmd=argv, rc=done.rc)
    return _unpacking.Folder(host, folder, archive.handler)


class Unpacking:
    """Puts the members of an archive into place, each by the host's primitives."""

    def __init__(self, host: Host, params: Params, archive: Any, dest: str) -> None:
        self.host = host
        self.params = params
        self.archive = archive
        self.dest = dest
        self.is_root = os.geteuid() == 0
        self.umask = files.current_umask()

    def run(self, entries: ListOf[_unpacking.Entry]) -> None:
        host, late = self.host, []
        for number, entry in enumerate(entries):
            host.progress("unpacking " + entry.name, number, len(entries))
            path = os.path.join(self.dest, entry.name)
            before = host.stat(path)
            if self.params.keep_newer and is_newer(before, entry):
                continue
            self.place(entry, path, before)
            if entry.kind == "directory" and entry.mtime is not None:
                # What is put into a directory changes its time: it is set when everything is in place.
                late.append((path, entry.mtime, before is not None and before.st_mtime == entry.mtime))
        for path, moment, was_right in reversed(late):
            self.set_time(path, moment, quietly=was_right)
        if host.changed and not host.check:
            # Once for all, instead of for each file.
            os.sync()

    def place(self, entry: _unpacking.Entry, path: str, before: Any) -> None:
        host, folder = self.host, os.path.dirname(path)
        if not inside(host.real(folder), self.dest):
            host.fail("%s would lie outside of %s: %s is a link" % (entry.name, self.dest, folder))
        if not host.is_directory(folder):
            host.directory(folder, owner=self.params.owner, group=self.params.group)
        owner, group = self.owners(entry)
        if entry.kind == "directory":
            self.directory(path, before, self.mode(entry), owner, group)
        elif entry.kind == "link":
            host.link(path, entry.target)
            host.permissions(path, None, owner, group)
        elif entry.kind == "hard":
            host.hard_link(path, os.path.join(self.dest, entry.target))
        elif entry.kind == "file":
            self.file(entry, path, owner, group)
        else:
            host.warn("%s is a device or a pipe: it was not unpacked" % entry.name)
            return
        finish_permissions(host, path, self.params)

    def directory(self, path: str, before: Any, mode: int, owner: Any, group: Any) -> None:
        host = self.host
        if before is not None and stat.S_ISLNK(before.st_mode):
            # As tar does: a directory comes in place of a link.
            host.remove(path)
        host.directory(path, mode, owner, group)

    def file(self, entry: _unpacking.Entry, path: str, owner: Any, group: Any) -> None:
        chunks = self.archive.chunks
        content: Any = Stream(entry.size, lambda: chunks(entry))
        if entry.size <= SMALL:
            content = b"".join(chunks(entry))
        in_place = self.params.unsafe_writes
        made = self.host.write(path, content, self.mode(entry), owner, group, in_place=in_place, sync=False)
        self.set_time(path, entry.mtime, quietly=made)

    def set_time(self, path: str, moment: Optional[float], quietly: bool) -> None:
        """Give the archive's time; quietly where that belongs to a change that is recorded already."""
        if moment is None:
            return
        if not quietly:
            self.host.times(path, None, moment)
        elif not self.host.check:
            os.utime(path, (os.stat(path).st_atime, moment))

    def mode(self, entry: _unpacking.Entry) -> int:
        is_directory = entry.kind == "directory"
        mode = entry.mode
        if mode is None:
            mode = (0o777 if is_directory else 0o666) & ~self.umask
        elif not self.is_root and self.archive.handler != "ZipArchive":
            mode &= ~self.umask
        return mode if self.params.mode is None else files.apply_mode(self.params.mode, mode, is_directory)

    def owners(self, entry: _unpacking.Entry) -> Any:
        """Owner and group: the task's, else the archive's where root unpacks it."""
        owner = entry.owner if self.is_root and self.params.owner is None else self.params.owner
        return owner, entry.group if self.is_root and self.params.group is None else self.params.group


def is_newer(found: Any, entry: _unpacking.Entry) -> bool:
    """Whether what is there was changed after the archive's member."""
    return found is not None and entry.mtime is not None and bool(found.st_mtime > entry.mtime)
