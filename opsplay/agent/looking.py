"""The primitives that only look. In check mode they see what earlier tasks of the preview would have left."""

from __future__ import annotations

import os
import stat as stat_bits
import time
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent import files, process, words
from opsplay.agent.record import ModuleFailed, Record
from opsplay.agent.shadow import Node

LINKS_FOLLOWED = 40
# Where a login of root searches for programs beside its PATH.
FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]


# The number of an account that a preview would make and that has none yet: the largest that a file's owner can be.
UNASSIGNED = (1 << 32) - 2


class Looking(Record):
    """Questions to this host."""

    def expand(self, path: str) -> str:
        """An absolute path, with `~` and environment variables replaced and no trailing slash."""
        path = os.path.abspath(words.expand_user(path))
        return path[1:] if path.startswith("//") else path

    def real(self, path: str) -> str:
        """The path that a link at `path` leads to, for modules that edit through links."""
        path = self.expand(path)
        for _ in range(LINKS_FOLLOWED):
            path = self._place(path)
            node = self._node(path)
            if node is not None and node.kind == "link":
                path = os.path.normpath(os.path.join(os.path.dirname(path), node.target))
                continue
            found = path if node is not None else resolved(path)
            if found == path or not self.check:
                return found
            path = found
        return path

    def stat(self, path: str, follow: bool = False) -> Optional[Any]:
        """os.stat_result, or in check mode perhaps a shadow's; None when there is nothing."""
        node = None
        if self.check:
            path = self.real(path) if follow else self._place(path)
            node = self._node(path)
            if node is not None and node.kind == "absent":
                return None
        try:
            found = os.stat(path) if follow else os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            found = None
        return ShadowStat(node, found) if node is not None else found

    def exists(self, path: str) -> bool:
        return self.stat(path, follow=True) is not None

    def is_directory(self, path: str) -> bool:
        found = self.stat(path, follow=True)
        return found is not None and stat_bits.S_ISDIR(found.st_mode)

    def link_target(self, path: str) -> Optional[str]:
        """Where a link leads, None when it is no link."""
        node = self._node(path)
        if node is not None:
            return node.target if node.kind == "link" else None
        try:
            return os.readlink(path)
        except OSError:
            return None

    def names(self, path: str) -> List[str]:
        """What a folder holds, sorted, as a preview would have left it. Raises OSError."""
        if not self.check:
            return sorted(os.listdir(path))
        found = set(os.listdir(path)) if os.path.isdir(path) else set()
        above = self.real(path)
        found.update(os.path.basename(known) for known in self.shadow.paths if os.path.dirname(known) == above)
        return sorted(name for name in found if self.stat(os.path.join(path, name)) is not None)

    def read(self, path: str) -> bytes:
        """A file's content, as earlier tasks of a preview would have left it. Raises OSError."""
        if self.check:
            path = self.real(path)
            node = self._node(path)
            if node is not None:
                if node.kind == "absent":
                    raise FileNotFoundError(2, "No such file or directory", path)
                if node.content is not None:
                    return node.content
                if node.fresh or not os.path.isfile(path):
                    raise ModuleFailed("the content of %s cannot be known before an earlier task has run" % path)
        return files.read_whole(path)

    def knows(self, path: str) -> bool:
        """Whether a file's content can be read: of some files a preview knows only that they would be there."""
        node = self._node(self.real(path)) if self.check else None
        return node is None or node.content is not None or (os.path.isfile(path) and not node.fresh)

    def digest(self, path: str, algorithm: str) -> str:
        """A file's hash in hexadecimal, read in chunks. Raises OSError."""
        hasher = files.new_hash(algorithm, os.stat(path).st_size if os.path.exists(path) else 0)
        node = self._node(self.real(path)) if self.check else None
        if node is not None and node.content is not None:
            hasher.update(node.content)
            return str(hasher.hexdigest())
        for chunk in files.read_chunks(path):
            hasher.update(chunk)
        return str(hasher.hexdigest())

    def query(self, argv: List[str], **options: Any) -> process.Completed:
        """Run a program that only looks; it runs in check mode too. Options as for `process.run`."""
        self._agent.flush()
        return process.run([str(word) for word in argv], self.children, **options)

    def which(self, program: str) -> Optional[str]:
        """The full path of a program, searched as a login of root would."""
        if "/" in program:
            return program if os.access(program, os.X_OK) else None
        for folder in os.environ.get("PATH", "").split(":") + FOLDERS:
            path = os.path.join(folder, program)
            if folder and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        return None

    # --- owners ---

    def uid(self, name: Any) -> int:
        """A user's number, by name or number, users that a preview would have made included."""
        return self._number("user", "uid", name, self.shadow.users)

    def gid(self, name: Any) -> int:
        """A group's number, by name or number, groups that a preview would have made included."""
        return self._number("group", "gid", name, self.shadow.groups)

    def _number(self, kind: str, field: str, name: Any, pretended: Dict[str, Any]) -> int:
        if isinstance(name, int) or str(name).isdigit():
            return int(name)
        number = number_of(kind, name)
        if number is not None:
            return number
        if self.check and pretended.get(name):
            return int(pretended[name].get(field) or UNASSIGNED)
        if self.check and self.shadow.brings_unknown_files:
            # The package that would be installed may bring it.
            return -2
        raise ModuleFailed("there is no %s %r on this host" % (kind, name))

    def owner_ids(self, owner: Any, group: Any, before: Any) -> Tuple[int, int]:
        """The wanted (uid, gid): what was asked for, else what is there, else the agent's own."""
        uid = before.st_uid if before is not None else os.geteuid()
        gid = before.st_gid if before is not None else os.getegid()
        return (uid if owner is None else self.uid(owner)), (gid if group is None else self.gid(group))

    # --- the shadow ---

    def _place(self, path: str) -> str:
        """One name for each place: links above the last part are resolved, those of the preview too."""
        above, _, name = path.rpartition("/")
        if not above or not self.check:
            return path
        for _ in range(LINKS_FOLLOWED):
            above = resolved(above)
            link = self.shadow.link_above(above)
            if not link:
                break
            target = os.path.join(os.path.dirname(link), self.shadow.paths[link].target)
            above = os.path.normpath(target) + above[len(link) :]
        return "%s/%s" % (above.rstrip("/"), name)

    def _node(self, path: str) -> Optional[Node]:
        """What a preview would have made of this path; None when it would have left it alone."""
        return self.shadow.node(self._place(path)) if self.check and self.shadow.paths else None

    def pretend_unknown(self, path: str, mode: int, uid: int = 0, gid: int = 0) -> None:
        """In check mode: let the tasks that follow see a file here whose content only the real run finds out."""
        node = Node("file", mode, uid, gid)
        node.fresh = True
        self.pretend(path, node)

    def pretend(self, path: str, node: Node) -> None:
        """In check mode: let the tasks that follow see `node` at this path."""
        self.shadow.put(self._place(path), node)


def resolved(path: str) -> str:
    """os.path.realpath; a link that may not be read is left as it is."""
    try:
        return os.path.realpath(path)
    except OSError:
        return path


def number_of(kind: str, name: str) -> Optional[int]:
    """The number of a user or group of this host by its name; None when there is none."""
    try:
        if kind == "user":
            import pwd

            return pwd.getpwnam(name).pw_uid
        import grp

        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


class ShadowStat:
    """The few fields of os.stat_result that modules use, for a path that a preview would have made or changed."""

    def __init__(self, node: Node, found: Any = None) -> None:
        kinds = {"directory": stat_bits.S_IFDIR, "link": stat_bits.S_IFLNK}
        kind = kinds.get(node.kind, stat_bits.S_IFREG)
        if found is not None and stat_bits.S_IFMT(found.st_mode) != kind:
            found = None
        self.st_mode = kind | node.mode
        self.st_uid = node.uid
        self.st_gid = node.gid
        self.st_size = found.st_size if found is not None and node.content is None else len(node.content or b"")
        now = time.time()
        self.st_mtime, self.st_atime, self.st_ctime = now, now, now
        self.st_ino, self.st_dev, self.st_nlink = 0, 0, 1
        if found is not None:
            self.st_mtime, self.st_atime, self.st_ctime = found.st_mtime, found.st_atime, found.st_ctime
            self.st_ino, self.st_dev, self.st_nlink = found.st_ino, found.st_dev, found.st_nlink
