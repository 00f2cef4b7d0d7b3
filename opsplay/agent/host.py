"""The primitives that modules act through.

Each knows check mode, records the difference, keeps what it replaces for undo, is atomic, and does not follow a
symbolic link that it did not expect. In check mode they consult and feed the shadow, so that a preview goes on.
A module asks with `query`, `read`, `stat`, and changes with `write`, `run`, `permissions`, `remove` and the others.
"""

from __future__ import annotations

import errno
import os
import stat as stat_bits
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from opsplay.agent import files, process, words
from opsplay.agent.content import DIFF_LIMIT, Blob, Content, Stream
from opsplay.agent.record import Cancelled, Critical, ModuleFailed, describe, kind_of
from opsplay.agent.shadow import Node

__all__ = ["Blob", "Cancelled", "Critical", "DIFF_LIMIT", "Host", "ModuleFailed", "Stream", "describe", "kind_of"]


class Host(Content):
    """One lane's view of this host. Kept for the whole session; `begin` starts a task's record afresh."""

    def run(self, argv: List[str], foreseen: bool = False, **options: Any) -> process.Completed:
        """Run a program that changes the host. In check mode it is not run, and the task counts as changed.

        `foreseen` says that the module itself tells the shadow all that the program would do.
        """
        self.changed = True
        if self.check:
            if not foreseen:
                self.pretend_program()
            skipped = process.Completed([str(word) for word in argv])
            skipped.skipped = True
            return skipped
        return self.query(argv, **options)

    def must_run(self, argv: List[str], **options: Any) -> process.Completed:
        """`run`, and fail the task with the program's own words when it does not end with 0."""
        done = self.run(argv, **options)
        if done.rc != 0:
            said = done.stderr.strip() or done.stdout.strip() or done.error or "exit code %d" % done.rc
            self.fail("%s failed: %s" % (argv[0], said), rc=done.rc, stdout=done.stdout, stderr=done.stderr, cmd=argv)
        return done

    def write(
        self,
        path: str,
        content: Any,
        mode: Any = None,
        owner: Any = None,
        group: Any = None,
        backup: bool = False,
        validate: Optional[str] = None,
        in_place: bool = False,
        sync: bool = True,
        shown: Any = None,
    ) -> bool:
        """Make a regular file of this content (bytes, text, Blob, Stream, or what was `staged`). Returns whether
        anything changed.

        A link at `path` is replaced, not followed: give `host.real(path)` to write through it. Without `mode` and
        owner an existing file keeps its own. `validate` is a command with %s for the file to check before it is used.
        `in_place` allows a file that cannot be replaced (mounted into a container) to be overwritten. Without `sync`
        the caller sees to it that many files last through a power cut. `shown` are the texts of the difference, before
        and after, where the content is secret; empty where the module shows the difference in its own words.
        """
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogateescape")
        before = self.stat(path)
        if before is not None and stat_bits.S_ISDIR(before.st_mode):
            self.fail("%s is a directory, not a file" % path, path=path)
        if self._same_content(path, before, content):
            return self.permissions(path, mode, owner, group)
        uid, gid = self.owner_ids(owner, group, before)
        bits = self._mode_for(mode, before)
        self._refuse_missing_folder(path)
        if shown is None:
            self._note_write(path, before, content)
        else:
            self.note(shown[0], shown[1], path)
        if self.check:
            kept = content if isinstance(content, bytes) else None
            self.pretend(path, Node("file", bits, uid, gid, kept))
            return True
        self.remember(path, before)
        if backup and before is not None:
            self.backup(path)
        if before is None:
            # A new file takes what its folder gives (a set-group-id folder its group) unless asked otherwise.
            uid, gid = (-1 if owner is None else uid), (-1 if group is None else gid)
        check = self._validator(validate, path) if validate else None
        try:
            self._install(path, content, bits, (uid, gid), check, sync)
        except OSError as problem:
            self._write_otherwise(problem, path, content, bits, in_place)
        if isinstance(content, Blob):
            self._blobs_here[content.sha256] = path
        return True

    def _write_otherwise(self, problem: OSError, path: str, content: Any, bits: int, in_place: bool) -> None:
        if not in_place or problem.errno not in files.UNREPLACEABLE:
            self.fail("cannot write %s: %s" % (path, problem.strerror or problem), path=path)
        files.overwrite(path, self.chunks(content))
        os.chmod(path, bits)

    def permissions(
        self, path: str, mode: Any = None, owner: Any = None, group: Any = None, follow: bool = False
    ) -> bool:
        """Set mode and owner of what is there. Returns whether anything changed."""
        before = self.stat(path, follow)
        if before is None or (mode is None and owner is None and group is None):
            return False
        uid, gid = self.owner_ids(owner, group, before)
        current = stat_bits.S_IMODE(before.st_mode)
        bits = current
        if mode is not None and not stat_bits.S_ISLNK(before.st_mode):
            bits = files.apply_mode(mode, current, stat_bits.S_ISDIR(before.st_mode))
        if (bits, uid, gid) == (current, before.st_uid, before.st_gid):
            return False
        self.note(describe(current, before.st_uid, before.st_gid), describe(bits, uid, gid), path)
        if self.check:
            self._shadow_permissions(path, before, bits, uid, gid)
            return True
        self.remember(path, before, content=False)
        new_uid, new_gid = (-1 if uid == before.st_uid else uid), (-1 if gid == before.st_gid else gid)
        # A change of the owner clears the set-id bits: they are set again even when the mode stays.
        wanted = bits if bits != current or bits & 0o6000 else None
        try:
            files.set_permissions(path, before, wanted, new_uid, new_gid, follow)
        except OSError as problem:
            reason = problem.strerror or str(problem)
            self.fail("cannot change %s to %s: %s" % (path, describe(bits, uid, gid).strip(), reason), path=path)
        return True

    def times(self, path: str, accessed: Optional[float] = None, modified: Optional[float] = None) -> bool:
        """Set the times (seconds since 1970, None to leave) of what is there, links followed."""
        before = self.stat(path, follow=True)
        if before is None:
            return False
        wanted = (before.st_atime if accessed is None else accessed, before.st_mtime if modified is None else modified)
        if wanted == (before.st_atime, before.st_mtime):
            return False
        shown = "atime %.6f mtime %.6f\n"
        self.note(shown % (before.st_atime, before.st_mtime), shown % wanted, path)
        if not self.check:
            os.utime(path, wanted)
        return True

    def directory(self, path: str, mode: Any = None, owner: Any = None, group: Any = None) -> bool:
        """Make a folder with the folders above it; mode and owner hold for each one that is made, as Ansible does."""
        if self.is_directory(path):
            return self.permissions(path, mode, owner, group, follow=True)
        found = self.stat(path)
        if found is not None:
            self.fail("%s exists and is not a directory" % path, path=path)
        parent = os.path.dirname(path)
        if parent != path and not self.is_directory(parent):
            self.directory(parent, mode, owner, group)
        bits = 0o777 & ~files.current_umask()
        if mode is not None:
            bits = files.apply_mode(mode, bits, True)
        self.note("", "directory\n", path)
        if self.check:
            uid, gid = self.owner_ids(owner, group, None)
            self.pretend(path, Node("directory", bits, uid, gid))
            return True
        self.remember(path, None)
        try:
            # Never wider than wanted, not even for an instant.
            os.mkdir(path, bits & 0o777)
        except OSError as problem:
            self.fail("cannot make the directory %s: %s" % (path, problem.strerror or problem), path=path)
        self._quietly(self.permissions, path, mode, owner, group)
        return True

    def link(self, path: str, target: str) -> bool:
        """Make a symbolic link, in place of a file or link that is there. Returns whether anything changed."""
        before = self.stat(path)
        old = self.link_target(path)
        if old == target:
            return False
        if before is not None and stat_bits.S_ISDIR(before.st_mode):
            self.fail("%s is a directory; it is not replaced by a link" % path, path=path)
        self._refuse_missing_folder(path)
        self.note("%s\n" % old if old is not None else "", "%s\n" % target, "link " + path)
        if self.check:
            self.pretend(path, Node("link", 0o777, os.geteuid(), os.getegid(), target=target))
            return True
        self.remember(path, before)
        self._place_beside(path, lambda beside: os.symlink(target, beside))
        return True

    def hard_link(self, path: str, source: str) -> bool:
        """Make `path` another name of the file `source`, in place of a file that is there."""
        before, wanted = self.stat(path), self.stat(source, follow=True)
        if wanted is None:
            self.fail("%s does not exist: there is nothing to link to" % source, path=path, src=source)
        if before is not None and wanted.st_ino and (before.st_ino, before.st_dev) == (wanted.st_ino, wanted.st_dev):
            return False
        if before is not None and stat_bits.S_ISDIR(before.st_mode):
            self.fail("%s is a directory; it is not replaced by a link" % path, path=path)
        self._refuse_missing_folder(path)
        self.note("", "%s\n" % source, "hard link " + path)
        if self.check:
            self.pretend(path, Node("file", stat_bits.S_IMODE(wanted.st_mode), wanted.st_uid, wanted.st_gid))
            return True
        self.remember(path, before)
        self._place_beside(path, lambda beside: os.link(os.path.realpath(source), beside))
        return True

    def remove(self, path: str) -> bool:
        """Remove a file, a link, or a folder with all below it. Returns whether anything was there."""
        before = self.stat(path)
        if before is None:
            return False
        self.note("%s\n" % kind_of(before), "", path)
        if self.check:
            self.pretend(path, Node("absent"))
            return True
        self.remember(path, before)
        try:
            files.remove_tree(path)
        except OSError as problem:
            where = problem.filename or path
            self.fail("cannot remove %s: %s: %s" % (path, where, problem.strerror or problem), path=path)
        files.sync_directory(os.path.dirname(path))
        return True

    def backup(self, path: str) -> str:
        """Copy a file beside itself under a dated name, as Ansible names it. Returns the copy's path."""
        stamp = time.strftime("%Y-%m-%d@%H:%M:%S~", time.localtime())
        copy = "%s.%d.%s" % (path, os.getpid(), stamp)
        if self.check:
            return copy
        found = os.stat(path)
        mode = stat_bits.S_IMODE(found.st_mode)
        files.replace(self.temporary, copy, files.read_chunks(path), mode, (found.st_uid, found.st_gid))
        os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
        self.backup_file = copy
        return copy

    def call(self, module: str, **params: Any) -> Dict[str, Any]:
        """Run another shipped module as part of this task, e.g. `host.call("files.copy", dest=…)`."""
        from opsplay.agent.spec import validate

        name = "opsplay.modules." + module
        __import__(name)
        shipped = sys.modules[name]
        result = shipped.run(self, validate(shipped.PARAMS, params))
        return dict(result or self.outcome())

    # --- helpers ---

    def _mode_for(self, mode: Any, before: Any) -> int:
        if before is not None and stat_bits.S_ISREG(before.st_mode):
            current = stat_bits.S_IMODE(before.st_mode)
        else:
            current = 0o666 & ~files.current_umask()
        return current if mode is None else files.apply_mode(mode, current, False)

    def _refuse_missing_folder(self, path: str) -> None:
        folder = os.path.dirname(path)
        if not folder or self.is_directory(folder):
            return
        if self.check and self.shadow.brings_unknown_files:
            return
        raise ModuleFailed("the folder %s does not exist; make it with the file module first" % folder, path=path)

    def _validator(self, command: str, path: str) -> Callable[[str], None]:
        if "%s" not in command:
            self.fail("validate must contain %%s for the file to check: %s" % command)

        def check(beside: str) -> None:
            argv = [word.replace("%s", beside) for word in words.split(command)]
            done = self.query(argv)
            if done.rc != 0:
                said = done.stderr.strip() or done.stdout.strip() or done.error
                output = {"rc": done.rc, "exit_status": done.rc, "stdout": done.stdout, "stderr": done.stderr}
                raise ModuleFailed("failed to validate %s: %s" % (path, said), **output)

        return check

    def _place_beside(self, path: str, make: Callable[[str], None]) -> None:
        try:
            files.place(self.temporary, path, make)
        except OSError as problem:
            hint = "; both must be on one file system" if problem.errno == errno.EXDEV else ""
            self.fail("cannot make the link %s: %s%s" % (path, problem.strerror or problem, hint), path=path)

    def _shadow_permissions(self, path: str, before: Any, bits: int, uid: int, gid: int) -> None:
        node = self._node(path)
        if node is None:
            node = Node(kind_of(before))
            if node.kind == "link":
                node.target = os.readlink(path)
        node.mode, node.uid, node.gid = bits, uid, gid
        self.pretend(path, node)

    def _quietly(self, change: Callable[..., bool], *arguments: Any) -> None:
        """Make a change that belongs to one already recorded, without recording it twice."""
        diffs, undo, self.diffs, self.undo = self.diffs, self.undo, [], []
        try:
            change(*arguments)
        finally:
            self.diffs, self.undo = diffs, undo
