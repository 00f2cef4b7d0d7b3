"""What an inode says, under the names that the results of stat and find have for it."""

from __future__ import annotations

import stat as bits
from typing import Any, Dict

from opsplay.agent.permissions import name_of

PERMISSION_BITS = (
    ("wusr", bits.S_IWUSR), ("rusr", bits.S_IRUSR), ("xusr", bits.S_IXUSR),
    ("wgrp", bits.S_IWGRP), ("rgrp", bits.S_IRGRP), ("xgrp", bits.S_IXGRP),
    ("woth", bits.S_IWOTH), ("roth", bits.S_IROTH), ("xoth", bits.S_IXOTH),
    ("isuid", bits.S_ISUID), ("isgid", bits.S_ISGID),
)  # fmt: skip
KINDS = (
    ("isdir", bits.S_ISDIR), ("ischr", bits.S_ISCHR), ("isblk", bits.S_ISBLK), ("isreg", bits.S_ISREG),
    ("isfifo", bits.S_ISFIFO), ("islnk", bits.S_ISLNK), ("issock", bits.S_ISSOCK),
)  # fmt: skip
NUMBERS = (
    ("size", "st_size"), ("inode", "st_ino"), ("dev", "st_dev"), ("nlink", "st_nlink"), ("uid", "st_uid"),
    ("gid", "st_gid"), ("atime", "st_atime"), ("mtime", "st_mtime"), ("ctime", "st_ctime"),
)  # fmt: skip


def inode_facts(path: str, found: Any) -> Dict[str, Any]:
    """Kind, permissions, owner, size and times of `found`, a stat result or a shadow's."""
    mode = found.st_mode
    facts: Dict[str, Any] = {"path": path, "mode": "%04o" % bits.S_IMODE(mode)}
    facts.update({name: test(mode) for name, test in KINDS})
    facts.update({name: bool(mode & bit) for name, bit in PERMISSION_BITS})
    facts.update({name: getattr(found, field) for name, field in NUMBERS})
    facts["pw_name"], facts["gr_name"] = name_of("user", found.st_uid), name_of("group", found.st_gid)
    return facts
