"""Look at a file: whether it exists, its kind, permissions, times and checksum."""

from __future__ import annotations

import os
import stat as bits
from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Params, Path
from opsplay.modules.files._inode import inode_facts

PARAMS = {
    "path": Path(required=True, aliases=("dest", "name"), help="The path that is looked at"),
    "follow": Bool(default=False, help="Where the path is a link, look at what it leads to"),
    "get_checksum": Bool(default=True, help="Return the checksum of a regular file"),
    "checksum_algorithm": Choice(
        "md5", "sha1", "sha224", "sha256", "sha384", "sha512",
        default="sha1",
        aliases=("checksum", "checksum_algo"),
        help="How the checksum is made",
    ),
    "get_mime": Bool(
        default=True,
        aliases=("mime", "mime_type", "mime-type"),
        help="Return what the program file says of the content",
    ),
    "get_attributes": Bool(
        default=True, aliases=("attr", "attributes"), help="Return the attributes that lsattr shows"
    ),
}
CHECK = "exact"

# What stat says besides the facts that find returns too.
FURTHER = (("blocks", "st_blocks"), ("block_size", "st_blksize"), ("device_type", "st_rdev"))
# The requests FS_IOC_GETFLAGS and FS_IOC_GETVERSION of linux/fs.h, on machines with the generic encoding.
GET_FLAGS, GET_VERSION = 0x80086601, 0x80087601
# Attributes by their bit, in the order in which lsattr shows them, with the names that Ansible gives them.
ATTRIBUTES = (
    (0x01, "s", ""), (0x02, "u", "undelete"), (0x08, "S", "synchronous"), (0x10000, "D", "synchronous_directory"),
    (0x10, "i", "immutable"), (0x20, "a", "append"), (0x40, "d", "nodump"), (0x80, "A", "noatime"),
    (0x04, "c", "compressed"), (0x800, "E", "encrypted"), (0x4000, "j", "journaled"), (0x1000, "I", "indexed"),
    (0x8000, "t", "notailmerging"), (0x20000, "T", "tophierarchy"), (0x80000, "e", "extents"),
    (0x100000, "V", "verity"), (0x800000, "C", "nocow"), (0x2000000, "x", "dax"), (0x40000000, "F", "casefold"),
    (0x10000000, "N", "inline_data"), (0x20000000, "P", "project"),
)


def run(host: Host, params: Params) -> Dict[str, Any]:
    path = host.expand(params.path)
    found = host.stat(path, params.follow)
    if found is None:
        if host.check and host.shadow.ran_programs:
            host.unknown("stat")
        return host.outcome(stat={"exists": False}, changed=False)
    facts = describe(path, found)
    if bits.S_ISLNK(found.st_mode):
        facts["lnk_target"] = host.link_target(path)
        facts["lnk_source"] = host.real(path)
    if bits.S_ISREG(found.st_mode) and params.get_checksum and facts["readable"] and host.knows(path):
        facts["checksum"] = host.digest(path, params.checksum_algorithm)
    if params.get_mime:
        facts.update(mime(host, path, params.follow))
    if params.get_attributes:
        facts.update(attributes(path, found))
    return host.outcome(stat=facts, changed=False)


def describe(path: str, found: Any) -> Dict[str, Any]:
    """What the inode says, under Ansible's names."""
    facts = dict(inode_facts(path, found), exists=True)
    facts.update({name: getattr(found, field) for name, field in FURTHER if hasattr(found, field)})
    real = os.path.lexists(path)
    for name, access in (("readable", os.R_OK), ("writeable", os.W_OK), ("executable", os.X_OK)):
        # What a preview would have made belongs to whoever makes it.
        facts[name] = os.access(path, access) if real else access != os.X_OK or bool(found.st_mode & 0o111)
    return facts


def mime(host: Host, path: str, follow: bool) -> Dict[str, str]:
    """The type and character set of the content; "unknown" without the program file."""
    program = host.which("file")
    if program:
        done = host.query([program, "--mime-type", "--mime-encoding"] + (["-L"] if follow else []) + ["--", path])
        kind, _, charset = done.stdout.strip().rpartition(":")[2].partition(";")
        if done.rc == 0 and charset:
            return {"mimetype": kind.strip(), "charset": charset.partition("=")[2].strip()}
    return {"mimetype": "unknown", "charset": "unknown"}


def attributes(path: str, found: Any) -> Dict[str, Any]:
    """The file's attributes from the kernel itself; empty where its file system has none."""
    facts: Dict[str, Any] = {"attributes": [], "attr_flags": "", "version": None}
    if not (bits.S_ISREG(found.st_mode) or bits.S_ISDIR(found.st_mode)):
        return facts
    import struct
    from fcntl import ioctl

    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return facts
    try:
        flags = struct.unpack_from("I", ioctl(fd, GET_FLAGS, b"\0" * 8))[0]
        known = [(letter, name) for bit, letter, name in ATTRIBUTES if flags & bit]
        facts["attr_flags"] = "".join(letter for letter, _ in known)
        facts["attributes"] = [name for _, name in known if name]
        facts["version"] = str(struct.unpack_from("I", ioctl(fd, GET_VERSION, b"\0" * 8))[0])
    except OSError:
        pass
    finally:
        os.close(fd)
    return facts
