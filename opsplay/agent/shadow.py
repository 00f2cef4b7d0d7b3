"""What check mode pretends: the state that earlier tasks of a preview would have left on this host."""

from __future__ import annotations

from typing import Any, Dict, List, Optional


class Node:
    """A path as it would be. `content` None means "cannot be known" (a package would bring it).

    A `fresh` folder would have been made in the place of one that was removed: what lies there now would be gone. The
    content of a `fresh` file cannot be known, whatever lies there now (a program would have written it anew).
    """

    __slots__ = ("kind", "mode", "uid", "gid", "content", "target", "fresh")

    def __init__(
        self,
        kind: str,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        content: Optional[bytes] = None,
        target: str = "",
    ) -> None:
        self.kind = kind  # file, directory, link, absent
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.content = content
        self.target = target
        self.fresh = False

    @classmethod
    def of(cls, fields: List[Any]) -> "Node":
        """The node that `fields` gave."""
        from binascii import a2b_base64

        kind, mode, uid, gid, content, target, fresh = fields
        node = cls(kind, mode, uid, gid, None if content is None else a2b_base64(content), target)
        node.fresh = fresh
        return node

    def fields(self) -> List[Any]:
        """All of it, in values that can travel."""
        from binascii import b2a_base64

        content = None if self.content is None else b2a_base64(self.content, newline=False).decode("ascii")
        return [self.kind, self.mode, self.uid, self.gid, content, self.target, self.fresh]


ABSENT = Node("absent")


def copied(value: Any) -> Any:
    """The same, so that a later change of the original is seen as one."""
    return {key: copied(item) for key, item in value.items()} if isinstance(value, dict) else value


KINDS = ("paths", "users", "groups", "packages", "units")
FLAGS = ("ran_programs", "renewed_package_lists")


class Shadow:
    """Paths, users, groups, packages and units by name; a value of False means "would be gone"."""

    def __init__(self) -> None:
        self.paths: Dict[str, Node] = {}
        self.users: Dict[str, Any] = {}
        self.groups: Dict[str, Any] = {}
        self.packages: Dict[str, bool] = {}
        self.units: Dict[str, Dict[str, Any]] = {}
        # Whether a program would have been run, which may make any file.
        self.ran_programs = False
        # Whether package lists would have been fetched, so that packages unknown now may be known then.
        self.renewed_package_lists = False
        self._told: Dict[str, Any] = {}

    # --- what the agents of other users on this host know ---

    def news(self) -> Dict[str, Any]:
        """What has changed since the last time, in values that can travel; names that are forgotten are None."""
        now = self._plain()
        changed = {name: value for name, value in now.items() if self._told.get(name) != value}
        changed.update({name: None for name in self._told if name not in now})
        self._told = now
        return changed

    def learn(self, news: Dict[str, Any]) -> None:
        """Take over what another agent has pretended."""
        for name, value in news.items():
            kind, _, key = name.partition(" ")
            if kind == "flag" and key in FLAGS:
                setattr(self, key, bool(value))
            elif kind in KINDS and value is None:
                getattr(self, kind).pop(key, None)
            elif kind in KINDS:
                getattr(self, kind)[key] = Node.of(value) if kind == "paths" else value
        self._told = self._plain()

    def _plain(self) -> Dict[str, Any]:
        found: Dict[str, Any] = {}
        for kind in KINDS[1:]:
            found.update({"%s %s" % (kind, name): copied(value) for name, value in getattr(self, kind).items()})
        found.update({"paths " + path: node.fields() for path, node in self.paths.items()})
        for flag in FLAGS:
            if getattr(self, flag):
                found["flag " + flag] = True
        return found

    @property
    def brings_unknown_files(self) -> bool:
        """Whether files that are absent now may be there then: a package would be installed, or a program run."""
        return self.ran_programs or any(self.packages.values())

    def put(self, path: str, node: Node) -> None:
        """Let this path be `node`; what was pretended below a path that goes is forgotten."""
        before = self.node(path)
        if node.kind == "directory" and before is not None and (before.kind != "directory" or before.fresh):
            node.fresh = True
        if node.kind != "directory":
            below = path.rstrip("/") + "/"
            for known in [known for known in self.paths if known.startswith(below)]:
                del self.paths[known]
        self.paths[path] = node

    def node(self, path: str) -> Optional[Node]:
        """What this path would be; None when no earlier task touched it or a folder above it."""
        found = self.paths.get(path)
        if found is not None:
            return found
        parent = path.rpartition("/")[0]
        while parent:
            above = self.paths.get(parent)
            if above is not None:
                return ABSENT if above.kind != "directory" or above.fresh else None
            parent = parent.rpartition("/")[0]
        return None

    def link_above(self, path: str) -> str:
        """The first pretended link on the way down to this path, itself included; empty when there is none."""
        end = path.find("/", 1)
        while True:
            part = path[:end] if end > 0 else path
            node = self.paths.get(part)
            if node is not None and node.kind == "link":
                return part
            if end < 0:
                return ""
            end = path.find("/", end + 1)
